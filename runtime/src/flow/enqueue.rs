use std::time::Duration;

use windlass_core::flow::{FLOW_SHELF, FlowNode, KEEP_LEAST, NODE_SHELF, Plan, Summary};
use windlass_core::{
    Error, Expected, IntoFlow, Message, NoteChange, NoteKey, Result, Retention, Schedule, TaskId, Timestamp,
};

use super::{FlowHandle, Flows};
use crate::client::Client;
use crate::clock::new_id;
use crate::pause::in_time;

/// Most bytes of what a message says about what follows from its task.
const LINK_BYTES: usize = 1024 * 1024;

impl Client {
    /// Enqueues a workflow: tasks that follow from each other. Gives a handle to the whole.
    ///
    /// What waits for others is stored before anything can run, and everything has an id that is made
    /// from the id of the whole. So a call with the id of a flow that is already there enqueues nothing.
    ///
    /// # Errors
    /// * `Invalid`, `Codec`: the flow is wrong; nothing was sent.
    /// * `Unsupported`: there is no backend, or it has no notebook.
    /// * `Full`, `Rejected`: the broker refused a task; the flow is cancelled.
    /// * `Unavailable`, `Unknown`: it may have begun. Enqueue it again with the id that the error names
    ///   ([`Flow::id`](windlass_core::Flow::id)): it runs once.
    ///
    /// # Cancel safety
    /// If the future is dropped, the flow may have begun or not.
    pub async fn enqueue_flow<F: IntoFlow>(&self, flow: F) -> Result<FlowHandle<F::Output>> {
        let flow = flow.into_flow();
        let stores = self.flows()?;
        let now = self.clock().now();
        let is_chosen = flow.has_id();
        let draft = Draft::new(self, flow.plan(|| new_id(now))?, now)?;
        let id = draft.plan.id.clone();
        let is_new = stores.begin(&draft, is_chosen).await.map_err(|error| match error.is_retryable() {
            true => error.with_task(id.clone()),
            false => error.with("workflow", &id),
        })?;
        tracing::debug!(target: "windlass::client", flow_id = %id, tasks = draft.plan.tasks, is_new, "enqueued");
        Ok(FlowHandle::new(self.clone(), id, is_new))
    }

    /// A handle to a workflow that was enqueued elsewhere; `O` is what its result is read as.
    pub fn flow_of<O>(&self, id: TaskId) -> FlowHandle<O> {
        FlowHandle::new(self.clone(), id, false)
    }

    /// # Errors
    /// `Unsupported` without a backend that has a notebook.
    pub(crate) fn flows(&self) -> Result<Flows<'_>> {
        let backend = self.backend().map(|backend| &**backend);
        Flows::over(&**self.broker(), backend, &**self.clock())
    }
}

/// A flow with everything that is sent, checked.
struct Draft {
    plan: Plan,
    /// The tasks that need nobody.
    roots: Vec<Message>,
    nodes: Vec<FlowNode>,
}

impl Draft {
    fn new(client: &Client, mut plan: Plan, now: Timestamp) -> Result<Self> {
        let mut messages = Vec::with_capacity(plan.tasks);
        for node in &mut plan.nodes[..plan.tasks] {
            let Some(mut call) = node.call.take() else { continue };
            call.id = Some(node.id.clone());
            messages.push(client.message(call)?);
        }
        let delays: Vec<Duration> = messages.iter().map(|message| delay(message, now)).collect();
        plan.wait_for(&delays);
        let (mut roots, mut nodes) = (Vec::new(), Vec::with_capacity(plan.nodes.len()));
        for (message, node) in messages.into_iter().zip(&plan.nodes) {
            check_links(&message, node.part.next.len())?;
            let remember = message.remember.map(|remember| remember.max(KEEP_LEAST));
            let message = Message { flow: Some(Box::new(node.part.clone())), remember, ..message };
            if node.part.input.is_none() {
                nodes.push(FlowNode::root(&message));
                roots.push(message);
            } else {
                nodes.push(FlowNode { role: windlass_core::flow::Role::Task, message });
            }
        }
        for group in &plan.nodes[plan.tasks..] {
            nodes.push(FlowNode::gather(group.id.clone(), group.part.clone())?);
        }
        Ok(Self { plan, roots, nodes })
    }

    fn summary(&self, started: bool) -> Summary {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let Plan { nodes, tasks, end, keep, .. } = &self.plan;
        Summary {
            tasks: count(*tasks),
            nodes: count(nodes.len()),
            end: count(*end),
            group: if end < tasks { None } else { nodes[*end].part.input },
            keep: u64::try_from(keep.as_millis()).unwrap_or(u64::MAX),
            started,
            refused: false,
        }
    }

    fn summary_note(&self, expected: Expected, summary: &Summary) -> Result<NoteChange> {
        let key = NoteKey::new(FLOW_SHELF, self.plan.id.to_string())?;
        let value = Some(summary.encode()?);
        Ok(NoteChange { key, expected, value, keep: Retention::For(self.plan.keep) })
    }

    fn notes(&self, expected: Expected) -> Result<Vec<NoteChange>> {
        let note = |node: &FlowNode| {
            let key = NoteKey::new(NODE_SHELF, node.message.id.to_string())?;
            Ok(NoteChange { key, expected, value: Some(node.encode()), keep: Retention::For(self.plan.keep) })
        };
        self.nodes.iter().map(note).collect()
    }
}

/// How long it waits by itself before it can run.
fn delay(message: &Message, now: Timestamp) -> Duration {
    match message.schedule {
        Schedule::Now => Duration::ZERO,
        Schedule::After(span) => span,
        Schedule::At(at) => at.since(now),
    }
}

fn check_links(message: &Message, links: usize) -> Result<()> {
    // An id twice as long as a UUID, and the rest of the line.
    let most = LINK_BYTES / 96;
    if links <= most {
        return Ok(());
    }
    let allowed = format_args!("at most {most}: put a task in between that hands it on").to_string();
    Err(Error::invalid("workflow", format_args!("{links} tasks that follow from one"), allowed)
        .with("task", &message.task))
}

fn was_refused(id: &TaskId) -> Error {
    let allowed = "a new id: a workflow of this id was refused, and what there was of it is cancelled";
    Error::invalid("workflow id", format_args!("{:?}", id.to_string()), allowed)
}

impl Flows<'_> {
    /// Stores what waits, then publishes what does not; answers whether the flow is a new one.
    async fn begin(&self, draft: &Draft, is_chosen: bool) -> Result<bool> {
        let expected = if is_chosen { Expected::Absent } else { Expected::Anything };
        let mut is_new = true;
        if is_chosen {
            // Somebody may have stored or even begun it, and may have been lost on the way.
            match self.summary(&draft.plan.id).await? {
                Some(summary) if summary.refused => return Err(was_refused(&draft.plan.id)),
                Some(summary) if summary.started => return Ok(false),
                found => is_new = found.is_none(),
            }
        }
        let mut notes = draft.notes(expected)?;
        notes.push(draft.summary_note(expected, &draft.summary(false))?);
        self.write(&notes).await?;
        if let Err(error) = self.publish(&draft.roots).await {
            if !error.is_retryable() {
                // Half of it must not run.
                let refused = Summary { refused: true, ..draft.summary(false) };
                self.write(&[draft.summary_note(Expected::Anything, &refused)?]).await?;
                self.cancel_all(&draft.plan.id, &refused, "a task of it was refused").await?;
            }
            return Err(error);
        }
        if is_chosen {
            self.write(&[draft.summary_note(Expected::Anything, &draft.summary(true))?]).await?;
        }
        Ok(is_new)
    }

    /// What is known of a flow as a whole.
    pub(super) async fn summary(&self, id: &TaskId) -> Result<Option<Summary>> {
        let key = NoteKey::new(FLOW_SHELF, id.to_string())?;
        let note = in_time("read", self.notebook.read(&[key])).await?.pop().flatten();
        note.map(|note| Summary::decode(&note.value)).transpose()
    }
}
