//! The one file that knows how the planes are started: through their library entry points.
//!
//! Invariants: the agent drains before the control plane, so that its last
//! reports are taken; when one plane ends by itself, the other is drained too.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookplane_agent::agent::Agent;
use hookplane_agent::causes::chain;
use hookplane_control_plane::server::ControlPlane;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::failure::Failure;

/// What the planes are told.
pub(super) struct PlaneOptions {
    pub(super) data_dir: PathBuf,
    pub(super) admin_key_file: PathBuf,
    pub(super) api: SocketAddr,
    /// With a port: the control plane writes it into every source's URL.
    pub(super) ingest: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Private networks that deliveries may go to.
    pub(super) allowed: Vec<IpNet>,
    pub(super) drain: Duration,
}

/// Both planes, listening, not yet running.
pub(super) struct Planes {
    control: ControlPlane,
    agent: Agent,
}

/// Addresses of this machine, where a developer's receivers are.
pub(super) fn this_machine() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .iter()
        .map(|net| net.parse().expect("constant networks"))
        .collect()
}

impl Planes {
    pub(super) async fn start(options: &PlaneOptions) -> Result<Self, Failure> {
        use hookplane_agent::clock::SystemClock as AgentClock;
        use hookplane_control_plane::clock::SystemClock as ControlClock;

        let control_dir = options.data_dir.join("control-plane");
        let mut control = hookplane_control_plane::settings::Settings::in_dir(&control_dir);
        control.api = options.api;
        control.ingest_url = url(options.ingest);
        control.admin_key_file.clone_from(&options.admin_key_file);
        control.drain = options.drain;
        let join_token_file = control.join_token_file.clone();
        let control = ControlPlane::start(control, Arc::new(ControlClock))
            .await
            .map_err(|error| not_started("control plane", &error))?;

        let agent_dir = options.data_dir.join("agent");
        let mut agent = hookplane_agent::settings::Settings::in_dir(&agent_dir);
        agent.control_plane = url(control.api());
        agent.join_token_file = Some(join_token_file);
        "dev".clone_into(&mut agent.name);
        agent.ingest = options.ingest;
        agent.admin = options.admin;
        agent.allow_addresses.clone_from(&options.allowed);
        agent.drain = options.drain;
        let agent = Agent::start(agent, Arc::new(AgentClock))
            .await
            .map_err(|error| not_started("agent", &error))?;
        Ok(Self { control, agent })
    }

    pub(super) fn api(&self) -> SocketAddr {
        self.control.api()
    }

    pub(super) fn ingest(&self) -> SocketAddr {
        self.agent.ingest()
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.agent.admin()
    }

    /// Runs until `shutdown`, then drains one after the other.
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), Failure> {
        let (stop_agent, stop_control) = (shutdown.child_token(), CancellationToken::new());
        let agent = async {
            let ended = self.agent.run(stop_agent.clone()).await;
            stop_control.cancel();
            ended.map_err(|error| ended_badly("agent", &error))
        };
        let control = async {
            let ended = self.control.run(stop_control.clone()).await;
            stop_agent.cancel();
            ended.map_err(|error| ended_badly("control plane", &error))
        };
        let (agent, control) = tokio::join!(agent, control);
        agent.and(control)
    }
}

fn url(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}")).expect("an address makes a URL")
}

fn not_started(plane: &str, error: &(dyn Error + 'static)) -> Failure {
    Failure::new("NOT_STARTED", format!("the {plane} does not start"))
        .detail(chain(error))
        .hint("when an address is in use, give another with --api, --ingest or --admin (port 0 takes a free one)")
}

fn ended_badly(plane: &str, error: &(dyn Error + 'static)) -> Failure {
    Failure::new("PLANE_FAILED", format!("the {plane} ended by itself")).detail(chain(error))
}
