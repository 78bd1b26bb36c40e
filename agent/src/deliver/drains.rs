//! Resumed connections that let go at a rate what they held.
//!
//! Owns how many held events of a connection may start now. Refuses to know where they go: the
//! gate of the destination has its own say. Invariant: what came after the resumption takes
//! nothing of the rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Moment, Pace};
use crate::config::{Configuration, Connection, Drain, RateLimit};

/// The pace of each connection that drains.
pub(super) struct Drains {
    began: Instant,
    paces: Mutex<HashMap<String, (Drain, Pace)>>,
}

/// How much of what a connection held may start now.
pub(super) struct Budget {
    before: u64,
    left: usize,
    /// When time alone makes it more.
    pub(super) more_in: Duration,
}

impl Drains {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            paces: Mutex::default(),
        }
    }

    /// `None` when nothing holds its events back.
    pub(super) fn budget(&self, connection: &Connection) -> Option<Budget> {
        let drain = connection.drain?;
        let now = self.now();
        Some(self.with(connection, drain, |pace| Budget {
            before: drain.before,
            left: pace.room(now),
            more_in: pace.ready_at().saturating_sub(now),
        }))
    }

    /// One of its events, made then, starts.
    pub(super) fn started(&self, connection: &Connection, created_at: u64) {
        if let Some(drain) = connection.drain
            && created_at < drain.before
        {
            let now = self.now();
            self.with(connection, drain, |pace| pace.take(now));
        }
    }

    pub(super) fn forget_missing(&self, configuration: &Configuration) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.is_empty() {
            return;
        }
        let sources = configuration.sources.values();
        let all = sources.flat_map(|source| source.connections.iter());
        let draining: HashMap<&str, Drain> = all
            .filter_map(|connection| Some((connection.id.as_str(), connection.drain?)))
            .collect();
        paces.retain(|id, (drain, _)| draining.get(id.as_str()) == Some(drain));
    }

    fn with<T>(
        &self,
        connection: &Connection,
        drain: Drain,
        act: impl FnOnce(&mut Pace) -> T,
    ) -> T {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (drain, pace(drain));
        let held = paces.entry(connection.id.clone()).or_insert_with(fresh);
        if held.0 != drain {
            *held = fresh();
        }
        act(&mut held.1)
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }
}

impl Budget {
    /// Whether one made then may start; if so it is counted.
    pub(super) fn admits(&mut self, created_at: u64) -> bool {
        if created_at >= self.before {
            return true;
        }
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }
}

fn pace(drain: Drain) -> Pace {
    Pace::new(RateLimit {
        count: drain.rate,
        period: Duration::from_secs(1),
    })
}

#[cfg(test)]
mod tests {
    use hookplane_rules::RetryPolicy;

    use super::*;

    fn draining(rate: u32) -> Connection {
        Connection {
            id: "web_1".into(),
            name: "c".into(),
            destination_id: "des_1".into(),
            enabled: true,
            paused: false,
            drain: Some(Drain { before: 100, rate }),
            filters: Vec::new(),
            deduplicate: None,
            delay: None,
            transform: None,
            retry: RetryPolicy::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_starts_at_the_rate_and_what_came_later_at_once() {
        let (drains, connection) = (Drains::new(), draining(20));
        let (held, later) = (99, 100);
        let mut started = 0;
        for _ in 0..1_000 {
            let mut budget = drains.budget(&connection).unwrap();
            while budget.admits(held) {
                drains.started(&connection, held);
                started += 1;
            }
            assert!(budget.admits(later));
            drains.started(&connection, later);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!(
            (180..=202).contains(&started),
            "{started} in ten seconds at 20 per second"
        );
    }
}
