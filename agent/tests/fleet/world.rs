//! What the tests play with: a real agent in a folder, resources, and an HTTP client.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookplane_agent::agent::{Agent, RunError};
use hookplane_agent::clock::SystemClock;
use hookplane_agent::settings::Settings;
use hookplane_proto::agent::v1 as wire;
use hookplane_proto::v1;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control_plane::ControlPlane;

pub(crate) const TEAM: &str = "tm_1";
pub(crate) const TOKEN: &str = "join-me";
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with what an agent needs to join.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

pub(crate) struct Running {
    pub(crate) ingest: SocketAddr,
    pub(crate) admin: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), RunError>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("join.token"), format!("{TOKEN}\n")).unwrap();
        Self { dir }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("agent")
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.dir.path().join("join.token")
    }

    pub(crate) fn settings(&self, control_plane: &str) -> Settings {
        let mut settings = Settings::in_dir(&self.data_dir());
        settings.control_plane = control_plane.parse().unwrap();
        settings.join_token_file = Some(self.token_file());
        settings.name = "agent-1".into();
        settings.ingest.set_port(0);
        settings.admin.set_port(0);
        settings.allow_addresses = vec!["127.0.0.0/8".parse().unwrap()];
        settings.drain = Duration::from_secs(10);
        settings.pace.heartbeat = Duration::from_millis(100);
        settings.pace.redial = (Duration::from_millis(10), Duration::from_millis(100));
        settings.pace.refused_enrolment = Duration::from_millis(100);
        settings.pace.flush = Duration::from_millis(200);
        settings.pace.report = Duration::from_millis(50);
        settings
    }

    pub(crate) async fn run(&self, control_plane: &ControlPlane) -> Running {
        Running::start(self.settings(&control_plane.url())).await
    }
}

impl Running {
    pub(crate) async fn start(settings: Settings) -> Self {
        let agent = Agent::start(settings, Arc::new(SystemClock)).await.unwrap();
        let (ingest, admin) = (agent.ingest(), agent.admin());
        let shutdown = CancellationToken::new();
        let running = Box::pin(agent.run(shutdown.clone()));
        Self {
            ingest,
            admin,
            shutdown,
            task: TaskTracker::new().spawn(running),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn stop(self) {
        self.ask_to_stop();
        self.stopped().await;
    }

    pub(crate) fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn stopped(self) {
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("the agent stops in time").unwrap().unwrap();
    }

    /// Posts to a source; status and JSON answer.
    pub(crate) async fn post(&self, source: &str, body: &'static str) -> (u16, Value) {
        let url = format!("http://{}/{source}", self.ingest);
        let request = hyper::Request::post(url)
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// Posts until the source is in force, and gives the id of the accepted request.
    pub(crate) async fn accepted(&self, source: &str) -> String {
        let answer = self.eventually(source, 200).await;
        answer["request_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn eventually(&self, source: &str, wanted: u16) -> Value {
        let mut last = 0;
        for _ in 0..400 {
            let (status, answer) = self.post(source, "{\"type\":\"a\"}").await;
            if status == wanted {
                return answer;
            }
            last = status;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{source} answers {last}, not {wanted}");
    }

    pub(crate) async fn admin_page(&self, path: &str) -> (u16, String) {
        let uri = format!("http://{}{path}", self.admin).parse().unwrap();
        let answer = self.client.get(uri).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Waits until `/readyz` says what is wanted, and gives it.
    pub(crate) async fn readiness(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..400 {
            let (_, text) = self.admin_page("/readyz").await;
            last = serde_json::from_str(&text).unwrap();
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("readiness stays {last}");
    }
}

pub(crate) fn reasons(readiness: &Value) -> Vec<&str> {
    readiness["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["code"].as_str().unwrap())
        .collect()
}

/// An open source with one connection to each destination.
pub(crate) fn source(id: &str, version: u64, destinations: &[&str]) -> wire::Resource {
    let connections = destinations
        .iter()
        .map(|to| v1::Connection {
            id: format!("web_{id}_{to}"),
            name: format!("to {to}"),
            source_id: id.into(),
            destination_id: (*to).into(),
            ..v1::Connection::default()
        })
        .collect();
    let auth = v1::source_auth::Scheme::None(v1::NoAuth {});
    let config = v1::SourceConfig {
        auth: Some(v1::SourceAuth { scheme: Some(auth) }),
        ..v1::SourceConfig::default()
    };
    let source = v1::Source {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        config: Some(config),
        ..v1::Source::default()
    };
    let group = wire::SourceGroup {
        source: Some(source),
        connections,
        handler_keys: Vec::new(),
    };
    wire::Resource {
        key: Some(source_key(id)),
        version,
        body: Some(wire::resource::Body::Source(group)),
    }
}

/// A Clerk source whose secret may be unusable.
pub(crate) fn clerk(id: &str, version: u64, secret: &str, to: &str) -> wire::Resource {
    let mut resource = source(id, version, &[to]);
    if let Some(wire::resource::Body::Source(group)) = &mut resource.body {
        let source = group.source.as_mut().unwrap();
        source.set_type(v1::SourceType::Clerk);
        let signed = v1::ProviderSignature {
            provider: v1::SourceType::Clerk.into(),
            webhook_signing_secrets: vec![secret.into()],
            terms: Vec::new(),
        };
        let scheme = Some(v1::source_auth::Scheme::ProviderSignature(signed));
        source.config.as_mut().unwrap().auth = Some(v1::SourceAuth { scheme });
    }
    resource
}

pub(crate) fn destination(id: &str, version: u64, url: &str) -> wire::Resource {
    let config = v1::DestinationConfig {
        url: url.into(),
        path_forwarding_disabled: true,
        ..v1::DestinationConfig::default()
    };
    let destination = v1::Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        config: Some(config),
        ..v1::Destination::default()
    };
    wire::Resource {
        key: Some(wire::ResourceKey {
            kind: wire::ResourceKind::Destination.into(),
            id: id.into(),
        }),
        version,
        body: Some(wire::resource::Body::Destination(destination)),
    }
}

pub(crate) fn source_key(id: &str) -> wire::ResourceKey {
    wire::ResourceKey {
        kind: wire::ResourceKind::Source.into(),
        id: id.into(),
    }
}

/// Epoch, revision and the digest of these resources, as the protocol defines it.
pub(crate) fn held(epoch: &str, revision: u64, resources: &[wire::Resource]) -> wire::Held {
    let mut keys: Vec<(&str, &str, u64)> = resources
        .iter()
        .map(|resource| {
            let key = resource.key.as_ref().unwrap();
            let kind = match key.kind() {
                wire::ResourceKind::Source => "source",
                wire::ResourceKind::Destination => "destination",
                wire::ResourceKind::Unspecified => panic!("a resource without a kind"),
            };
            (kind, key.id.as_str(), resource.version)
        })
        .collect();
    keys.sort_unstable();
    let lines = keys
        .iter()
        .fold(String::new(), |mut text, (kind, id, version)| {
            writeln!(text, "{kind} {id} {version}").unwrap();
            text
        });
    wire::Held {
        epoch: epoch.into(),
        revision,
        digest: hex::encode(Sha256::digest(lines)),
    }
}

/// Polls until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..800 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} did not happen");
}

pub(crate) fn flip_last_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}
