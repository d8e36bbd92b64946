//! Catches panics of tasks, and notes where they came from.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

/// A panic of a task: its text, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// The text.
    pub text: String,
    /// File, line and column, as `src/mail.rs:12:5`.
    pub location: Option<String>,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

thread_local! {
    /// How many runs of tasks are on the stack of this thread.
    static RUNS: Cell<u32> = const { Cell::new(0) };
    /// The place of the last panic in one of them.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts a hook before the one that is there. It notes the place of a panic while a task runs on this
/// thread, nothing else, and always goes on to the hook that was there before. Done once a process, by
/// the first worker; a hook that the application sets later and that does not call this one costs
/// nothing but the places.
pub(super) fn note_places() {
    static NOTED: Once = Once::new();
    NOTED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if RUNS.try_with(Cell::get).unwrap_or(0) > 0 {
                let place = panic.location().map(ToString::to_string);
                let _ = PLACE.try_with(|noted| noted.replace(place));
            }
            before(panic);
        }));
    });
}

/// Runs code of a task.
pub(super) fn caught_now<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    RUNS.set(RUNS.get() + 1);
    let caught = catch_unwind(AssertUnwindSafe(run));
    RUNS.set(RUNS.get() - 1);
    caught.map_err(|panic| Panic { text: text(&*panic), location: PLACE.take() })
}

/// Runs a future of a task.
pub(super) async fn caught<F: Future>(run: F) -> Result<F::Output, Panic> {
    let mut run = pin!(run);
    poll_fn(|cx| match caught_now(|| run.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}
