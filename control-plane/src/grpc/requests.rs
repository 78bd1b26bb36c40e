//! `hookplane.v1.RequestService`, answered by the agents.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::request_service_server::RequestService;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::evidence::merge::{self, Part};
use super::evidence::payload;
use super::evidence::query::Check;
use super::evidence::record;
use super::evidence::{FromHolder, add, everyone, from_holder, one, unreachable};
use super::{caller, status};
use crate::domain::Violation;
use crate::domain::audit::Action;
use crate::fleet::Fleet;

/// Bytes of a body that a replay gives: it has to fit a command.
const MAX_CHANGED_BODY: usize = 3 << 20;

type Reply<T> = Result<Response<T>, Status>;

pub struct RequestApi {
    fleet: Fleet,
}

impl RequestApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn trace(&self, team: &str, id: &str) -> Result<v1::RequestTrace, Status> {
        let asked = v1::GetRequestTraceRequest { id: id.to_owned() };
        let command = Command::GetRequestTrace(asked);
        let named = (Kind::Request, id);
        let pick = |answer| match answer {
            Answer::GetRequestTrace(found) => Some(found),
            _ => None,
        };
        Ok(
            match from_holder(&self.fleet, team, named, command, pick).await? {
                FromHolder::Answered(found) => found,
                FromHolder::Away(away) => v1::RequestTrace {
                    partial: true,
                    unreachable: vec![unreachable(*away)],
                    ..v1::RequestTrace::default()
                },
            },
        )
    }
}

#[tonic::async_trait]
impl RequestService for RequestApi {
    type TailRequestsStream = BoxStream<'static, Result<v1::TailRequestsResponse, Status>>;

    async fn list_requests(
        &self,
        request: Request<v1::ListRequestsRequest>,
    ) -> Reply<v1::ListRequestsResponse> {
        let caller = caller(&request)?;
        let mut asked = request.into_inner();
        // Whoever may search in payloads can read them, one guess after the other.
        let payloads = !asked.include.is_empty() || !asked.q.is_empty();
        payload::asked_for(&caller, payloads)?;
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        let range = check.range(&mut asked.from, &mut asked.to, now);
        check.limit(&mut asked.limit);
        check.token(Kind::Request, &asked.page_token);
        check.status::<v1::RequestStatus>(asked.status);
        check.id("source_id", Kind::Source, &asked.source_id);
        check.text("message_id", &asked.message_id);
        check.text("event_type", &asked.event_type);
        check.include(&asked.include);
        check.text("q", &asked.q);
        check.done()?;
        let limit = asked.limit;
        let question = json!({
            "from": asked.from, "to": asked.to, "source_id": asked.source_id,
            "searched": !asked.q.is_empty(),
        });
        let command = Command::ListRequests(asked);
        let found = everyone(
            &self.fleet,
            &caller.team_id,
            command,
            |answer| match answer {
                Answer::ListRequests(found) => Some(found),
                _ => None,
            },
        )
        .await?;
        let ranges = found.parts.iter().map(|part| part.applied_range);
        let applied_range = Some(merge::range(range, ranges));
        let part = |part: v1::ListRequestsResponse| Part {
            rows: part.models,
            pagination: part.pagination,
        };
        let parts = found.parts.into_iter().map(part).collect();
        let (models, pagination) = merge::pages(parts, limit);
        Ok(Response::new(v1::ListRequestsResponse {
            pagination: Some(pagination),
            count: models.len() as u32,
            models: record::listed(&self.fleet, &caller, Kind::Request, question, models).await?,
            applied_range,
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
        }))
    }

    async fn count_requests(
        &self,
        request: Request<v1::CountRequestsRequest>,
    ) -> Reply<v1::CountRequestsResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        check.range(&mut asked.from, &mut asked.to, now);
        check.status::<v1::RequestStatus>(asked.status);
        check.id("source_id", Kind::Source, &asked.source_id);
        check.text("message_id", &asked.message_id);
        check.text("event_type", &asked.event_type);
        check.done()?;
        let command = Command::CountRequests(asked);
        let found = everyone(&self.fleet, &team, command, |answer| match answer {
            Answer::CountRequests(found) => Some(found),
            _ => None,
        })
        .await?;
        let mut sum = v1::CountRequestsResponse {
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
            ..v1::CountRequestsResponse::default()
        };
        for part in found.parts {
            add(&mut sum.count, part.count);
            add(&mut sum.accepted, part.accepted);
            add(&mut sum.rejected, part.rejected);
            add(&mut sum.repeats, part.repeats);
        }
        Ok(Response::new(sum))
    }

    async fn tail_requests(
        &self,
        request: Request<v1::TailRequestsRequest>,
    ) -> Reply<Self::TailRequestsStream> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let mut check = Check::default();
        check.id("source_id", Kind::Source, &asked.source_id);
        check.status::<v1::RequestStatus>(asked.status);
        check.text("event_type", &asked.event_type);
        let why = "a tail does not look into requests; leave it out, lists take it";
        check.absent("q", &asked.q, why);
        check.done()?;
        record::tailed(&self.fleet, &caller).await?;
        let items = self.fleet.tail(caller.team_id.clone(), asked);
        let items = items.map(move |item| match item {
            Ok(item) => Ok(payload::shown(&caller, item)),
            Err(ending) => Err(Status::from(ending)),
        });
        Ok(Response::new(items.boxed()))
    }

    async fn get_request(&self, request: Request<v1::GetRequestRequest>) -> Reply<v1::Request> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::GetRequest(asked);
        let found = one(
            &self.fleet,
            &caller.team_id,
            (Kind::Request, &id),
            command,
            |answer| match answer {
                Answer::GetRequest(found) => Some(found),
                _ => None,
            },
        )
        .await?;
        let named = (Kind::Request, id.as_str());
        let shown = record::shown(&self.fleet, &caller, named, found).await?;
        Ok(Response::new(shown))
    }

    async fn replay_request(
        &self,
        request: Request<v1::ReplayRequestRequest>,
    ) -> Reply<v1::ReplayRequestResponse> {
        let caller = caller(&request)?;
        let team = caller.team_id.clone();
        let asked = request.into_inner();
        let changed = asked.modifications.as_ref();
        let body = changed.map_or(0, |changed| {
            let text = changed.body_text.as_ref().map_or(0, String::len);
            text + changed.body.as_ref().map_or(0, Vec::len)
        });
        if body > MAX_CHANGED_BODY {
            let fault = format!("{body} bytes; at most {MAX_CHANGED_BODY} can be given");
            return Err(status::invalid(&[Violation::new(
                "modifications.body",
                fault,
            )]));
        }
        let id = asked.id.clone();
        let command = Command::ReplayRequest(asked);
        let named = (Kind::Request, id.as_str());
        let made = one(&self.fleet, &team, named, command, |answer| match answer {
            Answer::ReplayRequest(made) => Some(made),
            _ => None,
        })
        .await?;
        let new_id = Some(made.replay_request_id.as_str());
        record::ordered(&self.fleet, &caller, Action::Replay, named, new_id).await?;
        Ok(Response::new(made))
    }

    async fn list_request_events(
        &self,
        request: Request<v1::ListRequestEventsRequest>,
    ) -> Reply<v1::ListEventsResponse> {
        let team = caller(&request)?.team_id;
        let trace = self.trace(&team, &request.into_inner().id).await?;
        let routed = trace.events.into_iter().filter_map(|branch| branch.event);
        Ok(Response::new(whole(routed.collect(), trace.unreachable)))
    }

    async fn list_ignored_events(
        &self,
        request: Request<v1::ListIgnoredEventsRequest>,
    ) -> Reply<v1::ListEventsResponse> {
        let team = caller(&request)?.team_id;
        let trace = self.trace(&team, &request.into_inner().id).await?;
        Ok(Response::new(whole(
            trace.ignored_events,
            trace.unreachable,
        )))
    }

    async fn diagnose_request(
        &self,
        request: Request<v1::DiagnoseRequestRequest>,
    ) -> Reply<v1::RequestDiagnosis> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::DiagnoseRequest(asked);
        let named = (Kind::Request, id.as_str());
        let found = one(&self.fleet, &team, named, command, |answer| match answer {
            Answer::DiagnoseRequest(found) => Some(found),
            _ => None,
        });
        Ok(Response::new(found.await?))
    }

    async fn get_request_trace(
        &self,
        request: Request<v1::GetRequestTraceRequest>,
    ) -> Reply<v1::RequestTrace> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let found = self.trace(&caller.team_id, &id).await?;
        let named = (Kind::Request, id.as_str());
        let shown = record::shown(&self.fleet, &caller, named, found).await?;
        Ok(Response::new(shown))
    }
}

/// The branches of one request: there is one page, newest first as in every list.
fn whole(
    mut events: Vec<v1::Event>,
    unreachable: Vec<v1::UnreachableAgent>,
) -> v1::ListEventsResponse {
    events.sort_by(|one, other| other.id.cmp(&one.id));
    v1::ListEventsResponse {
        pagination: Some(v1::Pagination {
            order_by: "created_at".to_owned(),
            dir: "desc".to_owned(),
            limit: events.len() as u32,
            next: String::new(),
        }),
        count: events.len() as u32,
        models: events,
        partial: !unreachable.is_empty(),
        unreachable,
        ..v1::ListEventsResponse::default()
    }
}
