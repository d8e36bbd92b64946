use std::fmt;
use std::marker::PhantomData;

use super::graph::Graph;
use super::{ID_BYTES, KEEP_LEAST, Plan, Shape, When};
use crate::task::Step;
use crate::{Call, Error, Failure, IntoDuration, Result, TaskId, Timestamp};

/// Marks a [`Flow`] whose output is one value.
#[derive(Debug)]
pub struct Whole;

/// Marks a [`Flow`] that is a group of results of type `T`, one for each of its members.
#[derive(Debug)]
pub struct Each<T>(PhantomData<T>);

/// Several calls or flows that run beside each other, and the list of their results.
pub type Group<T> = Flow<Vec<T>, Each<T>>;

/// Tasks that follow from each other, ready to be enqueued as one; `O` is the type of what it ends with.
///
/// Made of calls: [`Call::then`] makes a chain, [`group`] and [`map`] run calls beside each other,
/// [`join`](super::join) does so with calls of different types, and what follows a group takes all of
/// its results. A clone stands for the same tasks: used twice, they run once.
///
/// What is wrong with it (an empty group, a bad name) is told when it is enqueued, before anything
/// is sent.
///
/// ```
/// use windlass_core::flow::{Flow, group};
/// use windlass_core::TaskDef;
/// const ADD: TaskDef<(i64, i64), i64> = TaskDef::new("add");
/// const DOUBLE: TaskDef<(i64,), i64> = TaskDef::new("double");
/// const SUM: TaskDef<(Vec<i64>,), i64> = TaskDef::new("sum");
///
/// let first = ADD.call((2, 3)).then(DOUBLE.step(()));
/// let both = group([first.clone().then(DOUBLE.step(())), first.then(ADD.step((7,)))]);
/// let sum: Flow<i64> = both.then(SUM.step(()));
/// ```
#[must_use = "a flow does nothing until it is enqueued"]
#[doc(alias = "workflow", alias = "chain", alias = "canvas", alias = "dag")]
pub struct Flow<O, K = Whole> {
    graph: Graph,
    types: PhantomData<fn() -> (O, K)>,
}

impl<O, K> Flow<O, K> {
    pub(super) fn new(graph: Graph) -> Self {
        Self { graph, types: PhantomData }
    }

    pub(super) fn into_graph(self) -> Graph {
        self.graph
    }

    /// Goes on with a task that takes what this ends with as its first argument.
    ///
    /// If this fails, is cancelled or expires, the task fails as well, and so does all that needs it;
    /// for something else see `settled`.
    #[doc(alias = "chord", alias = "link")]
    pub fn then<P>(self, step: Step<O, P>) -> Flow<P> {
        Flow::new(self.graph.then(step.into_parts()))
    }

    /// Runs a task as well when this has succeeded, with the result as its first argument. Nothing waits
    /// for it.
    #[doc(alias = "callback", alias = "link")]
    pub fn on_success<P>(self, step: Step<O, P>) -> Self {
        Self::new(self.graph.aside(step.into_parts(), When::Success))
    }

    /// Runs a task as well when this has failed for good, was cancelled or has expired, with the
    /// [`Failure`] as its first argument. Nothing waits for it.
    #[doc(alias = "errback", alias = "link_error")]
    pub fn on_failure<P>(self, step: Step<Failure, P>) -> Self {
        Self::new(self.graph.aside(step.into_parts(), When::Failure))
    }

    fn change(mut self, change: impl FnOnce(&mut Graph) -> Result<()>) -> Self {
        if let Err(error) = change(&mut self.graph)
            && self.graph.problem.is_none()
        {
            self.graph.problem = Some(error);
        }
        self
    }

    /// Chooses the id of the whole, at most 121 bytes; its tasks are `<id>::0`, `<id>::1` and so on.
    /// Enqueueing the same id again, as long as the flow is kept, does nothing and gives a handle to it.
    pub fn id(self, id: impl AsRef<str>) -> Self {
        self.change(|graph| {
            let id = TaskId::new(id).map_err(|error| Error::new(error.kind(), "flow id", error.message()))?;
            let bytes = id.with_str(str::len);
            if bytes > ID_BYTES {
                let allowed = format!("at most {ID_BYTES}: the ids of its tasks are made of it");
                return Err(Error::invalid("flow id", format_args!("{bytes} bytes"), allowed));
            }
            graph.id = Some(id);
            Ok(())
        })
    }

    /// Adds a header that travels with every task of it. Asked for a part, it holds for the whole that
    /// the part is put into.
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.change(|graph| {
            graph.whole.headers.insert(name, value);
            Ok(())
        })
    }

    /// Every task of it is finished at this time, unless it asks for an earlier or later one itself. Asked
    /// for a part, it holds for the whole that the part is put into.
    pub fn deadline(self, at: impl Into<Timestamp>) -> Self {
        let at = at.into();
        self.change(|graph| {
            graph.whole.deadline = Some(at);
            Ok(())
        })
    }

    /// How long what the flow needs is kept, beyond the delays in it: the tasks that wait for others, and
    /// the results that they wait for. Built-in: 7 days; at least 1 day. A flow that takes longer fails.
    pub fn keep(self, span: impl IntoDuration) -> Self {
        self.change(|graph| {
            let span = span.into_duration().map_err(|error| Error::new(error.kind(), "keep", error.message()))?;
            if span < KEEP_LEAST || span > crate::limits::DELAY {
                return Err(Error::invalid("keep", format_args!("{span:?}"), "1 to 366 days"));
            }
            graph.keep = Some(span);
            Ok(())
        })
    }

    /// The tasks and what follows from what, under the id of the whole.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] or [`crate::ErrorKind::Codec`] for the first thing that is wrong.
    pub fn plan(self, fallback: impl FnOnce() -> TaskId) -> Result<Plan> {
        let mut graph = self.graph;
        if let Some(problem) = graph.problem {
            return Err(problem);
        }
        let id = graph.id.take().unwrap_or_else(fallback);
        Plan::of(graph, id)
    }

    /// Whether the caller chose the id.
    pub fn has_id(&self) -> bool {
        self.graph.id.is_some()
    }
}

impl<O> Flow<O> {
    /// Goes on with the errors: what follows is given a `Result`, and runs however this ends.
    #[doc(alias = "allow_failure", alias = "ignore_result")]
    pub fn settled(self) -> Flow<Result<O, Failure>> {
        Flow::new(self.graph.settled())
    }
}

impl<T> Group<T> {
    /// Goes on with the errors: what follows is given a `Result` for each member, and runs when all
    /// have ended, however that was.
    pub fn settled(self) -> Group<Result<T, Failure>> {
        Flow::new(self.graph.each_settled())
    }

    /// Goes on with a task for each member, which takes its result as its first argument.
    pub fn map<P>(self, step: impl Fn() -> Step<T, P>) -> Group<P> {
        Flow::new(self.graph.each_then(|| step().into_parts()))
    }
}

impl<O, K> Clone for Flow<O, K> {
    fn clone(&self) -> Self {
        Self::new(self.graph.clone())
    }
}

impl<O, K> fmt::Debug for Flow<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("id", &self.graph.id).finish_non_exhaustive()
    }
}

/// What can be part of a flow: a call, a flow, a group.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a workflow",
    note = "a workflow is made of calls such as `add::call(2, 3)`, of flows, and of groups"
)]
pub trait IntoFlow {
    /// What it ends with.
    type Output;

    /// The flow that it is.
    fn into_flow(self) -> Flow<Self::Output>;
}

impl<O> Call<O> {
    /// Goes on with a task that takes the result as its first argument; see [`Flow::then`].
    #[doc(alias = "chain", alias = "link")]
    pub fn then<P>(self, step: Step<O, P>) -> Flow<P> {
        self.into_flow().then(step)
    }

    /// Goes on with the error, if there is one; see [`Flow::settled`].
    pub fn settled(self) -> Flow<Result<O, Failure>> {
        self.into_flow().settled()
    }

    /// Runs a task as well when this has succeeded; see [`Flow::on_success`].
    #[doc(alias = "callback", alias = "link")]
    pub fn on_success<P>(self, step: Step<O, P>) -> Flow<O> {
        self.into_flow().on_success(step)
    }

    /// Runs a task as well when this has failed for good; see [`Flow::on_failure`].
    #[doc(alias = "errback", alias = "link_error")]
    pub fn on_failure<P>(self, step: Step<Failure, P>) -> Flow<O> {
        self.into_flow().on_failure(step)
    }
}

impl<O> IntoFlow for Call<O> {
    type Output = O;

    fn into_flow(self) -> Flow<O> {
        Flow::new(Graph::of(self.into_parts()))
    }
}

impl<O, K> IntoFlow for Flow<O, K> {
    type Output = O;

    fn into_flow(self) -> Flow<O> {
        Flow::new(self.graph)
    }
}

/// Runs calls or flows beside each other; what follows takes the list of all results, in this order.
///
/// It ends when all have ended. However many there are, their results travel in no message.
#[doc(alias = "chord", alias = "fan_out", alias = "parallel")]
pub fn group<F: IntoFlow>(members: impl IntoIterator<Item = F>) -> Group<F::Output> {
    let members = members.into_iter().map(|member| member.into_flow().graph);
    Flow::new(Graph::together(members, Shape::List, "group"))
}

/// Makes a call or a flow of each item and runs them beside each other, as a [`group`]. For pieces of a
/// list: `map(items.chunks(100), |piece| sum::call(piece.to_vec()))`.
#[doc(alias = "chunks", alias = "starmap", alias = "fan_out")]
pub fn map<T, F: IntoFlow>(items: impl IntoIterator<Item = T>, call: impl FnMut(T) -> F) -> Group<F::Output> {
    group(items.into_iter().map(call))
}
