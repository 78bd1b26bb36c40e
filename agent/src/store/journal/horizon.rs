//! What is due next, for each lane (a branch to a destination) as far as it fits memory; the rest is in the index.
//!
//! A horizon holds **all** pending events of its lane whose due time and id lie below its
//! boundary, and none above. So the next due ones are always in memory, however long the backlog
//! is, and a look at it never walks the backlog. Only the follower changes horizons. Refuses to
//! read the index: the follower fills a horizon up when it runs low.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hookplane_journal::Position;

use crate::store::{EventRecord, PendingLane};

/// Events of one lane in memory.
const MOST: usize = 1_024;
/// Below it, with more in the index, a horizon wants to be filled.
const LOW: usize = 256;
/// Events of all lanes in memory.
const MOST_TOGETHER: usize = 32_768;

/// Due time and id: the order in which events are sent.
pub(super) type Due = (u64, String);

/// Where the head and the payload of a request stand.
pub(super) type Place = (Position, Option<Position>);

#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) event: Arc<EventRecord>,
    /// `None`: to be asked of the index.
    pub(super) place: Option<Place>,
}

#[derive(Default)]
struct Horizon {
    waiting: BTreeMap<Due, Waiting>,
    /// From here on events are in the index only; `None` when there are no such events.
    boundary: Option<Due>,
}

/// A branch to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) destination_id: String,
    pub(super) connection_id: String,
}

impl Lane {
    pub(super) fn of(event: &EventRecord) -> Self {
        Self {
            destination_id: event.destination_id.clone(),
            connection_id: event.connection_id.clone(),
        }
    }

    pub(super) fn has(&self, event: &EventRecord) -> bool {
        self.destination_id == event.destination_id && self.connection_id == event.connection_id
    }
}

#[derive(Default)]
pub(super) struct Horizons {
    of: HashMap<Lane, Horizon>,
    /// Lane and due time of every event in memory.
    places: HashMap<String, (Lane, u64)>,
}

pub(super) fn due_of(event: &EventRecord) -> Due {
    let at = event.next_attempt_at.unwrap_or(event.created_at);
    (at, event.id.clone())
}

impl Horizons {
    /// A lane whose pending events are all in the index, the first of them due then.
    pub(super) fn outside(&mut self, lane: Lane, first: Due) {
        let horizon = self.of.entry(lane).or_default();
        horizon.boundary = Some(first);
    }

    /// An event became pending, or is due at another time now.
    pub(super) fn insert(&mut self, waiting: Waiting) {
        self.remove(&waiting.event.id);
        let due = due_of(&waiting.event);
        let lane = Lane::of(&waiting.event);
        let horizon = self.of.entry(lane.clone()).or_default();
        if horizon.boundary.as_ref().is_some_and(|from| due >= *from) {
            return;
        }
        self.places.insert(due.1.clone(), (lane, due.0));
        horizon.waiting.insert(due, waiting);
        if horizon.waiting.len() > MOST {
            horizon.shrink(MOST, &mut self.places);
        }
        if self.places.len() > MOST_TOGETHER {
            self.shrink_largest();
        }
    }

    /// An event is not pending any more. Gives what was in memory about it.
    pub(super) fn remove(&mut self, event_id: &str) -> Option<Waiting> {
        let (lane, at) = self.places.remove(event_id)?;
        let horizon = self.of.get_mut(&lane)?;
        let removed = horizon.waiting.remove(&(at, event_id.to_owned()));
        if horizon.waiting.is_empty() && horizon.boundary.is_none() {
            self.of.remove(&lane);
        }
        removed
    }

    /// Everything pending of a connection is stopped, in memory and outside.
    pub(super) fn remove_connection(&mut self, connection_id: &str) {
        self.of
            .retain(|lane, _| lane.connection_id != connection_id);
        self.places
            .retain(|_, (lane, _)| lane.connection_id != connection_id);
    }

    /// Pending events of a lane due by now, earliest first. Also says whether there may
    /// be more of them in the index.
    pub(super) fn due(
        &self,
        lane: &Lane,
        now: u64,
        limit: usize,
        wanted: impl Fn(&EventRecord) -> bool,
    ) -> (Vec<Waiting>, bool) {
        let Some(horizon) = self.of.get(lane) else {
            return (Vec::new(), false);
        };
        let due = horizon.waiting.iter().take_while(|(due, _)| due.0 <= now);
        let found: Vec<Waiting> = due
            .map(|(_, waiting)| waiting)
            .filter(|waiting| wanted(&waiting.event))
            .take(limit)
            .cloned()
            .collect();
        let outside = horizon.boundary.as_ref().is_some_and(|from| from.0 <= now);
        let more = outside && found.len() < limit && horizon.waiting.len() < LOW;
        (found, more)
    }

    pub(super) fn lanes(&self) -> Vec<PendingLane> {
        let first = |horizon: &Horizon| {
            let first = horizon.waiting.keys().next();
            first.or(horizon.boundary.as_ref()).map(|due| due.0)
        };
        let known = self.of.iter().filter_map(|(lane, horizon)| {
            Some(PendingLane {
                destination_id: lane.destination_id.clone(),
                connection_id: lane.connection_id.clone(),
                next_attempt_at: first(horizon)?,
            })
        });
        known.collect()
    }

    /// Lanes that run low while the index has more, with the boundary and the room.
    pub(super) fn low(&self) -> Vec<(Lane, Due, usize)> {
        let room = MOST_TOGETHER.saturating_sub(self.places.len());
        let low = self.of.iter().filter_map(|(lane, horizon)| {
            let boundary = horizon.boundary.clone()?;
            let held = horizon.waiting.len();
            if held >= LOW {
                return None;
            }
            // An empty one gets something in any case.
            let room = (MOST - LOW).min(room).max(usize::from(held == 0));
            (room > 0).then(|| (lane.clone(), boundary, room))
        });
        low.collect()
    }

    /// All pending events from the old boundary up to the new one are these.
    pub(super) fn fill(&mut self, lane: &Lane, found: Vec<Waiting>, boundary: Option<Due>) {
        let Some(horizon) = self.of.get_mut(lane) else {
            return;
        };
        horizon.boundary = boundary;
        for waiting in found {
            let due = due_of(&waiting.event);
            let place = (lane.clone(), due.0);
            self.places.insert(due.1.clone(), place);
            horizon.waiting.insert(due, waiting);
        }
        if horizon.waiting.is_empty() && horizon.boundary.is_none() {
            self.of.remove(lane);
        }
    }

    fn shrink_largest(&mut self) {
        let largest = self.of.values_mut().max_by_key(|one| one.waiting.len());
        if let Some(horizon) = largest {
            let half = horizon.waiting.len() / 2;
            horizon.shrink(half, &mut self.places);
        }
    }
}

impl Horizon {
    /// Forgets what is due last.
    fn shrink(&mut self, most: usize, places: &mut HashMap<String, (Lane, u64)>) {
        while self.waiting.len() > most {
            let Some((due, _)) = self.waiting.pop_last() else {
                return;
            };
            places.remove(&due.1);
            self.boundary = Some(due);
        }
    }
}
