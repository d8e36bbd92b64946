//! Blocking tasks that were given up and go on all the same: nothing can stop a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the failure of such a task says.
pub(super) const GOES_ON: &str = "it blocks its thread and goes on; its place stays taken until it ends";

/// The blocking runs of a worker that nobody waits for any more.
pub(super) type Stuck = Arc<AtomicU64>;

/// Watches the thread of one run, if it has one.
#[derive(Debug)]
pub(super) struct Threads<'a> {
    stuck: &'a Stuck,
    blocks: AtomicBool,
}

/// One blocking run, as seen by who waits for it and by its thread. Whoever leaves second finds out
/// that the other one has left.
#[derive(Debug)]
struct Thread {
    left: AtomicBool,
    stuck: Stuck,
}

/// Dropped by who waits, when the thread has answered or is given up.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Thread>);

/// Dropped by the thread, when it is at its end.
#[derive(Debug)]
pub(super) struct Running(Arc<Thread>);

impl<'a> Threads<'a> {
    pub(super) fn new(stuck: &'a Stuck) -> Self {
        Self { stuck, blocks: AtomicBool::new(false) }
    }

    /// The two ends of a blocking run.
    pub(super) fn watch(&self) -> (Waiting, Running) {
        self.blocks.store(true, Ordering::Release);
        let thread = Arc::new(Thread { left: AtomicBool::new(false), stuck: Arc::clone(self.stuck) });
        (Waiting(Arc::clone(&thread)), Running(thread))
    }

    /// Whether the run blocks a thread.
    pub(super) fn blocks(&self) -> bool {
        self.blocks.load(Ordering::Acquire)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Thread { left, stuck } = &*self.0;
        if left.load(Ordering::Acquire) {
            return;
        }
        // Counted first, so that the thread never takes away what is not there yet.
        stuck.fetch_add(1, Ordering::AcqRel);
        if left.swap(true, Ordering::AcqRel) {
            stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.left.swap(true, Ordering::AcqRel) {
            self.0.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
