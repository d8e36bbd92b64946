//! No driver type crosses the border of its crate.

use super::finding::Finding;
use super::source::{Source, has_word};

const DRIVERS: &[&str] = &["redis", "lapin", "sqlx", "figment"];

/// Programs have no border.
const PROGRAMS: &[&str] = &["bench/", "xtask/", "examples/"];

/// Where an application passes in what is its own (its pool, its transaction), so that a driver's
/// type must be named: the start of the path, and how the signature begins.
const DOORS: &[(&str, &str)] = &[
    ("backend-postgres/src/", "pub fn from_pool("),
    ("backend-postgres/src/outbox/", "pub async fn write<"),
    ("src/outbox.rs", "pub async fn enqueue_in<"),
    ("src/outbox.rs", "pub async fn enqueue_many_in<"),
    ("src/", "pub fn outbox_pool("),
];

/// Finds a driver, or a type imported from one, in what a library shows.
pub(crate) fn no_driver_type(source: &Source) -> Vec<Finding> {
    if source.is_test() || PROGRAMS.iter().any(|folder| source.path.starts_with(folder)) {
        return Vec::new();
    }
    let lines: Vec<&str> = source.code.lines().take(source.tests_begin()).collect();
    // A module of ours may have the name of the driver that it hides.
    let is_module = |driver: &str| lines.iter().any(|line| line.trim().ends_with(&format!("mod {driver};")));
    let drivers: Vec<&str> = DRIVERS.iter().copied().filter(|driver| !is_module(driver)).collect();
    let imported = imports(&lines, &drivers);
    let mut findings = Vec::new();
    for (index, signature) in shown(&lines) {
        let driver = drivers.iter().map(|driver| format!("{driver}::")).find(|path| has_path(&signature, path));
        if DOORS.iter().any(|(path, door)| source.path.starts_with(path) && signature.trim_start().starts_with(door)) {
            continue;
        }
        let name = driver.or_else(|| imported.iter().find(|name| has_word(&signature, name)).cloned());
        if let Some(name) = name {
            let cure = "hide it: a public item speaks in types of core, std or this crate";
            findings.push(Finding::new(&source.path, index, format!("`{name}` in a public signature"), cure));
        }
    }
    findings
}

/// Whether a path begins with `start`; `crate::redis::` does not begin with `redis::`.
fn has_path(text: &str, start: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    text.match_indices(start).any(|(at, _)| !text[..at].ends_with(inside))
}

/// The names that `use` lines bring in from a driver.
fn imports(lines: &[&str], drivers: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let from_driver = line.strip_prefix("use ").is_some_and(|path| drivers.iter().any(|d| starts(path, d)));
        if from_driver {
            let (statement, _) = until(lines, index, |c| c == ';');
            let words = statement.split(|c: char| !c.is_alphanumeric() && c != '_');
            // Types begin with a capital; functions and modules cannot stand in a signature alone.
            names.extend(words.filter(|word| word.starts_with(char::is_uppercase)).map(str::to_owned));
        }
    }
    names
}

fn starts(path: &str, driver: &str) -> bool {
    path.strip_prefix(driver).is_some_and(|rest| rest.starts_with("::") || rest.starts_with(';'))
}

/// What a library shows: the text of each public signature, field, variant and conversion, with its line.
fn shown(lines: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        let line = lines[index].trim_start();
        let (text, last) = if line.starts_with("pub enum ") || line.starts_with("pub trait ") {
            whole(lines, index)
        } else if line.starts_with("pub fn ") || line.starts_with("pub async fn ") || line.starts_with("pub const fn ")
        {
            until(lines, index, |c| c == '{' || c == ';')
        } else if line.starts_with("pub use ") {
            until(lines, index, |c| c == ';')
        } else if line.starts_with("pub ") {
            until(lines, index, |c| c == '{' || c == ';' || c == ',')
        } else if line.starts_with("impl") && (line.contains("From<") || line.contains("Into<")) {
            until(lines, index, |c| c == '{')
        } else {
            index += 1;
            continue;
        };
        found.push((index, text));
        index = last + 1;
    }
    found
}

/// The text from a line up to the first end outside of brackets, and the line of that end.
fn until(lines: &[&str], first: usize, ends: impl Fn(char) -> bool) -> (String, usize) {
    let mut text = String::new();
    let mut depth = 0_i32;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for c in line.chars() {
            match c {
                _ if depth <= 0 && ends(c) => return (text, index),
                '(' | '[' | '<' => depth += 1,
                ')' | ']' | '>' if !text.ends_with(['-', '=']) => depth -= 1,
                _ => {}
            }
            text.push(c);
        }
        text.push(' ');
    }
    (text, lines.len())
}

/// The text from a line to the brace that closes what it opens.
fn whole(lines: &[&str], first: usize) -> (String, usize) {
    let mut text = String::new();
    let mut depth = 0;
    for (index, line) in lines.iter().enumerate().skip(first) {
        text += line;
        text.push(' ');
        depth += line.matches('{').count();
        depth -= line.matches('}').count().min(depth);
        if depth == 0 && text.contains(['{', ';']) {
            return (text, index);
        }
    }
    (text, lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [usize; 0] = [];

    fn found(text: &str) -> Vec<usize> {
        let source = Source::new("broker-redis/src/a.rs", text);
        no_driver_type(&source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn drivers_in_what_is_public_are_found() {
        assert_eq!(found("\npub fn a(x: redis::Client) {}\n"), [2]);
        assert_eq!(found("pub async fn a(\n    x: u8,\n) -> Result<redis::Value, u8> {\n}\n"), [1]);
        assert_eq!(found("pub struct A {\n    pub a: [u8; 2],\n    pub b: redis::Client,\n}\n"), [3]);
        assert_eq!(found("pub struct A(pub lapin::Channel);\n"), [1]);
        assert_eq!(found("pub enum E {\n    A,\n    B(sqlx::Error),\n}\n"), [1]);
        assert_eq!(found("pub type P = sqlx::PgPool;\n"), [1]);
        assert_eq!(found("pub use figment::Figment;\n"), [1]);
        assert_eq!(found("impl From<redis::RedisError> for Error {\n"), [1]);
        assert_eq!(found("pub trait T {\n    fn a(&self) -> redis::Value;\n}\n"), [1]);
    }

    #[test]
    fn a_type_imported_from_a_driver_is_found() {
        assert_eq!(found("use redis::{\n    Client,\n    aio::X,\n};\npub fn a(x: Client) {}\n"), [5]);
    }

    #[test]
    fn a_module_of_the_same_name_is_no_driver() {
        assert_eq!(found("mod redis;\npub use redis::Server;\n"), NOTHING);
        assert_eq!(found("pub fn a(x: crate::redis::Server) {}\n"), NOTHING);
    }

    #[test]
    fn what_is_hidden_may_use_drivers() {
        assert_eq!(found("pub(crate) fn a(x: redis::Client) {}\nfn b(x: redis::Client) {}\n"), NOTHING);
        assert_eq!(found("pub struct A {\n    pub a: u8,\n    b: redis::Client,\n}\n"), NOTHING);
        assert_eq!(found("pub fn a() {\n    redis::cmd(x);\n}\n"), NOTHING);
        assert_eq!(
            found("/// redis::Client\npub fn a() {}\n#[cfg(test)]\nmod tests {\n    pub fn a(x: redis::B) {}\n}"),
            NOTHING
        );
    }

    #[test]
    fn a_door_is_open_where_it_is_and_nowhere_else() {
        let text = "pub fn from_pool(pool: sqlx::PgPool) {}\npub fn other(pool: sqlx::PgPool) {}\n";
        let lines = |path| no_driver_type(&Source::new(path, text)).len();
        assert_eq!(lines("backend-postgres/src/a.rs"), 1);
        assert_eq!(lines("broker-redis/src/a.rs"), 2);
    }

    #[test]
    fn programs_have_no_border() {
        assert_eq!(no_driver_type(&Source::new("bench/src/a.rs", "pub fn a(x: redis::Client) {}")), []);
    }
}
