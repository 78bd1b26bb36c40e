//! The circuit breaker of a destination.
//!
//! Closed: deliveries go out. Open, after too many failures: nothing goes out
//! until a moment that moves away with each failure in a row. Half open: one
//! delivery at a time, whose end decides. Never disables: it always probes again.
//!
//! Invariant: only deliveries that began in the present state have a say, told
//! by its generation; those that began before it opened change nothing.

use std::time::Duration;

use super::{Moment, Verdict};

/// Failures in a row that open it.
const IN_A_ROW: u32 = 10;
/// Or this share of the latest outcomes, once there are enough of them.
const LATEST: u32 = 32;
const ENOUGH: u32 = 20;
const BAD_SHARE: f64 = 0.75;
/// First wait, doubled with each opening in a row up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const JITTER: f64 = 0.2;
/// Good probes in a row that close it.
const PROBES: u32 = 2;
/// Good deliveries after closing that make the next wait short again.
const HEALED: u32 = 20;

/// The state in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    generation: u64,
    /// Generations before this belong to another configuration.
    eldest: u64,
    /// Openings in a row.
    openings: u32,
}

#[derive(Clone, Debug)]
enum State {
    Closed(Outcomes),
    Open {
        since: Moment,
        until: Moment,
        /// Under way since the wait is over.
        probing: bool,
        good: u32,
    },
}

/// The latest outcomes, newest in the lowest bit; a set bit is a failure.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    failures: u32,
    count: u32,
    in_a_row: u32,
    good: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::of_generation(0)
    }
}

impl Breaker {
    pub(super) fn of_generation(generation: u64) -> Self {
        Self {
            state: State::Closed(Outcomes::default()),
            generation,
            eldest: generation,
            openings: 0,
        }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn eldest(&self) -> u64 {
        self.eldest
    }

    pub(super) fn room(&self, now: Moment) -> usize {
        match &self.state {
            State::Closed(_) => usize::MAX,
            State::Open { until, probing, .. } => usize::from(now >= *until && !probing),
        }
    }

    /// Gives the generation that the delivery belongs to.
    pub(super) fn begin(&mut self, now: Moment) -> u64 {
        if let State::Open { until, probing, .. } = &mut self.state
            && now >= *until
        {
            *probing = true;
        }
        self.generation
    }

    pub(super) fn learn(&mut self, generation: u64, verdict: Verdict, now: Moment, draw: f64) {
        if generation != self.generation {
            return;
        }
        let failed = verdict == Verdict::Failed;
        match &mut self.state {
            State::Closed(outcomes) => {
                outcomes.add(failed);
                if outcomes.are_bad() {
                    self.open(now, now, draw);
                } else if outcomes.good >= HEALED {
                    self.openings = 0;
                }
            }
            State::Open { since, .. } if failed => {
                let since = *since;
                self.open(since, now, draw);
            }
            State::Open { probing, good, .. } => {
                *probing = false;
                *good += 1;
                if *good >= PROBES {
                    self.generation += 1;
                    self.state = State::Closed(Outcomes::default());
                }
            }
        }
    }

    /// A probe that never ended frees its place.
    pub(super) fn abandon(&mut self, generation: u64) {
        if let State::Open { probing, .. } = &mut self.state
            && generation == self.generation
        {
            *probing = false;
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        match &self.state {
            State::Closed(_) => Circuit::Closed,
            State::Open { probing, good, .. } if *probing || *good > 0 => Circuit::HalfOpen,
            State::Open { .. } => Circuit::Open,
        }
    }

    pub(super) fn open_since(&self) -> Option<Moment> {
        match &self.state {
            State::Closed(_) => None,
            State::Open { since, .. } => Some(*since),
        }
    }

    pub(super) fn next_probe_at(&self) -> Option<Moment> {
        match &self.state {
            State::Closed(_) => None,
            State::Open { until, .. } => Some(*until),
        }
    }

    fn open(&mut self, since: Moment, now: Moment, draw: f64) {
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.openings.min(16));
        let draw = if draw.is_finite() {
            draw.clamp(0.0, 1.0)
        } else {
            0.5
        };
        let wait = wait
            .min(LONGEST_WAIT)
            .mul_f64(1.0 - JITTER + 2.0 * JITTER * draw);
        self.openings = self.openings.saturating_add(1);
        self.generation += 1;
        self.state = State::Open {
            since,
            until: now + wait,
            probing: false,
            good: 0,
        };
    }
}

impl Outcomes {
    fn add(&mut self, failed: bool) {
        self.failures = (self.failures << 1) | u32::from(failed);
        self.count = (self.count + 1).min(LATEST);
        if failed {
            self.in_a_row += 1;
        } else {
            self.in_a_row = 0;
            self.good += 1;
        }
    }

    fn are_bad(&self) -> bool {
        let share = f64::from(self.failures.count_ones()) / f64::from(self.count.max(1));
        self.in_a_row >= IN_A_ROW || (self.count >= ENOUGH && share >= BAD_SHARE)
    }
}
