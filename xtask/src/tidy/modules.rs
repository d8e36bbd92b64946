//! Every file is part of a program, and the heads of modules say what they are for.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::source::{Source, has_word};

/// The first file of a crate or folder begins with its documentation.
pub(crate) fn begins_with_doc(source: &Source) -> Option<Finding> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let head = matches!(name, "lib.rs" | "main.rs" | "mod.rs");
    let cure = "say in one or two `//!` sentences what lives here";
    // A crate may have its README as its documentation.
    let first = source.text.lines().next().unwrap_or_default();
    let documented = first.starts_with("//!") || (first.starts_with("#![") && has_word(first, "doc"));
    (head && !documented).then(|| Finding::new(&source.path, 0, "the file does not begin with `//!`", cure))
}

/// Every file below a `src` or `tests` folder is reached from a crate root.
pub(crate) fn reachable(sources: &[Source]) -> Vec<Finding> {
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<&Source> = sources.iter().filter(|source| is_root(&source.path)).collect();
    while let Some(source) = open.pop() {
        if !reached.insert(source.path.clone()) {
            continue;
        }
        let wanted = children(source);
        open.extend(sources.iter().filter(|other| wanted.contains(&other.path)));
    }
    let cure = "name it in a `mod` line, or delete it";
    let lost = sources.iter().filter(|source| in_crate(&source.path) && !reached.contains(&source.path));
    lost.map(|source| Finding::new(&source.path, 0, "no `mod` line leads to the file", cure)).collect()
}

fn in_crate(path: &str) -> bool {
    let folders: Vec<&str> = path.split('/').collect();
    // Files for a compiler that a test calls are no modules.
    folders.iter().any(|folder| matches!(*folder, "src" | "tests")) && !folders.contains(&"ui")
}

fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        [.., "src", "lib.rs" | "main.rs"]
            | [.., "src", "bin", _]
            | [.., "src", "bin", _, "main.rs"]
            | [.., "tests" | "examples", _]
            | [.., "tests" | "examples", _, "main.rs"]
            | [.., "build.rs"]
    )
}

/// The files that the `mod` lines of a file may mean.
fn children(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = name.trim_end_matches(".rs");
    let heads = is_root(&source.path) || name == "mod.rs";
    let base = if heads { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut wanted = Vec::new();
    let mut named: Option<String> = None;
    for (line, code) in source.text.lines().zip(source.code.lines()) {
        let code = code.trim();
        if code.starts_with("#[path") {
            named = line.split('"').nth(1).map(|path| format!("{folder}/{path}"));
        } else if let Some(module) = declared(code) {
            match named.take() {
                Some(path) => wanted.push(path),
                None => wanted.extend([format!("{base}/{module}.rs"), format!("{base}/{module}/mod.rs")]),
            }
        }
    }
    wanted
}

/// The module that a line like `pub(crate) mod name;` declares.
fn declared(code: &str) -> Option<&str> {
    let (before, module) = code.strip_suffix(';')?.rsplit_once("mod ")?;
    let opens = before.is_empty() || before.trim_end().ends_with([']', ')']) || before.trim_end().ends_with("pub");
    opens.then_some(module.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_documentation_is_found() {
        assert!(begins_with_doc(&Source::new("core/src/lib.rs", "mod a;\n")).is_some());
        assert!(begins_with_doc(&Source::new("core/src/a/mod.rs", "// no\n")).is_some());
        assert!(begins_with_doc(&Source::new("core/src/lib.rs", "//! Yes.\n")).is_none());
        assert!(begins_with_doc(&Source::new("core/src/lib.rs", "#![cfg_attr(a, doc = include_str!(x))]\n")).is_none());
        assert!(begins_with_doc(&Source::new("core/src/a.rs", "mod a;\n")).is_none());
    }

    #[test]
    fn a_file_that_nobody_names_is_found() {
        let files = [
            ("core/src/lib.rs", "mod a;\npub mod b;\n// mod lost;\n"),
            ("core/src/a.rs", "#[cfg(test)]\nmod deep;\n"),
            ("core/src/a/deep.rs", ""),
            ("core/src/b/mod.rs", "#[path = \"other.rs\"]\npub(crate) mod named;\n"),
            ("core/src/b/other.rs", ""),
            ("core/src/lost.rs", ""),
            ("core/tests/it/main.rs", "mod one;\n"),
            ("core/tests/it/one.rs", ""),
            ("core/tests/it/two.rs", ""),
            ("examples/quickstart.rs", ""),
        ];
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
        let lost: Vec<String> = reachable(&sources).into_iter().map(|finding| finding.file).collect();
        assert_eq!(lost, ["core/src/lost.rs", "core/tests/it/two.rs"]);
    }
}
