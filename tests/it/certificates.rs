//! Agents that show certificates to a control plane over real TLS: as processes, and in this
//! process, where a certificate lasts seconds.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookplane_agent::agent::Agent;
use hookplane_agent::settings::Settings as AgentSettings;
use hookplane_control_plane::clock::Clock as _;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::{Settings, TlsFiles};
use hookplane_proto::v1;
use hookplane_proto::v1::agent_access_service_client::AgentAccessServiceClient;
use hookplane_proto::v1::fleet_service_client::FleetServiceClient;
use hookplane_tests::process::Process;
use hookplane_tests::tls::{Certificates, certificates};
use hookplane_tests::{System, until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

const LIFE: Duration = Duration::from_secs(3);

/// A control plane in this process.
struct Plane {
    folder: tempfile::TempDir,
    files: Certificates,
    address: SocketAddr,
    key: String,
    _serving: JoinSet<()>,
}

/// An agent in this process. It ends when dropped, as if killed.
struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Plane {
    async fn start() -> Self {
        // Another test may have done it.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = tempfile::tempdir().expect("a folder");
        let files = certificates(folder.path());
        let settings = Settings {
            api: ([127, 0, 0, 1], 0).into(),
            tls: Some(TlsFiles {
                cert: files.cert.clone(),
                key: files.key.clone(),
            }),
            agent_certificate_life: LIFE,
            ..Settings::in_dir(&folder.path().join("control-plane"))
        };
        let key_file = settings.admin_key_file.clone();
        let clock = Arc::new(hookplane_control_plane::clock::SystemClock);
        let plane = ControlPlane::start(settings, clock).await;
        let plane = plane.expect("it starts");
        let (address, mut serving) = (plane.api(), JoinSet::new());
        serving.spawn(async move {
            let ended = plane.run(CancellationToken::new()).await;
            ended.expect("nothing stops it");
        });
        let key = std::fs::read_to_string(key_file).expect("the first key");
        Self {
            folder,
            files,
            address,
            key: format!("Bearer {}", key.trim()),
            _serving: serving,
        }
    }

    async fn agent(&self, name: &str) -> Running {
        let mut settings = AgentSettings::in_dir(&self.folder.path().join(name));
        let url = format!("https://{}", self.address);
        settings.control_plane = url.parse().expect("a URL");
        settings.control_plane_ca = Some(self.files.authority.clone());
        let token = self.folder.path().join("control-plane/join.token");
        settings.join_token_file = Some(token);
        name.clone_into(&mut settings.name);
        settings.ingest = ([127, 0, 0, 1], 0).into();
        settings.admin = ([127, 0, 0, 1], 0).into();
        settings.ingest_threads = 1;
        settings.pace.refused_enrolment = Duration::from_millis(100);
        settings.pace.redial = (Duration::from_millis(10), Duration::from_millis(200));
        let clock = Arc::new(hookplane_agent::clock::SystemClock);
        let agent = Agent::start(settings, clock).await.expect("it starts");
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let stopped = stop.clone();
        tasks.spawn(async move { agent.run(stopped).await.expect("it ends well") });
        Running { stop, tasks }
    }

    fn channel(&self) -> Channel {
        let authority = std::fs::read(&self.files.authority).expect("it is there");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address));
        let endpoint = endpoint.expect("an address").tls_config(tls);
        endpoint.expect("a configuration").connect_lazy()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let key = self.key.parse().expect("plain text");
        request.metadata_mut().insert("authorization", key);
        request
    }

    /// Waits until the fleet shows its one agent as wanted.
    async fn shows(&self, what: &str, wanted: impl Fn(&v1::Agent) -> bool) -> v1::Agent {
        until(what, || async {
            let mut fleet = FleetServiceClient::new(self.channel());
            let asked = self.request(v1::ListAgentsRequest::default());
            let listed = fleet.list_agents(asked).await.expect("an answer");
            let found = listed.into_inner().models.into_iter().next()?;
            wanted(&found).then_some(found)
        })
        .await
    }
}

impl Running {
    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
    }
}

fn connected(agent: &v1::Agent) -> bool {
    agent.state() == v1::AgentState::Connected
}

fn end(agent: &v1::Agent) -> (i64, i32) {
    let end = agent.certificate_expires_at;
    end.map_or((0, 0), |end| (end.seconds, end.nanos))
}

fn since(agent: &v1::Agent) -> (i64, i32) {
    let since = agent.connected_at;
    since.map_or((0, 0), |since| (since.seconds, since.nanos))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_stays_connected_past_the_end_of_its_certificates_and_over_a_new_authority() {
    let plane = Plane::start().await;
    let agent = plane.agent("edge-1").await;
    let first = plane.shows("it has a certificate", |one| {
        connected(one) && end(one).0 > 0
    });
    let first = first.await;
    let past =
        |one: &v1::Agent| connected(one) && since(one) >= end(&first) && end(one) > end(&first);
    let second = plane.shows("it comes back with the next one", past).await;

    let mut access = AgentAccessServiceClient::new(plane.channel());
    let asked = plane.request(v1::RotateAgentAuthorityRequest {
        overlap_seconds: Some(0),
    });
    let made = access
        .rotate_agent_authority(asked)
        .await
        .expect("another one");
    let made = made.into_inner().created_at.expect("a time").seconds;
    let past = |one: &v1::Agent| connected(one) && since(one) > end(&second) && since(one).0 > made;
    plane
        .shows("it comes back with one of the new authority", past)
        .await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_away_longer_than_its_certificate_lasts_comes_back_by_itself() {
    let plane = Plane::start().await;
    let agent = plane.agent("edge-1").await;
    let before = plane.shows("it has a certificate", |one| {
        connected(one) && end(one).0 > 0
    });
    let before = before.await;
    agent.stop().await;
    until("its certificate has ended", || async {
        let now = hookplane_control_plane::clock::SystemClock.now_millis();
        (now > end(&before).0 * 1_000).then_some(())
    })
    .await;
    let agent = plane.agent("edge-1").await;
    let back = |one: &v1::Agent| connected(one) && end(one) > end(&before);
    let back = plane.shows("it is back", back).await;
    let asked = plane.request(v1::RevokeAgentRequest { id: back.id });
    let mut access = AgentAccessServiceClient::new(plane.channel());
    access.revoke_agent(asked).await.expect("it is revoked");
    plane
        .shows("it is revoked, whatever it shows", |one| {
            one.state() == v1::AgentState::Revoked
        })
        .await;
    agent.stop().await;
}

fn certificate(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("certificate.json")).ok()?;
    let stored: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let held = stored["held"]["certificate"].as_str();
    held.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_certificate_and_a_copied_credential_opens_nothing() {
    let mut system = System::with_tls().await;
    let folder = system.agent(0).data_dir().to_owned();
    let first = until("the agent has a certificate", || async {
        certificate(&folder)
    })
    .await;
    system.stop_agent(0).await;
    system.start_agent(0).await;
    let admin = format!("http://{}", system.agent(0).address("admin"));
    until("the agent is connected again", || async {
        let api = hookplane_tests::Api::new(admin.clone(), String::new());
        let (_, told) = api.call(http::Method::GET, "/readyz", None).await;
        (told["control_plane"]["connected"] == true).then_some(())
    })
    .await;
    assert_eq!(
        certificate(&folder),
        Some(first),
        "it asked for another one"
    );

    let stolen = system.dir().join("thief");
    std::fs::create_dir(&stolen).expect("a folder");
    std::fs::copy(folder.join("identity.json"), stolen.join("identity.json")).expect("a copy");
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = [
        "--control-plane".to_owned(),
        format!("https://{}", system.control_plane_address()),
        "--control-plane-ca".to_owned(),
        path(&system.dir().join("authority.pem")),
        "--name".to_owned(),
        "agent-0".to_owned(),
        "--data-dir".to_owned(),
        path(&stolen),
        "--ingest".to_owned(),
        "127.0.0.1:0".to_owned(),
        "--admin".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    let thief = Process::start("hookplane-agent", &stolen, "runtime.json", &arguments).await;
    until("the thief gets neither certificate nor stream", || async {
        let log = thief.log();
        let told = log.contains("for another key") && log.contains("has to show its certificate");
        told.then_some(())
    })
    .await;
    assert!(certificate(&stolen).is_none());
}
