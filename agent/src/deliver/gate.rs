//! What one destination bears: when a delivery to it may start, and what its end teaches.
//!
//! Owns the three mechanisms of a destination together (rate, concurrency,
//! circuit) and what its receiver asked for. A pure state machine: time and
//! randomness come in. Refuses to know events and sockets. Invariants: an event
//! that may not start is left alone, so no attempt is spent on waiting; at least
//! one delivery can always start again some time; a change of the destination's
//! configuration starts afresh.

mod breaker;
mod concurrency;
mod pace;

use std::time::Duration;

use breaker::Breaker;
pub use breaker::Circuit;
use concurrency::Concurrency;
pub(super) use pace::Pace;

use crate::config::RateLimit;

/// Since the start of the process, by a clock that never jumps.
pub(super) type Moment = Duration;

/// The longest that a `Retry-After` of 429 or 503 holds a destination back.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// What an ended delivery says about its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 2xx.
    Good,
    /// Another answer that concerns the message rather than the receiver, 404 for example.
    Answered,
    /// 429 or 408: there, but asking for less.
    Busy,
    /// 5xx, or no answer.
    Failed,
}

/// The end of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) verdict: Verdict,
    /// `Retry-After` of a receiver that is too busy.
    pub(super) hold: Option<Duration>,
}

/// A delivery that was let through. Given back with its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    began: Moment,
    generation: u64,
    /// Under way when it began, with it.
    beside: usize,
}

/// The configured bounds; `version` tells when they changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) version: u64,
    pub(super) max_in_flight: usize,
    pub(super) rate: Option<RateLimit>,
}

/// One destination.
#[derive(Debug)]
pub(super) struct Gate {
    version: u64,
    pace: Option<Pace>,
    concurrency: Concurrency,
    breaker: Breaker,
    held_until: Moment,
    in_flight: usize,
}

/// How it stands, for people. Moments are since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) circuit: Circuit,
    pub(super) open_since: Option<Moment>,
    pub(super) next_probe_at: Option<Moment>,
    pub(super) in_flight: usize,
    pub(super) limit: usize,
    /// By the rate limit or the receiver's wish.
    pub(super) held_until: Option<Moment>,
}

impl Gate {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            version: bounds.version,
            pace: bounds.rate.map(Pace::new),
            concurrency: Concurrency::new(bounds.max_in_flight),
            breaker: Breaker::default(),
            held_until: Moment::ZERO,
            in_flight: 0,
        }
    }

    /// Takes changed bounds over; true when they had changed. What is under way stays
    /// counted; what was learnt is forgotten, because the receiver may be another one now.
    pub(super) fn adapt(&mut self, bounds: Bounds) -> bool {
        if self.version == bounds.version {
            return false;
        }
        let generation = self.breaker.generation() + 1;
        *self = Self {
            in_flight: self.in_flight,
            breaker: Breaker::of_generation(generation),
            ..Self::new(bounds)
        };
        true
    }

    /// How many deliveries may start now.
    pub(super) fn room(&self, now: Moment) -> usize {
        if now < self.held_until {
            return 0;
        }
        let paced = self.pace.as_ref().map_or(usize::MAX, |pace| pace.room(now));
        let spare = self.concurrency.limit().saturating_sub(self.in_flight);
        spare.min(paced).min(self.breaker.room(now))
    }

    /// When time alone may make room; `None` when only the end of a delivery can, or there is room.
    pub(super) fn opens_at(&self, now: Moment) -> Option<Moment> {
        let pace = self.pace.as_ref().map_or(Moment::ZERO, Pace::ready_at);
        let probe = self.breaker.next_probe_at().unwrap_or(Moment::ZERO);
        let at = self.held_until.max(pace).max(probe);
        (at > now).then_some(at)
    }

    /// Counts a delivery in. Call it only while there is room.
    pub(super) fn begin(&mut self, now: Moment) -> Pass {
        self.in_flight += 1;
        if let Some(pace) = &mut self.pace {
            pace.take(now);
        }
        Pass {
            began: now,
            generation: self.breaker.begin(now),
            beside: self.in_flight,
        }
    }

    /// Counts a delivery out and learns from it. `draw` is a random number from 0 to 1.
    pub(super) fn end(&mut self, pass: Pass, ending: Ending, now: Moment, draw: f64) {
        // Whoever began first shared the receiver with those that came later.
        let used = self.in_flight.max(pass.beside);
        self.in_flight = self.in_flight.saturating_sub(1);
        let learnt = pass.generation >= self.breaker.eldest();
        if !learnt {
            return;
        }
        self.concurrency
            .learn(pass.began, now, ending.verdict, used);
        self.breaker
            .learn(pass.generation, ending.verdict, now, draw);
        if let Some(asked) = ending.hold {
            self.held_until = self.held_until.max(now + asked.min(LONGEST_HOLD));
        }
    }

    /// The delivery ended without a word: its task was dropped.
    pub(super) fn abandon(&mut self, pass: Pass) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.abandon(pass.generation);
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        let pace = self.pace.as_ref().map_or(Moment::ZERO, Pace::ready_at);
        let held = self.held_until.max(pace);
        Standing {
            circuit: self.breaker.circuit(),
            open_since: self.breaker.open_since(),
            next_probe_at: self.breaker.next_probe_at(),
            in_flight: self.in_flight,
            limit: self.concurrency.limit(),
            held_until: (held > now).then_some(held),
        }
    }
}

#[cfg(test)]
mod tests;
