//! What the tests play with: a real listener, a real store, a few sources, and senders.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_agent::accept::{Acceptor, IngestLimits, Listener, serve};
use hookplane_agent::clock::Clock;
use hookplane_agent::config::{
    Branches, Configuration, Connection, CustomResponse, Destination, DestinationAuth, Source,
};
use hookplane_agent::ids::IdMint;
use hookplane_agent::meter::Meter;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{RequestQuery, RequestRecord, Store as _};
use hookplane_rules::{Filter, FilterSpec, RetryPolicy};
use hookplane_signature::{AuthSpec, Provider, Verifier, generate_secret, sign};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::slow_disk::{Gate, HeldUp, SlowDisk};

pub(crate) const NOW: u64 = 1_790_000_000_000;
pub(crate) const TEAM: &str = "tm_1";

pub(crate) struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Agent {
    _dir: tempfile::TempDir,
    gate: Gate,
    pub(crate) store: JournalStore,
    pub(crate) meter: Arc<Meter>,
    pub(crate) base: String,
    pub(crate) secret: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

pub(crate) fn connection(
    id: &str,
    destination: &str,
    enabled: bool,
    body: Option<Value>,
) -> Arc<Connection> {
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
        paused: false,
        drain: None,
        filters: filters.into_iter().collect(),
        deduplicate: None,
        delay: None,
        transform: None,
        retry: RetryPolicy::default(),
    })
}

pub(crate) fn source(id: &str, provider: Provider, auth: AuthSpec) -> Source {
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
        handler_keys: Vec::new(),
        dedupe_window: Duration::from_secs(3_600),
        connections: Branches::of(provider, Vec::new()),
        version: 1,
    }
}

pub(crate) fn destination(id: &str, enabled: bool) -> Arc<Destination> {
    Arc::new(Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        url: "http://127.0.0.1:1/".parse().unwrap(),
        method: None,
        path_forwarding: false,
        reports_outcome: false,
        auth: DestinationAuth::None,
        timeout: Duration::from_secs(1),
        max_in_flight: 1,
        rate: None,
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
    let branches = vec![
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
    clerk.connections = Branches::of(Provider::Clerk, branches);
    let mut off = source("src_off", Provider::Webhook, AuthSpec::None);
    off.enabled = false;
    let mut slack = source(
        "src_slack",
        Provider::Slack,
        provider("slack-signing-secret"),
    );
    let to_all = vec![connection("web_slack", "des_all", true, None)];
    slack.connections = Branches::of(Provider::Slack, to_all);
    let mut open = source("src_open", Provider::Webhook, AuthSpec::None);
    open.custom_response = Some(CustomResponse {
        content_type: "text/plain".into(),
        body: Bytes::from("thanks"),
    });
    let key = AuthSpec::ApiKey {
        header: "X-Partner-Key".into(),
        key: "k-0-partner".into(),
    };
    let mut keyed = source("src_keyed", Provider::Webhook, key);
    let to_all = vec![connection("web_keyed", "des_all", true, None)];
    keyed.connections = Branches::of(Provider::Webhook, to_all);
    let password = AuthSpec::Basic {
        username: "partner".into(),
        password: "p-0-word".into(),
    };
    let basic = source("src_basic", Provider::Webhook, password);
    let destinations = [
        destination("des_user", true),
        destination("des_all", true),
        destination("des_off", false),
    ];
    Configuration {
        epoch: "e".into(),
        revision: 9,
        sources: [clerk, off, slack, open, keyed, basic]
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

pub(crate) async fn start(limits: IngestLimits) -> Agent {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    start_on(vec![listener], base, limits)
}

/// With as many listeners as there are; they share the bounds.
pub(crate) fn start_on<L: Listener>(
    listeners: Vec<L>,
    base: String,
    limits: IngestLimits,
) -> Agent {
    let dir = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let disk = SlowDisk::open(&dir.path().join("journal"), gate.clone()).unwrap();
    let index = dir.path().join("index.db");
    let store =
        JournalStore::open_on(Arc::new(disk), &index, &Options::default(), u64::MAX).unwrap();
    let secret = generate_secret([5; 32]);
    let meter = Arc::new(Meter::default());
    let acceptor = Arc::new(Acceptor::new(
        Arc::new(ArcSwap::from_pointee(configuration(&secret))),
        Arc::new(store.clone()),
        Arc::new(SetClock(AtomicU64::new(NOW))),
        IdMint::new(3),
        Arc::clone(&meter),
        limits,
    ));
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    for listener in listeners {
        let acceptor = Arc::clone(&acceptor);
        tasks.spawn(serve(listener, acceptor, tasks.clone(), shutdown.clone()));
    }
    Agent {
        _dir: dir,
        gate,
        store,
        meter,
        base,
        secret,
        shutdown,
        tasks,
    }
}

impl Agent {
    /// Nothing the agent writes reaches the disk as long as this is held.
    pub(crate) fn hold_up_writes(&self) -> HeldUp {
        self.gate.hold_up()
    }

    pub(crate) async fn send(
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

    pub(crate) fn signed(&self, id: &str, age_seconds: i64, body: &[u8]) -> Vec<(String, String)> {
        let at = i64::try_from(NOW / 1_000).unwrap() - age_seconds;
        sign(Provider::Clerk, &self.secret, id, at, body).unwrap()
    }

    pub(crate) async fn clerk(&self, id: &str, body: &[u8]) -> Told {
        self.send("POST", "/src_clerk", self.signed(id, 0, body), body)
            .await
    }

    pub(crate) async fn kept(&self) -> Vec<RequestRecord> {
        let query = RequestQuery {
            team_id: TEAM.into(),
            limit: 255,
            ..Default::default()
        };
        let all = self.store.requests(query, true).await.unwrap();
        all.into_iter().map(|(request, _)| request).collect()
    }
}

pub(crate) async fn connect(agent: &Agent) -> TcpStream {
    connect_from(agent, Ipv4Addr::LOCALHOST).await
}

/// As another caller: any address of the loopback network will do.
pub(crate) async fn connect_from(agent: &Agent, client: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((client, 0).into()).unwrap();
    let (_, address) = agent.base.split_once("://").unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// Waits until the agent closed the connection, and gives what it said before.
pub(crate) async fn closed(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut heard));
    // A reset is an end too.
    drop(end.await.expect("the agent keeps the connection"));
    String::from_utf8_lossy(&heard).into_owned()
}
