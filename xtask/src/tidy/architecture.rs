//! The architecture page tells the truth.

use super::finding::Finding;

/// The page.
pub(crate) const PAGE: &str = "ARCHITECTURE.md";

/// Where the drawing of the states has its home.
pub(crate) const STATES: &str = "core/src/state/mod.rs";

/// Files that a user of the library writes, and that are not ours.
const FILES_OF_USERS: &[&str] = &["windlass.toml"];

/// Each file that the page names in backticks exists.
pub(crate) fn names_what_exists(page: &str, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in page.lines().enumerate() {
        for path in line.split('`').skip(1).step_by(2).filter(|text| is_file(text)) {
            if !FILES_OF_USERS.contains(&path) && !exists(path, files) {
                let what = format!("`{path}` does not exist");
                findings.push(Finding::new(
                    PAGE,
                    index,
                    what,
                    "name the file as it is called now, from the top folder",
                ));
            }
        }
    }
    findings
}

fn is_file(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    text.chars().all(plain) && [".rs", ".lua", ".toml"].iter().any(|end| text.ends_with(end) && text != *end)
}

/// A path is looked for from the top, a bare name anywhere.
fn exists(path: &str, files: &[String]) -> bool {
    files.iter().any(|file| file == path || (!path.contains('/') && file.rsplit('/').next() == Some(path)))
}

/// A drawing of the states on the page is the one in the code.
pub(crate) fn draws_the_states(page: &str, code: &str) -> Vec<Finding> {
    let documentation: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let home = drawings(&documentation).into_iter().find(is_drawing).map(|drawing| drawing.lines);
    let lines: Vec<&str> = page.lines().collect();
    let copies = drawings(&lines).into_iter().filter(is_drawing);
    let cure = "copy the drawing from core/src/state/mod.rs";
    copies
        .filter(|copy| home.as_ref() != Some(&copy.lines))
        .map(|copy| Finding::new(PAGE, copy.begins, "the drawing of the states is not the one in the code", cure))
        .collect()
}

struct Drawing {
    begins: usize,
    lines: Vec<String>,
}

/// The fenced blocks of a page.
fn drawings(lines: &[&str]) -> Vec<Drawing> {
    let mut found = Vec::new();
    let mut open: Option<Drawing> = None;
    for (index, line) in lines.iter().enumerate() {
        match (line.trim_start().starts_with("```"), &mut open) {
            (true, None) => open = Some(Drawing { begins: index, lines: Vec::new() }),
            (true, Some(_)) => found.extend(open.take()),
            (false, Some(drawing)) => drawing.lines.push(line.trim_end().to_owned()),
            (false, None) => {}
        }
    }
    found
}

/// Whether a block draws the states: boxes, and the names that no other drawing has.
fn is_drawing(drawing: &Drawing) -> bool {
    let text = drawing.lines.concat();
    ["┌", "scheduled", "retrying", "succeeded"].iter().all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "//! Life.\n//!\n//! ```text\n//! ┌ scheduled\n//!   retrying succeeded\n//! ```\n";

    #[test]
    fn a_file_that_is_gone_is_found() {
        let files = ["core/src/id.rs".to_owned(), "Cargo.toml".to_owned()];
        let good = "`core/src/id.rs`, `id.rs`, `Cargo.toml`, `windlass.toml`, `a.b()`, `*.rs`, `x.md`";
        assert_eq!(names_what_exists(good, &files), []);
        let findings = names_what_exists("one\n`core/src/gone.rs` and `gone.lua`\n", &files);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_drawing_that_fell_behind_is_found() {
        let same = "# A\n\n```text\n┌ scheduled\n  retrying succeeded\n```\n";
        assert_eq!(draws_the_states(same, HOME), []);
        assert_eq!(draws_the_states(&same.replace("  retrying", " retrying"), HOME)[0].line, 3);
        assert_eq!(draws_the_states("```text\n┌ house\n```\n", HOME), []);
    }
}
