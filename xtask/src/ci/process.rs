//! Child processes with an end: killed when dropped, never waited for without a limit.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cargo::show;

/// A running program whose output is printed with its name before each line.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Receiver<Line>,
    readers: Vec<JoinHandle<()>>,
}

/// A line, and whether it came from the standard output.
struct Line {
    standard: bool,
    text: String,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        println!("$ {}", show(command));
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            piped.env("NO_COLOR", "1").spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().map(|stdout| read(name, stdout, true, sender.clone()));
        let errors = child.stderr.take().map(|stderr| read(name, stderr, false, sender));
        Ok(Self { name: name.to_owned(), child, lines, readers: output.into_iter().chain(errors).collect() })
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, limit: Duration) -> Result<(), String> {
        let end = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.text.contains(text) => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(format!("{} did not print `{text}` within {limit:?}", self.name)),
            }
        }
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            _ => Err(format!("{} could not be sent SIG{name}", self.name)),
        }
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|error| format!("{} cannot be waited for: {error}", self.name))
    }

    /// Waits until it ends by itself, well, and returns what it wrote to its standard output since the last wait.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<String, String> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.ended()? {
                break status;
            }
            if Instant::now() >= end {
                return Err(format!("{} did not end within {limit:?}", self.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| format!("the output of {} could not be read", self.name))?;
        }
        if !status.success() {
            return Err(format!("{} ended with {status}", self.name));
        }
        Ok(self.lines.try_iter().filter(|line| line.standard).map(|line| line.text + "\n").collect())
    }
}

/// Prints and passes on each line until the program closes its end.
fn read(name: &str, from: impl Read + Send + 'static, standard: bool, to: Sender<Line>) -> JoinHandle<()> {
    let name = name.to_owned();
    std::thread::spawn(move || {
        for text in BufReader::new(from).lines().map_while(Result::ok) {
            println!("{name}| {text}");
            // Nobody listens any more when only the end is waited for.
            let _ = to.send(Line { standard, text });
        }
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        Process::start("sh", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn the_output_of_a_good_end_is_returned() {
        assert_eq!(shell("echo one; echo other >&2; echo two").finish(LIMIT).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_bad_end_and_no_end_are_errors() {
        assert!(shell("exit 3").finish(LIMIT).unwrap_err().contains("sh ended with"));
        assert!(shell("read -r x < /dev/zero").finish(Duration::ZERO).unwrap_err().contains("did not end"));
    }

    #[test]
    fn a_line_is_waited_for_and_a_signal_arrives() {
        let process = shell("trap 'exit 0' TERM; echo is ready >&2; while :; do sleep 0.01; done");
        process.wait_for("ready", LIMIT).unwrap();
        assert!(process.wait_for("never", Duration::from_millis(1)).is_err());
        process.signal("TERM").unwrap();
        process.finish(LIMIT).unwrap();
    }
}
