//! `hookplane.v1.MetricsService`: series from what agents reported.

use std::collections::HashMap;

use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::metrics_service_server::MetricsService;
use tonic::{Request, Response, Status};

use super::evidence::query::Check;
use super::{caller, status};
use crate::domain::{Millis, Violation};
use crate::fleet::Fleet;
use crate::store::reports::MINUTE;
use crate::store::reports::series::{Arrivals, Deliveries, Span};
use crate::wire::{millis, timestamp};

type Reply<T> = Result<Response<T>, Status>;

const HOUR: Millis = 60 * MINUTE;
const BINS: usize = 6;
const BIN: Millis = 4 * HOUR;
const MOST_POINTS: Millis = 1_500;

pub struct MetricsApi {
    fleet: Fleet,
}

impl MetricsApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    /// The last 24 hours up to the minute under way, in six bins.
    fn day(&self) -> Span {
        let now = self.fleet.clock().now_millis();
        let to = now - now.rem_euclid(MINUTE) + MINUTE;
        Span {
            from: to - BIN * BINS as Millis,
            to,
            step: BIN,
        }
    }
}

/// One id, or several separated by commas; as many as a call may name.
fn ids(field: &str, kind: Kind, text: &str) -> Result<Vec<String>, Status> {
    let mut check = Check::default();
    let found = check.ids(field, kind, text);
    check.done()?;
    Ok(found.into_iter().map(|id| id.to_string()).collect())
}

fn needed(ids: Vec<String>) -> Result<Vec<String>, Status> {
    if ids.is_empty() {
        let text = "name one, or several separated by commas";
        return Err(status::invalid(&[Violation::new("id", text)]));
    }
    Ok(ids)
}

fn step(granularity: &str) -> Result<(&'static str, Millis), Status> {
    Ok(match granularity {
        "" | "1m" => ("1m", MINUTE),
        "5m" => ("5m", 5 * MINUTE),
        "15m" => ("15m", 15 * MINUTE),
        "1h" => ("1h", HOUR),
        _ => {
            let text = "`1m`, `5m`, `15m` and `1h` are possible: numbers are kept by the minute";
            return Err(status::invalid(&[Violation::new("granularity", text)]));
        }
    })
}

/// The bin of a day that an interval is.
fn bin(span: Span, at: Millis) -> usize {
    usize::try_from((at - span.from) / span.step).map_or(0, |bin| bin.min(BINS - 1))
}

#[tonic::async_trait]
impl MetricsService for MetricsApi {
    async fn get_request_metrics(
        &self,
        request: Request<v1::GetRequestMetricsRequest>,
    ) -> Reply<v1::RequestMetrics> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let (granularity, step) = step(&asked.granularity)?;
        if asked.from.trim().is_empty() {
            "now-1h".clone_into(&mut asked.from);
        }
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        let range = check.range(&mut asked.from, &mut asked.to, now);
        check.done()?;
        let sources = ids("source_id", Kind::Source, &asked.source_id)?;
        let from = range.from.map_or(now - HOUR, millis);
        let to = range.to.map_or(now, millis);
        let from = from - from.rem_euclid(step);
        let points = (to - from + step - 1) / step;
        if points > MOST_POINTS {
            let text = format!("{points} points; {MOST_POINTS} are possible");
            return Err(status::invalid(&[Violation::new("granularity", text)]));
        }
        let to = from + points * step;
        let span = Span { from, to, step };
        let reports = self.fleet.report_store();
        // Of all sources the database makes one sum: a team can have ten thousand.
        let found: Vec<_> = if sources.is_empty() {
            reports.arrivals_of_team(&team, span).await?
        } else {
            let found = reports.arrivals(&team, &sources, span).await?;
            let found = found.into_iter();
            found.map(|(at, _, numbers)| (at, numbers)).collect()
        };
        let mut by_time: HashMap<Millis, Arrivals> = HashMap::new();
        for (at, numbers) in found {
            let sum = by_time.entry(at).or_default();
            sum.accepted += numbers.accepted;
            sum.rejected += numbers.rejected;
            sum.repeats += numbers.repeats;
        }
        let point = |place| {
            let at = from + place * step;
            let numbers = by_time.get(&at).copied().unwrap_or_default();
            v1::RequestPoint {
                at: Some(timestamp(at)),
                count: numbers.accepted + numbers.rejected,
                accepted_count: numbers.accepted,
                rejected_count: numbers.rejected,
                repeat_count: numbers.repeats,
            }
        };
        let models: Vec<_> = (0..points).map(point).collect();
        Ok(Response::new(v1::RequestMetrics {
            granularity: granularity.to_owned(),
            count: models.iter().map(|one| one.count).sum(),
            accepted_count: models.iter().map(|one| one.accepted_count).sum(),
            rejected_count: models.iter().map(|one| one.rejected_count).sum(),
            models,
        }))
    }

    async fn get_source_metrics(
        &self,
        request: Request<v1::GetSourceMetricsRequest>,
    ) -> Reply<v1::SourceMetrics> {
        let team = caller(&request)?.team_id;
        let ids = needed(ids("id", Kind::Source, &request.into_inner().id)?)?;
        let span = self.day();
        let found = self.fleet.report_store().arrivals(&team, &ids, span);
        let mut days: HashMap<String, [Arrivals; BINS]> = HashMap::new();
        for (at, id, numbers) in found.await? {
            let bins = days.entry(id).or_default();
            bins[bin(span, at)].accepted += numbers.accepted;
            bins[bin(span, at)].rejected += numbers.rejected;
        }
        let day = |id: String| {
            let bins = days.get(&id).copied().unwrap_or_default();
            let counts = bins.iter().map(|bin| bin.accepted + bin.rejected);
            v1::SourceDay {
                requests_24h_count: counts.clone().sum(),
                requests_24h_bins: counts.collect(),
                rejected_24h_count: bins.iter().map(|bin| bin.rejected).sum(),
                id,
            }
        };
        let models = ids.into_iter().map(day).collect();
        Ok(Response::new(v1::SourceMetrics { models }))
    }

    async fn get_destination_metrics(
        &self,
        request: Request<v1::GetDestinationMetricsRequest>,
    ) -> Reply<v1::DestinationMetrics> {
        let team = caller(&request)?.team_id;
        let ids = needed(ids("id", Kind::Destination, &request.into_inner().id)?)?;
        let span = self.day();
        let found = self.fleet.report_store().deliveries(&team, &ids, span);
        let mut days: HashMap<String, [Deliveries; BINS]> = HashMap::new();
        for (at, id, numbers) in found.await? {
            let bins = days.entry(id).or_default();
            bins[bin(span, at)].attempts += numbers.attempts;
            bins[bin(span, at)].failed += numbers.failed;
        }
        let day = |id: String| {
            let bins = days.get(&id).copied().unwrap_or_default();
            v1::DestinationDay {
                attempts_24h_count: bins.iter().map(|bin| bin.attempts).sum(),
                attempts_24h_bins: bins.iter().map(|bin| bin.attempts).collect(),
                failed_24h_count: bins.iter().map(|bin| bin.failed).sum(),
                id,
            }
        };
        let models = ids.into_iter().map(day).collect();
        Ok(Response::new(v1::DestinationMetrics { models }))
    }
}
