//! How many calls a key may make per minute, counted on this replica.
//!
//! Invariant: what is remembered is bounded by the keys that called lately.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// Beyond this many keys those that are at rest are forgotten.
const REMEMBERED: usize = 4_096;

/// The theoretical time of each key's next call, when it calls evenly.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// Counts a call. A minute's calls may come at once; then they come evenly.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn admit(&self, key: &str, per_minute: u32, now: Instant) -> Result<(), Duration> {
        if per_minute == 0 {
            return Ok(());
        }
        let step = MINUTE / per_minute;
        // Times are whole whatever panicked.
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() >= REMEMBERED {
            next.retain(|_, at| *at > now);
        }
        let due = next.get(key).map_or(now, |at| (*at).max(now));
        let early = (due + step).saturating_duration_since(now);
        if early > MINUTE {
            return Err(early - MINUTE);
        }
        next.insert(key.to_owned(), due + step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_calls_may_come_at_once_and_then_one_by_one() {
        let pace = Pace::default();
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(pace.admit("one", 60, start), Ok(()));
        }
        assert_eq!(pace.admit("one", 60, start), Err(Duration::from_secs(1)));
        assert_eq!(pace.admit("two", 60, start), Ok(()), "keys share a pace");
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.admit("one", 60, later), Ok(()));
        assert!(pace.admit("one", 60, later).is_err());
    }
}
