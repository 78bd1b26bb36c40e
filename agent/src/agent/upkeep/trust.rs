//! Whether the clock may decide what is old enough to be deleted.
//!
//! A clock that jumps ahead makes everything old at once, and deleting cannot be
//! undone. So the time is compared with the last one that was seen plus what has
//! passed since, and one that is a day or more ahead of that has to stand for a
//! day before it is believed. The last time seen is on disk, so that a restart
//! believes no faster. Deletes nothing itself.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::files;

/// How far ahead is no longer drift, and how long it must then stand.
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MILLIS: u64 = 86_400_000;

/// The time that was seen last, and when.
pub(super) struct TrustedClock {
    file: PathBuf,
    /// Unix milliseconds; `None` until the first look of a new data folder.
    seen: Option<u64>,
    at: Instant,
    doubted_since: Option<Instant>,
}

impl TrustedClock {
    /// Goes on with what was seen before a restart.
    pub(super) fn open(file: PathBuf, at: Instant) -> Self {
        let text = std::fs::read_to_string(&file).ok();
        Self {
            seen: text.and_then(|text| text.trim().parse().ok()),
            file,
            at,
            doubted_since: None,
        }
    }

    /// Whether the time the clock shows now is believed.
    pub(super) fn believes(&mut self, now_millis: u64, at: Instant) -> bool {
        let passed = at.saturating_duration_since(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let expected = self.seen.unwrap_or(now_millis).saturating_add(passed);
        let ahead = now_millis >= expected.saturating_add(DAY_MILLIS);
        if ahead {
            let since = *self.doubted_since.get_or_insert_with(|| {
                tracing::error!(
                    ahead_seconds = (now_millis - expected) / 1_000,
                    "the clock jumped ahead: nothing is deleted until it has stood for a day"
                );
                at
            });
            if at.saturating_duration_since(since) < DAY {
                return false;
            }
            tracing::warn!("the clock has stood for a day and is believed again");
        }
        self.doubted_since = None;
        self.seen = Some(now_millis);
        self.at = at;
        if let Err(error) = files::replace(&self.file, now_millis.to_string().as_bytes()) {
            tracing::warn!(error = %error, "the time of the last upkeep is not on disk");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;
    const MINUTE: Duration = Duration::from_secs(60);
    const MINUTE_MILLIS: u64 = 60_000;

    #[test]
    fn a_clock_that_runs_or_goes_back_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut clock = TrustedClock::open(dir.path().join("clock"), start);
        assert!(clock.believes(NOW, start));
        assert!(clock.believes(NOW + MINUTE_MILLIS, start + MINUTE));
        assert!(clock.believes(NOW - 30 * DAY_MILLIS, start + MINUTE));
        assert!(clock.believes(NOW - 30 * DAY_MILLIS + 3_600_000, start + 2 * MINUTE));
    }

    #[test]
    fn a_clock_that_jumped_ahead_is_believed_when_it_is_right_again_or_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut clock = TrustedClock::open(dir.path().join("clock"), start);
        assert!(clock.believes(NOW, start));
        let jumped = NOW + 30 * DAY_MILLIS;
        assert!(!clock.believes(jumped, start + MINUTE));
        assert!(clock.believes(NOW + 2 * MINUTE_MILLIS, start + 2 * MINUTE));
        let began = start + 3 * MINUTE;
        assert!(!clock.believes(jumped, began));
        assert!(!clock.believes(jumped + DAY_MILLIS - 1, began + DAY - MINUTE));
        assert!(clock.believes(jumped + DAY_MILLIS, began + DAY));
        assert!(clock.believes(jumped + DAY_MILLIS + MINUTE_MILLIS, began + DAY + MINUTE));
    }

    #[test]
    fn a_restart_believes_no_faster() {
        let dir = tempfile::tempdir().unwrap();
        let (file, start) = (dir.path().join("clock"), Instant::now());
        assert!(TrustedClock::open(file.clone(), start).believes(NOW, start));
        let mut again = TrustedClock::open(file.clone(), start);
        assert!(!again.believes(NOW + 30 * DAY_MILLIS, start));
        let mut again = TrustedClock::open(file, start);
        assert!(!again.believes(NOW + 30 * DAY_MILLIS, start));
        assert!(again.believes(NOW + 3_600_000, start));
    }
}
