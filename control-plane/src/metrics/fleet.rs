//! The fleet's numbers, read when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::fleet::Fleet;

/// Makes a registry show the fleet.
pub fn register(registry: &mut Registry, fleet: Fleet) {
    registry.register_collector(Box::new(FleetCollector(fleet)));
}

struct FleetCollector(Fleet);

impl fmt::Debug for FleetCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetCollector")
    }
}

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauges = self.0.gauges();
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let mut levels = vec![
            (
                "agents_connected",
                "Agents with an open configuration stream",
                gauges.agents_connected,
            ),
            ("agent_streams", "Open streams of agents", gauges.streams),
            (
                "configuration_revision",
                "Newest configuration revision",
                gauges.head_revision,
            ),
        ];
        let help = "Control planes on this database that live";
        levels.push(("replicas", help, gauges.replicas));
        let help = "1 when this control plane does the background work";
        levels.push(("leader", help, u64::from(gauges.leads)));
        if let Some(lowest) = gauges.acknowledged_revision_min {
            let help = "Lowest revision that a connected agent acknowledged";
            levels.push(("configuration_acknowledged_revision_min", help, lowest));
        }
        for (name, help, value) in levels {
            let gauge = ConstGauge::new(signed(value));
            encode(&mut encoder, name, help, MetricType::Gauge, |to| {
                gauge.encode(to)
            })?;
        }
        for (name, help, value) in [
            (
                "configuration_drifts",
                "Agents that did not hold what they acknowledged",
                gauges.drifts,
            ),
            (
                "reports_received",
                "Reports of agents that were counted",
                gauges.reports_received,
            ),
            (
                "commands_timed_out",
                "Commands that an agent did not answer in time",
                gauges.commands_timed_out,
            ),
        ] {
            let counter = ConstCounter::new(value);
            encode(&mut encoder, name, help, MetricType::Counter, |to| {
                counter.encode(to)
            })?;
        }
        Ok(())
    }
}

fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    write: impl FnOnce(MetricEncoder<'_>) -> Result<(), fmt::Error>,
) -> Result<(), fmt::Error> {
    write(encoder.encode_descriptor(name, help, None, kind)?)
}
