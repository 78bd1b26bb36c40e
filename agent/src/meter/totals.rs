//! Totals since the start, held as handles so that counting looks nothing up.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Delivery, Ending};

const BUCKETS: [f64; 12] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0,
];
const LONG_BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3_600.0, 21_600.0, 86_400.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    source: String,
    outcome: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    destination: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabel {
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The families that `/metrics` shows.
pub(super) struct Totals {
    requests: Family<RequestLabels, Counter>,
    accept_seconds: Histograms<SourceLabel>,
    attempts: Family<AttemptLabels, Counter>,
    delivery_seconds: Histograms<DestinationLabel>,
    start_delay_seconds: Histograms<DestinationLabel>,
    delivered_after_seconds: Histograms<DestinationLabel>,
    turned_away: Family<CodeLabel, Counter>,
}

/// Handles of one source: outcomes and causes are code constants, so the list stays short.
pub(super) struct SourceTotals {
    endings: Vec<(Ending, Counter)>,
    accept_seconds: Histogram,
}

pub(super) struct DestinationTotals {
    successful: Counter,
    failed: Counter,
    seconds: Histogram,
    start_delay: Histogram,
    delivered_after: Histogram,
}

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

/// With hours and days: what waits for a retry or behind a limit takes that long.
fn long_seconds() -> Histogram {
    Histogram::new(LONG_BUCKETS)
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            accept_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            attempts: Family::default(),
            delivery_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            start_delay_seconds: Family::new_with_constructor(long_seconds as fn() -> Histogram),
            delivered_after_seconds: Family::new_with_constructor(
                long_seconds as fn() -> Histogram,
            ),
            turned_away: Family::default(),
        }
    }
}

impl Totals {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests by source and outcome",
            self.requests.clone(),
        );
        registry.register(
            "turned_away",
            "Calls answered without a request being kept, by code",
            self.turned_away.clone(),
        );
        registry.register_with_unit(
            "accept",
            "From the head of an accepted request to its answer",
            Unit::Seconds,
            self.accept_seconds.clone(),
        );
        registry.register(
            "attempts",
            "Delivery attempts by destination and outcome",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "delivery",
            "Duration of delivery attempts",
            Unit::Seconds,
            self.delivery_seconds.clone(),
        );
        registry.register_with_unit(
            "start_delay",
            "From being due to the start of the attempt",
            Unit::Seconds,
            self.start_delay_seconds.clone(),
        );
        registry.register_with_unit(
            "delivered_after",
            "From accepted to delivered",
            Unit::Seconds,
            self.delivered_after_seconds.clone(),
        );
    }

    pub(super) fn turned_away(&self, code: &'static str) {
        self.turned_away.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn of_source(&self, id: &str) -> SourceTotals {
        let label = SourceLabel { source: id.into() };
        SourceTotals {
            endings: Vec::new(),
            accept_seconds: self.accept_seconds.get_or_create_owned(&label),
        }
    }

    pub(super) fn of_destination(&self, id: &str) -> DestinationTotals {
        let of = |outcome| AttemptLabels {
            destination: id.into(),
            outcome,
        };
        let label = DestinationLabel {
            destination: id.into(),
        };
        DestinationTotals {
            successful: self.attempts.get_or_create_owned(&of("successful")),
            failed: self.attempts.get_or_create_owned(&of("failed")),
            seconds: self.delivery_seconds.get_or_create_owned(&label),
            start_delay: self.start_delay_seconds.get_or_create_owned(&label),
            delivered_after: self.delivered_after_seconds.get_or_create_owned(&label),
        }
    }

    pub(super) fn remove_destination(&self, id: &str) {
        for outcome in ["successful", "failed"] {
            self.attempts.remove(&AttemptLabels {
                destination: id.into(),
                outcome,
            });
        }
        let label = DestinationLabel {
            destination: id.into(),
        };
        self.delivery_seconds.remove(&label);
        self.start_delay_seconds.remove(&label);
        self.delivered_after_seconds.remove(&label);
    }
}

impl SourceTotals {
    pub(super) fn count(&mut self, totals: &Totals, id: &str, ending: Ending, took: Duration) {
        if ending == Ending::Accepted {
            self.accept_seconds.observe(took.as_secs_f64());
        }
        if let Some((_, counter)) = self.endings.iter().find(|(known, _)| *known == ending) {
            counter.inc();
            return;
        }
        let counter = totals.requests.get_or_create_owned(&labels(id, ending));
        counter.inc();
        self.endings.push((ending, counter));
    }

    pub(super) fn remove(&self, totals: &Totals, id: &str) {
        for (ending, _) in &self.endings {
            totals.requests.remove(&labels(id, *ending));
        }
        totals
            .accept_seconds
            .remove(&SourceLabel { source: id.into() });
    }
}

impl DestinationTotals {
    pub(super) fn count(&self, delivery: &Delivery) {
        if delivery.successful {
            self.successful.inc();
        } else {
            self.failed.inc();
        }
        self.seconds
            .observe(delivery.took_micros as f64 / 1_000_000.0);
        let seconds = |millis: u64| millis as f64 / 1_000.0;
        self.start_delay.observe(seconds(delivery.waited_millis));
        if let Some(millis) = delivery.delivered_after_millis {
            self.delivered_after.observe(seconds(millis));
        }
    }
}

fn labels(id: &str, ending: Ending) -> RequestLabels {
    let (outcome, cause) = match ending {
        Ending::Accepted => ("accepted", ""),
        Ending::Repeat => ("repeat", ""),
        Ending::Rejected(code) => ("rejected", code),
    };
    RequestLabels {
        source: id.into(),
        outcome,
        cause,
    }
}
