//! One run of one task, under its limits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::Instrument;
use windlass_core::policy::{FailureClass, Limits};
use windlass_core::task::{Erased, Signal, Verdict};
use windlass_core::{Context, Event, Failure, FailureKind, Interrupt, TaskError, limits};

use super::lane::Slot;
use super::middleware::{Inner, Middleware, Next, RunError, RunResult};
use super::panic::{Panic, caught};
use super::signal::{Kill, TaskSignal};
use super::stuck::{GOES_ON, Threads};

pub(super) struct Run<'a> {
    pub(super) context: Context,
    pub(super) limits: Limits,
    pub(super) signal: Arc<TaskSignal>,
    pub(super) layers: &'a [Arc<dyn Middleware>],
    pub(super) payload_limit: usize,
    pub(super) threads: Threads<'a>,
}

/// How a run has ended.
pub(super) enum Ended {
    Succeeded(Bytes),
    Otherwise(Event, Option<Failure>),
    /// Ended from outside; and whether its thread goes on.
    Killed(Kill, bool),
}

impl Run<'_> {
    /// Runs it to its end. Code of the application cannot end more than its own run: not by a panic
    /// in the task, in a layer, in a destructor, or in the text of an error.
    pub(super) async fn execute(self, handler: &Erased, payload: &[u8], slot: &Arc<Slot>) -> Ended {
        let context = &self.context;
        let attempt = context.attempt();
        let span = tracing::info_span!(
            target: "windlass::worker", "task",
            task_id = %context.id(), task = %context.task(), queue = %context.queue(), attempt,
        );
        let inner = Inner { handler, payload, slot: Arc::clone(slot), threads: &self.threads };
        let raced = async {
            tokio::select! {
                biased;
                kill = self.signal.killed() => Ended::Killed(kill, self.threads.blocks()),
                ended = self.limited(inner).instrument(span) => ended,
            }
        };
        caught(raced).await.unwrap_or_else(|panic| panicked(panic, attempt))
    }

    async fn limited(&self, inner: Inner<'_>) -> Ended {
        let mut run = pin!(async {
            match self.layers {
                [] => inner.run(&self.context).await,
                layers => Next { layers, inner }.run(&self.context).await,
            }
        });
        let Limits { soft, hard } = self.limits;
        if soft.is_none() && hard.is_none() {
            return self.judge(run.await);
        }
        let mut soft_over = pin!(over(soft));
        let mut hard_over = pin!(over(hard));
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut run => return self.judge(answer),
                limit = &mut hard_over => return self.timed_out(limit),
                _ = &mut soft_over, if !told => {
                    told = true;
                    self.signal.tell(Interrupt::SoftTimeout);
                }
            }
        }
    }

    fn timed_out(&self, limit: Duration) -> Ended {
        let goes_on = if self.threads.blocks() { format!(": {GOES_ON}") } else { String::new() };
        let text = format!("the run took longer than {limit:?}{goes_on}");
        let failure = Failure::new(FailureKind::Timeout, text, self.context.attempt());
        Ended::Otherwise(Event::Failed(FailureClass::Timeout), Some(failure))
    }

    fn judge(&self, answer: RunResult) -> Ended {
        let attempt = self.context.attempt();
        let failed = |class, failure| Ended::Otherwise(Event::Failed(class), Some(failure));
        match answer {
            Ok(result) => match limits::check_payload(result.len(), self.payload_limit) {
                Ok(()) => Ended::Succeeded(result),
                Err(error) => {
                    failed(FailureClass::Permanent, Failure::from_error(FailureKind::Result, &error, attempt))
                }
            },
            // A task that obeys the shutdown is given back like one that does not, uncounted.
            Err(RunError::Task(error))
                if error.verdict() == Verdict::Retry && self.signal.interrupt() == Some(Interrupt::Shutdown) =>
            {
                Ended::Killed(Kill::Shutdown, false)
            }
            Err(RunError::Task(error)) => judge_error(&error, attempt),
            Err(RunError::Arguments(error)) => {
                failed(FailureClass::Permanent, Failure::from_error(FailureKind::Arguments, &error, attempt))
            }
            Err(RunError::Panic(panic)) => panicked(panic, attempt),
            Err(RunError::Unencodable(error)) => {
                failed(FailureClass::Permanent, Failure::from_error(FailureKind::Result, &error, attempt))
            }
            Err(RunError::Aborted) => Ended::Killed(Kill::Shutdown, false),
        }
    }
}

fn panicked(Panic { text, location }: Panic, attempt: u32) -> Ended {
    let failure = Failure::new(FailureKind::Panic, text, attempt).at(location);
    Ended::Otherwise(Event::Failed(FailureClass::Panic), Some(failure))
}

fn judge_error(error: &TaskError, attempt: u32) -> Ended {
    let failure = || match error.cause() {
        Some(cause) => Failure::from_error(FailureKind::Error, cause, attempt),
        None => Failure::new(FailureKind::Error, error.to_string(), attempt),
    };
    let class = match error.verdict() {
        Verdict::Retry => FailureClass::Error { retry_after: None },
        Verdict::RetryAfter(span) => FailureClass::Error { retry_after: Some(span) },
        Verdict::Permanent => FailureClass::Permanent,
        Verdict::Snooze(span) => {
            let failure = Failure::new(FailureKind::Snoozed, "the task asked to run later too often", attempt);
            return Ended::Otherwise(Event::Snoozed(span.min(limits::DELAY)), Some(failure));
        }
        Verdict::Cancel => {
            let failure = Failure { kind: FailureKind::Cancelled, ..failure() };
            return Ended::Otherwise(Event::Cancelled, Some(failure));
        }
    };
    Ended::Otherwise(Event::Failed(class), Some(failure()))
}

async fn over(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}
