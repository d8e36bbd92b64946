//! Nothing in the repository knows the machine it was written on.

use super::finding::Finding;

const MACHINE: &[&str] = &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Finds an absolute path of somebody's machine.
pub(crate) fn no_machine(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for needle in MACHINE.iter().filter(|needle| begins_somewhere(line, needle)) {
            let cure = "write the path relative to the repository, or make it a parameter";
            findings.push(Finding::new(path, index, format!("an absolute path below `{needle}`"), cure));
        }
    }
    findings
}

/// Whether the path begins there, and is not the middle of a longer one or of an address.
fn begins_somewhere(line: &str, needle: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | '/' | '}');
    line.match_indices(needle).any(|(at, _)| !line[..at].ends_with(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_and_a_folder_of_ours_is_not() {
        let bad = format!("one\nsee {}me/x\n", MACHINE[2]);
        assert_eq!(no_machine("a.md", &bad)[0].line, 2);
        assert_eq!(no_machine("a.md", &format!("src{}x and host{}", MACHINE[0], MACHINE[1])), []);
    }
}
