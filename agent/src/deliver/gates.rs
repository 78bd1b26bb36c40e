//! The gates of all destinations, shared by the scheduler and those who look on.
//!
//! Owns the one lock over them and the clock they run by. Invariant: whoever
//! enters gives back, even when the delivery's task is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::gate::{Bounds, Circuit, Ending, Gate, Moment, Pass, Standing};
use super::released::Released;
use crate::clock::SharedClock;
use crate::config::{Configuration, Destination};
use crate::store::EventRecord;

/// The gate of each destination that had something to deliver.
pub struct Gates {
    began: Instant,
    clock: SharedClock,
    gates: Mutex<HashMap<String, Entry>>,
    /// Held events that may pass all the same.
    pub(super) released: Released,
}

struct Entry {
    team_id: String,
    gate: Gate,
    disable_requested_at: Option<u64>,
}

/// What may start at a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) free: usize,
    pub(super) in_flight: usize,
    /// When time alone may make room.
    pub(super) opens_in: Option<Moment>,
}

/// A place in a gate, left by [`Passage::leave`] or by being dropped.
pub(super) struct Passage {
    gates: Arc<Gates>,
    destination_id: String,
    pass: Option<Pass>,
}

/// How a destination stands, for people. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationStanding {
    pub team_id: String,
    pub destination_id: String,
    pub circuit: Circuit,
    /// `None` while closed.
    pub open_since: Option<u64>,
    pub next_probe_at: Option<u64>,
    pub in_flight: usize,
    /// Deliveries at once, found out by trying.
    pub limit: usize,
    /// Held back by the rate limit or the receiver's `Retry-After`.
    pub held_until: Option<u64>,
    /// The receiver's last `webhook-delivery: disable`.
    pub disable_requested_at: Option<u64>,
}

impl Gates {
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            began: Instant::now(),
            clock,
            gates: Mutex::default(),
            released: Released::default(),
        }
    }

    /// Lets one held event through, for one try. False when too many wait for theirs.
    #[must_use]
    pub fn release(&self, event: &EventRecord) -> bool {
        self.released.add(event)
    }

    /// How destinations stand: those held back first, then the busiest; at most `most`.
    #[must_use]
    pub fn standings(&self, most: usize) -> Vec<DestinationStanding> {
        let (now, wall) = (self.now(), self.clock.now_millis());
        let mut found: Vec<DestinationStanding> = self
            .lock()
            .iter()
            .map(|(id, entry)| entry.told(id, now, wall))
            .collect();
        found.sort_by(|a, b| {
            let rank = |one: &DestinationStanding| {
                let open = one.circuit != Circuit::Closed || one.disable_requested_at.is_some();
                (!open, usize::MAX - one.in_flight)
            };
            (rank(a), &a.destination_id).cmp(&(rank(b), &b.destination_id))
        });
        found.truncate(most);
        found
    }

    /// Forgets destinations that are configured no more.
    pub(super) fn forget_missing(&self, configuration: &Configuration) {
        self.lock().retain(|id, entry| {
            configuration.destinations.contains_key(id) || entry.gate.in_flight() > 0
        });
    }

    pub(super) fn room(&self, to: &Destination) -> Room {
        let now = self.now();
        let mut gates = self.lock();
        let gate = &entry(&mut gates, to).gate;
        Room {
            free: gate.room(now),
            in_flight: gate.in_flight(),
            opens_in: gate.opens_at(now).map(|at| at - now),
        }
    }

    /// `None` when there is no room any more.
    pub(super) fn enter(self: &Arc<Self>, to: &Destination) -> Option<Passage> {
        let now = self.now();
        let mut gates = self.lock();
        let gate = &mut entry(&mut gates, to).gate;
        (gate.room(now) > 0).then(|| Passage {
            gates: Arc::clone(self),
            destination_id: to.id.clone(),
            pass: Some(gate.begin(now)),
        })
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn told(&self, id: &str, now: Moment, wall: u64) -> DestinationStanding {
        let Standing {
            circuit,
            open_since,
            next_probe_at,
            in_flight,
            limit,
            held_until,
        } = self.gate.standing(now);
        let millis = |span: Moment| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let at = |moment: Moment| match moment.checked_sub(now) {
            Some(ahead) => wall.saturating_add(millis(ahead)),
            None => wall.saturating_sub(millis(now - moment)),
        };
        DestinationStanding {
            team_id: self.team_id.clone(),
            destination_id: id.to_owned(),
            circuit,
            open_since: open_since.map(at),
            next_probe_at: next_probe_at.map(at),
            in_flight,
            limit,
            held_until: held_until.map(at),
            disable_requested_at: self.disable_requested_at,
        }
    }
}

impl Passage {
    /// The delivery ended; `draw` is a random number from 0 to 1. Tells the circuit that changed by it.
    pub(super) fn leave(
        mut self,
        ending: Ending,
        disable_requested: bool,
        draw: f64,
    ) -> Option<Circuit> {
        let pass = self.pass.take()?;
        let now = self.gates.now();
        let wall = self.gates.clock.now_millis();
        let mut gates = self.gates.lock();
        let entry = gates.get_mut(&self.destination_id)?;
        let before = entry.gate.standing(now).circuit;
        entry.gate.end(pass, ending, now, draw);
        if disable_requested {
            entry.disable_requested_at = Some(wall);
        }
        let after = entry.gate.standing(now).circuit;
        (after != before).then_some(after)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        if let Some(entry) = self.gates.lock().get_mut(&self.destination_id) {
            entry.gate.abandon(pass);
        }
    }
}

/// The gate by its present configuration.
fn entry<'a>(gates: &'a mut HashMap<String, Entry>, to: &Destination) -> &'a mut Entry {
    let bounds = Bounds {
        version: to.version,
        max_in_flight: to.max_in_flight,
        rate: to.rate,
    };
    let entry = gates.entry(to.id.clone()).or_insert_with(|| Entry {
        team_id: to.team_id.clone(),
        gate: Gate::new(bounds),
        disable_requested_at: None,
    });
    if entry.gate.adapt(bounds) {
        // A person looked at it.
        entry.disable_requested_at = None;
    }
    entry
}
