//! Tasks that follow from each other: what a workflow is made of, and the rules by which it goes on.
//!
//! A [`Flow`] is an acyclic graph of calls. When it is enqueued, each task that waits for others is
//! stored as a [`FlowNode`] before any task can run. A task that has ended puts its result into its
//! place of the set of each task that follows ([`fate`]); whoever fills the last place publishes the
//! follower, under an id that is always the same. So every step may be repeated, by anybody, at any
//! time, and happens once: it is a set that is counted, not a number.

mod build;
mod fate;
mod graph;
mod join;
mod node;
mod part;
mod plan;
mod value;

pub use build::{Each, Flow, Group, IntoFlow, Whole, group, map};
pub use fate::{End, Fate, Upstream, fate};
pub use join::{Join, join};
pub use node::{FlowNode, Role, Summary};
pub use part::{FlowPart, Input, Link, Shape, When};
pub(crate) use plan::is_node_id;
pub use plan::{Plan, PlannedNode, node_id};
pub use value::{Content, Reference, Stored, frame, payload};

use std::time::Duration;

/// Most nodes of a flow: its tasks, and the groups whose results nobody takes.
pub const NODES: usize = 100_000;
/// Longest id of a flow, so that the ids of its tasks fit: `<flow>::<number>`.
pub const ID_BYTES: usize = crate::limits::NAME_BYTES - 7;
/// How long what a flow needs is kept, beside the delays that it is to wait for.
pub const KEEP: Duration = Duration::from_secs(7 * 86_400);
/// The shortest that it can be kept, and the shortest that the state and the result of its tasks are.
pub const KEEP_LEAST: Duration = Duration::from_secs(86_400);
/// Most bytes of results that one task takes as its input: 256 MiB.
pub const INPUT_BYTES: usize = 256 * 1024 * 1024;
/// The shelf of [`FlowNode`]s, each under the id of its task.
pub const NODE_SHELF: &str = "node";
/// The shelf of [`Summary`]s, each under the id of its flow.
pub const FLOW_SHELF: &str = "flow";
/// The shelf of the sets of inputs, each under the id of the task that takes them.
pub const INPUT_SHELF: &str = "inputs";
