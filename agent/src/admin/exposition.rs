//! `/metrics` in OpenMetrics text: the meter's totals, and the state at the moment of the scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::clock::SharedClock;
use crate::deliver::{Circuit, DestinationStanding, Gates};
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::spool::Spool;
use crate::vitals::Vitals;

/// Destinations whose standing is shown.
const DESTINATIONS: usize = 1_000;

/// The registry of one agent.
pub(super) struct Exposition(Registry);

struct State {
    meter: Arc<Meter>,
    gates: Arc<Gates>,
    vitals: Arc<Vitals>,
    spool: Arc<Spool>,
    readiness: Arc<Readiness>,
    clock: SharedClock,
}

impl Exposition {
    pub(super) fn new(
        (meter, gates): (Arc<Meter>, Arc<Gates>),
        vitals: Arc<Vitals>,
        spool: Arc<Spool>,
        readiness: Arc<Readiness>,
        clock: SharedClock,
    ) -> Self {
        let mut registry = Registry::with_prefix("hookplane_agent");
        meter.register(&mut registry);
        registry.register_collector(Box::new(State {
            meter,
            gates,
            vitals,
            spool,
            readiness,
            clock,
        }));
        Self(registry)
    }

    pub(super) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(text)
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let facts = self.readiness.facts();
        let mut backlog = encoder.encode_descriptor(
            "backlog",
            "Events that wait, by status",
            None,
            MetricType::Gauge,
        )?;
        for (status, events) in self.vitals.backlog() {
            let gauge = ConstGauge::new(signed(events));
            gauge.encode(backlog.encode_family(&[("status", status)])?)?;
        }
        let age = facts
            .confirmed_at
            .map(|at| self.clock.now_millis().saturating_sub(at) / 1_000);
        let gauges = [
            (
                "deliveries_in_flight",
                "Deliveries under way",
                self.meter.deliveries_in_flight(),
            ),
            (
                "store_bytes",
                "Bytes of the store on disk",
                self.vitals.store_bytes(),
            ),
            (
                "books_imbalance",
                "Events whose state and due time contradict each other; 0 when the books balance",
                self.vitals.imbalance(),
            ),
            (
                "report_spool_length",
                "Reports that wait for the control plane",
                self.spool.length(),
            ),
            (
                "configuration_revision",
                "Revision in force",
                facts.revision,
            ),
            (
                "configuration_refused",
                "Resources that keep an older state because the newest was refused",
                facts.refused,
            ),
            (
                "control_plane_connected",
                "1 while the configuration stream is open",
                u64::from(facts.connected),
            ),
            (
                "ready",
                "1 while /readyz answers 200",
                u64::from(facts.reasons().is_empty()),
            ),
        ];
        let age = age.map(|seconds| {
            (
                "configuration_age_seconds",
                "Since the control plane last said that the revision in force is current",
                seconds,
            )
        });
        for (name, help, value) in gauges.into_iter().chain(age) {
            let gauge = ConstGauge::new(signed(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        destinations(&self.gates.standings(DESTINATIONS), &mut encoder)?;
        let merged = ConstCounter::new(self.spool.merged());
        merged.encode(encoder.encode_descriptor(
            "reports_merged",
            "Reports merged because too many waited",
            None,
            merged.metric_type(),
        )?)
    }
}

/// A number of a destination's standing, with its name and help.
type StandingGauge = (
    &'static str,
    &'static str,
    fn(&DestinationStanding) -> usize,
);

fn destinations(
    standings: &[DestinationStanding],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    const GAUGES: [StandingGauge; 5] = [
        (
            "destination_circuit",
            "0 closed, 1 half open, 2 open",
            |one| match one.circuit {
                Circuit::Closed => 0,
                Circuit::HalfOpen => 1,
                Circuit::Open => 2,
            },
        ),
        (
            "destination_concurrency_limit",
            "Deliveries at once that the destination takes well, as found out by trying",
            |one| one.limit,
        ),
        (
            "destination_deliveries_in_flight",
            "Deliveries under way",
            |one| one.in_flight,
        ),
        (
            "destination_held",
            "1 while the rate limit or the receiver's Retry-After holds back",
            |one| usize::from(one.held_until.is_some()),
        ),
        (
            "destination_disable_requested",
            "1 when the receiver asked to be disabled and nobody has changed it since",
            |one| usize::from(one.disable_requested_at.is_some()),
        ),
    ];
    for (name, help, number) in GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for one in standings {
            let gauge = ConstGauge::new(signed(number(one) as u64));
            let label = [("destination", one.destination_id.as_str())];
            gauge.encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
