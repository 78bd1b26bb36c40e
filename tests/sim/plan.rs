//! What a seed decides: who sends what and when, what goes wrong and for how long.
//!
//! Drawn whole before the run, so that nothing that happens in it changes what comes.
//! Invariant: every fault has ended at `HEALED`; from then on everything works.

mod faults;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::chance;
use crate::history::{At, Reception};

pub(crate) use faults::{AGENT, Action, AgentEnd, CONTROL_PLANE, PROVIDER};

/// From here on nothing goes wrong any more.
pub(crate) const HEALED: At = 16_000;
/// The last message is sent for the first time before this.
const LAST_MESSAGE: At = 14_000;

/// Always does its work at once.
pub(crate) const STEADY: &str = "steady";
/// Does what the seed says.
pub(crate) const FAULTY: &str = "faulty";
/// Its connection is made during the run.
pub(crate) const LATER: &str = "later";

pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) messages: Vec<Message>,
    /// By time.
    pub(crate) actions: Vec<(At, Action)>,
    /// How the faulty receiver behaves until when, by time.
    pub(crate) moods: Vec<(At, Mood)>,
}

/// One event of a provider.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) at: At,
    pub(crate) bytes: usize,
    pub(crate) kind: Kind,
    /// Sent once more, though it was acknowledged.
    pub(crate) again: Option<At>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Two at once.
    Twice,
    /// Broken off within its body, then sent whole.
    BrokenOff,
    /// With a signature of somebody else.
    Forged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Always(Reception),
    /// Well three times out of four.
    Now(Reception),
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let random = &mut chance::stream(seed, 2);
        let count = random.random_range(12..32);
        Self {
            seed,
            messages: (0..count).map(|number| message(number, random)).collect(),
            moods: moods(random),
            actions: faults::draw(random),
        }
    }

    /// Message ids whose sender could not sign.
    pub(crate) fn forged(&self) -> Vec<String> {
        let forged = self.messages.iter().filter(|one| one.kind == Kind::Forged);
        forged.map(|one| one.id.clone()).collect()
    }

    /// How the receiver takes a delivery that comes now; `draw` is the delivery's own number.
    pub(crate) fn reception(&self, receiver: &str, now: At, draw: u64) -> Reception {
        if receiver != FAULTY || now >= HEALED {
            return Reception::Good;
        }
        let mood = self.moods.iter().find(|(until, _)| now < *until);
        match mood.map(|(_, mood)| *mood) {
            Some(Mood::Always(reception)) => reception,
            Some(Mood::Now(reception)) if draw.is_multiple_of(4) => reception,
            _ => Reception::Good,
        }
    }
}

fn message(number: u32, random: &mut StdRng) -> Message {
    let at = random.random_range(500..LAST_MESSAGE);
    let kind = match random.random_range(0..12) {
        0 => Kind::Twice,
        1 => Kind::BrokenOff,
        2 => Kind::Forged,
        _ => Kind::Plain,
    };
    let again = match random.random_range(0..4) {
        0 => Some(at + random.random_range(100..6_000)),
        1 => Some(HEALED + random.random_range(2_000..4_000)),
        _ => None,
    };
    Message {
        id: format!("msg_{number}"),
        at,
        bytes: random.random_range(0..4_000),
        kind,
        again: again.filter(|_| kind != Kind::Forged),
    }
}

fn moods(random: &mut StdRng) -> Vec<(At, Mood)> {
    let mut until = 0;
    let mut moods = Vec::new();
    while until < HEALED {
        until += random.random_range(1_000..6_000);
        let reception = match random.random_range(0..9) {
            0 => Reception::Refused(500, None),
            1 => Reception::Refused(503, Some(random.random_range(1..4))),
            2 => Reception::Refused(429, Some(random.random_range(1..4))),
            3 => Reception::Refused(410, None),
            4 => Reception::Hung,
            5 => Reception::Cut,
            6 => Reception::Slow,
            _ => Reception::Good,
        };
        let mood = match random.random() {
            true => Mood::Always(reception),
            false => Mood::Now(reception),
        };
        moods.push((until, mood));
    }
    moods
}
