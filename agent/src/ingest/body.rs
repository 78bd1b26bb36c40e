//! Reading a body: up to its cap, within its time, at a pace, inside the budget.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::budget::{NoRoom, Place};

/// Of the memory for a body whose size is not known ahead.
const FIRST_STEP: usize = 4 * 1_024;

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Until the whole body has arrived.
    pub deadline: Duration,
    /// From then on a body must have come at the slowest rate or faster.
    pub grace: Duration,
    /// Bytes per second, on average since the beginning.
    pub slowest: u32,
}

pub(super) enum End {
    Whole,
    TooLarge,
    /// Broken off or too late, in words.
    Incomplete(&'static str),
    NoRoom(NoRoom),
}

/// What was read, and why no more of it.
pub(super) async fn read(
    mut body: Incoming,
    cap: usize,
    pace: Pace,
    place: &mut Place,
) -> (Bytes, End) {
    let began = Instant::now();
    let announced = body.size_hint().exact();
    let expected = announced.map_or(cap, |size| usize::try_from(size).unwrap_or(cap).min(cap));
    let mut memory = Memory {
        bytes: Vec::new(),
        taken: 0,
        expected,
    };
    let end = loop {
        let (patience, why) = pace.patience(memory.bytes.len());
        let Ok(frame) = timeout_at(began + patience, body.frame()).await else {
            break End::Incomplete(why);
        };
        let frame = match frame {
            None => break End::Whole,
            Some(Err(_)) => break End::Incomplete("the body broke off"),
            Some(Ok(frame)) => frame,
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = cap.saturating_sub(memory.bytes.len());
        let fits = &data[..data.len().min(room)];
        if let Err(full) = memory.add(fits, announced.is_none(), place) {
            break End::NoRoom(full);
        }
        if data.len() > room {
            break End::TooLarge;
        }
    };
    (Bytes::from(memory.bytes), end)
}

impl Pace {
    /// How long after the beginning the next bytes must be there, and what to say when not.
    fn patience(&self, read: usize) -> (Duration, &'static str) {
        let covered = Duration::from_secs_f64(read as f64 / f64::from(self.slowest.max(1)));
        let paced = covered.max(self.grace);
        if paced < self.deadline {
            (paced, "the body came too slowly")
        } else {
            (self.deadline, "the body took too long")
        }
    }
}

/// Bytes read, in memory that the budget knows of. Grows with what arrived, not with what
/// was announced: an announcement costs its sender nothing.
struct Memory {
    bytes: Vec<u8>,
    taken: usize,
    expected: usize,
}

impl Memory {
    fn add(&mut self, data: &[u8], in_steps: bool, place: &mut Place) -> Result<(), NoRoom> {
        let needed = self.bytes.len() + data.len();
        if needed > self.taken {
            let step = if in_steps { FIRST_STEP } else { 0 };
            // Doubled, so that many small pieces are not copied again and again.
            let wanted = (self.taken * 2).max(step).min(self.expected).max(needed);
            place.grow(wanted - self.taken)?;
            self.taken = wanted;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_buys_time_up_to_the_deadline() {
        let pace = Pace {
            deadline: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            slowest: 1_024,
        };
        let seconds = |read| pace.patience(read).0.as_secs();
        assert_eq!((seconds(0), seconds(5_000), seconds(10_240)), (5, 5, 10));
        assert_eq!(seconds(1_048_576), 30);
        assert_eq!(pace.patience(9_000).1, "the body came too slowly");
        assert_eq!(pace.patience(1_048_576).1, "the body took too long");
    }
}
