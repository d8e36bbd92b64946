//! A child process that never outlives the test.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running server program.
///
/// A second small process, the guard, holds the reading end of a pipe; when the test program ends in
/// whatever way, the pipe closes, and the guard kills the server and removes its folder.
#[derive(Debug)]
pub(super) struct Process {
    server: Child,
    guard: Child,
}

impl Process {
    /// Starts `command`, which keeps its files in `folder`, with its input and output closed.
    pub(super) fn spawn(command: &mut Command, folder: &Path) -> io::Result<Self> {
        Self::spawn_ended_by("kill -9 \"$0\"", command, folder)
    }

    /// As [`Process::spawn`], for a server of several processes: the guard ends them all with the
    /// shell command `ending`, in which `$0` is the id of the first.
    pub(super) fn spawn_ended_by(ending: &str, command: &mut Command, folder: &Path) -> io::Result<Self> {
        let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let guard = Command::new("sh")
            .args(["-c", &format!("read -r _; {ending}; rm -rf \"$1\""), &server.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self { server, guard }),
            Err(error) => {
                end(&mut server);
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.server.try_wait(), Ok(None))
    }

    /// Sends a signal by name, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(
            sent.as_ref().is_ok_and(std::process::ExitStatus::success),
            "kill -{name} {} failed: {sent:?}",
            self.pid()
        );
    }

    /// SIGKILL, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        // The guard goes first: afterwards the process id may belong to somebody else.
        end(&mut self.guard);
        end(&mut self.server);
    }
}

/// Both steps fail only if the child has ended and was waited for already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
