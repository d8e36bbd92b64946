//! One program on every combination of stores, chosen by nothing but `windlass.toml`: it must say
//! the same everywhere.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use windlass::{CancelOutcome, Context, Priority, QueueName, State, TaskError, TaskHandle, Windlass, Worker};

use crate::stores::{Pair, Servers};

/// Says to a process that it is the program.
const ORDER: &str = "TEST_WINDLASS_SWAP";
const LIMIT: Duration = Duration::from_secs(60);

/// The order in which tasks have begun.
#[derive(Debug, Default)]
struct Begun(Mutex<Vec<String>>);

#[windlass::task]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[windlass::task]
async fn echo(bytes: Vec<u8>) -> (usize, Vec<u8>) {
    (bytes.len(), bytes)
}

#[windlass::task(max_retries = 3, backoff = "fixed 1s")]
async fn third_time_lucky(context: Context) -> Result<u32, TaskError> {
    match context.attempt() {
        3 => Ok(3),
        attempt => Err(TaskError::from(format!("attempt {attempt} fails"))),
    }
}

#[windlass::task(max_retries = 0)]
async fn refuse(reason: String) -> Result<(), TaskError> {
    Err(TaskError::from(reason))
}

#[windlass::task(max_retries = 0)]
async fn panics() {
    panic!("on purpose");
}

#[windlass::task(max_retries = 0, timeout = "200ms")]
async fn too_slow() {
    std::future::pending().await
}

#[windlass::task(queue = "one-by-one")]
async fn note(begun: State<std::sync::Arc<Begun>>, name: String) {
    begun.0.0.lock().expect("nobody panics with it").push(name);
}

struct Program {
    app: Windlass,
    begun: std::sync::Arc<Begun>,
    /// An id that no other run uses: some of them share a server.
    chosen: String,
    said: String,
}

impl Program {
    fn say(&mut self, what: impl std::fmt::Display) {
        let _ = writeln!(self.said, "{what}");
    }

    async fn worker(&self) -> Worker {
        let worker = self.app.worker().state(std::sync::Arc::clone(&self.begun));
        let worker = worker.register::<add>().register::<echo>().register::<third_time_lucky>().register::<refuse>();
        let worker = worker.register::<panics>().register::<too_slow>().register::<note>();
        worker.queue("default", 50).queue("one-by-one", 1).start().await.expect("the settings are right")
    }

    async fn ended<O: serde::de::DeserializeOwned + std::fmt::Debug>(&mut self, what: &str, handle: &TaskHandle<O>) {
        let id = handle.id().to_string();
        let result = handle.result_within(LIMIT).await;
        let text = match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string().replace(&id, "<id>"),
        };
        let status = handle.status().await.expect("the stores are there").expect("it is kept");
        self.say(format_args!("{what}: {text}; {}, attempt {}", status.state, status.attempt));
    }

    async fn before_there_is_a_worker(&mut self) -> Vec<TaskHandle<()>> {
        let mut notes = Vec::new();
        for (name, priority) in [
            ("low", Priority::Low),
            ("normal", Priority::Normal),
            ("high", Priority::High),
            ("critical", Priority::Critical),
            ("normal again", Priority::Normal),
        ] {
            let call = note::call(name.to_owned()).priority(priority);
            notes.push(self.app.enqueue(call).await.expect("the stores are there"));
        }
        let state = notes[0].status().await.expect("the stores are there").expect("it waits").state;
        self.say(format_args!("what waits is {state}"));
        let gone = self.app.enqueue(note::call("cancelled".to_owned())).await.expect("the stores are there");
        let outcome = gone.cancel().await.expect("there is a backend");
        let is_cancelled = matches!(outcome.outcome, CancelOutcome::Cancelled | CancelOutcome::Requested);
        self.say(format_args!("cancelled: {is_cancelled}"));
        self.ended("a cancelled task", &gone).await;
        let (first, second) = (add::call(20, 22).id(&self.chosen), add::call(1, 1).id(&self.chosen));
        let first = self.app.enqueue(first).await.expect("the stores are there");
        let second = self.app.enqueue(second).await.expect("the stores are there");
        self.say(format_args!("an id is taken once: {} {}", first.is_new(), second.is_new()));
        notes
    }

    async fn with_a_worker(&mut self, notes: &[TaskHandle<()>]) {
        for handle in notes {
            handle.result_within(LIMIT).await.expect("it runs");
        }
        let begun = self.begun.0.lock().expect("nobody panics with it").join(", ");
        self.say(format_args!("begun: {begun}"));
        let chosen = self.app.enqueue(add::call(5, 5).id(&self.chosen)).await.expect("the stores are there");
        self.say(format_args!("still taken: {}", !chosen.is_new()));
        self.ended("the chosen one", &chosen).await;

        let start = Instant::now();
        let later = self.app.enqueue(add::call(1, 2).delay("2s")).await.expect("the stores are there");
        let state = later.status().await.expect("the stores are there").expect("it waits").state;
        self.ended("a delayed task", &later).await;
        let waited = start.elapsed();
        let in_time = (Duration::from_secs(2)..Duration::from_secs(12)).contains(&waited);
        self.say(format_args!("it was {state}, and came in time: {in_time}"));

        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let handle = self.app.enqueue(echo::call(bytes.clone())).await.expect("the stores are there");
        let (length, back) = handle.result_within(LIMIT).await.expect("it runs");
        self.say(format_args!("{length} bytes came back unchanged: {}", back == bytes));

        let handle = self.app.enqueue(third_time_lucky::call()).await.expect("the stores are there");
        self.ended("third time lucky", &handle).await;
        let handle = self.app.enqueue(panics::call()).await.expect("the stores are there");
        self.ended("a panic", &handle).await;
        let handle = self.app.enqueue(too_slow::call()).await.expect("the stores are there");
        self.ended("a timeout", &handle).await;
        let error = self.app.enqueue(refuse::call("x".repeat(2_000_000))).await.expect_err("it is too large");
        self.say(format_args!("too large: {:?}", error.kind()));
    }

    async fn many(&mut self) {
        let handles = self.app.enqueue_many((0..500).map(|n| add::call(n, n))).await;
        let mut sum = 0;
        for handle in handles {
            sum += handle.expect("the stores are there").result_within(LIMIT).await.expect("it runs");
        }
        self.say(format_args!("500 results add up to {sum}"));
    }

    async fn dead_letters(&mut self) {
        let queue = QueueName::new("graveyard").expect("a good name");
        let handle = self.app.enqueue(refuse::call("never".to_owned()).queue(&queue)).await.expect("they are there");
        let worker = self.app.worker().register::<refuse>().queue("graveyard", 1);
        let worker = worker.start().await.expect("the settings are right");
        self.ended("a task that fails", &handle).await;
        let letters = loop {
            let page = self.app.dead_letters(&queue, None, 10).await.expect("the stores are there");
            if !page.letters.is_empty() {
                break page.letters;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        for letter in &letters {
            let message = letter.content.as_ref().expect("it can be read");
            let (task, same) = (&message.task, letter.id == *handle.id());
            self.say(format_args!("dead: {task}, {:?}, {} failures, {same}", letter.reason, letter.progress.failures));
        }
        worker.shutdown().await;
        let replayed = self.app.replay(&queue, &[handle.id().clone()]).await.expect("the stores are there");
        let left = self.app.dead_letters(&queue, None, 10).await.expect("the stores are there").letters.len();
        self.say(format_args!("replayed: {replayed}, left: {left}"));
    }
}

/// Not a test of its own: the program. Without an order there is nothing to do.
#[test]
fn program() {
    let Ok(chosen) = std::env::var(ORDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let said = runtime.expect("a runtime").block_on(async {
        let app = Windlass::from_config().await.expect("windlass.toml is right");
        let mut program = Program { app, begun: std::sync::Arc::default(), chosen, said: String::new() };
        let notes = program.before_there_is_a_worker().await;
        let worker = program.worker().await;
        program.with_a_worker(&notes).await;
        program.many().await;
        worker.shutdown().await;
        program.dead_letters().await;
        program.app.close().await;
        let error = program.app.enqueue(add::call(1, 1)).await.expect_err("it is closed");
        program.say(format_args!("after the end: {:?}", error.kind()));
        program.said
    });
    println!("<<<\n{said}>>>");
}

/// What the program says in a folder that holds this `windlass.toml`.
fn run_in(folder: &Path, name: &str, toml: &str) -> String {
    std::fs::write(folder.join("windlass.toml"), toml).expect("the folder is there");
    let output = Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", "swap::program", "--nocapture", "--test-threads=1"])
        .current_dir(folder)
        .env(ORDER, name)
        .stdin(Stdio::null())
        .output()
        .expect("this binary can be started");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{toml}\n{said}\n{errors}");
    let said = said.split_once("<<<\n").and_then(|(_, said)| said.split_once(">>>")).map(|(said, _)| said);
    said.unwrap_or_else(|| panic!("the program said nothing: {errors}")).to_owned()
}

#[test]
fn the_same_program_says_the_same_on_all_stores() {
    let servers = Servers::default();
    let folder = tempfile::tempdir().expect("a folder");
    let expected = run_in(folder.path(), "memory", "[broker]\nurl = \"memory://\"\n");
    assert!(expected.contains("begun: critical, high, normal, normal again, low"), "{expected}");
    for pair in Pair::ALL {
        // What the pair before has left on the same server is another application's.
        let name = format!("{pair:?}");
        let toml = servers.toml(pair).replacen("\n\n", &format!("\nprefix = {name:?}\n\n"), 1);
        let said = run_in(folder.path(), &name, &toml);
        assert_eq!(said, expected, "{pair:?} behaves otherwise than memory");
    }
}
