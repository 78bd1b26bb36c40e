//! A control plane and agents as processes, configured over the API.

use std::path::{Path, PathBuf};

use hookplane_signature::Provider;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::sender::{SECRET, Source};
use crate::tls::{Certificates, certificates};
use crate::{Api, Receiver, until};

/// The whole system. Everything ends when it is dropped.
pub struct System {
    dir: TempDir,
    agents_folder: PathBuf,
    control_plane: Option<Process>,
    agents: Vec<Option<Process>>,
    api_address: String,
    tls: Option<Certificates>,
    api: Option<Api>,
}

impl System {
    /// A control plane and one agent.
    pub async fn start() -> Self {
        Self::with_agents(1).await
    }

    /// A control plane and some agents.
    pub async fn with_agents(count: usize) -> Self {
        let mut system = Self::prepare(tempfile::tempdir().expect("a folder"), None);
        system.start_control_plane().await;
        for _ in 0..count {
            system.add_agent().await;
        }
        system
    }

    /// A control plane and one agent that keeps its data in a given folder.
    pub async fn with_agent_on(folder: PathBuf) -> Self {
        let mut system = Self::prepare(tempfile::tempdir().expect("a folder"), None);
        system.agents_folder = folder;
        system.start_control_plane().await;
        system.add_agent().await;
        system
    }

    /// A control plane and one agent that keep their data on the disk of this folder.
    pub async fn start_in(folder: &Path) -> Self {
        let dir = tempfile::tempdir_in(folder).expect("a folder");
        let mut system = Self::prepare(dir, None);
        system.start_control_plane().await;
        system.add_agent().await;
        system
    }

    /// A control plane and one agent, the two speaking TLS.
    pub async fn with_tls() -> Self {
        let mut system = Self::prepare(tempfile::tempdir().expect("a folder"), Some(()));
        system.start_control_plane().await;
        system.add_agent().await;
        system
    }

    fn prepare(dir: TempDir, tls: Option<()>) -> Self {
        let tls = tls.map(|()| certificates(dir.path()));
        Self {
            agents_folder: dir.path().to_owned(),
            dir,
            control_plane: None,
            agents: Vec::new(),
            api_address: crate::address::lasting(),
            tls,
            api: None,
        }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A caller with the first key. Over plain text only.
    ///
    /// # Panics
    /// When the control plane never ran.
    #[must_use]
    pub fn api(&self) -> &Api {
        self.api.as_ref().expect("the control plane ran")
    }

    /// Starts the control plane, at the address it had before if it ran.
    pub async fn start_control_plane(&mut self) {
        let data_dir = self.dir.path().join("control-plane");
        let mut arguments = flags(&[
            ("--api", self.api_address.as_str()),
            ("--data-dir", &data_dir.to_string_lossy()),
            ("--log", "info,sea_orm_migration=warn"),
        ]);
        if let Some(tls) = &self.tls {
            arguments.extend(flags(&[
                ("--tls-cert", &tls.cert.to_string_lossy()),
                ("--tls-key", &tls.key.to_string_lossy()),
            ]));
        }
        let name = "hookplane-control-plane";
        let process = Process::start(name, &data_dir, "runtime.json", &arguments).await;
        self.api_address = process.address("api");
        let key = std::fs::read_to_string(data_dir.join("admin.key")).expect("the first key");
        let url = format!("http://{}", self.api_address);
        self.api = Some(Api::new(url, key.trim().to_owned()));
        self.control_plane = Some(process);
    }

    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn control_plane(&self) -> &Process {
        self.control_plane.as_ref().expect("the control plane runs")
    }

    #[must_use]
    pub fn control_plane_address(&self) -> &str {
        &self.api_address
    }

    /// Starts one more agent. Gives its place.
    pub async fn add_agent(&mut self) -> usize {
        let place = self.agents.len();
        self.agents.push(None);
        self.start_agent(place).await;
        place
    }

    /// Starts an agent that was stopped, on the data it left.
    pub async fn start_agent(&mut self, place: usize) {
        let data_dir = self.agents_folder.join(format!("agent-{place}"));
        let token = self.dir.path().join("control-plane/join.token");
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut arguments = flags(&[
            (
                "--control-plane",
                &format!("{scheme}://{}", self.api_address),
            ),
            ("--join-token-file", &token.to_string_lossy()),
            ("--name", &format!("agent-{place}")),
            ("--data-dir", &data_dir.to_string_lossy()),
            ("--ingest", "127.0.0.1:0"),
            ("--admin", "127.0.0.1:0"),
            ("--allow-address", "127.0.0.0/8"),
        ]);
        if let Some(tls) = &self.tls {
            let authority = tls.authority.to_string_lossy();
            arguments.extend(flags(&[("--control-plane-ca", &authority)]));
        }
        let process =
            Process::start("hookplane-agent", &data_dir, "runtime.json", &arguments).await;
        self.agents[place] = Some(process);
    }

    /// A running agent.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn agent(&self, place: usize) -> &Process {
        self.agents[place].as_ref().expect("the agent runs")
    }

    /// SIGKILL.
    pub async fn kill_agent(&mut self, place: usize) {
        self.agents[place]
            .take()
            .expect("the agent runs")
            .kill()
            .await;
    }

    /// SIGTERM; it has to end well.
    pub async fn stop_agent(&mut self, place: usize) {
        let ended = self.agents[place]
            .take()
            .expect("the agent runs")
            .stop()
            .await;
        assert!(ended.success(), "the agent ended with {ended}");
    }

    /// SIGKILL.
    pub async fn kill_control_plane(&mut self) {
        self.control_plane
            .take()
            .expect("the control plane runs")
            .kill()
            .await;
    }

    /// SIGTERM; it has to end well.
    pub async fn stop_control_plane(&mut self) {
        let ended = self
            .control_plane
            .take()
            .expect("the control plane runs")
            .stop()
            .await;
        assert!(ended.success(), "the control plane ended with {ended}");
    }

    #[must_use]
    pub fn ingest(&self, place: usize) -> String {
        self.agent(place).address("ingest")
    }

    /// A source of a provider that signs with one secret.
    pub async fn source(&self, name: &str, provider: Provider, secret: &str) -> Source {
        let wanted = json!({
            "name": name,
            "type": provider.as_str(),
            "config": {
                "auth_type": "PROVIDER_SIGNATURE",
                "auth": { "provider": provider.as_str(), "webhook_signing_secret": secret },
            },
        });
        let made = self.api().post("/v1/sources", wanted).await;
        let id = made["id"].as_str().expect("an id");
        Source::new(id, &self.ingest(0), provider, secret)
    }

    /// A Clerk source.
    pub async fn clerk(&self, name: &str) -> Source {
        self.source(name, Provider::Clerk, SECRET).await
    }

    /// A destination for a receiver. Gives its id.
    pub async fn destination(&self, name: &str, receiver: &Receiver) -> String {
        let config = json!({ "url": receiver.url(), "path_forwarding_disabled": true });
        let wanted = json!({ "name": name, "type": "HTTP", "config": config });
        let made = self.api().post("/v1/destinations", wanted).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    /// A connection with rules. Gives its id.
    pub async fn connect(&self, source: &Source, name: &str, to: &str, rules: Value) -> String {
        let wanted = json!({
            "name": name,
            "source_id": source.id,
            "destination_id": to,
            "rules": rules,
        });
        let made = self.api().post("/v1/connections", wanted).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    /// A source with one branch to one receiver, which every agent holds. Gives both ids.
    pub async fn clerk_to(&self, receiver: &Receiver, rules: Value) -> (Source, String) {
        let source = self.clerk("Clerk").await;
        let to = self.destination("receiver", receiver).await;
        let connection = self.connect(&source, "all", &to, rules).await;
        self.settled().await;
        (source, connection)
    }

    /// Waits until every running agent holds the newest revision.
    pub async fn settled(&self) {
        let running = self.agents.iter().flatten().count();
        until("every agent holds the newest revision", || async {
            let status = self.api().get("/v1/status").await;
            let agents = status["agents"].as_array()?;
            let current = agents.iter().filter(|agent| {
                agent["state"] == "CONNECTED" && agent["config_state"] == "CURRENT"
            });
            (current.count() >= running).then_some(())
        })
        .await;
    }

    /// Waits until a request's trace shows what is wanted.
    pub async fn trace_until(
        &self,
        request_id: &str,
        sentence: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        until(sentence, || async {
            let path = format!("/v1/requests/{request_id}/trace");
            let (status, trace) = self.api().call(Method::GET, &path, None).await;
            (status.is_success() && wanted(&trace)).then_some(trace)
        })
        .await
    }
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
        .collect()
}
