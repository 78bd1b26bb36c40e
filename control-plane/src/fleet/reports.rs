//! The report streams: each report stored, then acknowledged.
//!
//! Owns the translation of reports into numbers. A part that cannot be read is
//! left out and logged, never sent back: an agent would send it for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt as _};
use hookplane_proto::agent::v1::{self as wire, ReportStreamRequest, ReportStreamResponse};
use hookplane_proto::v1;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::outbound::{self, Outbound, Outgoing};
use super::registry::Registry;
use super::{Ending, Timings};
use crate::clock::SharedClock;
use crate::domain::{
    Agent, CircuitState, DestinationNumbers, DestinationState, Histogram, Report, SecretNumbers,
    SourceNumbers,
};
use crate::store::ReportStore;
use crate::store::reports::Counted;
use crate::wire::millis;

const QUEUE: usize = 16;
/// Characters of an event type that are kept.
const MAX_TYPE: usize = 200;
/// Destinations whose standing is kept per report.
const MAX_STATES: usize = 256;

/// Everything that the streams share.
pub(super) struct Reports {
    pub(super) store: ReportStore,
    pub(super) open: Arc<Registry<()>>,
    clock: SharedClock,
    timings: Timings,
    received: AtomicU64,
}

impl Reports {
    pub(super) fn new(store: ReportStore, clock: SharedClock, timings: Timings) -> Arc<Self> {
        Arc::new(Self {
            store,
            open: Registry::new(),
            clock,
            timings,
            received: AtomicU64::new(0),
        })
    }

    /// Reports that were counted since the start.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long a stream lasts, so that the fleet spreads over the replicas again.
    fn age(&self) -> std::time::Duration {
        let spread = 0.9 + 0.2 * rand::random::<f64>();
        self.timings.age.mul_f64(spread)
    }

    /// Serves one agent's stream until either side ends it.
    pub(super) fn serve(
        self: &Arc<Self>,
        agent: Agent,
        inbound: impl Stream<Item = Result<ReportStreamRequest, Status>> + Send + Unpin + 'static,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Outgoing<ReportStreamResponse> {
        let (out, outgoing) = outbound::channel(QUEUE);
        let reports = Arc::clone(self);
        tasks.spawn(async move {
            let place = reports.open.register(&agent.id, Arc::new(()));
            let ending = tokio::select! {
                biased;
                () = shutdown.cancelled() => Ending::Shutdown,
                () = place.replaced.cancelled() => Ending::Replaced,
                () = out.closed() => Ending::Gone,
                // A report in hand is counted or comes again.
                () = tokio::time::sleep(reports.age()) => Ending::Aged,
                ending = reports.take(&agent, inbound, &out) => ending,
            };
            tracing::debug!(agent.id = %agent.id, reason = %ending, "a report stream ended");
            drop(place);
            out.end(ending);
        });
        outgoing
    }

    async fn take(
        &self,
        agent: &Agent,
        mut inbound: impl Stream<Item = Result<ReportStreamRequest, Status>> + Unpin,
        out: &Outbound<ReportStreamResponse>,
    ) -> Ending {
        let mut gap_told = false;
        while let Some(Ok(message)) = inbound.next().await {
            let sequence = message.sequence;
            if sequence == 0 {
                return Ending::Protocol("reports are numbered from 1");
            }
            let report = read(&agent.id, message);
            let now = self.clock.now_millis();
            match self.store.count(&agent.id, &report, now).await {
                Ok(Counted::New { missing }) => {
                    self.received.fetch_add(1, Ordering::Relaxed);
                    if missing > 0 && !gap_told {
                        gap_told = true;
                        tracing::warn!(agent.id = %agent.id, sequence, missing, "reports are missing before this one");
                    }
                }
                Ok(Counted::Repeated) => {}
                Err(error) => return error.into(),
            }
            let acknowledged = ReportStreamResponse {
                acknowledged: sequence,
            };
            if let Err(ending) = out.send(acknowledged, self.timings.answer).await {
                return ending;
            }
        }
        Ending::Gone
    }
}

fn read(agent_id: &str, message: ReportStreamRequest) -> Report {
    let latency = |subject: &str, wire: Option<wire::Histogram>| {
        let Some(wire) = wire else {
            return Histogram::default();
        };
        histogram(wire).unwrap_or_else(|error| {
            tracing::warn!(agent.id = %agent_id, subject, error = %error, "a histogram is left out");
            Histogram::default()
        })
    };
    let source = |one: wire::SourceReport| SourceNumbers {
        latency: latency(&one.source_id, one.accept_latency),
        team_id: one.team_id,
        source_id: one.source_id,
        event_type: one.event_type.chars().take(MAX_TYPE).collect(),
        received: one.received,
        accepted: one.accepted,
        rejected: one.rejected,
        repeats: one.repeats,
        bytes: one.bytes,
    };
    let destination = |one: wire::DestinationReport| DestinationNumbers {
        latency: latency(&one.destination_id, one.delivery_latency),
        start_delay: latency(&one.destination_id, one.start_delay),
        delivered_after: latency(&one.destination_id, one.delivered_after),
        team_id: one.team_id,
        destination_id: one.destination_id,
        attempts: one.attempts,
        successful: one.successful,
        failed: one.failed,
    };
    let secret = |one: wire::SecretReport| SecretNumbers {
        team_id: one.team_id,
        source_id: one.source_id,
        version: one.version,
        verified: one.verified,
    };
    let waiting = |gauges: &wire::Gauges| {
        let all = [gauges.scheduled, gauges.queued, gauges.hold];
        all.into_iter().fold(0, u64::saturating_add)
    };
    let backlog = message.gauges.as_ref().map(waiting);
    let states = |gauges: wire::Gauges| {
        let all = gauges.destinations.into_iter().take(MAX_STATES);
        all.map(state).collect()
    };
    Report {
        sequence: message.sequence,
        minute: message.minute.map_or(i64::MAX, millis),
        sources: message.sources.into_iter().map(source).collect(),
        destinations: message.destinations.into_iter().map(destination).collect(),
        secrets: message.secrets.into_iter().map(secret).collect(),
        backlog,
        states: message.gauges.map(states),
    }
}

fn state(wire: wire::DestinationState) -> DestinationState {
    let circuit = match v1::CircuitState::try_from(wire.circuit) {
        Ok(v1::CircuitState::Open) => CircuitState::Open,
        Ok(v1::CircuitState::HalfOpen) => CircuitState::HalfOpen,
        Ok(v1::CircuitState::Closed | v1::CircuitState::Unspecified) | Err(_) => {
            CircuitState::Closed
        }
    };
    DestinationState {
        team_id: wire.team_id,
        destination_id: wire.destination_id,
        circuit,
        open_since: wire.open_since.map(millis),
        next_probe_at: wire.next_probe_at.map(millis),
        in_flight: wire.in_flight,
        concurrency_limit: wire.concurrency_limit,
        held_until: wire.held_until.map(millis),
        disable_requested_at: wire.disable_requested_at.map(millis),
    }
}

fn histogram(
    wire: wire::Histogram,
) -> Result<Histogram, crate::domain::histogram::InvalidHistogram> {
    Histogram::new(
        wire.scale,
        wire.offset,
        wire.counts,
        wire.zero_count,
        (wire.sum, wire.max),
    )
}
