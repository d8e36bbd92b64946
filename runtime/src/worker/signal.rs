use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use windlass_core::Interrupt;
use windlass_core::task::Signal;

/// How a running task is told to end, and how its run is ended if it does not.
#[derive(Debug, Default)]
pub(super) struct TaskSignal {
    interrupt: AtomicU8,
    kill: AtomicU8,
    changed: Notify,
}

/// Why a run is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    Shutdown,
    LeaseLost,
}

impl TaskSignal {
    /// Tells the task; the first reason stays.
    pub(super) fn tell(&self, reason: Interrupt) {
        let code = match reason {
            Interrupt::Shutdown => 1,
            Interrupt::LeaseLost => 2,
            _ => 3,
        };
        let _ = self.interrupt.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.changed.notify_waiters();
    }

    /// Ends the run; a lost lease wins over a shutdown, because nothing may be settled then.
    pub(super) fn kill(&self, reason: Kill) {
        match reason {
            Kill::Shutdown => {
                let _ = self.kill.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire);
            }
            Kill::LeaseLost => self.kill.store(2, Ordering::Release),
        }
        self.changed.notify_waiters();
    }

    fn kill_reason(&self) -> Option<Kill> {
        match self.kill.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Kill::Shutdown),
            _ => Some(Kill::LeaseLost),
        }
    }

    /// Waits until the run is to be ended.
    pub(super) async fn killed(&self) -> Kill {
        self.until(|signal| signal.kill_reason()).await
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
        match self.interrupt.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Interrupt::Shutdown),
            2 => Some(Interrupt::LeaseLost),
            _ => Some(Interrupt::SoftTimeout),
        }
    }

    fn interrupted(&self) -> Pin<Box<dyn Future<Output = Interrupt> + Send + '_>> {
        Box::pin(self.until(Signal::interrupt))
    }
}
