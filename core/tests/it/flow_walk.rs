//! Random workflows: they end as they must, in any order of their tasks and whatever is repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use windlass_core::flow::{
    Content, End, Fate, Flow, FlowNode, FlowPart, Input, Link, Plan, PlannedNode, Reference, Stored, Summary, fate,
    frame, group, join, payload,
};
use windlass_core::{Failure, FailureKind, Result, TaskId};

use crate::flow::{ADD, COUNT, DOUBLE, SUM, SUM_OF_TWO, id, plan, text};

/// How a random flow is made of those before it.
#[derive(Debug, Clone)]
enum Op {
    Leaf(i64),
    Broken,
    Double(Index),
    Sum(Vec<Index>),
    Count(Vec<Index>),
    Pair(Index, Index),
}

fn op() -> impl Strategy<Value = Op> {
    let several = || vec(any::<Index>(), 1..5);
    prop_oneof![
        3 => (0..100_i64).prop_map(Op::Leaf),
        1 => Just(Op::Broken),
        3 => any::<Index>().prop_map(Op::Double),
        2 => several().prop_map(Op::Sum),
        2 => several().prop_map(Op::Count),
        2 => any::<(Index, Index)>().prop_map(|(a, b)| Op::Pair(a, b)),
    ]
}

/// The flow, and what it must end with: `None` if it must fail.
fn built(ops: &[Op]) -> (Flow<i64>, Option<i64>) {
    let mut made: Vec<(Flow<i64>, Option<i64>)> = vec![(DOUBLE.call((1,)).then(DOUBLE.step(())), Some(4))];
    for op in ops {
        let of = |index: &Index| index.get(&made);
        let next = match op {
            Op::Leaf(n) => (ADD.call((*n, 1)).then(ADD.step((1,))), Some(n + 2)),
            Op::Broken => (ADD.call((-1, -1)).then(DOUBLE.step(())), None),
            Op::Double(a) => (of(a).0.clone().then(DOUBLE.step(())), of(a).1.map(|n| n * 2 % 1000)),
            Op::Sum(all) => {
                let sum: Option<i64> = all.iter().map(|a| of(a).1).sum();
                (group(all.iter().map(|a| of(a).0.clone())).then(SUM.step(())), sum.map(|n| n % 1000))
            }
            Op::Count(all) => {
                let count = all.iter().filter(|a| of(a).1.is_some()).count();
                let settled = group(all.iter().map(|a| of(a).0.clone())).settled();
                (settled.then(COUNT.step(())), Some(i64::try_from(count).unwrap()))
            }
            Op::Pair(a, b) => {
                let sum = of(a).1.zip(of(b).1).map(|(a, b)| (a + b) % 1000);
                (join((of(a).0.clone(), of(b).0.clone())).then(SUM_OF_TWO.step(())), sum)
            }
        };
        made.push(next);
    }
    made.pop().unwrap()
}

/// What a worker does, without stores: sets that fill up, and tasks that are published by their ids.
struct World {
    nodes: HashMap<TaskId, (Option<String>, FlowPart, Bytes)>,
    sets: HashMap<TaskId, BTreeMap<u32, Stored>>,
    published: BTreeSet<TaskId>,
    ends: HashMap<TaskId, End>,
    runs: HashMap<TaskId, u32>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let published =
            plan.nodes.iter().filter(|node| node.part.input.is_none()).map(|node| node.id.clone()).collect();
        let node = |node: PlannedNode| {
            let (name, rest) =
                node.call.map_or((None, Bytes::new()), |call| (Some(call.task.to_string()), call.payload));
            (node.id, (name, node.part, rest))
        };
        let nodes = plan.nodes.into_iter().map(node).collect();
        Self { nodes, sets: HashMap::new(), published, ends: HashMap::new(), runs: HashMap::new() }
    }

    fn json(&self, id: &TaskId, input: Input) -> Vec<u8> {
        let (before, between, behind) = frame(input);
        let mut out = before.to_vec();
        for place in 0..input.places {
            if place > 0 {
                out.extend_from_slice(between);
            }
            match &self.sets[id][&place] {
                Stored::Json(json) => out.extend_from_slice(json),
                Stored::Set(of) => out.extend(self.json(&of.id, of.input)),
                Stored::OkSet(of) => out.extend([&b"{\"Ok\":"[..], &self.json(&of.id, of.input), b"}"].concat()),
            }
        }
        out.extend_from_slice(behind);
        out
    }

    fn run(&mut self, id: &TaskId) {
        *self.runs.entry(id.clone()).or_default() += 1;
        let (name, part, rest) = &self.nodes[id];
        let args = match part.input {
            Some(input) => payload(&self.json(id, input), rest).unwrap(),
            None => rest.clone(),
        };
        let value: serde_json::Value = serde_json::from_slice(&args).unwrap();
        let numbers =
            |value: &serde_json::Value| value.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).sum::<i64>();
        let result = match name.as_deref().unwrap() {
            "add" => Some(numbers(&value)).filter(|n| *n >= 0),
            "double" => Some(numbers(&value) * 2 % 1000),
            "sum" | "two" => Some(numbers(&value[0]) % 1000),
            _ => {
                let results: (Vec<Result<i64, Failure>>,) = serde_json::from_slice(&args).unwrap();
                Some(i64::try_from(results.0.iter().filter(|result| result.is_ok()).count()).unwrap())
            }
        };
        let end = match result {
            Some(n) => End::Succeeded(Content::Json(n.to_string().into())),
            None => End::Failed(Failure::new(FailureKind::Error, "below zero", 1)),
        };
        self.ends.insert(id.clone(), end);
    }

    /// May be done any number of times.
    fn advance(&mut self, id: &TaskId) {
        let end = self.ends[id].clone();
        for Link { to, place, of, when } in self.nodes[id].1.next.clone() {
            match fate(when, &end) {
                Fate::Given(stored) => {
                    let set = self.sets.entry(to.clone()).or_default();
                    set.entry(place).or_insert(stored);
                    if set.len() == of as usize {
                        self.fill(&to);
                    }
                }
                Fate::Fails => {
                    self.ends.entry(to.clone()).or_insert(end.clone());
                    self.advance(&to);
                }
                Fate::NotNeeded => {}
            }
        }
    }

    fn fill(&mut self, id: &TaskId) {
        let (name, part, _) = &self.nodes[id];
        match (name, part.input) {
            (None, Some(input)) => {
                let content = Content::Set(Reference { id: id.clone(), input });
                self.ends.insert(id.clone(), End::Succeeded(content));
                self.advance(id);
            }
            _ if !self.ends.contains_key(id) => {
                self.published.insert(id.clone());
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn any_flow_ends_as_it_must_in_any_order_and_whatever_is_repeated(
        ops in vec(op(), 1..20),
        choices in vec(any::<(Index, bool, Index)>(), 200),
    ) {
        let (flow, expected) = built(&ops);
        let plan = plan(flow);
        let end = plan.nodes[plan.end].id.clone();
        let mut world = World::new(plan);
        for (choice, again, earlier) in choices {
            let next: Vec<TaskId> = world.published.iter().cloned().collect();
            if next.is_empty() {
                break;
            }
            let id = choice.get(&next).clone();
            world.published.remove(&id);
            world.run(&id);
            world.advance(&id);
            if again {
                let ended: Vec<TaskId> = world.runs.keys().cloned().collect();
                world.advance(earlier.get(&ended));
            }
        }
        prop_assert!(world.published.is_empty());
        prop_assert!(world.runs.values().all(|runs| *runs == 1), "{:?}", world.runs);
        let ended = match &world.ends[&end] {
            End::Succeeded(Content::Json(json)) => Some(text(json).parse::<i64>().unwrap()),
            _ => None,
        };
        prop_assert_eq!(ended, expected);
    }

    #[test]
    fn no_bytes_of_a_node_make_it_panic(bytes in vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        let _ = (FlowNode::decode(id("id"), &bytes), Stored::decode(&bytes), Summary::decode(&bytes), payload(b"1", &bytes));
    }
}
