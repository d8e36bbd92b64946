//! How many messages wait in a queue that is limited, as far as this process knows.
//!
//! The server counts what is ready, and this counts what has happened since it was asked. The nearer a
//! queue is to its limit, the sooner it is asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long an answer of the server is good for.
const FRESH: Duration = Duration::from_millis(100);
/// And for how many messages: this part of the room that there was. So each other publisher can
/// exceed the limit by such a part of it at most.
const PART: u64 = 16;
/// Delayed messages are counted in steps of this.
const STEP: Duration = Duration::from_millis(100);

/// One queue.
#[derive(Debug)]
pub(crate) struct Count {
    born: Instant,
    read: Option<Read>,
    /// On their way, without an answer.
    sending: u64,
    /// Sent since the server was last asked, so that they may not be in its answer.
    since: u64,
    /// Those of them that were sent since it was asked for the answer that is still to come.
    since_asked: u64,
    /// Nothing is or was on its way while the server counts, so that nothing is counted twice.
    is_alone: bool,
    /// Somebody waits for that: nobody is judged meanwhile.
    pub(crate) is_closed: bool,
    /// Sent with a delay: the server counts them when they are due. By the step in which that is.
    later: BTreeMap<u128, u64>,
    /// All of these.
    delayed: u64,
}

/// Whether what is known is enough to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    Enough,
    /// The server was asked while messages were on their way, so some may be counted twice: not enough to
    /// call a queue full.
    Rough,
    Missing,
}

#[derive(Debug)]
struct Read {
    asked: Instant,
    ready: u64,
    is_exact: bool,
    /// How many may be admitted before the server is asked again, and how many were.
    allowed: u64,
    used: u64,
}

impl Count {
    pub(crate) fn new(born: Instant) -> Self {
        let (sending, since, since_asked, delayed, later) = (0, 0, 0, 0, BTreeMap::new());
        Self { born, read: None, sending, since, since_asked, is_alone: false, is_closed: false, later, delayed }
    }

    fn step(&self, at: Instant) -> u128 {
        at.duration_since(self.born).as_millis() / STEP.as_millis()
    }

    /// How many wait now.
    pub(crate) fn waiting(&mut self, now: Instant) -> u64 {
        let step = self.step(now);
        while let Some(first) = self.later.first_entry().filter(|first| *first.key() < step) {
            self.delayed -= first.remove();
        }
        let ready = self.read.as_ref().map_or(0, |read| read.ready);
        ready + self.since + self.sending + self.delayed
    }

    /// Whether `more` messages of somebody who came at `came` can be judged by the limit `max`.
    pub(crate) fn judge(&mut self, more: u64, max: u64, came: Instant, now: Instant) -> Knowledge {
        let fits = self.waiting(now) + more <= max;
        let Some(read) = self.read.as_ref().filter(|_| !self.is_closed) else { return Knowledge::Missing };
        let is_recent = read.asked >= came;
        let is_fresh = now.duration_since(read.asked) < FRESH && read.used + more <= read.allowed;
        match () {
            () if fits && (is_recent || is_fresh) => Knowledge::Enough,
            () if is_recent && read.is_exact => Knowledge::Enough,
            () if is_recent => Knowledge::Rough,
            () => Knowledge::Missing,
        }
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.sending == 0
    }

    /// The server is being asked.
    pub(crate) fn asked(&mut self) {
        self.since_asked = 0;
        self.is_alone = self.is_idle();
    }

    /// It was asked at `asked` and has answered `ready`; no more than `max` may wait.
    pub(crate) fn answered(&mut self, asked: Instant, ready: u64, max: u64, now: Instant) {
        self.since = self.since_asked;
        self.read = Some(Read { asked, ready, is_exact: self.is_alone, allowed: 0, used: 0 });
        let room = max.saturating_sub(self.waiting(now));
        self.read.iter_mut().for_each(|read| read.allowed = room / PART);
    }

    /// Takes a place for one message that is about to be sent; with an error, how many wait.
    pub(crate) fn admit(&mut self, max: u64, now: Instant) -> Result<(), u64> {
        let waiting = self.waiting(now);
        if waiting >= max {
            return Err(waiting);
        }
        self.sending += 1;
        self.is_alone = false;
        self.read.iter_mut().for_each(|read| read.used += 1);
        Ok(())
    }

    /// One that was admitted is in the queue, or may be; `due` if it waits for its time.
    pub(crate) fn sent(&mut self, due: Option<Instant>) {
        self.sending -= 1;
        match due {
            Some(due) => {
                let step = self.step(due);
                *self.later.entry(step).or_default() += 1;
                self.delayed += 1;
            }
            None => {
                self.since += 1;
                self.since_asked += 1;
            }
        }
    }

    /// One that was admitted was not taken.
    pub(crate) fn refused(&mut self) {
        self.sending -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A count that the server has just told that `ready` wait.
    fn told(ready: u64, now: Instant) -> Count {
        let mut count = Count::new(now);
        count.asked();
        count.answered(now, ready, LIMIT, now);
        count
    }

    #[test]
    fn a_place_is_taken_before_the_message_is_sent_and_given_back_if_it_is_refused() {
        let now = Instant::now();
        let mut count = told(98, now);
        assert_eq!(
            [count.admit(LIMIT, now), count.admit(LIMIT, now), count.admit(LIMIT, now)],
            [Ok(()), Ok(()), Err(100)]
        );
        count.sent(None);
        assert_eq!(count.admit(LIMIT, now), Err(100));
        count.refused();
        assert_eq!(count.admit(LIMIT, now), Ok(()));
    }

    #[test]
    fn what_the_server_may_not_have_counted_is_counted_here() {
        let now = Instant::now();
        let mut count = told(10, now);
        (0..3).for_each(|_| count.admit(LIMIT, now).unwrap());
        count.sent(None);
        count.asked();
        count.sent(None);
        // One was sent before the question, one during it, and one is on its way.
        count.answered(now, 11, LIMIT, now);
        assert_eq!(count.waiting(now), 13);
        count.sent(None);
        count.asked();
        count.answered(now, 13, LIMIT, now);
        assert_eq!(count.waiting(now), 13, "nothing twice");
    }

    #[test]
    fn delayed_messages_wait_here_until_they_are_due() {
        let now = Instant::now();
        let mut count = told(0, now);
        (0..2).for_each(|_| count.admit(LIMIT, now).unwrap());
        count.sent(Some(now + millis(1_000)));
        count.sent(Some(now + millis(2_000)));
        count.asked();
        count.answered(now, 5, LIMIT, now);
        let table = [(0, 7), (999, 7), (1_100, 6), (1_999, 6), (2_100, 5), (9_000, 5)];
        for (after, expected) in table {
            assert_eq!(count.waiting(now + millis(after)), expected, "after {after} ms");
        }
    }

    #[test]
    fn the_server_is_asked_the_more_often_the_fuller_the_queue_is() {
        let start = Instant::now();
        let (came, later) = (start + millis(1), start + millis(50));
        let is_known = |count: &mut Count, more, came, now| count.judge(more, LIMIT, came, now) == Knowledge::Enough;
        assert!(!is_known(&mut Count::new(start), 1, start, start), "it was never asked");
        let mut count = told(LIMIT - 33, start);
        assert!(is_known(&mut count, 2, came, later) && !is_known(&mut count, 3, came, later), "a part of the room");
        count.admit(LIMIT, later).unwrap();
        assert!(is_known(&mut count, 1, came, later) && !is_known(&mut count, 2, came, later));
        assert!(!is_known(&mut count, 1, came, start + millis(100)), "it is too old");
        assert!(is_known(&mut count, 30, start, start + millis(100)), "who came before it can rely on it");
        assert!(!is_known(&mut told(LIMIT - 15, start), 1, came, later));
        assert!(!is_known(&mut told(LIMIT + 15, start), 1, came, later));
    }

    #[test]
    fn a_queue_is_called_full_only_by_an_exact_count() {
        let now = Instant::now();
        let judge = |count: &mut Count| count.judge(1, LIMIT, now, now);
        let mut count = told(LIMIT, now);
        assert_eq!(judge(&mut count), Knowledge::Enough);
        assert_eq!(count.judge(1, LIMIT, now + millis(1), now + millis(1)), Knowledge::Missing, "it was full before");

        let mut count = told(LIMIT - 2, now);
        count.admit(LIMIT, now).unwrap();
        count.asked();
        count.answered(now, LIMIT - 1, LIMIT, now);
        assert_eq!(judge(&mut count), Knowledge::Rough, "one may be counted twice");
        count.sent(None);
        count.asked();
        count.admit(LIMIT, now).unwrap_err();
        count.answered(now, LIMIT - 1, LIMIT, now);
        assert_eq!(judge(&mut count), Knowledge::Enough);
        count.admit(LIMIT, now).unwrap();
        assert_eq!(judge(&mut count), Knowledge::Enough, "what came after it is counted once");
        count.is_closed = true;
        assert_eq!(judge(&mut count), Knowledge::Missing);
    }
}
