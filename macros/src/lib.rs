//! The `#[task]` attribute of windlass. Applications use it as `windlass::task`.

mod expand;
mod function;
mod key;
mod settings;
mod value;

use proc_macro2::TokenStream;
use syn::parse::Parser;

use crate::function::Function;
use crate::settings::Settings;

/// Makes a task of a function.
///
/// The function stays as it is; beside it appears a type of the same name, which is the
/// [`Task`](https://docs.rs/windlass/latest/windlass/trait.Task.html).
///
/// ```
/// # extern crate self as windlass;
/// # pub use windlass_macros::task;
/// # pub mod __private {
/// #     pub use windlass_core::task::{FromContext, IntoAnswer, Step, Work};
/// #     pub use windlass_core::{Backoff, Call, Context, Options, QueueName, Retention, RetryOn, Task, TaskError};
/// #     pub use std;
/// # }
/// #[windlass::task(name = "math:add", max_retries = 5, timeout = "30s")]
/// async fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # fn main() {
/// let here = add(2, 3);         // the function: runs in this process
/// let call = add::call(2, 3);   // the task: to be enqueued
/// let step = add::step(3);      // the same without its first argument, to follow another task
/// // worker.register::<add>()   // the type: what a worker runs
/// # let _: (windlass_core::Call<i64>, windlass_core::task::Step<i64, i64>, _) = (call, step, here);
/// # }
/// ```
///
/// # Parameters and result
///
/// The first parameters, up to three, may be `Context` and `State<T>`; the worker gives them. All
/// others, up to eight, are the arguments of the call. They and the result are owned types that
/// serde can write and read. A return type `Result<T, E>` means: `T` is the result, and `E` is any
/// error type, or `TaskError`.
///
/// A function that is not async runs on a thread for blocking work.
///
/// # Keys
///
/// | key | value | without it |
/// |---|---|---|
/// | `name` | the wire name: `A-Z a-z 0-9 . _ - :` | the name of the function |
/// | `queue` | the queue to wait in: `A-Z a-z 0-9 . _ -` | `default` |
/// | `priority` | how urgent it is among those that wait in its queue: `"low"`, `"normal"`, `"high"` or `"critical"` | `"normal"` |
/// | `max_retries` | retries after the first run | 10 |
/// | `timeout` | stop a run after this long | no limit |
/// | `soft_timeout` | signal a run after this long | no signal |
/// | `expires` | do not start later than this long after enqueueing | never |
/// | `delay` | wait this long before the first run | none |
/// | `backoff` | the pause before each retry: `"fixed 10s"`, `"linear 10s 10m"` (step, longest), `"exponential 1s 3 1h"` (first, factor, longest), each with `jitter 0.5` at its end if wanted; or an expression of type `Backoff` | `"exponential 1s 3 1h jitter 0.25"` |
/// | `retry_on` | what is retried: any of `"errors, timeouts, panics"` | all three |
/// | `status_ttl` | how long the final state is kept: a time, `"forever"` or `"none"` | one day |
/// | `result_ttl` | how long the result is kept: a time, `"forever"` or `"none"` | as the state |
/// | `crate` | the path of the windlass crate, where it was renamed | `::windlass` |
///
/// Times are texts such as `"30s"` or `"1h30m"` with the units `ms`, `s`, `m`, `h` and `d`; a bare
/// number means seconds. A call can ask for something else, and so can the configuration for what
/// neither names.
#[proc_macro_attribute]
pub fn task(attribute: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let task = generate(attribute.into(), item.clone()).unwrap_or_else(|error| error.into_compile_error());
    // The function goes out untouched even if there is an error, so that its callers get none.
    TokenStream::from_iter([item, task]).into()
}

/// What stands beside the function, or everything that is wrong at once.
fn generate(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    match (Settings::parse(attribute), Function::parse.parse2(item)) {
        (Ok(settings), Ok(function)) => Ok(expand::task(&settings, &function)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(mut error), Err(other)) => {
            error.combine(other);
            Err(error)
        }
    }
}
