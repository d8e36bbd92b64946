//! A link in a page leads to a file that is there.

use super::finding::Finding;

/// Finds links of a Markdown page to files that do not exist. Links to other sites and to headings are
/// not looked at.
pub(crate) fn lead_somewhere(path: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for target in targets(line).filter(|target| !exists(path, target, files)) {
            let what = format!("the link `{target}` leads nowhere");
            findings.push(Finding::new(path, index, what, "link to a file of the repository, relative to the page"));
        }
    }
    findings
}

/// What stands in `](…)` and looks like a file, not like an item of Rust; without headings.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = inside.map(|target| target.split('#').next().unwrap_or_default());
    let is_file = |target: &&str| target.contains(['.', '/']) && !target.contains("://") && !target.contains("::");
    files.filter(is_file)
}

fn exists(page: &str, target: &str, files: &[String]) -> bool {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let found = parts.join("/");
    files.iter().any(|file| *file == found || file.strip_prefix(&found).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nothing_is_found() {
        let files = ["docs/a.md", "examples/b.rs", "core/src/lib.rs"].map(str::to_owned);
        let found = |text: &str| lead_somewhere("docs/a.md", text, &files).len();
        assert_eq!(found("[b](../examples/b.rs), [a](a.md#top), [core](../core), [x](https://x.y/z), [h](#h)"), 0);
        assert_eq!(found("[`f`](crate::f)"), 0);
        assert_eq!(found("one\n[c](../examples/c.rs) [b](b.rs)"), 2);
    }
}
