//! Whether a connection still does what connections are for.
//!
//! Counts requests in hand. Pings, half-sent headers and settings are no
//! requests, so a caller cannot keep a place by sending those.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// The requests of one connection.
pub(super) struct Activity(Mutex<State>);

struct State {
    in_hand: usize,
    /// When the last one ended; at first when the connection was opened.
    changed: Instant,
}

/// A request in hand, until it is dropped.
pub(super) struct InHand<'a>(&'a Activity);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            in_hand: 0,
            changed: Instant::now(),
        }))
    }

    pub(super) fn begin(&self) -> InHand<'_> {
        // Its end will be told; as long as it is in hand nobody asks for its beginning.
        self.lock().in_hand += 1;
        InHand(self)
    }

    /// Ends once no request was in hand for so long.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let look_again = {
                let state = self.lock();
                let idle_at = state.changed + limit;
                match state.in_hand {
                    0 if now >= idle_at => return,
                    0 => idle_at,
                    _ => now + limit,
                }
            };
            sleep_until(look_again).await;
        }
    }

    /// Ends when a connection that was told to end had its time for it.
    pub(super) async fn had_its_time(&self, grace: Duration) {
        sleep(grace).await;
        self.idle_for(grace).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_hand -= 1;
        state.changed = Instant::now();
    }
}
