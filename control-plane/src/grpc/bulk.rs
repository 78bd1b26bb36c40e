//! `hookplane.v1.BulkOperationService`: begun, watched and ended here, carried out by `fleet::bulk`.

mod preview;
mod select;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::preview_bulk_command::Selection;
use hookplane_proto::agent::v1::{BulkStepCommand, PreviewBulkCommand};
use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::bulk_operation_service_server::BulkOperationService;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Request, Response, Status};

use preview::merged;

use super::evidence::query::Check;
use super::evidence::{add, everyone};
use super::{caller, status, wanted};
use crate::domain::audit::Actor;
use crate::domain::bulk::{
    BulkCounts, BulkKind, BulkOperation, BulkStatus, Canary, DEFAULT_RATE, MAX_RATE, MOST_ONGOING,
};
use crate::domain::{Caller, Violation};
use crate::fleet::Fleet;
use crate::service::{Repeat, mint};
use crate::store::bulk::{Asked, Once};
use crate::wire::bulk;

type Reply<T> = Result<Response<T>, Status>;

pub struct BulkApi {
    fleet: Fleet,
}

/// What is asked for.
struct Wanted {
    selection: Selection,
    rate: u32,
    canary: bool,
    request_id: String,
}

/// Which operations to list.
struct Listed {
    bucket: String,
    limit: u32,
    page_token: String,
}

impl BulkApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    fn of<'a>(&'a self, team: &'a str) -> select::Team<'a> {
        select::Team {
            id: team,
            config: self.fleet.config(),
            now: self.fleet.clock().now_millis(),
        }
    }

    async fn preview(&self, team: &str, selection: Selection) -> Result<v1::BulkPreview, Status> {
        let command = Command::PreviewBulk(PreviewBulkCommand {
            selection: Some(selection),
        });
        let found = everyone(&self.fleet, team, command, |answer| match answer {
            Answer::PreviewBulk(found) => Some(found),
            _ => None,
        })
        .await?;
        Ok(v1::BulkPreview {
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
            ..merged(found.parts)
        })
    }

    async fn begin(&self, caller: Caller, wanted: Wanted) -> Reply<v1::BulkOperation> {
        let rate = match wanted.rate {
            0 => DEFAULT_RATE,
            rate @ 1..=MAX_RATE => rate,
            rate => {
                let fault = format!("{rate} is not possible; give 1 to {MAX_RATE} per second");
                return Err(status::invalid(&[Violation::new("rate", fault)]));
            }
        };
        let (kind, bytes) = encoded(&wanted.selection);
        let once = match wanted.request_id.as_str() {
            "" => None,
            id => Some(Repeat::new(
                id.to_owned(),
                fingerprint(kind, &wanted, rate),
            )?),
        };
        let total = self.preview(&caller.team_id, wanted.selection).await?.count;
        let now = self.fleet.clock().now_millis();
        let operation = BulkOperation {
            id: mint(Kind::BulkOperation, now),
            team_id: caller.team_id.clone(),
            kind,
            selection: bytes,
            rate,
            canary: if wanted.canary {
                Canary::Wanted
            } else {
                Canary::None
            },
            status: BulkStatus::Running,
            status_reason: String::new(),
            requested_by: caller.key_name.clone(),
            total,
            counts: BulkCounts::default(),
            skipped_reason: String::new(),
            created_at: now,
            updated_at: now,
            finished_at: None,
        };
        let once = once.as_ref().map(|repeat| Once {
            request_id: &repeat.request_id,
            fingerprint: &repeat.fingerprint,
        });
        let by = Actor::from(&caller);
        match self.fleet.bulks().begin(&operation, once, &by).await? {
            Asked::New => Ok(Response::new(bulk::message(&operation))),
            Asked::Before(before) => Ok(Response::new(bulk::message(&before))),
            Asked::Other => Err(crate::service::ServiceError::RequestIdReused {
                id: wanted.request_id,
            }
            .into()),
            Asked::TooMany => Err(status::refused(
                Code::ResourceExhausted,
                "TOO_MANY_BULK_OPERATIONS",
                format!("the team has {MOST_ONGOING} bulk operations under way"),
                "wait for the end of one, or cancel one",
            )),
        }
    }

    async fn list(
        &self,
        team: &str,
        kind: BulkKind,
        asked: Listed,
    ) -> Reply<v1::ListBulkOperationsResponse> {
        let mut limit = asked.limit;
        let mut check = Check::default();
        check.limit(&mut limit);
        check.token(Kind::BulkOperation, &asked.page_token);
        let ongoing = match asked.bucket.as_str() {
            "" | "all" => None,
            "ongoing" => Some(true),
            "history" => Some(false),
            _ => {
                check.holds("bucket", false, "give all, ongoing or history");
                None
            }
        };
        check.done()?;
        let before = wanted("page_token", asked.page_token)?;
        let list = self.fleet.bulks();
        let more = u64::from(limit) + 1;
        let found = list.list(team, (kind, ongoing), before.as_deref(), more);
        let mut rows = found.await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().map(|row| row.id.clone());
        let models: Vec<_> = rows.iter().map(bulk::message).collect();
        Ok(Response::new(v1::ListBulkOperationsResponse {
            pagination: Some(v1::Pagination {
                order_by: "created_at".to_owned(),
                dir: "desc".to_owned(),
                limit,
                next: last.filter(|_| has_more).unwrap_or_default(),
            }),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn found(&self, team: &str, id: &str) -> Result<BulkOperation, Status> {
        let found = self.fleet.bulks().get(team, id).await?;
        found.ok_or_else(|| {
            status::refused(
                Code::NotFound,
                "RESOURCE_NOT_FOUND",
                format!("there is no bulk operation `{}`", status::shown(id)),
                "list the operations to see which there are",
            )
        })
    }

    /// With where its events stand now, as far as the agents answer.
    async fn shown(&self, mut operation: BulkOperation) -> Reply<v1::BulkOperation> {
        let command = Command::BulkStep(BulkStepCommand {
            operation_id: operation.id.clone(),
            // Of no step, so it selects nothing.
            count_all: true,
            ..BulkStepCommand::default()
        });
        let team = operation.team_id.clone();
        let found = everyone(&self.fleet, &team, command, |answer| match answer {
            Answer::BulkStep(told) => Some(told),
            _ => None,
        })
        .await?;
        if found.unreachable.is_empty() {
            let mut counts = BulkCounts {
                made: operation.counts.made,
                skipped: operation.counts.skipped,
                ..BulkCounts::default()
            };
            let mut events = 0;
            for told in found.parts {
                add(&mut events, told.events);
                let undone = told.queued + told.scheduled + told.failed + told.cancelled;
                add(&mut counts.queued, told.queued);
                add(&mut counts.scheduled, told.scheduled);
                add(&mut counts.failed, told.failed);
                add(&mut counts.cancelled, told.cancelled);
                add(&mut counts.done, told.events.saturating_sub(undone));
            }
            if operation.kind == BulkKind::Events {
                // A step that is under way is not written down yet; each target gives one event.
                counts.made = counts.made.max(events);
            }
            operation.counts = counts;
        }
        Ok(Response::new(v1::BulkOperation {
            partial: !found.unreachable.is_empty(),
            unreachable: found.unreachable,
            ..bulk::message(&operation)
        }))
    }

    /// Changes how it stands, by the word of a person.
    async fn turn(
        &self,
        caller: &Caller,
        id: &str,
        change: impl Fn(&mut BulkOperation) -> Result<(), Status>,
    ) -> Reply<v1::BulkOperation> {
        // The leader may turn it at the same moment; the next look sees what it did.
        for _ in 0..3 {
            let was = self.found(&caller.team_id, id).await?;
            if !was.is_ongoing() {
                return Err(status::refused(
                    Code::FailedPrecondition,
                    "BULK_OPERATION_ENDED",
                    format!("the operation has ended: {}", was.status.word()),
                    "begin another one",
                ));
            }
            let now = self.fleet.clock().now_millis();
            let mut becomes = BulkOperation {
                updated_at: now,
                ..was.clone()
            };
            change(&mut becomes)?;
            if becomes.status == BulkStatus::Cancelled {
                becomes.finished_at = Some(now);
            }
            let by = Actor::from(caller);
            if self.fleet.bulks().turn(&was, &becomes, Some(&by)).await? {
                return Ok(Response::new(bulk::message(&becomes)));
            }
        }
        Err(status::refused(
            Code::Aborted,
            "BULK_OPERATION_CHANGED",
            "the operation changed meanwhile",
            "look at it again",
        ))
    }
}

fn encoded(selection: &Selection) -> (BulkKind, Vec<u8>) {
    match selection {
        Selection::Events(events) => (BulkKind::Events, events.encode_to_vec()),
        Selection::Requests(requests) => (BulkKind::Requests, requests.encode_to_vec()),
    }
}

/// Of what is asked, but for the window: `now` means another moment in a call that is sent again.
fn fingerprint(kind: BulkKind, wanted: &Wanted, rate: u32) -> String {
    let bytes = match &wanted.selection {
        Selection::Events(events) => v1::EventSelection {
            from: String::new(),
            to: String::new(),
            ..events.clone()
        }
        .encode_to_vec(),
        Selection::Requests(requests) => v1::RequestSelection {
            from: String::new(),
            to: String::new(),
            ..requests.clone()
        }
        .encode_to_vec(),
    };
    let mut hash = Sha256::new();
    hash.update(kind.word());
    hash.update(rate.to_be_bytes());
    hash.update([u8::from(wanted.canary)]);
    hash.update(bytes);
    hex::encode(hash.finalize())
}

#[tonic::async_trait]
impl BulkOperationService for BulkApi {
    async fn preview_event_bulk_operation(
        &self,
        request: Request<v1::PreviewEventBulkOperationRequest>,
    ) -> Reply<v1::BulkPreview> {
        let team = caller(&request)?.team_id;
        let events = select::events(self.of(&team), request.into_inner().events).await?;
        let preview = self.preview(&team, Selection::Events(events)).await?;
        Ok(Response::new(preview))
    }

    async fn create_event_bulk_operation(
        &self,
        request: Request<v1::CreateEventBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let events = select::events(self.of(&caller.team_id), asked.events).await?;
        let wanted = Wanted {
            selection: Selection::Events(events),
            rate: asked.rate,
            canary: asked.canary,
            request_id: asked.request_id,
        };
        self.begin(caller, wanted).await
    }

    async fn list_event_bulk_operations(
        &self,
        request: Request<v1::ListEventBulkOperationsRequest>,
    ) -> Reply<v1::ListBulkOperationsResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let listed = Listed {
            bucket: asked.bucket,
            limit: asked.limit,
            page_token: asked.page_token,
        };
        self.list(&team, BulkKind::Events, listed).await
    }

    async fn preview_request_bulk_operation(
        &self,
        request: Request<v1::PreviewRequestBulkOperationRequest>,
    ) -> Reply<v1::BulkPreview> {
        let team = caller(&request)?.team_id;
        let requests = select::requests(self.of(&team), request.into_inner().requests).await?;
        let preview = self.preview(&team, Selection::Requests(requests)).await?;
        Ok(Response::new(preview))
    }

    async fn create_request_bulk_operation(
        &self,
        request: Request<v1::CreateRequestBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let requests = select::requests(self.of(&caller.team_id), asked.requests).await?;
        let wanted = Wanted {
            selection: Selection::Requests(requests),
            rate: asked.rate,
            canary: asked.canary,
            request_id: asked.request_id,
        };
        self.begin(caller, wanted).await
    }

    async fn list_request_bulk_operations(
        &self,
        request: Request<v1::ListRequestBulkOperationsRequest>,
    ) -> Reply<v1::ListBulkOperationsResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let listed = Listed {
            bucket: asked.bucket,
            limit: asked.limit,
            page_token: asked.page_token,
        };
        self.list(&team, BulkKind::Requests, listed).await
    }

    async fn get_bulk_operation(
        &self,
        request: Request<v1::GetBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let team = caller(&request)?.team_id;
        let found = self.found(&team, &request.into_inner().id).await?;
        self.shown(found).await
    }

    async fn pause_bulk_operation(
        &self,
        request: Request<v1::PauseBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let pause = |operation: &mut BulkOperation| {
            operation.status = BulkStatus::Paused;
            "by a person".clone_into(&mut operation.status_reason);
            Ok(())
        };
        self.turn(&caller, &id, pause).await
    }

    async fn resume_bulk_operation(
        &self,
        request: Request<v1::ResumeBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let resume = |operation: &mut BulkOperation| {
            let paused = operation.status == BulkStatus::Paused;
            if !paused && operation.canary != Canary::Sent {
                return Err(status::refused(
                    Code::FailedPrecondition,
                    "BULK_OPERATION_RUNNING",
                    "the operation runs and waits for nobody",
                    "there is nothing to resume",
                ));
            }
            operation.status = BulkStatus::Running;
            operation.status_reason.clear();
            if operation.canary == Canary::Sent {
                operation.canary = Canary::Passed;
            }
            Ok(())
        };
        self.turn(&caller, &id, resume).await
    }

    async fn cancel_bulk_operation(
        &self,
        request: Request<v1::CancelBulkOperationRequest>,
    ) -> Reply<v1::BulkOperation> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let cancel = |operation: &mut BulkOperation| {
            operation.status = BulkStatus::Cancelled;
            "by a person".clone_into(&mut operation.status_reason);
            Ok(())
        };
        self.turn(&caller, &id, cancel).await
    }
}
