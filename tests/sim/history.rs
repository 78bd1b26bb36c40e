//! What happened in a run, in order, with the simulated time of each thing.
//!
//! The judges read it, a failing seed prints its end, and its hash says whether two runs of
//! one seed were the same.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unix milliseconds at the beginning of every run.
pub(crate) const BEGINNING: u64 = 1_790_000_000_000;
/// Lines shown of a run that failed.
const SHOWN: usize = 60;

/// Milliseconds since the beginning of the run.
pub(crate) type At = u64;

/// What a receiver did with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reception {
    /// 2xx at once.
    Good,
    /// Taken and answered 2xx, after a while.
    Slow,
    /// Another answer, with how many seconds to wait.
    Refused(u16, Option<u32>),
    /// Taken and never answered.
    Hung,
    /// Taken, and the connection closed without an answer.
    Cut,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact {
    /// A sender was told something, or nothing (`None`).
    Answered {
        message: String,
        began: At,
        status: Option<u16>,
        request_id: Option<String>,
    },
    Arrived {
        receiver: &'static str,
        message: String,
        event_id: String,
        attempt: u32,
        reception: Reception,
    },
    /// The agent took up its work; its store was whole.
    AgentUp,
    /// The store did not open; a supervisor tries again.
    NotStarted(String),
    /// The agent ended, in order or not.
    AgentDown(&'static str),
    /// From now on `a` and `b` do not hear each other well.
    LinkBad(&'static str, &'static str),
    LinkGood(&'static str, &'static str),
    DiskBad(&'static str),
    DiskGood,
    ReceiverDown(&'static str),
    ReceiverUp(&'static str),
    Configured(u64, &'static str),
    ControlPlaneDown,
    ControlPlaneUp,
}

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<(At, Fact)>>>);

impl History {
    /// Adds what happens now, on a host of the simulation.
    pub(crate) fn add(&self, fact: Fact) {
        let at = now();
        self.add_at(at, fact);
    }

    /// Adds what is done to the simulation from outside.
    pub(crate) fn add_at(&self, at: At, fact: Fact) {
        self.lock().push((at, fact));
    }

    pub(crate) fn facts(&self) -> Vec<(At, Fact)> {
        self.lock().clone()
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lock().hash(&mut hasher);
        hasher.finish()
    }

    /// Where another history is another.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (self.facts(), other.facts());
        let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let (ours, theirs) = (ours.get(same), theirs.get(same));
        (ours != theirs).then(|| format!("once {ours:?}, once {theirs:?}"))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(At, Fact)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds of the present host's run.
pub(crate) fn now() -> At {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.lock();
        // The alternate form is the whole.
        let shown = if f.alternate() { facts.len() } else { SHOWN };
        let from = facts.len().saturating_sub(shown);
        for (at, fact) in &facts[from..] {
            writeln!(f, "  {:>7} ms  {fact:?}", at)?;
        }
        Ok(())
    }
}
