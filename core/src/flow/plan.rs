use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::graph::{Graph, Node};
use super::{FlowPart, Input, KEEP, Link, NODES};
use crate::task::CallParts;
use crate::{Error, Result, TaskId};

/// A flow with the ids of its tasks and what follows from what.
#[derive(Debug)]
pub struct Plan {
    /// The id of the whole.
    pub id: TaskId,
    /// The nodes by their numbers: the tasks first, then the groups that nobody takes.
    pub nodes: Vec<PlannedNode>,
    /// How many of them are tasks.
    pub tasks: usize,
    /// The number of the node that the flow ends with.
    pub end: usize,
    /// How long what it needs is kept, beyond its delays.
    pub keep: Duration,
    /// The numbers in an order in which each node comes after those that it needs.
    order: Vec<usize>,
}

/// One node of a [`Plan`].
#[derive(Debug)]
pub struct PlannedNode {
    /// Its id.
    pub id: TaskId,
    /// The call; `None` for a group that nobody takes.
    pub call: Option<CallParts>,
    /// What is told to its message.
    pub part: FlowPart,
    /// The numbers of the nodes that it needs.
    pub needs: Vec<usize>,
}

/// The id of a node.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the id of the flow is too long.
pub fn node_id(flow: &TaskId, number: usize) -> Result<TaskId> {
    TaskId::new(format!("{flow}::{number}"))
}

/// Whether an id is one that only nodes have: callers may not choose it.
pub(crate) fn is_node_id(id: &str) -> bool {
    id.rsplit_once("::").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

impl Plan {
    pub(super) fn of(mut graph: Graph, id: TaskId) -> Result<Self> {
        let end = graph.close();
        let mut found = Found::default();
        for node in graph.sides.iter().chain([&end]) {
            found.walk(node)?;
        }
        let numbers = found.numbers();
        let tasks = found.order.iter().filter(|node| node.call.is_some()).count();
        let keep = graph.keep.unwrap_or(KEEP);
        let order: Vec<usize> = found.order.iter().map(|node| numbers[&key(node)]).collect();
        let mut nodes: Vec<Option<PlannedNode>> = found.order.iter().map(|_| None).collect();
        for node in &found.order {
            let number = numbers[&key(node)];
            let call = node.call.as_ref().map(|call| parts(call, &graph)).transpose()?;
            let mut part = FlowPart::new(id.clone(), keep);
            part.input = node.needs.as_ref().map(|needs| Input { places: count(needs.from.len()), shape: needs.shape });
            let from = node.needs.iter().flat_map(|needs| &needs.from);
            let needs = from.map(|source| numbers[&key(&source.node)]).collect();
            nodes[number] = Some(PlannedNode { id: node_id(&id, number)?, call, part, needs });
        }
        let mut nodes: Vec<PlannedNode> = nodes.into_iter().flatten().collect();
        for node in &found.order {
            let Some(needs) = &node.needs else { continue };
            let to = nodes[numbers[&key(node)]].id.clone();
            for (place, source) in needs.from.iter().enumerate() {
                let link = Link { to: to.clone(), place: count(place), of: count(needs.from.len()), when: source.when };
                nodes[numbers[&key(&source.node)]].part.next.push(link);
            }
        }
        Ok(Self { id, nodes, tasks, end: numbers[&key(&end)], keep, order })
    }

    /// Keeps everything for as long as its delays take in addition; `delays` are those of the tasks, by
    /// their numbers.
    pub fn wait_for(&mut self, delays: &[Duration]) {
        let mut until = vec![Duration::ZERO; self.nodes.len()];
        for number in &self.order {
            let before = self.nodes[*number].needs.iter().map(|needed| until[*needed]).max().unwrap_or_default();
            until[*number] = before.saturating_add(delays.get(*number).copied().unwrap_or_default());
        }
        self.keep = self.keep.saturating_add(until.into_iter().max().unwrap_or_default());
        for node in &mut self.nodes {
            node.part.keep = self.keep;
        }
    }
}

/// The call with what the whole asks for.
fn parts(call: &Result<CallParts>, graph: &Graph) -> Result<CallParts> {
    let call = call.as_ref().map_err(Error::duplicate)?;
    if let Some(id) = &call.id {
        let allowed = "the id of a task in a workflow is made from that of the whole: set that with Flow::id";
        return Err(Error::invalid("id", format_args!("{:?}", id.to_string()), allowed).with("task", &call.task));
    }
    Ok(CallParts { options: call.options.or(&graph.whole), ..call.clone() })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn key(node: &Arc<Node>) -> *const Node {
    Arc::as_ptr(node)
}

/// The nodes of a graph, each after those that it needs.
#[derive(Default)]
struct Found<'a> {
    order: Vec<&'a Arc<Node>>,
    /// Whether it was seen only, or is in the order.
    seen: HashMap<*const Node, bool>,
}

impl<'a> Found<'a> {
    fn walk(&mut self, last: &'a Arc<Node>) -> Result<()> {
        let mut open = vec![last];
        while let Some(node) = open.last().copied() {
            match self.seen.insert(key(node), true) {
                None => {
                    if self.seen.len() > NODES {
                        return Err(Error::invalid("workflow", "more than 100000 tasks", "at most 100000 (NODES)"));
                    }
                    self.seen.insert(key(node), false);
                    let needs = node.needs.iter().flat_map(|needs| &needs.from).rev().map(|source| &source.node);
                    open.extend(needs.filter(|needed| !self.seen.contains_key(&key(needed))));
                }
                Some(false) => {
                    open.pop();
                    self.order.push(node);
                }
                Some(true) => {
                    open.pop();
                }
            }
        }
        Ok(())
    }

    /// The tasks have the first numbers.
    fn numbers(&self) -> HashMap<*const Node, usize> {
        let tasks = self.order.iter().filter(|node| node.call.is_some());
        let groups = self.order.iter().filter(|node| node.call.is_none());
        tasks.chain(groups).enumerate().map(|(number, node)| (key(node), number)).collect()
    }
}
