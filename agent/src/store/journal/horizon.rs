//! What is due next, for each lane (a branch to a destination) as far as it fits memory; the rest is in the index.
//!
//! A horizon holds **all** pending events of its lane whose due time and id lie below its
//! boundary, and none above. So the next due ones are always in memory, however long the backlog
//! is, and a look at it never walks the backlog. Only the follower changes horizons. Refuses to
//! read the index: the follower fills a horizon up when it runs low.
//!
//! **Room** is counted in *places*: an event takes one for each KiB of memory, or part of it. Half
//! of all room is guaranteed, to each lane the same *share* of it; the other half goes to who needs
//! it. When everything is used up, whatever a lane holds beyond its share leaves memory and stays in
//! the index, those due last first. So a lane nobody can deliver to takes nothing that another one
//! needs, and what is held grows with the lanes only once there are thousands of them. Filling stops
//! at three quarters, so that what is taken away is not filled in again at once, and a filling at
//! least doubles what a lane holds, so that there are few of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::size_of;
use std::sync::Arc;

use hookplane_journal::Position;

use crate::store::{EventRecord, PendingLane};

/// Places that one lane takes.
const MOST: usize = 16_384;
/// Below it, with more in the index, a horizon wants to be filled.
const LOW: usize = 1_024;
/// Places of all lanes, if these are not so many that each could not even have a few.
const MOST_TOGETHER: usize = 32_768;
const FEW: usize = 4;
const PLACE_BYTES: usize = 1_024;

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
    places: usize,
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
    of: HashMap<Arc<Lane>, Horizon>,
    /// Lane and due time of every event in memory.
    known: HashMap<String, (Arc<Lane>, u64)>,
    /// Lanes that hold little while the index has more.
    low: HashSet<Arc<Lane>>,
    /// In use.
    places: usize,
}

/// A lane that wants to be filled from its boundary on.
pub(super) struct Low {
    pub(super) lane: Arc<Lane>,
    pub(super) boundary: Due,
    /// Events to look for.
    pub(super) room: usize,
}

pub(super) fn due_of(event: &EventRecord) -> Due {
    let at = event.next_attempt_at.unwrap_or(event.created_at);
    (at, event.id.clone())
}

impl Horizons {
    /// A lane whose pending events are all in the index, the first of them due then.
    pub(super) fn outside(&mut self, lane: Lane, first: Due) {
        let lane = Arc::new(lane);
        self.of.entry(Arc::clone(&lane)).or_default().boundary = Some(first);
        self.note(&lane);
    }

    /// An event became pending, or is due at another time now.
    pub(super) fn insert(&mut self, waiting: Waiting) {
        self.remove(&waiting.event.id);
        let lane = self.shared(Lane::of(&waiting.event));
        let horizon = self.of.entry(Arc::clone(&lane)).or_default();
        let due = due_of(&waiting.event);
        if horizon.boundary.as_ref().is_some_and(|from| due >= *from) {
            return;
        }
        self.put(&lane, due, waiting);
        self.shrink(&lane, MOST);
        self.keep_within();
    }

    /// An event is not pending any more. Gives what was in memory about it.
    pub(super) fn remove(&mut self, event_id: &str) -> Option<Waiting> {
        let (lane, at) = self.known.remove(event_id)?;
        let horizon = self.of.get_mut(&lane)?;
        let removed = horizon.waiting.remove(&(at, event_id.to_owned()))?;
        let places = places(&removed.event);
        horizon.places -= places;
        self.places -= places;
        self.note(&lane);
        Some(removed)
    }

    /// The latest state of a pending event that is in memory.
    pub(super) fn get(&self, event_id: &str) -> Option<Arc<EventRecord>> {
        let (lane, at) = self.known.get(event_id)?;
        let waiting = &self.of.get(lane)?.waiting;
        let found = waiting.get(&(*at, event_id.to_owned()))?;
        Some(Arc::clone(&found.event))
    }

    /// Everything pending of a connection is stopped, in memory and outside.
    pub(super) fn remove_connection(&mut self, connection_id: &str) {
        let all = &mut self.places;
        self.of.retain(|lane, horizon| {
            let stays = lane.connection_id != connection_id;
            *all -= if stays { 0 } else { horizon.places };
            stays
        });
        self.known
            .retain(|_, (lane, _)| lane.connection_id != connection_id);
        self.low.retain(|lane| lane.connection_id != connection_id);
    }

    /// Pending events of a lane due by now, earliest first. Also says whether the follower
    /// is going to add some from the index.
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
        let more = outside && found.len() < limit && self.room(horizon).is_some();
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

    /// Lanes that run low while the index has more, each with its part of the room.
    pub(super) fn low(&self) -> Vec<Low> {
        let low = self.low.iter().filter_map(|lane| {
            let horizon = self.of.get(lane)?;
            Some(Low {
                lane: Arc::clone(lane),
                boundary: horizon.boundary.clone()?,
                room: self.room(horizon)?,
            })
        });
        low.collect()
    }

    /// All pending events from the old boundary up to the new one are these. Takes what fits the
    /// room, one in any case; the boundary is lowered to what does not.
    pub(super) fn fill(&mut self, low: &Low, found: Vec<Waiting>, boundary: Option<Due>) {
        let lane = &low.lane;
        let Some(horizon) = self.of.get_mut(lane) else {
            return;
        };
        horizon.boundary = boundary;
        let mut room = low.room;
        for (taken, waiting) in found.into_iter().enumerate() {
            let due = due_of(&waiting.event);
            let places = places(&waiting.event);
            if taken > 0 && places > room {
                self.of.entry(Arc::clone(lane)).or_default().boundary = Some(due);
                break;
            }
            room = room.saturating_sub(places);
            self.put(lane, due, waiting);
        }
        self.note(lane);
        self.keep_within();
    }

    fn put(&mut self, lane: &Arc<Lane>, due: Due, waiting: Waiting) {
        let places = places(&waiting.event);
        let horizon = self.of.entry(Arc::clone(lane)).or_default();
        horizon.places += places;
        self.places += places;
        self.known.insert(due.1.clone(), (Arc::clone(lane), due.0));
        horizon.waiting.insert(due, waiting);
    }

    /// The lane as its horizon keeps it, so that its events share it.
    fn shared(&self, lane: Lane) -> Arc<Lane> {
        let kept = self.of.get_key_value(&lane);
        kept.map_or_else(|| Arc::new(lane), |(kept, _)| Arc::clone(kept))
    }

    /// Forgets what is due last, and never what is due first.
    fn shrink(&mut self, lane: &Arc<Lane>, most: usize) {
        let Some(horizon) = self.of.get_mut(lane) else {
            return;
        };
        while horizon.places > most
            && horizon.waiting.len() > 1
            && let Some((due, waiting)) = horizon.waiting.pop_last()
        {
            let places = places(&waiting.event);
            horizon.places -= places;
            self.places -= places;
            self.known.remove(&due.1);
            horizon.boundary = Some(due);
        }
        self.note(lane);
    }

    /// When all room is used up, what is beyond the shares leaves memory.
    fn keep_within(&mut self) {
        if self.places <= self.together() {
            return;
        }
        let share = self.share();
        let above = self.of.iter().filter(|(_, one)| one.places > share);
        let above: Vec<_> = above.map(|(lane, _)| Arc::clone(lane)).collect();
        for lane in above {
            self.shrink(&lane, share);
        }
    }

    fn together(&self) -> usize {
        MOST_TOGETHER.max(FEW * self.of.len())
    }

    /// What every lane may hold in any case.
    fn share(&self) -> usize {
        (self.together() / 2 / self.of.len().max(1)).min(MOST)
    }

    /// What a horizon may be filled with; `None` when it is to stay as it is.
    fn room(&self, horizon: &Horizon) -> Option<usize> {
        let held = horizon.places;
        if horizon.boundary.is_none() || held >= LOW {
            return None;
        }
        let free = (self.together() / 4 * 3).saturating_sub(self.places);
        let part = held + free / self.low.len().max(1);
        let room = part.max(self.share()).min(MOST).saturating_sub(held);
        (room > 0 && room >= held).then_some(room)
    }

    /// Has the books follow what became of a horizon.
    fn note(&mut self, lane: &Arc<Lane>) {
        let Some(horizon) = self.of.get(lane) else {
            return;
        };
        if horizon.boundary.is_some() && horizon.places < LOW {
            self.low.insert(Arc::clone(lane));
            return;
        }
        self.low.remove(lane);
        if horizon.waiting.is_empty() && horizon.boundary.is_none() {
            self.of.remove(lane);
        }
    }
}

/// Places that an event takes, with what is kept beside it.
fn places(event: &EventRecord) -> usize {
    let ids = [
        &event.team_id,
        &event.request_id,
        &event.connection_id,
        &event.source_id,
        &event.destination_id,
    ];
    let texts = [
        &event.event_type,
        &event.error_code,
        &event.failure_message,
        &event.ignored_detail,
    ];
    let ids: usize = ids.iter().map(|text| text.len()).sum();
    let texts = texts.iter().filter_map(|text| text.as_ref());
    let texts: usize = texts.map(String::len).sum();
    // Its id stands in three places.
    let bytes = size_of::<EventRecord>()
        + size_of::<(Due, Waiting)>()
        + size_of::<(String, (Arc<Lane>, u64))>()
        + 3 * event.id.len()
        + ids
        + texts;
    bytes.div_ceil(PLACE_BYTES)
}

#[cfg(test)]
mod tests;
