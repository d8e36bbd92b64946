use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;
use windlass_core::Interrupt;
use windlass_core::task::Signal;

/// What connects a running task with its worker: how it is told to end, how its run is ended if it does
/// not, and what it says about its retries.
#[derive(Debug, Default)]
pub(super) struct TaskSignal {
    interrupt: AtomicU8,
    kill: AtomicU8,
    changed: Notify,
    /// What few tasks need; it is made when one does.
    more: OnceLock<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    cancel_reason: OnceLock<Option<String>>,
    retries_left: Mutex<Option<u32>>,
}

/// Why a run is ended from outside, the weakest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    Shutdown,
    Cancelled,
    LeaseLost,
}

const INTERRUPTS: [Interrupt; 4] =
    [Interrupt::SoftTimeout, Interrupt::Shutdown, Interrupt::Cancelled, Interrupt::LeaseLost];
const KILLS: [Kill; 3] = [Kill::Shutdown, Kill::Cancelled, Kill::LeaseLost];

/// The reason with the number `code`; 0 is none.
fn reason<T: Copy>(reasons: &[T], code: u8) -> Option<T> {
    reasons.get(usize::from(code).checked_sub(1)?).copied()
}

/// The number of a reason; a stronger one has a greater number.
fn code<T: PartialEq>(reasons: &[T], reason: &T) -> u8 {
    reasons.iter().zip(1..).find(|(known, _)| *known == reason).map_or(0, |(_, code)| code)
}

impl TaskSignal {
    fn more(&self) -> &More {
        self.more.get_or_init(Box::default)
    }

    /// Tells the task; a stronger reason takes the place of a weaker.
    pub(super) fn tell(&self, reason: Interrupt) {
        self.interrupt.fetch_max(code(&INTERRUPTS, &reason), Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Ends the run; a lost lease wins over all else, because nothing may be settled then.
    pub(super) fn kill(&self, reason: Kill) {
        self.kill.fetch_max(code(&KILLS, &reason), Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Tells the task that somebody wants it cancelled; `false` if it knows already.
    pub(super) fn cancel(&self, reason: Option<String>) -> bool {
        let is_first = self.more().cancel_reason.set(reason).is_ok();
        self.tell(Interrupt::Cancelled);
        is_first
    }

    /// The reason of who wants it cancelled, if somebody does.
    pub(super) fn is_cancelled(&self) -> Option<Option<&str>> {
        self.more.get()?.cancel_reason.get().map(Option::as_deref)
    }

    /// Waits until the run is to be ended.
    pub(super) async fn killed(&self) -> Kill {
        self.until(|signal| reason(&KILLS, signal.kill.load(Ordering::Acquire))).await
    }

    async fn until<T>(&self, check: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(value) = check(self) {
                return value;
            }
            changed.await;
        }
    }
}

impl Signal for TaskSignal {
    fn interrupt(&self) -> Option<Interrupt> {
        reason(&INTERRUPTS, self.interrupt.load(Ordering::Acquire))
    }

    fn interrupted(&self, than: Option<Interrupt>) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>> {
        Box::pin(self.until(move |signal| signal.interrupt().filter(|reason| Some(*reason) > than)))
    }

    fn cancel_reason(&self) -> Option<String> {
        self.is_cancelled()?.map(str::to_owned)
    }

    fn retries_left(&self) -> Option<u32> {
        *self.more.get()?.retries_left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_retries_left(&self, retries: u32) {
        *self.more().retries_left.lock().unwrap_or_else(PoisonError::into_inner) = Some(retries);
    }
}
