//! A source file, with what is text in it told from what is code.

use std::path::Path;

/// A Rust file of the repository.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path below the repository, with `/` on every system.
    pub(crate) path: String,
    /// What the file holds.
    pub(crate) text: String,
    /// The same with comments and the insides of strings blanked, line for line.
    pub(crate) code: String,
}

impl Source {
    /// A file of that path and text.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), code: blank(&text), text }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/")
    }

    /// The index of the line at which the inline tests begin; the number of lines if there are none.
    pub(crate) fn tests_begin(&self) -> usize {
        let lines: Vec<&str> = self.code.lines().map(str::trim).collect();
        let begins = |at: &usize| {
            let next = lines[at + 1..].iter().find(|line| !line.is_empty());
            lines[*at] == "#[cfg(test)]" && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        };
        (0..lines.len()).find(begins).unwrap_or(lines.len())
    }
}

/// The files below a folder, sorted, without build products and hidden folders of tools.
pub(crate) fn walk(root: &Path) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !path.is_symlink() {
                let built = path.join("CACHEDIR.TAG").exists();
                if !built && name != ".git" && name != "target" {
                    folders.push(path);
                }
            } else if let Ok(below) = path.strip_prefix(root) {
                files.push(below.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether `word` stands in `line` with no letter, digit or underscore on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = word.starts_with(is_part) && before.is_some_and(is_part);
        let closed = word.ends_with(is_part) && after.is_some_and(is_part);
        !open && !closed
    })
}

/// Replaces comments and the insides of string and character literals by blanks.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, keep) = token(&chars, at);
        for (offset, &c) in chars[at..end].iter().enumerate() {
            let edge = keep == Keep::Edges && (offset == 0 || at + offset + 1 == end);
            out.push(if keep == Keep::All || edge || c == '\n' { c } else { ' ' });
        }
        at = end;
    }
    out
}

#[derive(PartialEq)]
enum Keep {
    All,
    Edges,
    Nothing,
}

/// The end of the token at `at`, and what of it is code.
fn token(chars: &[char], at: usize) -> (usize, Keep) {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => (line_end(chars, at), Keep::Nothing),
        ('/', Some('*')) => (comment_end(chars, at), Keep::Nothing),
        ('"', _) => (string_end(chars, at + 1), Keep::Edges),
        ('\'', _) => match char_end(chars, at) {
            Some(end) => (end, Keep::Edges),
            None => (at + 1, Keep::All),
        },
        ('r', Some('"' | '#')) => match raw_end(chars, at) {
            Some(end) => (end, Keep::Edges),
            None => (at + 1, Keep::All),
        },
        (c, _) if c.is_alphabetic() || c == '_' => (word_end(chars, at), Keep::All),
        _ => (at + 1, Keep::All),
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a character literal; none where the quote begins a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars.get(at + 3..)?.iter().position(|&c| c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// The end of a raw string; none where the `r` begins a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let start = at + 1 + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let closes = |&end: &usize| {
        chars[end] == '"' && chars.len() >= end + 1 + hashes && chars[end + 1..=end + hashes].iter().all(|&c| c == '#')
    };
    let end = (start + 1..chars.len()).find(closes);
    Some(end.map_or(chars.len(), |end| end + 1 + hashes))
}

/// The end of a word; the prefix of a string (`b`, `c`, `br`) stays apart from it.
fn word_end(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
    let end = at + length;
    let raw_prefix = length > 1 && length <= 2 && chars[end - 1] == 'r' && matches!(chars.get(end), Some('"' | '#'));
    if raw_prefix { end - 1 } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_code_is_kept() {
        assert_eq!(blank("a(); // b"), "a();     ");
        assert_eq!(blank("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(blank(r#"f("x \" y") + 1"#), r#"f("      ") + 1"#);
        assert_eq!(blank("r#\"a\"b\"# c"), "r      # c");
        assert_eq!(blank("br\"a\" c"), "br  \" c");
        assert_eq!(blank("r#type + hr(\"x\")"), "r#type + hr(\" \")");
    }

    #[test]
    fn quotes_of_lifetimes_and_characters_are_told_apart() {
        assert_eq!(blank("fn f<'a>(x: &'a str) { '{' }"), "fn f<'a>(x: &'a str) { ' ' }");
        assert_eq!(blank(r"'\'' + '\u{1F}' + x"), "'  ' + '      ' + x");
        assert_eq!(blank(r#"'"' "y""#), r#"' ' " ""#);
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "let x = \"one\ntwo\"; /* three\nfour */ y\n";
        assert_eq!(blank(text).lines().count(), text.lines().count());
        assert!(blank(text).ends_with("y\n"));
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert!(has_word("use rand::x;", "rand") && !has_word("use fastrand::x;", "rand"));
        assert!(has_word("time::sleep(x)", "sleep(") && !has_word("oversleep(x)", "sleep("));
    }

    #[test]
    fn inline_tests_begin_at_their_attribute() {
        let source = Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nfn b() {}\n\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.tests_begin(), 4);
        assert_eq!(Source::new("src/a.rs", "fn a() {}\n").tests_begin(), 1);
    }
}
