use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, Context, Step, TaskError, Work};
use crate::Options;
use crate::message::{Arguments, FirstRest};

/// A task as a type: its name, its arguments, its result, and what it does.
///
/// `#[task]` writes this for a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "put `#[windlass::task]` on the function, or register it under a name with `register_fn(TaskDef::new(\"name\"), function)`"
)]
pub trait Task: 'static {
    /// The wire name.
    const NAME: &'static str;
    /// The arguments: a tuple.
    type Args: Arguments;
    /// The result.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// What the task asks for wherever a call does not.
    fn options() -> Options {
        Options::default()
    }

    /// Runs it.
    fn run(context: Context, args: Self::Args) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;

    /// How it is run; blocking tasks override this.
    #[doc(hidden)]
    fn work(context: Context, args: Self::Args) -> Work<Self::Output> {
        Work::Async(Box::pin(Self::run(context, args)))
    }

    /// A call of this task.
    fn call_with(args: &Self::Args) -> Call<Self::Output> {
        Call::new(Self::NAME, args, Self::options())
    }
}

/// The definition of a task whose code is a plain function or closure: a name and two types,
/// shared by who calls it and who runs it.
///
/// ```
/// use windlass_core::TaskDef;
/// const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
/// let call = ADD.call((2, 3)).queue("math");
/// ```
pub struct TaskDef<A, O> {
    name: &'static str,
    types: PhantomData<fn(A) -> O>,
}

impl<A, O> TaskDef<A, O> {
    /// A definition under a wire name; a bad name is told by `enqueue` and by `register_fn`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// The wire name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A call with these arguments.
    pub fn call(&self, args: A) -> Call<O>
    where
        A: Arguments,
    {
        Call::new(self.name, &args, Options::default())
    }

    /// A call that takes its first argument from what it follows in a workflow; these are the others.
    pub fn step(&self, rest: A::Rest) -> Step<A::First, O>
    where
        A: FirstRest,
    {
        Step::after(self.name, &rest, Options::default())
    }
}

impl<A, O> Clone for TaskDef<A, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A, O> Copy for TaskDef<A, O> {}

impl<A, O> std::fmt::Debug for TaskDef<A, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TaskDef").field(&self.name).finish()
    }
}
