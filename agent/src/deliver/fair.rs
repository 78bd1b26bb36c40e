//! Who goes next when not all can: destinations in turn, and within one its
//! branches in turn. Pure; knows names and numbers only.
//!
//! Invariants: whoever waits has its turn after everyone else who waits had one;
//! no destination can take the last places of the agent, however much it is
//! owed; what is remembered is one name per destination that waits.

use std::collections::{BTreeSet, HashMap};

/// How many times the free places one destination may hold.
const SHARE: usize = 4;
/// The part of all places that is kept for destinations with nothing under way.
const KEPT: usize = 4;

/// Remembers who was served last.
#[derive(Debug, Default)]
pub(super) struct Turns {
    destination: Option<String>,
    lanes: HashMap<String, String>,
}

impl Turns {
    /// Destinations, the one after the last served first.
    pub(super) fn destinations<T>(&self, waiting: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
        rotated(waiting, self.destination.as_deref(), id)
    }

    /// Lanes of a destination, the one after the last served first.
    pub(super) fn lanes<T>(
        &self,
        destination_id: &str,
        waiting: Vec<T>,
        id: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        let last = self.lanes.get(destination_id).map(String::as_str);
        rotated(waiting, last, id)
    }

    pub(super) fn served(&mut self, destination_id: &str, lane: &str) {
        self.destination = Some(destination_id.to_owned());
        self.lanes
            .insert(destination_id.to_owned(), lane.to_owned());
    }

    /// Forgets destinations that wait no more.
    pub(super) fn keep(&mut self, waiting: &BTreeSet<&str>) {
        self.lanes.retain(|id, _| waiting.contains(id.as_str()));
    }
}

/// What a destination that holds `in_flight` may take of the `free` among all `places`:
/// a few times what it leaves to others, and the last ones only as its first.
pub(super) fn share(in_flight: usize, free: usize, places: usize) -> usize {
    let open = free.saturating_sub(places / KEPT);
    // Each place taken leaves one less: x <= SHARE * (open - taken), x = in_flight + taken.
    let more = open.saturating_mul(SHARE).saturating_sub(in_flight) / (SHARE + 1);
    if in_flight == 0 {
        more.max(usize::from(free > 0))
    } else {
        more
    }
}

/// Items of several lists, one of each in turn.
pub(super) fn in_turn<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut mixed = Vec::new();
    while !lists.is_empty() {
        lists.retain_mut(|list| match list.next() {
            Some(item) => {
                mixed.push(item);
                true
            }
            None => false,
        });
    }
    mixed
}

/// Sorted by id, starting after `last`.
fn rotated<T>(mut waiting: Vec<T>, last: Option<&str>, id: impl Fn(&T) -> &str) -> Vec<T> {
    waiting.sort_by(|a, b| id(a).cmp(id(b)));
    if let Some(last) = last {
        let start = waiting.partition_point(|one| id(one) <= last);
        waiting.rotate_left(start);
    }
    waiting
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    #[test]
    fn everyone_who_waits_is_served_before_anyone_is_served_again() {
        let mut turns = Turns::default();
        let names = ["des_c", "des_a", "des_b"];
        let mut served = Vec::new();
        for _ in 0..6 {
            let first = turns.destinations(names.to_vec(), |name| name)[0];
            turns.served(first, "web_1");
            served.push(first);
        }
        assert_eq!(
            served,
            ["des_a", "des_b", "des_c", "des_a", "des_b", "des_c"]
        );
        assert_eq!(
            turns.lanes("des_a", vec!["web_2", "web_1"], |name| name),
            ["web_2", "web_1"]
        );
        turns.keep(&BTreeSet::from(["des_b"]));
        assert_eq!(turns.lanes.len(), 1, "who waits no more is remembered");
    }

    #[test]
    fn lists_are_mixed_one_by_one() {
        assert_eq!(in_turn(vec![vec![1, 2, 3], vec![], vec![4]]), [1, 4, 2, 3]);
    }

    proptest! {
        #[test]
        fn greedy_destinations_always_leave_room_for_newcomers(
            places in 64_usize..2_000, order in prop::collection::vec(0_usize..8, 0..200),
        ) {
            let mut held = [0_usize; 8];
            for who in order {
                let free = places - held.iter().sum::<usize>();
                held[who] += share(held[who], free, places);
            }
            // As many newcomers as places are kept: each gets its first.
            for newcomer in 0..places / KEPT - 8 {
                let free = places - held.iter().sum::<usize>() - newcomer;
                prop_assert!(share(0, free, places) > 0, "{held:?} leave {free} of {places}");
            }
        }

        #[test]
        fn nobody_is_given_more_than_there_is(
            in_flight in 0_usize..5_000, free in 0_usize..5_000, more in 0_usize..5_000,
        ) {
            prop_assert!(share(in_flight, free, free + more) <= free);
        }
    }
}
