//! `cargo xtask guarantees`: the page that shows which adapter gives which guarantee.
//!
//! Every run of a conformance suite writes what it showed into the folder that a variable names, a line
//! for each guarantee. The page is made of these lines and of nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::Outcome;
use crate::cargo::{self, cargo};
use crate::servers;

/// The variable that the suites look at.
const VARIABLE: &str = "CONFORMANCE_GUARANTEES";
const PAGE: &str = "docs/guarantees.md";
/// The suites, and how the page calls those that they are run on.
const KINDS: &[(&str, &str)] =
    &[("broker", "Brokers"), ("backend", "Result backends"), ("notebook", "Notebooks of result backends")];
/// Adapters that come first; the others follow by name.
const FIRST: &[&str] = &["Memory", "Redis"];
/// The need of guarantees that are only for stores whose claims have no leases.
const LEASELESS: &str = "no lease";
/// What the suite itself is tested and explained with.
const DOUBLES: &[&str] = &["limited", "shelf", "desk"];

/// Runs the suites of all adapters and writes the page.
pub(crate) fn run(root: &Path) -> Outcome {
    servers::ensure()?;
    let folder = folder(root)?;
    let mut command = cargo(root, &["test", "--all-features", "--quiet", "--test", "it"]);
    for package in cargo::packages(root)? {
        let name = package["name"].as_str().unwrap_or_default();
        if ["windlass-testing", "windlass-broker-", "windlass-backend-"].iter().any(|begin| name.starts_with(begin)) {
            command.args(["--package", name]);
        }
    }
    cargo::run(command.args(["--", "conformance"]).env(VARIABLE, &folder))?;
    let page = page(&read(&folder)?)?;
    write(root, &page)
}

/// The variable and an empty folder for what a run of all tests will show.
pub(crate) fn record(root: &Path) -> Result<(&'static str, PathBuf), String> {
    Ok((VARIABLE, folder(root)?))
}

/// Whether the page says what a run of all tests has shown in `folder`.
pub(crate) fn check(root: &Path, folder: &Path) -> Outcome {
    let shown = page(&read(folder)?)?;
    let written = fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    if written == shown {
        return Ok(());
    }
    let differs = shown.lines().zip(written.lines()).find(|(shown, written)| shown != written);
    let (shown, written) = differs.unwrap_or(("other lines", "too few or too many lines"));
    Err(format!(
        "{PAGE} is not what the tests have shown: run `cargo xtask guarantees`\n  shown:   {shown}\n  written: {written}"
    ))
}

fn folder(root: &Path) -> Result<PathBuf, String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
    let folder = target.join("guarantees");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn write(root: &Path, page: &str) -> Outcome {
    let path = root.join(PAGE);
    fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {PAGE}");
    Ok(())
}

/// The lines of every suite.
fn read(folder: &Path) -> Result<String, String> {
    let mut lines = String::new();
    for (kind, _) in KINDS {
        let path = folder.join(format!("{kind}.tsv"));
        lines += &fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(lines)
}

/// What was shown about the guarantees of one suite.
#[derive(Debug, Default)]
struct Suite<'a> {
    /// By place: group, name, sentence.
    rows: BTreeMap<usize, [&'a str; 3]>,
    /// What is missing for a guarantee, by place and adapter; empty if it is kept.
    cells: BTreeMap<(usize, &'a str), &'a str>,
}

impl<'a> Suite<'a> {
    fn of(kind: &str, lines: &'a str) -> Result<Self, String> {
        let mut suite = Self::default();
        for line in lines.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [of, place, group, name, sentence, adapter, missing] = fields[..] else {
                return Err(format!("a suite wrote a line that cannot be read: {line:?}"));
            };
            if of != kind || DOUBLES.contains(&adapter) {
                continue;
            }
            let place: usize = place.parse().map_err(|_| format!("{place:?} is no number: {line:?}"))?;
            suite.rows.insert(place, [group, name, sentence]);
            let before = suite.cells.insert((place, adapter), missing);
            if before.is_some_and(|before| before != missing) {
                return Err(format!("{adapter} showed two things about {name}: name its variants apart"));
            }
        }
        Ok(suite)
    }

    fn adapters(&self) -> Vec<&'a str> {
        let all: BTreeSet<&str> = self.cells.keys().map(|(_, adapter)| *adapter).collect();
        let mut all: Vec<&str> = all.into_iter().collect();
        all.sort_by_key(|name| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
        all
    }

    fn cell(&self, place: usize, adapter: &str) -> String {
        match self.cells.get(&(place, adapter)) {
            None => "not shown".to_owned(),
            Some(&"") => "kept".to_owned(),
            Some(&LEASELESS) => "does not apply".to_owned(),
            Some(missing) => format!("not offered ({})", missing.replace(',', ", ")),
        }
    }

    /// One line for each adapter: how many guarantees it keeps, and what it does not offer.
    fn summary(&self, page: &mut String) {
        page.push_str("| adapter | kept | not offered | does not apply | not shown | what it does not offer |\n|---|---|---|---|---|---|\n");
        for adapter in self.adapters() {
            let count =
                |begin: &str| self.rows.keys().filter(|row| self.cell(**row, adapter).starts_with(begin)).count();
            let missing = self.cells.iter().filter(|((_, of), _)| *of == adapter).flat_map(|(_, what)| what.split(','));
            let missing: BTreeSet<&str> = missing.filter(|what| !what.is_empty() && *what != LEASELESS).collect();
            let missing: Vec<&str> = missing.into_iter().collect();
            let counts = ["kept", "not offered", "does not apply", "not shown"].map(|begin| count(begin).to_string());
            let _ = writeln!(page, "| {adapter} | {} | {} |", counts.join(" | "), missing.join(", "));
        }
    }

    fn table(&self, page: &mut String) {
        let adapters = self.adapters();
        let mut last = "";
        for (place, [group, name, sentence]) in &self.rows {
            if *group != last {
                let _ = write!(page, "\n### {group}\n\n| guarantee | {} |\n", adapters.join(" | "));
                let _ = writeln!(page, "|---|{}", "---|".repeat(adapters.len()));
                last = group;
            }
            let cells: Vec<String> = adapters.iter().map(|adapter| self.cell(*place, adapter)).collect();
            let _ = writeln!(page, "| {sentence} <br> `{name}` | {} |", cells.join(" | "));
        }
    }
}

const HEAD: &str = "\
# Which adapter gives which guarantee

This page is made by `cargo xtask guarantees` from runs of the conformance suites (`windlass_testing::conformance`)
on real stores; `cargo xtask test` checks that it is what the runs show. Each guarantee is a test of the name
beneath its sentence.

* **kept**: the test has passed.
* **not offered**: the adapter's capabilities, in parentheses, say that it cannot; another test shows that it
  refuses what it cannot do.
* **does not apply**: the guarantee is for stores whose claims last as long as a connection, not for those with leases.
* **not shown**: the test needs a second instance on the same store or a connection to break, and the tests of this
  adapter give none (in the memory of one process there is none).
";

/// The whole page.
fn page(lines: &str) -> Result<String, String> {
    let mut page = HEAD.to_owned();
    for (kind, title) in KINDS {
        let suite = Suite::of(kind, lines)?;
        let _ = write!(page, "\n## {title}\n\n");
        suite.summary(&mut page);
        suite.table(&mut page);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
broker\t1\tclaim\ttokens_grow\tTokens grow.\tRedis\t
broker\t0\tpublish\tarrives\tIt arrives.\tlimited\t
broker\t0\tpublish\tarrives\tIt arrives.\tRedis\t
broker\t1\tclaim\ttokens_grow\tTokens grow.\tamqp\tlease,fencing
broker\t0\tpublish\tarrives\tIt arrives.\tMemory\t
broker\t0\tpublish\tarrives\tIt arrives.\tMemory\t
";

    #[test]
    fn the_page_says_what_was_shown_in_the_order_of_the_suite() {
        let page = page(LINES).unwrap();
        let rows: Vec<&str> =
            page.lines().filter(|line| line.contains("<br>") || line.contains("guarantee |")).collect();
        assert_eq!(
            rows,
            [
                "| guarantee | Memory | Redis | amqp |",
                "| It arrives. <br> `arrives` | kept | kept | not shown |",
                "| guarantee | Memory | Redis | amqp |",
                "| Tokens grow. <br> `tokens_grow` | not shown | kept | not offered (lease, fencing) |",
            ]
        );
        assert!(page.contains("| amqp | 0 | 1 | 0 | 1 | fencing, lease |"), "{page}");
    }

    #[test]
    fn every_suite_has_a_part_of_its_own() {
        let page = page(&format!("{LINES}notebook\t0\twrite\tcomes_back\tIt comes back.\tRedis\t\n")).unwrap();
        let parts: Vec<&str> = page.split("\n## ").collect();
        assert!(parts[1].starts_with("Brokers\n") && !parts[1].contains("`comes_back`"), "{page}");
        assert!(parts[3].starts_with("Notebooks of result backends\n"), "{page}");
        assert!(parts[3].contains("| It comes back. <br> `comes_back` | kept |"), "{page}");
        assert!(parts[3].contains("| Redis | 1 | 0 | 0 | 0 |  |"), "{page}");
    }

    #[test]
    fn the_order_of_the_runs_does_not_matter() {
        let mut lines: Vec<&str> = LINES.lines().collect();
        lines.reverse();
        assert_eq!(page(&lines.join("\n")), page(LINES));
    }

    #[test]
    fn an_adapter_that_shows_two_things_is_refused() {
        let text = page(&format!("{LINES}broker\t0\tpublish\tarrives\tIt arrives.\tRedis\tlease\n")).unwrap_err();
        assert!(text.contains("Redis") && text.contains("arrives"), "{text}");
        assert!(page("broker\tx\n").unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_page_that_differs_names_the_command_and_the_line() {
        let folder = env::temp_dir().join(format!("windlass-guarantees-{}", std::process::id()));
        fs::create_dir_all(folder.join("docs")).unwrap();
        for (kind, _) in KINDS {
            let of_it: Vec<&str> = LINES.lines().filter(|line| line.starts_with(kind)).collect();
            fs::write(folder.join(format!("{kind}.tsv")), of_it.join("\n")).unwrap();
        }
        write(&folder, &page(LINES).unwrap()).unwrap();
        check(&folder, &folder).unwrap();
        write(&folder, &page(LINES).unwrap().replace("kept | kept", "kept | lost")).unwrap();
        let text = check(&folder, &folder).unwrap_err();
        assert!(text.contains("cargo xtask guarantees") && text.contains("kept | lost"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }
}
