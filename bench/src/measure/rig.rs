//! The system under load: control plane, agent and sink as processes, configured over the API.

use std::path::PathBuf;
use std::time::Duration;

use hookplane_tests::process::Process;
use hookplane_tests::sender::SECRET;
use hookplane_tests::{Api, Source, System};
use http::Method;
use serde_json::json;

use crate::arguments::Plan;
use crate::fault::Fault;
use crate::probe::disk::Disk;
use crate::role::Server;
use crate::role::load::{Job, Limit, Outcome};
use crate::{role, say};

/// The body that figures are given for.
pub(crate) const BODY: usize = 1_536;
const NO_LIMIT: u64 = u64::MAX;
/// Of the agent's log, when it fails.
const LOG_LINES: usize = 5;
const KNOCK: Duration = Duration::from_secs(1);

/// One agent with one source, a number of destinations, and what was sent so far.
pub(super) struct Rig {
    system: System,
    pub(super) sink: Server,
    pub(super) disk: Option<Disk>,
    source: Source,
    destinations: u64,
    /// Number of the next message.
    next: u64,
    /// Messages that nobody owes a delivery.
    pub(super) unacknowledged: Vec<u64>,
}

/// How one load differs from the usual.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) connections: u32,
    pub(super) body_size: usize,
    pub(super) time: Duration,
    pub(super) requests: u64,
    pub(super) rate: Option<f64>,
    pub(super) bytes: u64,
}

impl Shape {
    /// As many connections as the plan says, closed loop.
    pub(super) fn usual(plan: &Plan) -> Self {
        Self {
            connections: plan.connections,
            body_size: BODY,
            time: plan.duration(),
            requests: NO_LIMIT,
            rate: None,
            bytes: plan.load_bytes(),
        }
    }

    /// For a server that stores nothing.
    pub(super) fn unbounded(self) -> Self {
        Self {
            bytes: NO_LIMIT,
            ..self
        }
    }

    pub(super) fn job(&self, address: std::net::SocketAddr, path: &str, first: u64) -> Job {
        Job {
            address,
            path: path.to_owned(),
            secret: SECRET.to_owned(),
            connections: self.connections,
            body_size: self.body_size,
            first,
            limit: Limit {
                requests: self.requests,
                bytes: self.bytes,
                time: self.time,
            },
            rate: self.rate,
        }
    }
}

impl Rig {
    /// An empty agent that filters, delivers and reports.
    pub(super) async fn start(plan: &Plan, destinations: usize) -> Result<Self, Fault> {
        let sink = Server::start("sink").await?;
        let system = System::start_in(&plan.dir).await;
        let source = system.clerk("bench").await;
        for place in 0..destinations {
            let wanted = json!({
                "name": format!("sink-{place}"),
                "type": "HTTP",
                "config": {
                    "url": format!("http://{}/{place}", sink.address),
                    "path_forwarding_disabled": true,
                    "max_in_flight": plan.deliveries,
                    // Longer than the sink ever holds a delivery.
                    "timeout_ms": 120_000,
                },
            });
            let answer = system.api().post("/v1/destinations", wanted).await;
            let id = answer["id"].as_str().unwrap_or_default().to_owned();
            let rules =
                json!([{ "type": "filter", "body": { "type": { "$starts_with": "user." } } }]);
            let name = format!("to-sink-{place}");
            system.connect(&source, &name, &id, rules).await;
        }
        system.settled().await;
        let disk = Disk::of(system.dir())?;
        Ok(Self {
            system,
            sink,
            disk,
            source,
            destinations: destinations as u64,
            next: 0,
            unacknowledged: Vec::new(),
        })
    }

    /// One more source, whose events all go to the three bad receivers of the sink: one hangs, one
    /// answers 500, one is a hundred times slower.
    pub(super) async fn add_bad_receivers(&self) -> Source {
        let source = self.system.clerk("bad").await;
        for name in ["hang", "fail", "slow"] {
            let wanted = json!({
                "name": name,
                "type": "HTTP",
                "config": {
                    "url": format!("http://{}/{name}", self.sink.address),
                    "path_forwarding_disabled": true,
                    // So that what hangs has been given up, and its circuit has opened, by the
                    // time that counts.
                    "timeout_ms": 1_000,
                },
            });
            let answer = self.system.api().post("/v1/destinations", wanted).await;
            let id = answer["id"].as_str().unwrap_or_default().to_owned();
            let to = format!("to-{name}");
            self.system.connect(&source, &to, &id, json!([])).await;
        }
        self.system.settled().await;
        source
    }

    /// A load on another source than the rig's own; nobody looks for its deliveries.
    pub(super) fn job_on(&self, source: &Source, shape: &Shape) -> Result<Job, Fault> {
        let mut job = self.job(shape)?;
        job.path = format!("/{}", source.id);
        Ok(job)
    }

    /// The sink keeps deliveries waiting from now on, or answers again. Those it
    /// keeps are as many as may be under way at once; all others wait in the agent.
    pub(super) async fn hold(&self, yes: bool) {
        let path = if yes { "/hold" } else { "/release" };
        self.sink_api().ok(Method::PUT, path, None).await;
    }

    pub(super) fn sink_api(&self) -> Api {
        Api::new(format!("http://{}", self.sink.address), String::new())
    }

    pub(super) fn agent_pid(&self) -> u32 {
        pid(self.system.agent(0))
    }

    pub(super) fn control_plane_pid(&self) -> u32 {
        pid(self.system.control_plane())
    }

    pub(super) fn admin(&self) -> Api {
        let address = self.system.agent(0).address("admin");
        Api::new(format!("http://{address}"), String::new())
    }

    pub(super) fn agent_folder(&self) -> PathBuf {
        self.system.agent(0).data_dir().to_owned()
    }

    pub(super) fn sent(&self) -> u64 {
        self.next
    }

    pub(super) fn fan_out(&self) -> u64 {
        self.destinations
    }

    /// Deliveries that the sink has to have by now.
    pub(super) fn owed(&self) -> u64 {
        (self.next - self.unacknowledged.len() as u64) * self.fan_out()
    }

    pub(super) fn job(&self, shape: &Shape) -> Result<Job, Fault> {
        let address = self.system.ingest(0).parse();
        let address = address.map_err(|_| Fault::role("agent", "tells no ingest address"))?;
        Ok(shape.job(address, &format!("/{}", self.source.id), self.next))
    }

    /// One load, by a process of its own.
    pub(super) async fn load(&mut self, shape: &Shape) -> Result<Outcome, Fault> {
        let outcome = role::load(&self.job(shape)?).await?;
        self.note(&outcome)?;
        Ok(outcome)
    }

    /// Keeps in mind what was sent, for the books.
    pub(super) fn note(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        self.next += outcome.sent;
        self.unacknowledged.extend(&outcome.unacknowledged);
        if outcome.refused > 0 {
            say::line(&format!("{} requests were refused", outcome.refused));
        }
        if outcome.acknowledged() == 0 {
            let sent = outcome.sent;
            return Err(self.agent_fault(&format!("acknowledged none of {sent} requests")));
        }
        Ok(())
    }

    /// What went wrong with the agent, and its last words.
    pub(super) fn agent_fault(&self, what: &str) -> Fault {
        let log = self.system.agent(0).log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Fault::role("agent", format!("{what}; it logged last:\n{last}"))
    }

    /// One request; true when it was acknowledged.
    pub(super) async fn knock(&mut self) -> Result<bool, Fault> {
        let shape = Shape {
            connections: 1,
            body_size: BODY,
            time: KNOCK,
            requests: 1,
            rate: None,
            bytes: NO_LIMIT,
        };
        let outcome = role::load::run(self.job(&shape)?).await?;
        self.next += outcome.sent;
        self.unacknowledged.extend(&outcome.unacknowledged);
        Ok(outcome.acknowledged() > 0)
    }

    /// SIGKILL.
    pub(super) async fn kill_agent(&mut self) {
        self.system.kill_agent(0).await;
    }

    /// On the data that it left, at a new address.
    pub(super) async fn start_agent(&mut self) {
        self.system.start_agent(0).await;
    }
}

/// As the process told it; 0, which is nobody's, when it told none.
fn pid(process: &Process) -> u32 {
    let told = process.runtime["pid"].as_u64();
    told.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}
