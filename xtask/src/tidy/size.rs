//! Files and functions stay small enough to be read at once.

use super::finding::Finding;
use super::source::Source;

const FILE_WARNS: usize = 250;
const FILE_FAILS: usize = 400;
const FUNCTION_FAILS: usize = 80;

/// Counts lines of code: no blanks, no comments, no inline tests.
pub(crate) fn budget(source: &Source) -> Vec<Finding> {
    let mut findings: Vec<Finding> = functions(&source.code)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_FAILS)
        .map(|function| {
            let what = format!("a function of {} lines of code, {FUNCTION_FAILS} are allowed", function.lines);
            Finding::new(&source.path, function.begins, what, "give its parts names of their own")
        })
        .collect();
    let lines = source.code.lines().take(source.tests_begin()).filter(|line| !line.trim().is_empty()).count();
    let cure = "one file, one job: move the second job into a module of its own";
    if lines > FILE_FAILS {
        let what = format!("{lines} lines of code, {FILE_FAILS} are allowed");
        findings.push(Finding::new(&source.path, 0, what, cure));
    } else if lines > FILE_WARNS {
        findings.push(Finding::warning(&source.path, 0, format!("{lines} lines of code, aim for {FILE_WARNS}"), cure));
    }
    findings
}

struct Function {
    begins: usize,
    lines: usize,
}

/// Every function with a body: where its `fn` stands and how many lines of code it has.
fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    // Functions that are open, each with the depth of braces outside of it; the innermost is last.
    let mut open: Vec<(usize, Function)> = Vec::new();
    let mut waiting: Option<usize> = None;
    let (mut braces, mut brackets) = (0, 0);
    for (index, line) in code.lines().enumerate() {
        if declares_function(line) {
            waiting = Some(index);
        }
        for c in line.chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                // A `;` inside brackets is the length of an array, not the end of a declaration.
                ';' if brackets == 0 => waiting = None,
                '{' => {
                    if let Some(begins) = waiting.take() {
                        open.push((braces, Function { begins, lines: code_lines(code, begins, index) }));
                    }
                    braces += 1;
                }
                '}' => {
                    braces -= 1;
                    if open.last().is_some_and(|(outside, _)| *outside == braces) {
                        // The line that closes it is not yet counted.
                        found.extend(open.pop().map(|(_, f)| Function { lines: f.lines + 1, ..f }));
                    }
                }
                _ => {}
            }
        }
        for (_, function) in &mut open {
            function.lines += usize::from(index >= function.begins && !line.trim().is_empty());
        }
    }
    found
}

/// The lines of a signature before the one that opens the body.
fn code_lines(code: &str, first: usize, end: usize) -> usize {
    code.lines().take(end).skip(first).filter(|line| !line.trim().is_empty()).count()
}

fn declares_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.by_ref().take_while(|word| !word.contains('=')).any(|word| word == "fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: usize) -> Source {
        Source::new("src/a.rs", "static A: u8 = 1;\n// comment\n\n".repeat(lines))
    }

    fn function(lines: usize) -> Source {
        let body = "    // comment\n    f();\n".repeat(lines);
        Source::new("src/a.rs", format!("struct A;\n\nfn a(\n    x: [u8; 2],\n) {{\n{body}}}\n\nfn b() {{}}\n"))
    }

    #[test]
    fn files_are_counted_without_comments_blanks_and_tests() {
        assert_eq!(budget(&file(FILE_WARNS)), []);
        assert!(budget(&file(FILE_WARNS + 1))[0].warning);
        assert!(!budget(&file(FILE_FAILS + 1))[0].warning);
        let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", file(9).text, file(FILE_FAILS).text);
        assert_eq!(budget(&Source::new("src/a.rs", tests)), []);
    }

    #[test]
    fn a_long_function_is_found_with_its_line() {
        let findings = budget(&function(FUNCTION_FAILS));
        assert_eq!((findings.len(), findings[0].line), (1, 3));
        assert_eq!(budget(&function(FUNCTION_FAILS - 4)), []);
        assert_eq!(budget(&function(FUNCTION_FAILS - 3)).len(), 1);
    }

    #[test]
    fn functions_in_functions_and_declarations_are_told_apart() {
        let code = "trait T {\n    fn a();\n    fn b() {\n        fn c() {\n        }\n    }\n}\n";
        let found: Vec<(usize, usize)> = functions(code).iter().map(|f| (f.begins, f.lines)).collect();
        assert_eq!(found, [(3, 2), (2, 4)]);
    }
}
