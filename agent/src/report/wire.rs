//! Tallies in wire form, and the sum of two reports.

use std::collections::HashMap;

use hookplane_proto::agent::v1::{
    DestinationReport, DestinationState, Gauges, Histogram, ReportStreamRequest, SecretReport,
    SourceReport,
};
use hookplane_proto::v1::CircuitState;

use crate::clock::timestamp;
use crate::deliver::{Circuit, DestinationStanding};
use crate::meter::Taken;
use crate::meter::histogram::ExponentialHistogram;

/// The sequence stays 0 here: the spool gives it.
pub(super) fn report(taken: Taken, gauges: Gauges, minute: u64) -> ReportStreamRequest {
    let sources = taken
        .sources
        .into_iter()
        .map(|(team_id, source_id, event_type, tally)| SourceReport {
            team_id,
            source_id,
            event_type,
            received: tally.received,
            accepted: tally.accepted,
            rejected: tally.rejected,
            repeats: tally.repeats,
            bytes: tally.bytes,
            accept_latency: Some(to_wire(tally.accept_latency)),
        });
    let destinations = taken
        .destinations
        .into_iter()
        .map(|(team_id, destination_id, tally)| DestinationReport {
            team_id,
            destination_id,
            attempts: tally.attempts,
            successful: tally.successful,
            failed: tally.failed,
            delivery_latency: Some(to_wire(tally.delivery_latency)),
            start_delay: Some(to_wire(tally.start_delay)),
            delivered_after: Some(to_wire(tally.delivered_after)),
        });
    let secrets = taken
        .secrets
        .into_iter()
        .map(|(team_id, source_id, version, verified)| SecretReport {
            team_id,
            source_id,
            version,
            verified,
        });
    ReportStreamRequest {
        sequence: 0,
        minute: Some(timestamp(minute)),
        sources: sources.collect(),
        destinations: destinations.collect(),
        gauges: Some(gauges),
        secrets: secrets.collect(),
    }
}

/// How destinations stand, in wire form.
pub(super) fn standings(all: Vec<DestinationStanding>) -> Vec<DestinationState> {
    let one = |standing: DestinationStanding| DestinationState {
        team_id: standing.team_id,
        destination_id: standing.destination_id,
        circuit: match standing.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open => CircuitState::Open,
            Circuit::HalfOpen => CircuitState::HalfOpen,
        }
        .into(),
        open_since: standing.open_since.map(timestamp),
        next_probe_at: standing.next_probe_at.map(timestamp),
        in_flight: u32::try_from(standing.in_flight).unwrap_or(u32::MAX),
        concurrency_limit: u32::try_from(standing.limit).unwrap_or(u32::MAX),
        held_until: standing.held_until.map(timestamp),
        disable_requested_at: standing.disable_requested_at.map(timestamp),
    };
    all.into_iter().map(one).collect()
}

/// Sums of both, the state and the minute of the later one.
pub(super) fn merge(
    earlier: ReportStreamRequest,
    later: ReportStreamRequest,
) -> ReportStreamRequest {
    let mut sources: HashMap<(String, String), SourceReport> = HashMap::new();
    for report in earlier.sources.into_iter().chain(later.sources) {
        let key = (report.source_id.clone(), report.event_type.clone());
        match sources.get_mut(&key) {
            None => drop(sources.insert(key, report)),
            Some(sum) => add_source(sum, report),
        }
    }
    let mut destinations: HashMap<String, DestinationReport> = HashMap::new();
    for report in earlier.destinations.into_iter().chain(later.destinations) {
        match destinations.get_mut(&report.destination_id) {
            None => drop(destinations.insert(report.destination_id.clone(), report)),
            Some(sum) => add_destination(sum, report),
        }
    }
    let mut secrets: HashMap<(String, u32), SecretReport> = HashMap::new();
    for report in earlier.secrets.into_iter().chain(later.secrets) {
        match secrets.get_mut(&(report.source_id.clone(), report.version)) {
            None => drop(secrets.insert((report.source_id.clone(), report.version), report)),
            Some(sum) => sum.verified += report.verified,
        }
    }
    ReportStreamRequest {
        sequence: 0,
        minute: later.minute,
        sources: sources.into_values().collect(),
        destinations: destinations.into_values().collect(),
        gauges: later.gauges,
        secrets: secrets.into_values().collect(),
    }
}

fn add_source(sum: &mut SourceReport, report: SourceReport) {
    sum.received += report.received;
    sum.accepted += report.accepted;
    sum.rejected += report.rejected;
    sum.repeats += report.repeats;
    sum.bytes += report.bytes;
    sum.accept_latency = added(sum.accept_latency.take(), report.accept_latency);
}

fn add_destination(sum: &mut DestinationReport, report: DestinationReport) {
    sum.attempts += report.attempts;
    sum.successful += report.successful;
    sum.failed += report.failed;
    sum.delivery_latency = added(sum.delivery_latency.take(), report.delivery_latency);
    sum.start_delay = added(sum.start_delay.take(), report.start_delay);
    sum.delivered_after = added(sum.delivered_after.take(), report.delivered_after);
}

fn added(left: Option<Histogram>, right: Option<Histogram>) -> Option<Histogram> {
    let mut sum = from_wire(left.unwrap_or_default());
    sum.merge(&from_wire(right.unwrap_or_default()));
    Some(to_wire(sum))
}

fn to_wire(histogram: ExponentialHistogram) -> Histogram {
    Histogram {
        scale: histogram.scale,
        offset: histogram.offset,
        counts: histogram.counts,
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum,
        max: histogram.max,
    }
}

fn from_wire(histogram: Histogram) -> ExponentialHistogram {
    // An absent histogram has no values and so no scale to keep.
    if histogram.counts.is_empty() {
        return ExponentialHistogram {
            zero_count: histogram.zero_count,
            count: histogram.count,
            sum: histogram.sum,
            max: histogram.max,
            ..ExponentialHistogram::default()
        };
    }
    ExponentialHistogram {
        scale: histogram.scale,
        offset: histogram.offset,
        counts: histogram.counts,
        zero_count: histogram.zero_count,
        count: histogram.count,
        sum: histogram.sum,
        max: histogram.max,
    }
}
