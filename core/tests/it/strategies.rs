//! Arbitrary values for the properties.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use windlass_core::flow::{FlowPart, Input, Link, Shape, When};
use windlass_core::policy::FailureClass;
use windlass_core::{
    Backoff, Event, ExecutionPolicy, Failure, FailureKind, Message, Options, Priority, Record, Retention, RetryOn,
    State, TaskId, TaskName, Timestamp, Token, limits,
};

/// Spans of whole milliseconds, as they travel.
pub(crate) fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![0..10_u64, 0..u64::from(u32::MAX), any::<u64>()].prop_map(Duration::from_millis)
}

/// Spans that a backoff may have.
pub(crate) fn pause() -> impl Strategy<Value = Duration> {
    (0..=u64::try_from(limits::DELAY.as_millis()).unwrap()).prop_map(Duration::from_millis)
}

pub(crate) fn backoff() -> impl Strategy<Value = Backoff> {
    (0..3, pause(), 1.0..=1000.0_f64, pause(), 0.0..=1.0_f64).prop_map(|(kind, base, factor, cap, jitter)| {
        let backoff = match kind {
            0 => Backoff::fixed(cap),
            1 => Backoff::linear(base, cap),
            _ => Backoff::exponential(base, factor, cap),
        };
        backoff.with_jitter(jitter)
    })
}

pub(crate) fn retention() -> impl Strategy<Value = Retention> {
    prop_oneof![Just(Retention::None), Just(Retention::Forever), span().prop_map(Retention::from)]
}

pub(crate) fn retry_on() -> impl Strategy<Value = RetryOn> {
    any::<[bool; 3]>().prop_map(|[errors, timeouts, panics]| RetryOn { errors, timeouts, panics })
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

/// Texts of a name, as the documentation allows them.
pub(crate) fn name(charset: &'static str) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!("[{charset}]{{1,128}}"))
        .unwrap()
        .prop_filter("reserved", |name| !name.starts_with("amq."))
}

pub(crate) const TASK: &str = "A-Za-z0-9._:-";
pub(crate) const QUEUE: &str = "A-Za-z0-9._-";

pub(crate) fn task_id() -> impl Strategy<Value = TaskId> {
    prop_oneof![
        any::<(u64, [u8; 10])>().prop_map(|(millis, random)| TaskId::v7(millis, random)),
        name(TASK).prop_map(|id| TaskId::new(id).unwrap()),
    ]
}

/// Any text, with a liking for what has a meaning on the wire.
pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(prop_oneof![any::<char>().prop_map(String::from), "%|%0A|%25|%0D|\n|\r|=|0|é|😀"], 0..20)
        .prop_map(|parts| parts.concat())
}

/// Options as far as they travel in the envelope.
pub(crate) fn options() -> impl Strategy<Value = Options> {
    let priority = option::of(proptest::sample::select(Priority::ALL.to_vec()));
    let spans = (option::of(span()), option::of(span()), option::of(span()));
    let retries = (option::of(any::<u32>()), option::of(backoff()), option::of(retry_on()));
    let ends = (option::of(timestamp()), option::of(retention()), option::of(retention()));
    let headers = btree_map(name(QUEUE), text(), 0..4);
    (priority, spans, retries, ends, headers).prop_map(|(priority, spans, retries, ends, headers)| Options {
        priority,
        expires: spans.0,
        timeout: spans.1,
        soft_timeout: spans.2,
        max_retries: retries.0,
        backoff: retries.1,
        retry_on: retries.2,
        deadline: ends.0,
        status_ttl: ends.1,
        result_ttl: ends.2,
        headers,
        ..Options::default()
    })
}

pub(crate) fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

pub(crate) fn flow_part() -> impl Strategy<Value = FlowPart> {
    let shape = proptest::sample::select(vec![Shape::One, Shape::List, Shape::Tuple]);
    let when = proptest::sample::select(vec![When::Success, When::Failure, When::End]);
    let input = (any::<u32>(), shape).prop_map(|(places, shape)| Input { places, shape });
    let link = (task_id(), any::<u32>(), any::<u32>(), when);
    let link = link.prop_map(|(to, place, of, when)| Link { to, place, of, when });
    (task_id(), span(), option::of(input), vec(link, 0..3)).prop_map(|(flow, keep, input, next)| FlowPart {
        flow,
        keep,
        input,
        next,
    })
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let unknown = vec((name("a-z").prop_map(|name| format!("x-{name}")), text()), 0..3);
    let names = (task_id(), name(QUEUE), name(TASK));
    let flow = option::of(flow_part().prop_map(Box::new));
    (names, timestamp(), options(), option::of(span()), flow, unknown, payload()).prop_map(
        |((id, queue, task), enqueued_at, options, remember, flow, unknown, payload)| Message {
            enqueued_at,
            options,
            remember,
            flow,
            unknown,
            ..Message::new(id, queue.parse().unwrap(), TaskName::new(task).unwrap(), payload)
        },
    )
}

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    let kind = proptest::sample::select(vec![
        FailureKind::Error,
        FailureKind::Panic,
        FailureKind::Timeout,
        FailureKind::Arguments,
        FailureKind::Result,
        FailureKind::Unhandled,
        FailureKind::Undecodable,
        FailureKind::Lost,
        FailureKind::Snoozed,
    ]);
    (kind, text(), vec(text(), 0..3), any::<u32>(), option::of(text())).prop_map(
        |(kind, message, causes, attempt, location)| Failure {
            causes,
            location,
            ..Failure::new(kind, message, attempt)
        },
    )
}

pub(crate) fn state() -> impl Strategy<Value = State> {
    proptest::sample::select(State::ALL.to_vec())
}

/// A record as it comes back: retentions are not part of the bytes.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let known = (task_id(), any::<u64>(), state(), any::<u32>(), timestamp());
    (known, option::of(payload()), option::of(failure())).prop_map(
        |((id, token, state, attempt, at), result, failure)| Record {
            id,
            token: Token(token),
            state,
            attempt,
            at,
            result,
            failure,
            status_ttl: Retention::Forever,
            result_ttl: Retention::Forever,
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let class = prop_oneof![
        option::of(pause()).prop_map(|retry_after| FailureClass::Error { retry_after }),
        Just(FailureClass::Timeout),
        Just(FailureClass::Panic),
        Just(FailureClass::Permanent),
    ];
    prop_oneof![
        4 => Just(Event::Due),
        4 => any::<bool>().prop_map(|begun| Event::Claimed { begun }),
        1 => Just(Event::Succeeded),
        4 => class.prop_map(Event::Failed),
        2 => pause().prop_map(Event::Snoozed),
        1 => Just(Event::Cancelled),
        1 => Just(Event::Expired),
        2 => Just(Event::Released),
        2 => Just(Event::LeaseLost),
        2 => Just(Event::Unhandled),
        1 => Just(Event::Undecodable),
        1 => Just(Event::Replayed),
    ]
}

/// Policies with small limits, so that walks reach them.
pub(crate) fn policy() -> impl Strategy<Value = ExecutionPolicy> {
    let limits = (0..4_u32, 1..4_u32, 0..4_u32, 0..4_u32);
    (limits, backoff(), retry_on(), option::of(timestamp())).prop_map(
        |((max_retries, max_losses, max_snoozes, max_parks), backoff, retry_on, deadline)| ExecutionPolicy {
            max_retries,
            max_losses,
            max_snoozes,
            max_parks,
            backoff,
            retry_on,
            deadline,
            ..ExecutionPolicy::default()
        },
    )
}
