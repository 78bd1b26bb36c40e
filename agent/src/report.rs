//! What the agent did, in numbers: folded to disk every second, sent every few
//! seconds until the control plane has counted them.
//!
//! Owns the rhythm and the spool. Refuses to know how the stages count; it takes
//! tallies from the meter. Invariants: a report keeps its number and its content
//! from the moment it may have been sent, so counting twice can be noticed; a
//! full spool merges, it never drops.

pub(crate) mod spool;
pub(crate) mod stream;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use hookplane_proto::agent::v1::{DestinationState, Gauges, ReportStreamRequest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::config::CurrentConfiguration;
use crate::deliver::Gates;
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::store::{Store, StoreError};
use crate::vitals::Vitals;
use spool::Spool;

const MINUTE: u64 = 60_000;
/// Destinations whose standing one report tells.
const STANDINGS: usize = 256;

/// Folds tallies into reports.
pub(crate) struct Reporter {
    pub(crate) meter: Arc<Meter>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) config: CurrentConfiguration,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) clock: SharedClock,
    /// Between folds: the most that is lost when the process is killed.
    pub(crate) fold: Duration,
    /// Between reports that are sent, and looks at the backlog.
    pub(crate) every: Duration,
}

/// What the last fold left for the next one.
struct Before {
    /// When the tallies of the next report began.
    since: u64,
    /// When the last report was closed.
    closed: Instant,
    gauges: Gauges,
    /// The gauges that were told last.
    told: Option<Gauges>,
    /// Made, but not on disk yet.
    unwritten: Option<ReportStreamRequest>,
}

impl Reporter {
    /// Folds until `stop`, then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut before = Before {
            since: self.clock.now_millis(),
            closed: Instant::now(),
            gauges: Gauges::default(),
            told: None,
            unwritten: None,
        };
        loop {
            let last = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = tokio::time::sleep(self.until_next()) => false,
            };
            if let Err(error) = self.fold(&mut before, last).await {
                let text = chain(&error);
                tracing::warn!(error = text, "a report is not on disk yet");
                self.readiness
                    .update(|facts| facts.store_problem = Some(text));
            } else {
                self.readiness.update(|facts| facts.store_problem = None);
            }
            if last {
                return;
            }
        }
    }

    /// A report belongs to one minute, so the rhythm starts anew with each.
    fn until_next(&self) -> Duration {
        let into_minute = self.clock.now_millis() % MINUTE;
        self.fold
            .min(self.every)
            .min(Duration::from_millis(MINUTE - into_minute))
    }

    async fn fold(&self, before: &mut Before, last: bool) -> Result<(), StoreError> {
        let now = self.clock.now_millis();
        // Also proves that the disk takes writes while nothing else comes in.
        self.store.probe(now).await?;
        let minute_over = now / MINUTE != before.since / MINUTE;
        let closes = last || minute_over || before.closed.elapsed() >= self.every;
        // Walking the backlog costs more than counting, so it is done for whole reports only.
        if closes || before.told.is_none() {
            before.gauges = self.gauges().await?;
        }
        let taken = self.meter.take();
        self.meter.forget_missing(&self.config.load());
        let minute = before.since / MINUTE * MINUTE;
        let quiet = taken.is_empty() && before.unwritten.is_none();
        let gauges = before.gauges.clone();
        let shown = unsized_gauges(&gauges);
        let news = before.told.as_ref() != Some(&shown);
        if closes {
            before.closed = Instant::now();
        }
        if quiet && !news && !minute_over {
            if closes {
                self.spool.close_newest().await;
            }
            return Ok(());
        }
        before.since = now;
        let mut report = wire::report(taken, gauges, minute);
        if let Some(unwritten) = before.unwritten.take() {
            report = wire::merge(unwritten, report);
        }
        // Kept until the disk has it: a failing disk delays numbers, it does not lose them.
        match self.spool.add(&report, !closes).await {
            Ok(()) => {
                before.told = Some(shown);
                Ok(())
            }
            Err(error) => {
                before.unwritten = Some(report);
                Err(error)
            }
        }
    }

    async fn gauges(&self) -> Result<Gauges, StoreError> {
        let paused = self.config.load().paused(None);
        let backlog = self.store.backlog(&paused).await?;
        let store_bytes = self.store.size_bytes().await?;
        self.vitals.set_backlog(backlog);
        self.vitals.set_store_bytes(store_bytes);
        Ok(Gauges {
            scheduled: backlog.scheduled,
            queued: backlog.queued,
            hold: backlog.hold,
            in_flight: self.meter.deliveries_in_flight(),
            store_bytes,
            destinations: wire::standings(self.gates.standings(STANDINGS)),
        })
    }
}

/// What is news when it changes. Bytes on disk change all the time, and moments are
/// told anew by the clock each time.
fn unsized_gauges(gauges: &Gauges) -> Gauges {
    let lasting = |state: &DestinationState| DestinationState {
        open_since: None,
        next_probe_at: None,
        held_until: None,
        ..state.clone()
    };
    Gauges {
        store_bytes: 0,
        destinations: gauges.destinations.iter().map(lasting).collect(),
        ..*gauges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timestamp;

    #[test]
    fn a_clock_that_ticks_is_no_news_and_a_circuit_that_opens_is() {
        let gauges = |millis, circuit| Gauges {
            store_bytes: millis,
            destinations: vec![DestinationState {
                circuit,
                open_since: Some(timestamp(millis)),
                next_probe_at: Some(timestamp(millis)),
                ..DestinationState::default()
            }],
            ..Gauges::default()
        };
        let shown = |millis, circuit| unsized_gauges(&gauges(millis, circuit));
        assert_eq!(shown(1_000, 2), shown(1_001, 2));
        assert_ne!(shown(1_000, 2), shown(1_000, 1));
    }
}
