//! `hookplane.v1.AttemptService`, answered by the agents.

use std::collections::BTreeSet;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::attempt_service_server::AttemptService;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::caller;
use super::evidence::merge::{self, Part};
use super::evidence::query::Check;
use super::evidence::record;
use super::evidence::{everyone, holder_of, one};
use crate::fleet::Fleet;

type Reply<T> = Result<Response<T>, Status>;

pub struct AttemptApi {
    fleet: Fleet,
}

impl AttemptApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

fn listed(answer: Answer) -> Option<v1::ListAttemptsResponse> {
    match answer {
        Answer::ListAttempts(found) => Some(found),
        _ => None,
    }
}

#[tonic::async_trait]
impl AttemptService for AttemptApi {
    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Reply<v1::ListAttemptsResponse> {
        let caller = caller(&request)?;
        let mut asked = request.into_inner();
        let mut check = Check::default();
        let now = self.fleet.clock().now_millis();
        check.range(&mut asked.from, &mut asked.to, now);
        check.limit(&mut asked.limit);
        check.token(Kind::Attempt, &asked.page_token);
        check.status::<v1::AttemptStatus>(asked.status);
        let events = check.ids("event_id", Kind::Event, &asked.event_id);
        check.ids("destination_id", Kind::Destination, &asked.destination_id);
        check.done()?;
        let limit = asked.limit;
        let question = json!({
            "from": asked.from, "to": asked.to, "event_id": asked.event_id,
            "destination_id": asked.destination_id,
        });
        let command = Command::ListAttempts(asked);
        // Attempts live where their event lives.
        let stores: BTreeSet<u32> = events.iter().map(|id| id.store()).collect();
        let found = match events.first() {
            Some(id) if stores.len() == 1 => {
                holder_of(&self.fleet, &caller.team_id, *id, command, listed).await?
            }
            _ => everyone(&self.fleet, &caller.team_id, command, listed).await?,
        };
        let part = |part: v1::ListAttemptsResponse| Part {
            rows: part.models,
            pagination: part.pagination,
        };
        let parts = found.parts.into_iter().map(part).collect();
        let (models, pagination) = merge::pages(parts, limit);
        Ok(Response::new(v1::ListAttemptsResponse {
            pagination: Some(pagination),
            count: models.len() as u32,
            models: record::listed(&self.fleet, &caller, Kind::Attempt, question, models).await?,
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
        }))
    }

    async fn get_attempt(&self, request: Request<v1::GetAttemptRequest>) -> Reply<v1::Attempt> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let id = asked.id.clone();
        let command = Command::GetAttempt(asked);
        let found = one(
            &self.fleet,
            &caller.team_id,
            (Kind::Attempt, &id),
            command,
            |answer| match answer {
                Answer::GetAttempt(found) => Some(found),
                _ => None,
            },
        )
        .await?;
        let named = (Kind::Attempt, id.as_str());
        let shown = record::shown(&self.fleet, &caller, named, found).await?;
        Ok(Response::new(shown))
    }
}
