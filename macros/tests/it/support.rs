//! What the tests of this crate share: a worker in three functions.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use windlass_core::task::{Answer, ContextParts, Erased, Job, Signal};
use windlass_core::{Context, Interrupt, QueueName, Shared, Task, TaskId, TaskName};

#[derive(Debug)]
struct Never;

impl Signal for Never {
    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    fn interrupted(&self, _than: Option<Interrupt>) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

pub(crate) fn context<T: Task>(shared: Shared) -> Context {
    Context::new(ContextParts {
        id: TaskId::new("the-id").unwrap(),
        task: TaskName::new(T::NAME).unwrap(),
        queue: QueueName::default(),
        attempt: 1,
        max_attempts: 11,
        deadline: None,
        finish_by: None,
        retries_left: 9,
        headers: Default::default(),
        token: Default::default(),
        kept: windlass_core::Retention::Forever,
        shared: Arc::new(shared),
        signal: Arc::new(Never),
    })
}

/// The output of a future that never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

/// Runs a task as a worker does, from bytes to bytes; an error becomes its text.
pub(crate) fn run<T: Task>(shared: Shared, payload: &str) -> Result<String, String> {
    let job = Erased::of_task::<T>().start(context::<T>(shared), payload.as_bytes());
    let answer = match job.map_err(|error| error.to_string())? {
        Job::Async(run) => now(run),
        Job::Blocking(run) => run(),
    };
    match answer {
        Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
        Err(Answer::Task(error)) => Err(error.to_string()),
        Err(Answer::Unencodable(error)) => Err(error.to_string()),
    }
}

/// The name and the encoded arguments of a call.
pub(crate) fn sent<O>(call: windlass_core::Call<O>) -> (String, String) {
    let parts = call.into_parts().unwrap();
    (parts.task.to_string(), String::from_utf8(parts.payload.to_vec()).unwrap())
}
