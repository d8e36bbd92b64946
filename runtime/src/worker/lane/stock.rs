//! What a lane has claimed: what waits for its turn, and the places that it waits for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_core::Delivery;

use super::share::Member;
use crate::worker::signal::TaskSignal;

/// A claimed message that waits for its turn.
pub(super) type Stocked = (Delivery, Arc<TaskSignal>);

#[derive(Debug)]
pub(super) struct Stock {
    state: Mutex<State>,
    /// Told when there is room for what the fetching waits for.
    pub(super) room: Notify,
    /// Told when something waits that no place has taken.
    pub(super) left: Notify,
    /// Where the places come from that several queues share.
    pub(super) member: Option<Member>,
}

#[derive(Debug)]
struct State {
    /// The next one first.
    waiting: VecDeque<Stocked>,
    /// When the next one became the next one.
    since: Instant,
    /// Places in which nothing runs.
    idle: usize,
    /// What is claimed and not yet ended, running or waiting for its turn.
    taken: usize,
    /// Tell of room as soon as no more than this is taken.
    wanted: Option<usize>,
    paused: bool,
    closed: bool,
}

/// A place in which one task runs at a time. It is free when the last clone of its Arc is dropped,
/// which for a blocking task that was given up is when its thread returns.
#[derive(Debug)]
pub(in crate::worker) struct Slot {
    stock: Arc<Stock>,
}

impl Slot {
    /// The place of a message that [`Stock::begin`] gave out.
    pub(super) fn new(stock: &Arc<Stock>) -> Arc<Self> {
        Arc::new(Self { stock: Arc::clone(stock) })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.stock.state();
        state.idle += 1;
        if !state.waiting.is_empty() {
            self.stock.left.notify_one();
        }
        self.stock.end(&mut state, 1);
    }
}

impl Stock {
    pub(super) fn new(places: usize, member: Option<Member>) -> Arc<Self> {
        let state = State {
            waiting: VecDeque::new(),
            since: Instant::now(),
            idle: places,
            taken: 0,
            wanted: None,
            paused: false,
            closed: false,
        };
        Arc::new(Self { state: Mutex::new(state), room: Notify::new(), left: Notify::new(), member })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some of what was taken has ended.
    fn end(&self, state: &mut State, count: usize) {
        state.taken -= count;
        if let Some(member) = &self.member {
            member.give_back(count);
        }
        if state.wanted.is_some_and(|wanted| state.taken <= wanted) {
            state.wanted = None;
            self.room.notify_one();
        }
    }

    /// How much can be taken up to `limit`. If that is less than `least`, `room` tells when it is not.
    pub(super) fn free(&self, limit: usize, least: usize) -> usize {
        let mut state = self.state();
        let free = limit.saturating_sub(state.taken);
        state.wanted = (free < least).then(|| limit.saturating_sub(least));
        free
    }

    /// Takes up what was fetched, behind what waits already. It is counted as taken; what it answers
    /// came too late and must be given back.
    pub(super) fn add(&self, fetched: Vec<Stocked>, now: Instant) -> Vec<Stocked> {
        let mut state = self.state();
        state.taken += fetched.len();
        if state.closed || state.paused {
            return fetched;
        }
        if state.waiting.is_empty() {
            state.since = now;
        }
        state.waiting.extend(fetched);
        Vec::new()
    }

    /// The next one for an idle place, which is then not idle any more.
    pub(super) fn begin(&self, now: Instant) -> Option<Stocked> {
        let mut state = self.state();
        if state.idle == 0 {
            return None;
        }
        let next = state.waiting.pop_front()?;
        state.idle -= 1;
        state.since = now;
        Some(next)
    }

    /// The next one for a place in which one has just ended. If there is none the place stays taken,
    /// until its slot is dropped.
    pub(super) fn next(&self, now: Instant) -> Option<Stocked> {
        let mut state = self.state();
        let next = state.waiting.pop_front()?;
        state.since = now;
        self.end(&mut state, 1);
        Some(next)
    }

    /// Since when the next one waits for a place, if there is one.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.waiting.is_empty()).then_some(state.since)
    }

    /// All that waits, if the next one has waited for so long.
    pub(super) fn overdue(&self, now: Instant, patience: Duration) -> Vec<Stocked> {
        let mut state = self.state();
        if now.duration_since(state.since) < patience { Vec::new() } else { state.waiting.drain(..).collect() }
    }

    /// All that waits. From here on nothing is taken up.
    pub(super) fn close(&self) -> Vec<Stocked> {
        let mut state = self.state();
        state.closed = true;
        state.waiting.drain(..).collect()
    }

    /// All that waits. Until [`Stock::resume`] nothing is taken up.
    pub(super) fn pause(&self) -> Vec<Stocked> {
        let mut state = self.state();
        state.paused = true;
        state.waiting.drain(..).collect()
    }

    pub(super) fn resume(&self) {
        self.state().paused = false;
    }

    /// Some of what was taken was given back.
    pub(super) fn gave_back(&self, count: usize) {
        self.end(&mut self.state(), count);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use windlass_core::message::wire::Malformed;
    use windlass_core::{Progress, QueueName, Receipt, TaskId, Token, Undecodable};

    use super::*;

    fn stocked(number: u64) -> Stocked {
        let id = TaskId::new("id").expect("a name");
        let receipt = Receipt { queue: QueueName::default(), id, token: Token(number) };
        let content = Err(Undecodable { malformed: Malformed::Newer { found: 2 }, bytes: Default::default() });
        (Delivery { receipt, progress: Progress::default(), content }, Arc::default())
    }

    fn number(stocked: Option<Stocked>) -> Option<u64> {
        stocked.map(|(delivery, _)| delivery.receipt.token.0)
    }

    fn is_told(notify: &Notify) -> bool {
        pin!(notify.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn places_are_given_out_once_and_served_in_order() {
        let (stock, now) = (Stock::new(2, None), Instant::now());
        assert!(stock.add((1..=4).map(stocked).collect(), now).is_empty());
        let slots = [1, 2].map(|expected| {
            assert_eq!(number(stock.begin(now)), Some(expected));
            Slot::new(&stock)
        });
        assert_eq!(number(stock.begin(now)), None, "no place is idle");
        assert_eq!([stock.next(now), stock.next(now), stock.next(now)].map(number), [Some(3), Some(4), None]);
        drop(slots);
        assert!(stock.add(vec![stocked(5)], now).is_empty());
        assert_eq!(number(stock.begin(now)), Some(5));
    }

    #[test]
    fn a_place_that_is_left_while_something_waits_is_told() {
        let (stock, now) = (Stock::new(1, None), Instant::now());
        stock.add(vec![stocked(1), stocked(2)], now);
        let slot = stock.begin(now).map(|_| Slot::new(&stock));
        assert!(!is_told(&stock.left));
        drop(slot);
        assert!(is_told(&stock.left));
        assert_eq!(number(stock.begin(now)), Some(2));
        drop(Slot::new(&stock));
        assert!(!is_told(&stock.left), "nothing waits");
    }

    #[test]
    fn room_is_told_once_there_is_as_much_as_is_wanted() {
        let (stock, now) = (Stock::new(1, None), Instant::now());
        stock.add((1..=5).map(stocked).collect(), now);
        assert_eq!(stock.free(6, 1), 1);
        assert_eq!(stock.free(6, 3), 1);
        let slot = stock.begin(now).map(|_| Slot::new(&stock));
        assert_eq!(number(stock.next(now)), Some(2));
        assert!(!is_told(&stock.room), "4 of 6 are taken");
        assert_eq!(number(stock.next(now)), Some(3));
        assert!(is_told(&stock.room));
        assert_eq!(stock.free(6, 3), 3);
        assert_eq!(stock.overdue(now, Duration::ZERO).len(), 2);
        stock.gave_back(2);
        drop(slot);
        assert_eq!(stock.free(6, 1), 6);
        assert!(!is_told(&stock.room), "nobody waits for it");
    }

    #[test]
    fn patience_is_counted_from_when_a_message_became_the_next() {
        let (stock, start) = (Stock::new(1, None), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(stock.waits_since(), None);
        stock.add(vec![stocked(1), stocked(2)], at(10));
        stock.add(vec![stocked(3)], at(20));
        assert_eq!(stock.waits_since(), Some(at(10)));
        assert_eq!(number(stock.begin(at(50))), Some(1));
        assert_eq!(stock.waits_since(), Some(at(50)));
        assert!(stock.overdue(at(149), Duration::from_millis(100)).is_empty());
        assert_eq!(stock.overdue(at(150), Duration::from_millis(100)).len(), 2);
        assert_eq!(stock.waits_since(), None);
    }

    #[test]
    fn what_comes_during_a_pause_is_answered_and_an_end_is_no_pause() {
        let (stock, now) = (Stock::new(1, None), Instant::now());
        stock.add(vec![stocked(1)], now);
        assert_eq!(stock.pause().len(), 1);
        assert_eq!(stock.add(vec![stocked(2)], now).len(), 1);
        stock.gave_back(2);
        stock.resume();
        assert!(stock.add(vec![stocked(3)], now).is_empty());
        assert_eq!(stock.close().len(), 1);
        stock.resume();
        assert_eq!(stock.add(vec![stocked(4)], now).len(), 1, "it has ended");
    }

    #[test]
    fn what_comes_after_the_end_is_answered() {
        let (stock, now) = (Stock::new(1, None), Instant::now());
        stock.add(vec![stocked(1), stocked(2)], now);
        assert_eq!(stock.close().len(), 2);
        assert_eq!(stock.add(vec![stocked(3)], now).len(), 1);
        assert_eq!(number(stock.begin(now)), None);
        stock.gave_back(3);
        assert_eq!(stock.free(4, 1), 4);
    }
}
