use std::sync::Arc;
use std::time::Duration;

use super::{Shape, When};
use crate::task::CallParts;
use crate::{Error, Options, Result, TaskId};

/// One node of a graph that is being put together. It knows those before it, so there is no cycle.
#[derive(Debug)]
pub(super) struct Node {
    /// The call; `None` for a group that is only gathered.
    pub(super) call: Option<Result<CallParts>>,
    pub(super) needs: Option<Needs>,
}

/// What a node waits for.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    pub(super) from: Vec<Source>,
    pub(super) shape: Shape,
}

/// The end of a node, as somebody takes it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) node: Arc<Node>,
    pub(super) when: When,
}

impl Drop for Node {
    /// A long chain would use up the stack if each node dropped the one before it.
    fn drop(&mut self) {
        let mut left = self.needs.take().map_or_else(Vec::new, |needs| needs.from);
        while let Some(source) = left.pop() {
            if let Some(mut node) = Arc::into_inner(source.node) {
                left.extend(node.needs.take().into_iter().flat_map(|needs| needs.from));
            }
        }
    }
}

/// What a flow hands on.
#[derive(Debug, Clone)]
pub(super) enum Output {
    /// The result of one task.
    Of(Arc<Node>),
    /// Results that nobody has taken yet; and their node, if somebody needed one.
    Open(Needs, Option<Arc<Node>>),
}

/// A flow without its type.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) output: Output,
    /// Nodes that follow from others and that nobody needs.
    pub(super) sides: Vec<Arc<Node>>,
    pub(super) id: Option<TaskId>,
    pub(super) keep: Option<Duration>,
    /// What every task is asked for that does not say otherwise.
    pub(super) whole: Options,
    pub(super) problem: Option<Error>,
}

impl Clone for Graph {
    fn clone(&self) -> Self {
        Self {
            output: self.output.clone(),
            sides: self.sides.clone(),
            id: self.id.clone(),
            keep: self.keep,
            whole: self.whole.clone(),
            problem: self.problem.as_ref().map(Error::duplicate),
        }
    }
}

impl Graph {
    /// One call that needs nobody.
    pub(super) fn of(call: Result<CallParts>) -> Self {
        Self {
            output: Output::Of(Arc::new(Node { call: Some(call), needs: None })),
            sides: Vec::new(),
            id: None,
            keep: None,
            whole: Options::default(),
            problem: None,
        }
    }

    /// Several flows, of which nobody has taken the results yet.
    pub(super) fn together(parts: impl IntoIterator<Item = Self>, shape: Shape, what: &'static str) -> Self {
        let mut from = Vec::new();
        let mut all: Option<Self> = None;
        for mut part in parts {
            from.push(part.source());
            match &mut all {
                Some(all) => all.absorb(part),
                None => all = Some(part),
            }
        }
        let output = Output::Open(Needs { from, shape }, None);
        match all {
            Some(all) => Self { output, ..all },
            None => {
                let problem = Some(Error::invalid(what, "nothing", "at least one call"));
                Self { output, sides: Vec::new(), id: None, keep: None, whole: Options::default(), problem }
            }
        }
    }

    /// How the next one takes it: what is settled by itself is not gathered twice.
    fn source(&mut self) -> Source {
        match &self.output {
            Output::Open(Needs { from, shape: Shape::One }, _) if from.len() == 1 => from[0].clone(),
            _ => Source { node: self.close(), when: When::Success },
        }
    }

    /// Takes over all of another flow but its output.
    fn absorb(&mut self, other: Self) {
        self.sides.extend(other.sides);
        self.keep = self.keep.max(other.keep);
        self.whole = self.whole.or(&other.whole);
        let two = || Error::invalid("id", "a flow inside of a flow", "one id, set on the whole");
        let id = (self.id.is_some() || other.id.is_some()).then(two);
        self.problem = self.problem.take().or(other.problem).or(id);
    }

    /// One node that ends when the flow does.
    pub(super) fn close(&mut self) -> Arc<Node> {
        match &mut self.output {
            Output::Of(node) => Arc::clone(node),
            Output::Open(needs, node) => {
                let node = node.get_or_insert_with(|| Arc::new(Node { call: None, needs: Some(needs.clone()) }));
                Arc::clone(node)
            }
        }
    }

    /// Goes on with a call that takes what this hands on.
    pub(super) fn then(mut self, call: Result<CallParts>) -> Self {
        let needs = match self.output {
            Output::Of(node) | Output::Open(_, Some(node)) => one(node, When::Success),
            Output::Open(needs, None) => needs,
        };
        self.output = Output::Of(Arc::new(Node { call: Some(call), needs: Some(needs) }));
        self
    }

    /// Adds a call that nobody needs.
    pub(super) fn aside(mut self, call: Result<CallParts>, when: When) -> Self {
        let needs = one(self.close(), when);
        self.sides.push(Arc::new(Node { call: Some(call), needs: Some(needs) }));
        self
    }

    /// Goes on with the errors, as one `Result`.
    pub(super) fn settled(mut self) -> Self {
        self.output = Output::Open(one(self.close(), When::End), None);
        self
    }

    /// Goes on with the errors, one `Result` for each that is gathered.
    pub(super) fn each_settled(self) -> Self {
        self.each(|source| {
            // What is a `Result` already is one of its own: it is kept apart.
            let node = match source.when {
                When::Success => source.node,
                _ => Arc::new(Node { call: None, needs: Some(Needs { from: vec![source], shape: Shape::One }) }),
            };
            Source { node, when: When::End }
        })
    }

    /// Goes on with a call for each that is gathered.
    pub(super) fn each_then(self, call: impl Fn() -> Result<CallParts>) -> Self {
        self.each(|source| {
            let needs = Needs { from: vec![source], shape: Shape::One };
            Source { node: Arc::new(Node { call: Some(call()), needs: Some(needs) }), when: When::Success }
        })
    }

    fn each(mut self, change: impl Fn(Source) -> Source) -> Self {
        if let Output::Open(needs, _) = self.output {
            let from = needs.from.into_iter().map(change).collect();
            self.output = Output::Open(Needs { from, ..needs }, None);
        }
        self
    }
}

fn one(node: Arc<Node>, when: When) -> Needs {
    Needs { from: vec![Source { node, when }], shape: Shape::One }
}
