//! Places that all queues of a worker share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::order::{QueueOrder, Rival, next};

/// The places, and who has how many.
#[derive(Debug)]
struct Share {
    order: QueueOrder,
    state: Mutex<State>,
    /// Tells each member that it was given places.
    given: Vec<Notify>,
}

#[derive(Debug)]
struct State {
    free: usize,
    rivals: Vec<Rival>,
    hands: Vec<Hand>,
}

#[derive(Debug)]
struct Hand {
    /// Most places that it may have.
    most: usize,
    /// What it has, used or not.
    held: usize,
    /// What it was given and has not yet taken.
    given: usize,
    wants: bool,
}

/// One queue among those that share places.
#[derive(Debug, Clone)]
pub(in crate::worker) struct Member {
    share: Arc<Share>,
    index: usize,
}

/// The members of a share of `total` places, one for each weight and most places that it may have.
/// All are taken to have something at first, so that none takes everything before the others ask.
pub(in crate::worker) fn share(order: QueueOrder, total: usize, queues: &[(u32, usize)]) -> Vec<Member> {
    let rivals = queues.iter().map(|(weight, _)| Rival { weight: *weight, hungry: true, owed: 0 });
    let hands = queues.iter().map(|(_, most)| Hand { most: *most, held: 0, given: 0, wants: true });
    let state = State { free: total, rivals: rivals.collect(), hands: hands.collect() };
    let given = queues.iter().map(|_| Notify::new()).collect();
    let share = Arc::new(Share { order, state: Mutex::new(state), given });
    share.hand_out(&mut share.state());
    (0..queues.len()).map(|index| Member { share: Arc::clone(&share), index }).collect()
}

impl Share {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives each free place to somebody. A member that has just asked a store gets places as well,
    /// which it uses or leaves when that has answered; so the order holds over round trips.
    fn hand_out(&self, state: &mut State) {
        while state.free > 0 {
            for (rival, hand) in state.rivals.iter_mut().zip(&state.hands) {
                rival.hungry = hand.wants && hand.held < hand.most;
            }
            let Some(index) = next(self.order, &mut state.rivals) else { return };
            state.free -= 1;
            state.hands[index].held += 1;
            state.hands[index].given += 1;
            self.given[index].notify_one();
        }
    }
}

impl Member {
    /// Takes up to `most` of the places that are its own now; says that it has something to do.
    pub(super) fn take(&self, most: usize) -> usize {
        let mut state = self.share.state();
        state.hands[self.index].wants = true;
        self.share.hand_out(&mut state);
        let hand = &mut state.hands[self.index];
        let taken = hand.given.min(most);
        hand.given -= taken;
        taken
    }

    /// Waits until it was given something.
    pub(super) async fn given(&self) {
        self.share.given[self.index].notified().await;
    }

    /// Says that it has nothing to do, and leaves what it was given to the others.
    pub(super) fn rest(&self) {
        let mut state = self.share.state();
        let hand = &mut state.hands[self.index];
        let left = std::mem::take(&mut hand.given);
        hand.wants = false;
        hand.held -= left;
        state.rivals[self.index].owed = 0;
        state.free += left;
        self.share.hand_out(&mut state);
    }

    /// Gives back places that it had taken.
    pub(super) fn give_back(&self, count: usize) {
        if count == 0 {
            return;
        }
        let mut state = self.share.state();
        state.hands[self.index].held -= count;
        state.free += count;
        self.share.hand_out(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_each_gets_its_part() {
        let members = share(QueueOrder::Weighted, 8, &[(3, 100), (1, 100)]);
        assert_eq!([members[0].take(100), members[1].take(100)], [6, 2]);
        assert_eq!([members[0].take(100), members[1].take(100)], [0, 0]);
    }

    #[test]
    fn what_one_leaves_another_uses() {
        let members = share(QueueOrder::Weighted, 8, &[(3, 100), (1, 100)]);
        assert_eq!(members[1].take(100), 2);
        members[0].rest();
        assert_eq!(members[1].take(100), 6, "no place is idle because another queue is empty");
        assert_eq!(members[0].take(100), 0);
        members[1].give_back(1);
        assert_eq!(members[0].take(100), 1, "it has something again");
    }

    #[test]
    fn strict_goes_to_the_first_even_while_it_asks_its_store() {
        let members = share(QueueOrder::Strict, 2, &[(2, 100), (1, 100)]);
        assert_eq!(members[0].take(100), 2);
        members[0].give_back(1);
        assert_eq!(members[1].take(100), 0, "the first has not said that it has nothing");
        assert_eq!(members[0].take(100), 1);
        members[0].give_back(1);
        members[0].rest();
        assert_eq!(members[1].take(100), 1);
    }

    #[test]
    fn nobody_has_more_than_it_may_or_more_than_there_is() {
        let members = share(QueueOrder::Strict, 5, &[(2, 3), (1, 100)]);
        assert_eq!([members[0].take(2), members[0].take(100)], [2, 1]);
        assert_eq!(members[0].take(100), 0, "it has as many as its concurrency");
        assert_eq!(members[1].take(100), 2);
        members[1].give_back(2);
        members[0].give_back(3);
        assert_eq!([members[0].take(100), members[1].take(100)], [3, 2]);
    }
}
