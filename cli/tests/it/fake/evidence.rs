//! One request with its branches, as an agent would tell it; and a tail that breaks once.

use std::pin::Pin;

use hookplane_client::v1::attempt_service_server::AttemptService;
use hookplane_client::v1::event_service_server::EventService;
use hookplane_client::v1::request_service_server::RequestService;
use hookplane_client::v1::tail_requests_response::Item;
use hookplane_client::v1::{
    Attempt, AttemptEnded, AttemptStatus, CancelEventRequest, CountEventsRequest,
    CountEventsResponse, CountRequestsRequest, CountRequestsResponse, DeadLetterGroup, Event,
    EventStatus, EventTrace, GetAttemptRequest, GetEventRequest, GetRequestRequest,
    GetRequestTraceRequest, Header, IgnoredReason, ListAttemptsRequest, ListAttemptsResponse,
    ListDeadLettersRequest, ListDeadLettersResponse, ListEventsRequest, ListEventsResponse,
    ListIgnoredEventsRequest, ListRequestEventsRequest, ListRequestsRequest, ListRequestsResponse,
    ReleaseEventRequest, Repeat, ReplayRequestRequest, ReplayRequestResponse, Request as Inbound,
    RequestData, RequestStatus, RequestStored, RequestTrace, RetryEventRequest, RetryEventResponse,
    TailRequestsRequest, TailRequestsResponse, TimelineEntry, UnreachableAgent,
};
use prost_types::Timestamp;
use tonic::{Code, Request, Response, Status};

use super::{Fake, not_found, refused};

/// Milliseconds after the request came in.
fn at(millis: i32) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_790_000_000,
        nanos: millis * 1_000_000,
    })
}

fn inbound() -> Inbound {
    Inbound {
        id: "req_1".into(),
        source_id: "src_gone".into(),
        status: RequestStatus::Accepted.into(),
        verified: true,
        verified_by: "clerk v1 secret 1 of 2".into(),
        message_id: "msg_1".into(),
        event_type: "user.created".into(),
        ingested_at: at(0),
        events_count: 2,
        ignored_count: 1,
        repeat_count: 1,
        body_size: 1381,
        client_ip: "192.0.2.7".into(),
        agent_id: "agt_1".into(),
        config_revision: 4,
        data: Some(RequestData {
            method: "POST".into(),
            path: "/hooks".into(),
            query: "a=1".into(),
            headers: vec![Header {
                name: "Svix-Id".into(),
                value: b"msg_1".to_vec(),
            }],
            body: b"{\"type\":\"user.created\"}".to_vec(),
            body_text: "{\"type\":\"user.created\"}".into(),
            body_truncated: false,
        }),
        ..Inbound::default()
    }
}

fn event(id: &str, status: EventStatus) -> Event {
    Event {
        id: id.into(),
        request_id: "req_1".into(),
        connection_id: "web_1".into(),
        destination_id: format!("des_of_{id}"),
        status: status.into(),
        created_at: at(1),
        event_type: "user.created".into(),
        ..Event::default()
    }
}

fn attempt(number: u32, status: u32, decision: &str) -> Attempt {
    Attempt {
        id: format!("att_{number}"),
        event_id: "evt_1".into(),
        request_id: "req_1".into(),
        destination_id: "des_of_evt_1".into(),
        attempt_number: number,
        trigger: if number == 1 {
            "initial".into()
        } else {
            "retry".into()
        },
        status: if status == 200 {
            AttemptStatus::Successful.into()
        } else {
            AttemptStatus::Failed.into()
        },
        response_status: status,
        error_code: if status == 0 {
            "connect_refused".into()
        } else {
            String::new()
        },
        http_method: "POST".into(),
        requested_url: "http://127.0.0.1:9/".into(),
        started_at: at(i32::try_from(number).unwrap() * 10),
        delivery_latency: 3.25,
        decision: decision.into(),
        ..Attempt::default()
    }
}

/// The story of `req_1`.
pub(crate) fn trace() -> RequestTrace {
    let mut ignored = event("evt_3", EventStatus::Cancelled);
    ignored.ignored_reason = IgnoredReason::Filtered.into();
    ignored.ignored_detail = "body.type does not start with session.".into();
    RequestTrace {
        request: Some(inbound()),
        events: vec![
            EventTrace {
                event: Some(event("evt_1", EventStatus::Successful)),
                attempts: vec![
                    attempt(1, 503, "retry in 5 s: 503"),
                    attempt(2, 200, "delivered"),
                ],
            },
            EventTrace {
                event: Some(event("evt_2", EventStatus::Scheduled)),
                attempts: Vec::new(),
            },
        ],
        ignored_events: vec![ignored],
        repeats: vec![Repeat {
            received_at: at(500),
            client_ip: "192.0.2.8".into(),
            requeued_event_ids: Vec::new(),
        }],
        timeline: vec![
            TimelineEntry {
                at: at(0),
                kind: "request.accepted".into(),
                subject_id: "req_1".into(),
                text: "by \u{1b}[2J".into(),
            },
            TimelineEntry {
                at: at(20),
                kind: "event.successful".into(),
                subject_id: "evt_1".into(),
                text: String::new(),
            },
        ],
        attempts_count: 2,
        ..RequestTrace::default()
    }
}

fn lacking() -> Vec<UnreachableAgent> {
    vec![UnreachableAgent {
        agent_id: "agt_2".into(),
        name: "berlin-2".into(),
        reason: "not connected".into(),
    }]
}

type Items = Pin<Box<dyn tokio_stream::Stream<Item = Result<TailRequestsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RequestService for Fake {
    async fn list_requests(
        &self,
        _: Request<ListRequestsRequest>,
    ) -> Result<Response<ListRequestsResponse>, Status> {
        Ok(Response::new(ListRequestsResponse {
            count: 1,
            models: vec![inbound()],
            partial: true,
            unreachable: lacking(),
            ..ListRequestsResponse::default()
        }))
    }

    async fn count_requests(
        &self,
        _: Request<CountRequestsRequest>,
    ) -> Result<Response<CountRequestsResponse>, Status> {
        Ok(Response::new(CountRequestsResponse {
            count: 1204,
            accepted: 1200,
            rejected: 4,
            ..CountRequestsResponse::default()
        }))
    }

    type TailRequestsStream = Items;

    /// The first stream breaks after one item.
    async fn tail_requests(
        &self,
        _: Request<TailRequestsRequest>,
    ) -> Result<Response<Items>, Status> {
        let mut state = self.state();
        state.tails += 1;
        let stored = RequestStored {
            request: Some(inbound()),
            events: vec![event("evt_1", EventStatus::Queued)],
        };
        let ended = AttemptEnded {
            attempt: Some(attempt(1, 200, "delivered")),
            event: Some(event("evt_1", EventStatus::Successful)),
        };
        let items = if state.tails == 1 {
            vec![
                Ok(TailRequestsResponse {
                    item: Some(Item::Stored(stored)),
                }),
                Err(Status::unavailable("restarting")),
            ]
        } else {
            vec![Ok(TailRequestsResponse {
                item: Some(Item::Attempt(ended)),
            })]
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }

    async fn get_request(
        &self,
        request: Request<GetRequestRequest>,
    ) -> Result<Response<Inbound>, Status> {
        known(&request.into_inner().id, "req_1")?;
        Ok(Response::new(inbound()))
    }

    async fn list_request_events(
        &self,
        _: Request<ListRequestEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn list_ignored_events(
        &self,
        _: Request<ListIgnoredEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented("not asked by the command line"))
    }

    async fn replay_request(
        &self,
        request: Request<ReplayRequestRequest>,
    ) -> Result<Response<ReplayRequestResponse>, Status> {
        let asked = request.into_inner();
        known(&asked.id, "req_1")?;
        let changed = asked.modifications.unwrap_or_default();
        Ok(Response::new(ReplayRequestResponse {
            request_id: asked.id,
            replay_request_id: "req_9".into(),
            replay_mode: changed.set_headers.into_keys().collect(),
            events_count: 2,
            ..ReplayRequestResponse::default()
        }))
    }

    async fn diagnose_request(
        &self,
        _: Request<hookplane_proto::v1::DiagnoseRequestRequest>,
    ) -> Result<Response<hookplane_proto::v1::RequestDiagnosis>, Status> {
        Err(Status::unimplemented("nothing is refused here"))
    }

    async fn get_request_trace(
        &self,
        request: Request<GetRequestTraceRequest>,
    ) -> Result<Response<RequestTrace>, Status> {
        known(&request.into_inner().id, "req_1")?;
        Ok(Response::new(trace()))
    }
}

fn known(id: &str, only: &str) -> Result<(), Status> {
    if id == only {
        Ok(())
    } else {
        Err(not_found(id))
    }
}

#[tonic::async_trait]
impl EventService for Fake {
    async fn list_events(
        &self,
        _: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let models = vec![event("evt_1", EventStatus::Successful)];
        Ok(Response::new(ListEventsResponse {
            count: 1,
            models,
            ..ListEventsResponse::default()
        }))
    }

    async fn count_events(
        &self,
        _: Request<CountEventsRequest>,
    ) -> Result<Response<CountEventsResponse>, Status> {
        Ok(Response::new(CountEventsResponse {
            count: 3,
            successful: 2,
            failed: 1,
            ..CountEventsResponse::default()
        }))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<Event>, Status> {
        known(&request.into_inner().id, "evt_1")?;
        Ok(Response::new(event("evt_1", EventStatus::Successful)))
    }

    async fn retry_event(
        &self,
        request: Request<RetryEventRequest>,
    ) -> Result<Response<RetryEventResponse>, Status> {
        let id = request.into_inner().id;
        if id == "evt_2" {
            let hint = "wait until it has ended";
            return Err(refused(
                Code::FailedPrecondition,
                "EVENT_PENDING",
                "the event is still pending",
                hint,
                &[],
            ));
        }
        Ok(Response::new(RetryEventResponse {
            event_id: id,
            replay_event_id: "evt_9".into(),
        }))
    }

    async fn cancel_event(
        &self,
        request: Request<CancelEventRequest>,
    ) -> Result<Response<Event>, Status> {
        known(&request.into_inner().id, "evt_2")?;
        Ok(Response::new(event("evt_2", EventStatus::Cancelled)))
    }

    async fn release_event(
        &self,
        request: Request<ReleaseEventRequest>,
    ) -> Result<Response<Event>, Status> {
        known(&request.into_inner().id, "evt_2")?;
        Ok(Response::new(event("evt_2", EventStatus::Queued)))
    }

    async fn list_dead_letters(
        &self,
        _: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let group = DeadLetterGroup {
            response_status: 401,
            count: 3,
            next_step: "put the destination's auth right".into(),
            ..DeadLetterGroup::default()
        };
        Ok(Response::new(ListDeadLettersResponse {
            count: 3,
            models: vec![group],
            ..ListDeadLettersResponse::default()
        }))
    }
}

#[tonic::async_trait]
impl AttemptService for Fake {
    async fn list_attempts(
        &self,
        _: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        let models = vec![attempt(1, 0, "retry in 5 s: connect_refused")];
        Ok(Response::new(ListAttemptsResponse {
            count: 1,
            models,
            ..ListAttemptsResponse::default()
        }))
    }

    async fn get_attempt(
        &self,
        request: Request<GetAttemptRequest>,
    ) -> Result<Response<Attempt>, Status> {
        known(&request.into_inner().id, "att_2")?;
        Ok(Response::new(attempt(2, 200, "delivered")))
    }
}
