use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use windlass_core::flow::{Content, End, Fate, FlowNode, FlowPart, INPUT_SHELF, Link, Reference, Role, Upstream, fate};
use windlass_core::{Failure, FailureKind, Message, NoteKey, Place, Record, Result, State, TaskId, TaskName, Token};

use super::Flows;

/// A task of a workflow that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: TaskId,
    pub(crate) task: TaskName,
    pub(crate) state: State,
    pub(crate) part: FlowPart,
    pub(crate) result: Option<Bytes>,
    pub(crate) failure: Option<Failure>,
}

/// A node that has ended, of which it is to be seen what follows.
struct Over {
    next: Vec<Link>,
    keep: Duration,
    end: End,
    /// Where it went wrong first.
    cause: Option<Upstream>,
}

impl From<Ended> for Over {
    fn from(ended: Ended) -> Self {
        let Ended { id, task, state, part, result, failure } = ended;
        let FlowPart { next, keep, .. } = part;
        let lost = || Failure::new(FailureKind::Result, "its result is not kept any more (setting: result_ttl)", 0);
        let failure = match (state, result) {
            (State::Succeeded, Some(result)) => {
                return Self { next, keep, end: End::Succeeded(Content::Json(result)), cause: None };
            }
            (State::Succeeded, None) => Some(lost()),
            _ => failure,
        };
        let cause = Upstream::of(id, task, state, failure);
        Self { next, keep, end: End::Failed(cause.failure.clone()), cause: Some(cause) }
    }
}

/// What one round has found out about the nodes that follow.
#[derive(Default)]
struct Round {
    places: Vec<(Place, u32)>,
    fails: HashMap<TaskId, Upstream>,
    not_needed: BTreeSet<TaskId>,
    keep: Duration,
}

impl Round {
    fn of(over: Vec<Over>) -> Result<Self> {
        let mut round = Self::default();
        for Over { next, keep, end, cause } in over {
            round.keep = round.keep.max(keep);
            for Link { to, place, of, when } in next {
                match fate(when, &end) {
                    Fate::Given(stored) => {
                        let set = NoteKey::new(INPUT_SHELF, to.to_string())?;
                        round.places.push((Place { set, place, value: stored.encode(), keep }, of));
                    }
                    Fate::Fails => {
                        // Of several causes the first is told.
                        if let Some(cause) = &cause {
                            round.fails.entry(to).or_insert_with(|| cause.clone());
                        }
                    }
                    Fate::NotNeeded => {
                        round.not_needed.insert(to);
                    }
                }
            }
        }
        Ok(round)
    }
}

impl Flows<'_> {
    /// Sees to all that follows from these ends. When it has answered without an error, the broker may be
    /// told that the tasks have ended.
    pub(crate) async fn advance(&self, ended: impl IntoIterator<Item = Ended>) -> Result<()> {
        let mut over: Vec<Over> = ended.into_iter().map(Over::from).collect();
        // What stands for the end of a node is written last, and that of the last node first: so what has
        // a record needs no second look.
        let mut records: Vec<Record> = Vec::new();
        while !over.is_empty() {
            over = self.round(Round::of(over)?, &mut records).await?;
        }
        records.reverse();
        self.save(&records).await?;
        Ok(())
    }

    /// One step down the graph; answers which nodes have ended by it.
    async fn round(&self, round: Round, records: &mut Vec<Record>) -> Result<Vec<Over>> {
        let Round { places, fails, not_needed, keep } = round;
        let full = self.fill(places).await?;
        let ids: BTreeSet<&TaskId> = full.iter().chain(fails.keys()).chain(&not_needed).collect();
        let ids: Vec<TaskId> = ids.into_iter().cloned().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (nodes, stored) = (self.nodes(&ids).await?, self.records(&ids).await?);
        let mut over = Vec::new();
        let mut due = Vec::new();
        for ((id, node), stored) in ids.into_iter().zip(nodes).zip(stored) {
            let failed = |failure| self.record(&id, Token::default(), State::Failed, Some(failure), keep);
            if full.contains(&id) {
                if let Some(cause) = ended_before(&id, node.as_ref(), stored.as_ref()) {
                    // Nobody has run it, so nobody has told those that follow.
                    over.extend(node.map(|node| downstream(node.message, &cause)));
                    continue;
                }
                if !is_open(stored.as_ref()) {
                    continue;
                }
                match node {
                    Some(FlowNode { role: Role::Gather, message }) => {
                        records.push(self.record(&id, Token(1), State::Succeeded, None, keep));
                        over.extend(gathered(message));
                    }
                    Some(FlowNode { message, .. }) => due.push(Message { enqueued_at: self.clock.now(), ..message }),
                    None => records.push(failed(forgotten())),
                }
            } else if stored.is_some_and(|stored| stored.state != State::Queued) {
                // It has ended, or it runs although it was not expected to.
            } else if let Some(cause) = fails.get(&id) {
                records.push(failed(cause.downstream()));
                over.extend(node.map(|node| downstream(node.message, cause)));
            } else {
                let text = "it is not needed: what it was to follow has succeeded";
                let failure = Failure::new(FailureKind::Cancelled, text, 0);
                records.push(self.record(&id, Token::default(), State::Cancelled, Some(failure), keep));
            }
        }
        self.publish(&due).await?;
        Ok(over)
    }

    /// Fills the places; answers which sets are full.
    async fn fill(&self, places: Vec<(Place, u32)>) -> Result<BTreeSet<TaskId>> {
        let (places, wanted): (Vec<Place>, Vec<u32>) = places.into_iter().unzip();
        let filled = self.gather(&places).await?;
        let full = places.iter().zip(wanted).zip(filled).filter(|((_, wanted), filled)| filled >= wanted);
        full.map(|((place, _), _)| TaskId::new(place.set.name())).collect()
    }
}

/// Whether a node that has all that it needs has not begun yet: nothing is known of it, or that it could
/// not begin, because of what was put back from the dead letters since.
fn is_open(stored: Option<&Record>) -> bool {
    stored.is_none_or(|stored| stored.state == State::Failed && stored.token == Token::default())
}

/// Why a node that has all that it needs will not run: it was cancelled while it waited for others.
fn ended_before(id: &TaskId, node: Option<&FlowNode>, stored: Option<&Record>) -> Option<Upstream> {
    let stored = stored.filter(|stored| stored.state == State::Cancelled && stored.token == Token::default())?;
    let task = node?.message.task.clone();
    Some(Upstream::of(id.clone(), task, stored.state, stored.failure.clone()))
}

fn gathered(message: Message) -> Option<Over> {
    let id = message.id;
    let part = message.flow?;
    let content = Content::Set(Reference { id, input: part.input? });
    Some(Over { next: part.next, keep: part.keep, end: End::Succeeded(content), cause: None })
}

fn downstream(message: Message, cause: &Upstream) -> Over {
    let (next, keep) = message.flow.map_or_else(Default::default, |part| (part.next, part.keep));
    Over { next, keep, end: End::Failed(cause.downstream()), cause: Some(cause.clone()) }
}

fn forgotten() -> Failure {
    let text = "what was to follow is not kept any more (setting: Flow::keep)";
    Failure::new(FailureKind::Upstream, text, 0)
}
