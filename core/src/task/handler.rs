//! From a function to something that a worker can run without knowing its types.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::{Context, FromContext, Task, TaskError};
use crate::Error;
use crate::message::{Arguments, codec};

/// What there is to do for one run.
pub enum Work<T> {
    /// A future for the worker's runtime.
    Async(Pin<Box<dyn Future<Output = Result<T, TaskError>> + Send>>),
    /// A function that blocks, for a thread of its own.
    Blocking(Box<dyn FnOnce() -> Result<T, TaskError> + Send>),
}

impl<T> fmt::Debug for Work<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Work::Async",
            Self::Blocking(_) => "Work::Blocking",
        })
    }
}

/// How an erased run can end other than with the bytes of a result.
#[derive(Debug)]
pub enum Answer {
    /// The task ended so.
    Task(TaskError),
    /// The result cannot be encoded.
    Unencodable(Error),
}

/// One run without types: the encoded result, or how else it ended.
pub enum Job {
    /// A future for the worker's runtime.
    Async(Pin<Box<dyn Future<Output = Result<Bytes, Answer>> + Send>>),
    /// A function that blocks, for a thread of its own.
    Blocking(Box<dyn FnOnce() -> Result<Bytes, Answer> + Send>),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Job::Async",
            Self::Blocking(_) => "Job::Blocking",
        })
    }
}

type Start = dyn Fn(Context, &[u8]) -> Result<Job, Error> + Send + Sync;

/// A handler without types: context and encoded arguments in, a run or a decode error out.
#[derive(Clone)]
pub struct Erased(Arc<Start>);

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erased")
    }
}

impl Erased {
    /// The handler of a task type.
    pub fn of_task<T: Task>() -> Self {
        Self::new(|context, args| T::work(context, args))
    }

    /// The handler that a plain function or closure is.
    pub fn of_fn<A: Arguments, O: Serialize + Send + 'static, M, H: Handler<A, O, M>>(handler: H) -> Self {
        let handler = Arc::new(handler);
        Self::new(move |context, args| Arc::clone(&handler).work(context, args))
    }

    fn new<A: Arguments, O: Serialize + Send + 'static>(
        start: impl Fn(Context, A) -> Work<O> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |context, payload| {
            let args = A::decode(payload)?;
            Ok(match start(context, args) {
                Work::Async(run) => Job::Async(Box::pin(async move { encode(run.await) })),
                Work::Blocking(run) => Job::Blocking(Box::new(move || encode(run()))),
            })
        }))
    }

    /// Decodes the arguments and says what there is to do.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Codec`] if the arguments cannot be decoded.
    pub fn start(&self, context: Context, payload: &[u8]) -> Result<Job, Error> {
        (self.0)(context, payload)
    }
}

fn encode<T: Serialize>(answer: Result<T, TaskError>) -> Result<Bytes, Answer> {
    codec::encode("result", &answer.map_err(Answer::Task)?).map_err(Answer::Unencodable)
}

/// What a handler may return for a task with result `T`: `T`, or a `Result` of it with any error.
#[diagnostic::on_unimplemented(
    message = "a task with result `{T}` cannot return `{Self}`",
    note = "return `{T}` or `Result<{T}, E>` where `E` is any error type or `TaskError`"
)]
pub trait IntoAnswer<T> {
    /// The result, or how else the run ended.
    fn into_answer(self) -> Result<T, TaskError>;
}

impl<T: Serialize> IntoAnswer<T> for T {
    fn into_answer(self) -> Result<T, TaskError> {
        Ok(self)
    }
}

impl<T, E: Into<TaskError>> IntoAnswer<T> for Result<T, E> {
    fn into_answer(self) -> Result<T, TaskError> {
        self.map_err(Into::into)
    }
}

/// A function or closure that can run a task with arguments `A` and result `O`.
///
/// Its parameters are up to three of `Context` and `State<T>`, then exactly the arguments. It is
/// async, or not: then it runs on a thread for blocking work. `M` tells the cases apart; it is
/// always inferred.
#[diagnostic::on_unimplemented(
    message = "this function cannot run a task with arguments `{A}` and result `{O}`",
    label = "parameters or result do not fit the definition",
    note = "its parameters must be: up to three of `Context` and `State<T>`, then the types in `{A}`, in this order",
    note = "it must return `{O}` or `Result<{O}, E>`, directly or from an async function whose future is Send",
    note = "write the types of a closure's parameters: `|a: i64, b: i64| async move {{ a + b }}`"
)]
pub trait Handler<A, O, M>: Sized + Send + Sync + 'static {
    /// What there is to do for one run. Nothing of the function is run before that.
    fn work(self: Arc<Self>, context: Context, args: A) -> Work<O>;
}

/// Marks an async handler with the parameters `E` from the worker.
#[derive(Debug)]
pub struct AsyncFn<E>(std::marker::PhantomData<E>);

/// Marks a blocking handler with the parameters `E` from the worker.
#[derive(Debug)]
pub struct BlockingFn<E>(std::marker::PhantomData<E>);

macro_rules! handler {
    ([$($extract:ident)*] [$($arg:ident)*]) => {
        impl<Function, Running, Out, $($extract,)* $($arg,)*> Handler<($($arg,)*), Out, AsyncFn<($($extract,)*)>> for Function
        where
            Function: Fn($($extract,)* $($arg),*) -> Running + Send + Sync + 'static,
            Running: Future<Output: IntoAnswer<Out>> + Send + 'static,
            Out: Send + 'static,
            $($extract: FromContext,)*
            $($arg: Send + 'static,)*
        {
            #[allow(non_snake_case, reason = "the names of the types are those of the values")]
            fn work(self: Arc<Self>, _context: Context, ($($arg,)*): ($($arg,)*)) -> Work<Out> {
                Work::Async(Box::pin(async move {
                    $(let $extract = $extract::from_context(&_context)?;)*
                    self($($extract,)* $($arg),*).await.into_answer()
                }))
            }
        }

        impl<Function, Answered, Out, $($extract,)* $($arg,)*> Handler<($($arg,)*), Out, BlockingFn<($($extract,)*)>> for Function
        where
            Function: Fn($($extract,)* $($arg),*) -> Answered + Send + Sync + 'static,
            Answered: IntoAnswer<Out>,
            $($extract: FromContext,)*
            $($arg: Send + 'static,)*
        {
            #[allow(non_snake_case, reason = "the names of the types are those of the values")]
            fn work(self: Arc<Self>, _context: Context, ($($arg,)*): ($($arg,)*)) -> Work<Out> {
                Work::Blocking(Box::new(move || {
                    $(let $extract = $extract::from_context(&_context)?;)*
                    self($($extract,)* $($arg),*).into_answer()
                }))
            }
        }
    };
}

macro_rules! handlers {
    ([$($arg:ident)*]) => {
        handler!([] [$($arg)*]);
        handler!([X] [$($arg)*]);
        handler!([X Y] [$($arg)*]);
        handler!([X Y Z] [$($arg)*]);
    };
}

handlers!([]);
handlers!([A]);
handlers!([A B]);
handlers!([A B C]);
handlers!([A B C D]);
handlers!([A B C D E]);
handlers!([A B C D E F]);
handlers!([A B C D E F G]);
handlers!([A B C D E F G H]);
