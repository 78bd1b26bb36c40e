//! Server-sent events.

use axum::body::Body;
use hookplane_control_plane::rest::Limits;
use hookplane_proto::v1;
use hookplane_proto::v1::tail_requests_response::Item;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tonic::Status;
use tower::ServiceExt as _;

use crate::api::{Api, Reply, request, short_limits};
use crate::services::{Echo, GOOD_KEY};

fn stored(id: &str) -> v1::TailRequestsResponse {
    let request = v1::Request {
        id: id.to_owned(),
        status: v1::RequestStatus::Accepted.into(),
        ..Default::default()
    };
    v1::TailRequestsResponse {
        item: Some(Item::Stored(v1::RequestStored {
            request: Some(request),
            events: Vec::new(),
        })),
    }
}

fn gap(skipped: u64) -> v1::TailRequestsResponse {
    v1::TailRequestsResponse {
        item: Some(Item::Gap(v1::TailGap { skipped })),
    }
}

/// Name and data of each event.
fn events(reply: &Reply) -> Vec<(String, Value)> {
    let blocks = reply.text.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let name = line("event: ").unwrap_or("message").to_owned();
            let data = line("data: ").expect("data in one line");
            (name, serde_json::from_str(data).expect("JSON"))
        })
        .collect()
}

async fn tail(items: Vec<Result<v1::TailRequestsResponse, Status>>) -> Reply {
    let echo = Echo {
        tail: items,
        ..Echo::default()
    };
    Api::with(echo, Limits::default())
        .get("/v1/requests/tail?source_id=src_1&status=accepted")
        .await
}

#[tokio::test]
async fn each_message_is_an_event_and_a_good_end_is_told() {
    let reply = tail(vec![Ok(stored("req_1")), Ok(gap(7))]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let events = events(&reply);
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].0, "message");
    assert_eq!(events[0].1["stored"]["request"]["id"], "req_1");
    assert_eq!(events[0].1["stored"]["request"]["status"], "accepted");
    // Of a union only the member that is set.
    assert_eq!(events[1].1, json!({"gap": {"skipped": 7}}));
    assert_eq!(events[2], ("end".to_owned(), json!({})));
}

#[tokio::test]
async fn a_failure_on_the_way_is_the_last_event() {
    let failure = Status::unavailable("the agent went away");
    let reply = tail(vec![Ok(gap(1)), Err(failure)]).await;
    let events = events(&reply);
    assert_eq!(events.len(), 2);
    let (name, problem) = &events[1];
    assert_eq!(name, "error");
    assert_eq!(problem["code"], "UNAVAILABLE");
    assert_eq!(problem["message"], "the agent went away");
    assert_eq!(problem["status"], 503);
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_an_ordinary_error() {
    let echo = Echo {
        fails_with: Some(Status::not_found("no such source")),
        ..Echo::default()
    };
    let api = Api::with(echo, Limits::default());
    let answer = api.get("/v1/requests/tail").await.json(404);
    assert_eq!(answer["message"], "no such source");
}

fn endless() -> Api {
    let echo = Echo {
        tail: vec![Ok(gap(1))],
        endless: true,
        ..Echo::default()
    };
    Api::with(echo, short_limits())
}

async fn open(api: &Api) -> Body {
    let call = request("GET", "/v1/requests/tail").header("authorization", GOOD_KEY);
    let call = call.body(Body::empty()).unwrap();
    api.router.clone().oneshot(call).await.unwrap().into_body()
}

#[tokio::test]
async fn silence_is_filled_with_comments_and_has_no_deadline() {
    let api = endless();
    let mut body = open(&api).await;
    let mut text = String::new();
    // Far more than the deadline of a call.
    while text.matches(": keep-alive\n\n").count() < 30 {
        let frame = body.frame().await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(
        text.starts_with("data: {\"gap\":{\"skipped\":1}}\n\n"),
        "{text}"
    );
    assert!(!api.echo.tail_dropped.is_cancelled());
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call() {
    let api = endless();
    let mut body = open(&api).await;
    body.frame().await.expect("the first event").unwrap();
    assert!(!api.echo.tail_dropped.is_cancelled());
    drop(body);
    api.echo.tail_dropped.cancelled().await;
}

#[tokio::test]
async fn a_head_request_starts_no_stream() {
    let api = endless();
    let reply = api.call("HEAD", "/v1/requests/tail", "").await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    api.echo.tail_dropped.cancelled().await;
}
