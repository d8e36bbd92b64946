//! Assertions on what was enqueued.

use std::fmt;

use serde_json::Value;
use windlass_core::{Message, Options, QueueName, TaskId, TaskName, Timestamp};

use crate::MemoryBroker;

/// A task that waits in a [`MemoryBroker`].
#[derive(Debug, Clone, PartialEq)]
pub struct Enqueued {
    /// Its id.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Its name.
    pub task: TaskName,
    /// Its arguments; `null` if they are not JSON.
    pub args: Value,
    /// What the call asked for.
    pub options: Options,
    /// When it is due, if that is not now.
    pub due: Option<Timestamp>,
}

impl Enqueued {
    fn new(message: Message, due: Option<Timestamp>) -> Self {
        let args = serde_json::from_slice(&message.payload).unwrap_or_default();
        Self { id: message.id, queue: message.queue, task: message.task, args, options: message.options, due }
    }
}

impl fmt::Display for Enqueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in queue {}", self.task, self.args, self.queue)?;
        if self.due.is_some() { f.write_str(" (delayed)") } else { Ok(()) }
    }
}

impl MemoryBroker {
    /// The tasks that wait, delayed ones too, in the order in which they were enqueued.
    pub fn enqueued(&self) -> Vec<Enqueued> {
        self.waiting().into_iter().map(|(message, due)| Enqueued::new(message, due)).collect()
    }

    /// The tasks that wait, as a text for people.
    pub(crate) fn listing(&self) -> String {
        let lines: Vec<String> = self.enqueued().iter().map(|task| format!("\n  {task}")).collect();
        if lines.is_empty() { " nothing".to_owned() } else { lines.concat() }
    }
}

/// What an assertion looks for.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Wanted {
    pub task: String,
    pub args: Option<Value>,
    pub queue: Option<String>,
}

impl Wanted {
    fn fits(&self, task: &Enqueued) -> bool {
        task.task.as_str() == self.task
            && self.args.as_ref().is_none_or(|args| *args == task.args)
            && self.queue.as_ref().is_none_or(|queue| queue == task.queue.as_str())
    }

    /// The tasks that fit.
    #[doc(hidden)]
    #[track_caller]
    pub fn find(&self, broker: &MemoryBroker) -> Enqueued {
        match broker.enqueued().into_iter().find(|task| self.fits(task)) {
            Some(task) => task,
            None => panic!("not enqueued: {self}\nenqueued:{}", broker.listing()),
        }
    }

    #[doc(hidden)]
    #[track_caller]
    pub fn refute(&self, broker: &MemoryBroker) {
        if let Some(task) = broker.enqueued().into_iter().find(|task| self.fits(task)) {
            panic!("enqueued, and should not be: {task}\nenqueued:{}", broker.listing());
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.task)?;
        if let Some(args) = &self.args {
            write!(f, " {args}")?;
        }
        if let Some(queue) = &self.queue {
            write!(f, " in queue {queue}")?;
        }
        Ok(())
    }
}

/// Asserts that a task waits in a [`MemoryBroker`], and answers it as [`Enqueued`].
///
/// Takes the broker, the name of the task, and optionally its arguments as in `serde_json::json!`
/// and its queue. The text of a failure lists what is enqueued.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use windlass_core::{Broker, Message};
/// use windlass_testing::{MemoryBroker, assert_enqueued, refute_enqueued};
/// let broker = MemoryBroker::new();
/// # let task = Message::new("t1".parse()?, "math".parse()?, "add".parse()?, "[2,3]".into());
/// # broker.publish(&[task]).await?;
/// assert_enqueued!(broker, "add");
/// assert_enqueued!(broker, "add", [2, 3]);
/// let task = assert_enqueued!(broker, "add", [2, 3], queue = "math");
/// assert_eq!(task.due, None);
/// refute_enqueued!(broker, "add", [2, 4]);
/// # Ok::<_, windlass_core::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    ($broker:expr, $($wanted:tt)+) => { $crate::wanted!($($wanted)+).find(&$broker) };
}

/// Asserts that no such task waits in a [`MemoryBroker`]; see [`assert_enqueued!`].
#[macro_export]
macro_rules! refute_enqueued {
    ($broker:expr, $($wanted:tt)+) => { $crate::wanted!($($wanted)+).refute(&$broker) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! wanted {
    ($task:expr $(,)?) => {
        $crate::assert::Wanted { task: ::std::string::ToString::to_string(&$task), args: None, queue: None }
    };
    ($task:expr, queue = $queue:expr $(,)?) => {
        $crate::assert::Wanted {
            queue: ::std::option::Option::Some(::std::string::ToString::to_string(&$queue)),
            ..$crate::wanted!($task)
        }
    };
    ($task:expr, $args:tt, queue = $queue:expr $(,)?) => {
        $crate::assert::Wanted {
            args: ::std::option::Option::Some($crate::assert::json!($args)),
            ..$crate::wanted!($task, queue = $queue)
        }
    };
    ($task:expr, $args:tt $(,)?) => {
        $crate::assert::Wanted {
            args: ::std::option::Option::Some($crate::assert::json!($args)),
            ..$crate::wanted!($task)
        }
    };
}

#[doc(hidden)]
pub use serde_json::json;
