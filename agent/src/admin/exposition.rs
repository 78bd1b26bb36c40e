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
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::spool::Spool;
use crate::vitals::Vitals;

/// The registry of one agent.
pub(super) struct Exposition(Registry);

struct State {
    meter: Arc<Meter>,
    vitals: Arc<Vitals>,
    spool: Arc<Spool>,
    readiness: Arc<Readiness>,
    clock: SharedClock,
}

impl Exposition {
    pub(super) fn new(
        meter: Arc<Meter>,
        vitals: Arc<Vitals>,
        spool: Arc<Spool>,
        readiness: Arc<Readiness>,
        clock: SharedClock,
    ) -> Self {
        let mut registry = Registry::with_prefix("hookplane_agent");
        meter.register(&mut registry);
        registry.register_collector(Box::new(State {
            meter,
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
        let merged = ConstCounter::new(self.spool.merged());
        merged.encode(encoder.encode_descriptor(
            "reports_merged",
            "Reports merged because too many waited",
            None,
            merged.metric_type(),
        )?)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
