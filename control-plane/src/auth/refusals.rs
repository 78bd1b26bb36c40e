//! Refused callers in the log: one line in a while, with how many it stands for.
//!
//! Invariant: however many knock, the log grows by a bound. Metrics have them all.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

const PAUSE: Duration = Duration::from_secs(10);

/// Longest method in a line: callers choose the path.
const MAX_METHOD: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Instant>,
    since: u64,
}

impl Refusals {
    pub(super) fn tell(&self, method: &str, refusal: &Status) {
        let Some(count) = self.count(Instant::now()) else {
            return;
        };
        let method: String = method.chars().take(MAX_METHOD).collect();
        tracing::warn!(
            rpc.method = method,
            reason = refusal.message(),
            count,
            "callers were refused; of several since the last such line, this is the newest"
        );
    }

    /// How many there were since the last line; None while it is too early for another.
    fn count(&self, now: Instant) -> Option<u64> {
        // Two numbers are whole whatever panicked.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.since += 1;
        let early = |told: Instant| now.duration_since(told) < PAUSE;
        if state.told_at.is_some_and(early) {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_for_those_that_had_none() {
        let refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.count(now), Some(1));
        assert_eq!(refusals.count(now), None);
        assert_eq!(refusals.count(now + PAUSE / 2), None);
        assert_eq!(refusals.count(now + PAUSE), Some(3));
        assert_eq!(refusals.count(now + PAUSE), None);
    }
}
