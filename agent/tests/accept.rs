//! Through a real listener and a real store: what each sender is told and what is kept.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_agent::accept::{Acceptor, IngestLimits, serve};
use hookplane_agent::clock::Clock;
use hookplane_agent::config::{
    Configuration, Connection, CustomResponse, Destination, DestinationAuth, Source,
};
use hookplane_agent::ids::IdMint;
use hookplane_agent::meter::Meter;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{EventQuery, EventStatus, RequestQuery, RequestRecord, Store as _};
use hookplane_rules::{Filter, FilterSpec, RetryPolicy};
use hookplane_signature::{AuthSpec, Provider, Verifier, generate_secret, sign};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const NOW: u64 = 1_790_000_000_000;
const TEAM: &str = "tm_1";

struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Agent {
    _dir: tempfile::TempDir,
    store: JournalStore,
    base: String,
    secret: String,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

struct Told {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

fn connection(id: &str, destination: &str, enabled: bool, body: Option<Value>) -> Arc<Connection> {
    let spec = FilterSpec {
        body,
        ..FilterSpec::default()
    };
    let filters = spec.body.is_some().then(|| Filter::compile(&spec).unwrap());
    Arc::new(Connection {
        id: id.into(),
        name: id.into(),
        destination_id: destination.into(),
        enabled,
        filters: filters.into_iter().collect(),
        retry: RetryPolicy::default(),
    })
}

fn source(id: &str, provider: Provider, auth: AuthSpec) -> Source {
    Source {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        provider,
        enabled: true,
        verifier: Verifier::new(provider, auth, 300).unwrap(),
        methods: vec![http::Method::POST, http::Method::PUT],
        custom_response: None,
        max_body_bytes: 4_096,
        dedupe_window: Duration::from_secs(3_600),
        connections: Vec::new(),
        version: 1,
    }
}

fn destination(id: &str, enabled: bool) -> Arc<Destination> {
    Arc::new(Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        url: "http://127.0.0.1:1/".parse().unwrap(),
        method: None,
        path_forwarding: false,
        auth: DestinationAuth::None,
        timeout: Duration::from_secs(1),
        max_in_flight: 1,
        enabled,
        version: 1,
    })
}

/// Clerk with an ownership table, a disabled one, Slack, and one that is open with its own answer.
fn configuration(secret: &str) -> Configuration {
    let provider = |secret: &str| AuthSpec::Provider {
        secrets: vec![secret.to_owned()],
    };
    let mut clerk = source("src_clerk", Provider::Clerk, provider(secret));
    clerk.connections = vec![
        connection(
            "web_user",
            "des_user",
            true,
            Some(json!({"type": {"$starts_with": "user."}})),
        ),
        connection(
            "web_org",
            "des_org",
            true,
            Some(json!({"type": {"$starts_with": "org"}})),
        ),
        connection("web_all", "des_all", true, None),
        connection("web_off", "des_all", false, None),
        connection("web_to_off", "des_off", true, None),
    ];
    let mut off = source("src_off", Provider::Webhook, AuthSpec::None);
    off.enabled = false;
    let slack = source(
        "src_slack",
        Provider::Slack,
        provider("slack-signing-secret"),
    );
    let mut open = source("src_open", Provider::Webhook, AuthSpec::None);
    open.custom_response = Some(CustomResponse {
        content_type: "text/plain".into(),
        body: Bytes::from("thanks"),
    });
    let destinations = [
        destination("des_user", true),
        destination("des_all", true),
        destination("des_off", false),
    ];
    Configuration {
        epoch: "e".into(),
        revision: 9,
        sources: [clerk, off, slack, open]
            .into_iter()
            .map(|source| (source.id.clone(), Arc::new(source)))
            .collect::<HashMap<_, _>>(),
        destinations: destinations
            .into_iter()
            .map(|to| (to.id.clone(), to))
            .collect(),
        ..Configuration::default()
    }
}

async fn start(limits: IngestLimits) -> Agent {
    let dir = tempfile::tempdir().unwrap();
    let store = JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap();
    let secret = generate_secret([5; 32]);
    let acceptor = Arc::new(Acceptor::new(
        Arc::new(ArcSwap::from_pointee(configuration(&secret))),
        Arc::new(store.clone()),
        Arc::new(SetClock(AtomicU64::new(NOW))),
        IdMint::new(3),
        Arc::new(Meter::default()),
        limits,
    ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(serve(listener, acceptor, tasks.clone(), shutdown.clone()));
    Agent {
        _dir: dir,
        store,
        base,
        secret,
        shutdown,
        tasks,
    }
}

impl Agent {
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
    ) -> Told {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), client.request(request));
        let answer = answer
            .await
            .expect("the agent answers in time")
            .expect("the agent answers");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Told {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    fn signed(&self, id: &str, age_seconds: i64, body: &[u8]) -> Vec<(String, String)> {
        let at = i64::try_from(NOW / 1_000).unwrap() - age_seconds;
        sign(Provider::Clerk, &self.secret, id, at, body).unwrap()
    }

    async fn clerk(&self, id: &str, body: &[u8]) -> Told {
        self.send("POST", "/src_clerk", self.signed(id, 0, body), body)
            .await
    }

    async fn kept(&self) -> Vec<RequestRecord> {
        let query = RequestQuery {
            team_id: TEAM.into(),
            limit: 255,
            ..Default::default()
        };
        let all = self.store.requests(query, true).await.unwrap();
        all.into_iter().map(|(request, _)| request).collect()
    }
}

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
