//! What each sender is told and what is kept.

use std::time::Duration;

use hookplane_agent::accept::IngestLimits;
use hookplane_agent::store::{EventQuery, EventStatus, RequestQuery, Store as _};
use hookplane_signature::{Provider, generate_secret, sign};
use serde_json::json;

use crate::world::{TEAM, start};

#[tokio::test]
async fn a_signed_request_is_stored_with_every_branch_before_it_is_answered() {
    let agent = start(IngestLimits::default()).await;
    let body = br#"{"type":"user.created","data":{"n":1.0}}"#;
    let mut headers = agent.signed("msg_1", 0, body);
    headers.push(("x-twice".into(), "a".into()));
    headers.push(("x-twice".into(), "b".into()));
    let told = agent
        .send("POST", "/src_clerk/in/here?a=b&a=c", headers, body)
        .await;
    assert_eq!(told.status, 200);
    let answer = told.json();
    assert_eq!(
        (&answer["ok"], &answer["queued"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(answer["transport"], "queue");

    let id = answer["request_id"]
        .as_str()
        .expect("the answer names the request");
    let history = agent
        .store
        .history(TEAM, id)
        .await
        .unwrap()
        .expect("what is answered is stored");
    let request = &history.request;
    assert_eq!(request.body.as_ref(), body, "the raw bytes changed");
    assert_eq!(
        (request.path.as_str(), request.query.as_str()),
        ("/in/here", "a=b&a=c")
    );
    assert_eq!(
        request.verified_by.as_deref(),
        Some("clerk v1 secret 1 of 1")
    );
    assert_eq!(request.event_type.as_deref(), Some("user.created"));
    assert_eq!(request.config_revision, 9);
    let twice: Vec<_> = request
        .headers
        .iter()
        .filter(|(name, _)| name == "x-twice")
        .map(|(_, v)| v.as_ref())
        .collect();
    assert_eq!(
        twice,
        [b"a", b"b"],
        "repeated headers are not kept in order"
    );

    let mut branches: Vec<(&str, EventStatus, &str)> = history
        .events
        .iter()
        .map(|event| {
            let detail = event.ignored_detail.as_deref().unwrap_or_default();
            (event.connection_id.as_str(), event.status, detail)
        })
        .collect();
    branches.sort_by_key(|branch| branch.0);
    let cancelled = EventStatus::Cancelled;
    assert_eq!(
        branches,
        [
            ("web_all", EventStatus::Queued, ""),
            ("web_off", cancelled, "the connection is disabled"),
            ("web_org", cancelled, "body.type"),
            ("web_to_off", cancelled, "the destination is disabled"),
            ("web_user", EventStatus::Queued, ""),
        ]
    );
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_first_id_and_makes_nothing() {
    let agent = start(IngestLimits::default()).await;
    let body = br#"{"type":"user.created"}"#;
    let first = agent.clerk("msg_same", body).await.json();
    let second = agent.clerk("msg_same", body).await;
    assert_eq!(second.status, 200);
    assert_eq!(second.json()["request_id"], first["request_id"]);
    let events = EventQuery {
        team_id: TEAM.into(),
        ..Default::default()
    };
    assert_eq!(agent.store.count_events(events).await.unwrap().queued, 2);
    let all = RequestQuery {
        team_id: TEAM.into(),
        ..Default::default()
    };
    let books = agent.store.count_requests(all).await.unwrap();
    assert_eq!((books.accepted, books.rejected, books.repeats), (1, 0, 1));
}

#[tokio::test]
async fn what_is_not_authentic_is_refused_without_a_hint_and_kept_with_its_reason() {
    let agent = start(IngestLimits::default()).await;
    let body = br#"{"type":"user.created"}"#;
    let forged = sign(
        Provider::Clerk,
        &generate_secret([6; 32]),
        "m",
        1_790_000_000,
        body,
    )
    .unwrap();
    let cases = [
        (forged, "signature_mismatch"),
        (agent.signed("m", 301, body), "timestamp_too_old"),
        (agent.signed("m", -301, body), "timestamp_too_new"),
        (Vec::new(), "header_missing"),
    ];
    for (headers, reason) in cases {
        let told = agent.send("POST", "/src_clerk", headers, body).await;
        assert_eq!(told.status, 401, "{reason}");
        assert_eq!(told.json()["code"], "SOURCE_AUTH_FAILED");
        let text = String::from_utf8(told.body.clone()).unwrap();
        assert!(
            !text.contains(reason) && !text.contains("timestamp"),
            "a forger is told: {text}"
        );
        let id = told.json()["request_id"].as_str().unwrap().to_owned();
        let (kept, counts) = agent.store.request(TEAM, &id).await.unwrap().expect("kept");
        let rejection = kept.rejection.expect("it is kept as rejected");
        assert_eq!(
            (rejection.cause.as_str(), rejection.reason.as_str()),
            ("SOURCE_AUTH_FAILED", reason)
        );
        assert_eq!(counts.events, 0, "a refused request made an event");
    }
}

#[tokio::test]
async fn sources_methods_and_sizes_are_checked_before_the_signature() {
    let agent = start(IngestLimits::default()).await;
    let large = vec![b'x'; 4_097];
    let cases = [
        ("POST", "/src_none", &b"{}"[..], 404, "SOURCE_NOT_FOUND"),
        ("POST", "/", b"{}", 404, "SOURCE_NOT_FOUND"),
        ("POST", "/src_off", b"{}", 403, "SOURCE_DISABLED"),
        ("GET", "/src_clerk", b"", 405, "SOURCE_METHOD_NOT_ALLOWED"),
        ("POST", "/src_clerk", &large, 413, "BODY_TOO_LARGE"),
    ];
    for (method, path, body, status, code) in cases {
        let told = agent.send(method, path, Vec::new(), body).await;
        assert_eq!(
            (told.status, told.json()["code"].as_str()),
            (status, Some(code)),
            "{path}"
        );
        if status == 405 {
            assert_eq!(told.headers["allow"], "POST, PUT");
        }
    }
    let causes: Vec<String> = agent
        .kept()
        .await
        .into_iter()
        .filter_map(|kept| kept.rejection)
        .map(|why| why.cause)
        .collect();
    assert_eq!(
        causes.len(),
        3,
        "known sources keep their refusals: {causes:?}"
    );
}

#[tokio::test]
async fn slack_challenges_and_custom_answers_are_sent_after_acceptance() {
    let agent = start(IngestLimits::default()).await;
    let body = br#"{"type":"url_verification","challenge":"c-123"}"#;
    let headers = sign(
        Provider::Slack,
        "slack-signing-secret",
        "",
        1_790_000_000,
        body,
    )
    .unwrap();
    let told = agent.send("POST", "/src_slack", headers, body).await;
    assert_eq!((told.status, told.body.as_slice()), (200, &b"c-123"[..]));
    let told = agent.send("POST", "/src_open", Vec::new(), b"").await;
    assert_eq!((told.status, told.body.as_slice()), (200, &b"thanks"[..]));
    assert_eq!(told.headers["content-type"], "text/plain");
    let kept = agent.kept().await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|request| request.rejection.is_none()));
}

#[tokio::test]
async fn without_the_store_nothing_is_claimed_to_be_accepted() {
    let agent = start(IngestLimits::default()).await;
    agent.store.close().await;
    let told = agent.clerk("msg_1", br#"{"type":"user.created"}"#).await;
    assert_eq!(
        (told.status, told.json()["code"].as_str()),
        (503, Some("STORE_UNAVAILABLE"))
    );
    assert!(told.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn past_the_bound_in_flight_the_answer_is_an_honest_refusal() {
    let agent = start(IngestLimits {
        in_flight: 0,
        ..IngestLimits::default()
    })
    .await;
    let told = agent.clerk("msg_1", b"{}").await;
    assert_eq!(
        (told.status, told.json()["code"].as_str()),
        (503, Some("AGENT_BUSY"))
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let limits = IngestLimits {
        body_deadline: Duration::from_millis(200),
        ..IngestLimits::default()
    };
    let agent = start(limits).await;
    let address = agent.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /src_open HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    read.await.expect("the agent ends the connection").unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_drain_ends_the_listener_and_every_connection() {
    let agent = start(IngestLimits::default()).await;
    assert_eq!(
        agent
            .clerk("msg_1", br#"{"type":"user.created"}"#)
            .await
            .status,
        200
    );
    agent.shutdown.cancel();
    agent.tasks.close();
    tokio::time::timeout(Duration::from_secs(20), agent.tasks.wait())
        .await
        .expect("open connections keep the agent from stopping");
    let address = agent.base.strip_prefix("http://").unwrap();
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "the listener is still open"
    );
}
