//! The servers that the tests need: found, installed, or named with the command that installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::cargo;

/// A server program, the package of Debian and Ubuntu that holds it, and where else it may lie.
struct Server {
    program: &'static str,
    package: &'static str,
    folders: &'static [&'static str],
}

/// One line for each server. A `*` in a folder stands for any one name.
const SERVERS: &[Server] = &[
    Server { program: "redis-server", package: "redis-server", folders: SYSTEM },
    Server { program: "rabbitmq-server", package: "rabbitmq-server", folders: &["/usr/lib/rabbitmq/bin", "/usr/sbin"] },
    Server { program: "postgres", package: "postgresql", folders: &["/usr/lib/postgresql/*/bin"] },
];

const SYSTEM: &[&str] = &["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// Installs what is missing, or says which command does.
pub(crate) fn ensure() -> Outcome {
    let missing: Vec<&Server> = SERVERS.iter().filter(|server| locate(server).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    match SERVERS.iter().find(|server| locate(server).is_none()) {
        None => Ok(()),
        Some(server) => Err(format!("{} was installed, but {} is in no known folder", server.package, server.program)),
    }
}

fn locate(server: &Server) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = server.folders.iter().flat_map(|folder| expand(folder));
    find(server.program, std::env::split_paths(&path).chain(known))
}

fn find(program: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The folders that a pattern with at most one `*` component stands for, the newest name first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*") else {
        return vec![PathBuf::from(pattern)];
    };
    let Ok(entries) = std::fs::read_dir(before) else {
        return Vec::new();
    };
    let after = after.trim_start_matches('/');
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path().join(after)).collect();
    folders.sort();
    folders.reverse();
    folders
}

fn install(missing: &[&Server]) -> Outcome {
    let packages: Vec<&str> = missing.iter().map(|server| server.package).collect();
    println!("missing: {}", missing.iter().map(|server| server.program).collect::<Vec<_>>().join(", "));
    let Some(apt) = AptGet::find() else {
        return Err(advice(&packages));
    };
    let fresh = !has_package_lists(Path::new("/var/lib/apt/lists"));
    if fresh {
        cargo::run(&mut apt.command(&["update"]))?;
    }
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(&packages);
    let installed = cargo::run(&mut apt.command(&arguments));
    if installed.is_ok() || fresh {
        return installed.map_err(|text| format!("{text}\n{}", advice(&packages)));
    }
    // Lists that are too old name packages that the mirror no longer has.
    cargo::run(&mut apt.command(&["update"]))?;
    cargo::run(&mut apt.command(&arguments)).map_err(|text| format!("{text}\n{}", advice(&packages)))
}

fn has_package_lists(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages")))
}

fn advice(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!(
        "The tests need servers that are not installed. Install them with\n\n    \
         sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}\n\n\
         or with your system's package manager, and run `cargo xtask test` again."
    )
}

/// apt-get, called as root.
struct AptGet {
    sudo: bool,
}

impl AptGet {
    /// None where there is no apt-get, or no right to use it without being asked for a password.
    fn find() -> Option<Self> {
        if !succeeds("apt-get", &["--version"]) {
            return None;
        }
        if is_root() {
            return Some(Self { sudo: false });
        }
        succeeds("sudo", &["-n", "true"]).then_some(Self { sudo: true })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // `env` sets the variable on the far side of sudo, which drops those of its caller.
        let mut words = vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"];
        if self.sudo {
            words.splice(0..0, ["sudo", "-n"]);
        }
        words.extend(arguments);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_first_folder_that_has_it() {
        let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let folders = [package.join("nowhere"), package.join("src"), package];
        assert_eq!(find("main.rs", folders.clone().into_iter()), Some(folders[1].join("main.rs")));
        assert_eq!(find("no-such-program", folders.into_iter()), None);
    }

    #[test]
    fn a_star_stands_for_any_one_folder() {
        let package = env!("CARGO_MANIFEST_DIR");
        let folders = expand(&format!("{package}/*/tidy"));
        assert!(folders.contains(&PathBuf::from(package).join("src/tidy")), "{folders:?}");
        assert_eq!(expand("/usr/bin"), [PathBuf::from("/usr/bin")]);
        assert!(expand(&format!("{package}/nowhere/*")).is_empty());
    }

    #[test]
    fn the_advice_is_a_command_that_can_be_copied() {
        assert!(advice(&["one", "two"]).contains("apt-get install -y --no-install-recommends one two\n"));
    }

    #[test]
    fn sudo_comes_before_the_variable_that_it_would_drop() {
        let shown = cargo::show(&AptGet { sudo: true }.command(&["update"]));
        assert_eq!(shown, "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q update");
    }
}
