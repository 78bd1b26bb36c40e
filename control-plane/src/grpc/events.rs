//! `hookplane.v1.EventService`, answered by the agents.

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::event_service_server::EventService;
use tonic::{Request, Response, Status};

use super::caller;
use super::evidence::dead_letters;
use super::evidence::merge::{self, Part};
use super::evidence::query::Check;
use super::evidence::record;
use super::evidence::{add, everyone, holder_of, one};
use crate::domain::audit::Action;
use crate::fleet::Fleet;

type Reply<T> = Result<Response<T>, Status>;

pub struct EventApi {
    fleet: Fleet,
}

impl EventApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

fn listed(answer: Answer) -> Option<v1::ListEventsResponse> {
    match answer {
        Answer::ListEvents(found) => Some(found),
        _ => None,
    }
}

#[tonic::async_trait]
impl EventService for EventApi {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Reply<v1::ListEventsResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        let range = check.range(&mut asked.from, &mut asked.to, now);
        check.limit(&mut asked.limit);
        check.token(Kind::Event, &asked.page_token);
        check.status::<v1::EventStatus>(asked.status);
        check.outcome(asked.handler_outcome);
        check.id("source_id", Kind::Source, &asked.source_id);
        check.ids("connection_id", Kind::Connection, &asked.connection_id);
        check.ids("destination_id", Kind::Destination, &asked.destination_id);
        check.id(
            "batch_operation_id",
            Kind::BulkOperation,
            &asked.batch_operation_id,
        );
        let of_request = check.id("request_id", Kind::Request, &asked.request_id);
        check.done()?;
        let limit = asked.limit;
        let command = Command::ListEvents(asked);
        // Events live where their request lives.
        let found = match of_request {
            Some(id) => holder_of(&self.fleet, &team, id, command, listed).await?,
            None => everyone(&self.fleet, &team, command, listed).await?,
        };
        let ranges = found.parts.iter().map(|part| part.applied_range);
        let applied_range = Some(merge::range(range, ranges));
        let part = |part: v1::ListEventsResponse| Part {
            rows: part.models,
            pagination: part.pagination,
        };
        let parts = found.parts.into_iter().map(part).collect();
        let (models, pagination) = merge::pages(parts, limit);
        Ok(Response::new(v1::ListEventsResponse {
            pagination: Some(pagination),
            count: models.len() as u32,
            models,
            applied_range,
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
        }))
    }

    async fn count_events(
        &self,
        request: Request<v1::CountEventsRequest>,
    ) -> Reply<v1::CountEventsResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        check.range(&mut asked.from, &mut asked.to, now);
        check.status::<v1::EventStatus>(asked.status);
        check.outcome(asked.handler_outcome);
        check.id("source_id", Kind::Source, &asked.source_id);
        check.ids("connection_id", Kind::Connection, &asked.connection_id);
        check.ids("destination_id", Kind::Destination, &asked.destination_id);
        check.done()?;
        let command = Command::CountEvents(asked);
        let found = everyone(&self.fleet, &team, command, |answer| match answer {
            Answer::CountEvents(found) => Some(found),
            _ => None,
        })
        .await?;
        let mut sum = v1::CountEventsResponse {
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
            ..v1::CountEventsResponse::default()
        };
        for part in found.parts {
            add(&mut sum.count, part.count);
            add(&mut sum.scheduled, part.scheduled);
            add(&mut sum.queued, part.queued);
            add(&mut sum.hold, part.hold);
            add(&mut sum.successful, part.successful);
            add(&mut sum.failed, part.failed);
            add(&mut sum.cancelled, part.cancelled);
        }
        Ok(Response::new(sum))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Reply<v1::Event> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::GetEvent(asked);
        let found = one(
            &self.fleet,
            &team,
            (Kind::Event, &id),
            command,
            |answer| match answer {
                Answer::GetEvent(found) => Some(found),
                _ => None,
            },
        )
        .await?;
        Ok(Response::new(found))
    }

    async fn retry_event(
        &self,
        request: Request<v1::RetryEventRequest>,
    ) -> Reply<v1::RetryEventResponse> {
        let caller = caller(&request)?;
        let team = caller.team_id.clone();
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::RetryEvent(asked);
        let made = one(
            &self.fleet,
            &team,
            (Kind::Event, &id),
            command,
            |answer| match answer {
                Answer::RetryEvent(made) => Some(made),
                _ => None,
            },
        )
        .await?;
        let named = (Kind::Event, id.as_str());
        let new_id = Some(made.replay_event_id.as_str());
        record::ordered(&self.fleet, &caller, Action::Retry, named, new_id).await?;
        Ok(Response::new(made))
    }

    async fn cancel_event(&self, request: Request<v1::CancelEventRequest>) -> Reply<v1::Event> {
        let caller = caller(&request)?;
        let team = caller.team_id.clone();
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::CancelEvent(asked);
        let named = (Kind::Event, id.as_str());
        let stopped = one(&self.fleet, &team, named, command, |answer| match answer {
            Answer::CancelEvent(stopped) => Some(stopped),
            _ => None,
        })
        .await?;
        record::ordered(&self.fleet, &caller, Action::Cancel, named, None).await?;
        Ok(Response::new(stopped))
    }

    async fn release_event(&self, request: Request<v1::ReleaseEventRequest>) -> Reply<v1::Event> {
        let caller = caller(&request)?;
        let team = caller.team_id.clone();
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::ReleaseEvent(asked);
        let named = (Kind::Event, id.as_str());
        let released = one(&self.fleet, &team, named, command, |answer| match answer {
            Answer::ReleaseEvent(released) => Some(released),
            _ => None,
        })
        .await?;
        record::ordered(&self.fleet, &caller, Action::Release, named, None).await?;
        Ok(Response::new(released))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Reply<v1::ListDeadLettersResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        check.range(&mut asked.from, &mut asked.to, now);
        check.id("source_id", Kind::Source, &asked.source_id);
        check.ids("connection_id", Kind::Connection, &asked.connection_id);
        check.ids("destination_id", Kind::Destination, &asked.destination_id);
        check.done()?;
        let command = Command::ListDeadLetters(asked);
        let found = everyone(&self.fleet, &team, command, |answer| match answer {
            Answer::ListDeadLetters(found) => Some(found),
            _ => None,
        })
        .await?;
        let count = found.parts.iter().map(|part| part.count).sum();
        let groups = found.parts.into_iter().flat_map(|part| part.models);
        Ok(Response::new(v1::ListDeadLettersResponse {
            count,
            models: dead_letters::merged(groups),
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
        }))
    }
}
