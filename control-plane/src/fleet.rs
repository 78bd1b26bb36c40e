//! The fleet: agents, the streams they open, and what can be asked of them.
//!
//! Owns three streams per agent, so that none can hold up another: configuration,
//! commands and reports. Refuses to know what people may do with configuration
//! (`service`) and what evidence means: it carries it. Invariants: agents dial,
//! nothing dials an agent; an agent gets its pool's resources only; every queue
//! to an agent is bounded and every wait has a deadline.

mod bulk;
mod commands;
mod conditions;
mod configuration;
mod ending;
mod frame;
mod held;
mod housekeeping;
mod outbound;
mod recorder;
mod registry;
pub mod relay;
mod replicas;
mod reports;
mod rollouts;
mod tail;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::join_all;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{
    CommandStreamRequest, CommandStreamResponse, ConfigurationStreamRequest, ReportStreamRequest,
    ReportStreamResponse,
};
use hookplane_proto::v1::{TailRequestsRequest, TailRequestsResponse};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::transport::Certificate;

pub use commands::{AskError, Gathered};
pub use conditions::{Condition, Stand, Subject};
pub use ending::Ending;
pub use frame::Frame;
pub use outbound::Outgoing;
pub use replicas::Pace;

use crate::clock::SharedClock;
use crate::domain::Agent;
use crate::store::config::Head;
use crate::store::{
    AgentStore, BulkStore, ConfigStore, ReplicaStore, ReportStore, RolloutStore, StoreError,
};
use commands::Commands;
use configuration::Streams;
use recorder::{OpenStreams, Recorder};
use relay::Relay;
use replicas::Replicas;
use reports::Reports;

/// What a fleet is made of.
pub struct Parts {
    pub config: ConfigStore,
    pub agents: AgentStore,
    pub reports: ReportStore,
    pub clock: SharedClock,
    /// Where sources are reached; their URLs start with it.
    pub ingest_base: String,
    /// What any agent may show to be enrolled; empty when each needs a token of its own.
    pub join_token: String,
    /// Cancelled, every stream ends at once.
    pub shutdown: CancellationToken,
    /// Owns the tasks of all streams.
    pub tasks: TaskTracker,
    pub timings: Timings,
    pub neighbours: Neighbours,
}

/// How the other replicas on the same database and this one reach each other.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// Where the others reach this one's API; empty when they do not.
    pub own_url: String,
    /// Who vouches for their certificates; the public authorities when not given.
    pub authority: Option<Certificate>,
}

/// How long things may take. The defaults are the contract's.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// From a stream's opening to its hello.
    pub hello: Duration,
    /// For an agent to take a message and to acknowledge it.
    pub answer: Duration,
    /// For an agent to take all parts of a snapshot.
    pub snapshot: Duration,
    pub heartbeat: Duration,
    /// Without a word from the agent.
    pub silence: Duration,
    /// For an agent to answer a command.
    pub command: Duration,
    /// How long a stream of an agent lasts, give or take a tenth.
    pub age: Duration,
    /// How long changes are gathered before they are passed on together.
    pub gather: Duration,
    /// Snapshots that are under way at once, and how long an agent waits for its turn.
    pub snapshots: usize,
    pub admission: Duration,
    /// How often changes of other replicas are looked for, should no notice come.
    pub refresh: Duration,
    /// How often rollouts are judged.
    pub judge: Duration,
    /// How long a bulk operation waits for agents that are away, when nothing else is left of it.
    pub absent: Duration,
    pub replicas: Pace,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            snapshot: Duration::from_secs(120),
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(35),
            command: Duration::from_secs(5),
            age: Duration::from_secs(30 * 60),
            gather: Duration::from_millis(100),
            snapshots: 32,
            admission: Duration::from_secs(5),
            refresh: Duration::from_millis(500),
            judge: Duration::from_secs(1),
            absent: Duration::from_secs(5 * 60),
            replicas: Pace::default(),
        }
    }
}

/// A handle; clones share the fleet.
#[derive(Clone)]
pub struct Fleet {
    whole: Arc<Whole>,
}

struct Whole {
    config: ConfigStore,
    agents: AgentStore,
    clock: SharedClock,
    join_token: String,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    timings: Timings,
    configuration: Arc<Streams>,
    commands: Arc<Commands>,
    reports: Arc<Reports>,
    recorder: Arc<Recorder>,
    replicas: Arc<Replicas>,
    relay: Arc<Relay>,
    rollouts: RolloutStore,
    bulks: BulkStore,
}

impl OpenStreams for Whole {
    fn has_configuration(&self, agent_id: &str) -> bool {
        self.configuration.open.get(agent_id).is_some()
    }

    fn has_commands(&self, agent_id: &str) -> bool {
        self.commands.open.get(agent_id).is_some()
    }
}

/// The state of the fleet in numbers, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetGauges {
    /// Agents with an open configuration stream.
    pub agents_connected: u64,
    /// Open streams of all three kinds.
    pub streams: u64,
    /// Newest configuration revision.
    pub head_revision: u64,
    /// Lowest revision that a connected agent acknowledged; `None` without one.
    pub acknowledged_revision_min: Option<u64>,
    /// Reports counted since the start.
    pub reports_received: u64,
    /// Commands that an agent did not answer in time, since the start.
    pub commands_timed_out: u64,
    /// Agents that did not hold what they acknowledged, since the start.
    pub drifts: u64,
    /// Whether this replica does the background work.
    pub leads: bool,
    /// Replicas that live, this one included.
    pub replicas: u64,
}

impl Fleet {
    /// Makes the fleet and starts its housekeeping on the tracker.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let replicas = Replicas::new(
            ReplicaStore::new(&parts.config),
            parts.neighbours.own_url,
            parts.timings.replicas,
        );
        let recorder = Recorder::new(parts.agents.clone(), replicas.own_id().to_owned());
        let configuration = Streams::new(
            parts.config.clone(),
            Arc::clone(&recorder),
            parts.ingest_base,
            Arc::clone(&parts.clock),
            parts.timings,
        );
        let reports = Reports::new(parts.reports, Arc::clone(&parts.clock), parts.timings);
        let whole = Whole {
            rollouts: RolloutStore::new(parts.config.clone()),
            bulks: BulkStore::new(parts.config.clone()),
            config: parts.config,
            agents: parts.agents,
            clock: parts.clock,
            join_token: parts.join_token,
            shutdown: parts.shutdown,
            tasks: parts.tasks,
            timings: parts.timings,
            configuration,
            commands: Arc::new(Commands::new(Arc::clone(&recorder), parts.timings.age)),
            reports,
            recorder,
            replicas,
            relay: Relay::new(parts.neighbours.authority),
        };
        let fleet = Self {
            whole: Arc::new(whole),
        };
        housekeeping::start(&fleet);
        fleet
    }

    #[must_use]
    pub fn gauges(&self) -> FleetGauges {
        let whole = &self.whole;
        let connected = whole.configuration.open.len();
        let streams = connected + whole.commands.open.len() + whole.reports.open.len();
        FleetGauges {
            agents_connected: connected as u64,
            streams: streams as u64,
            head_revision: whole.config.changes().borrow().revision,
            acknowledged_revision_min: whole.configuration.lowest_acknowledged(),
            reports_received: whole.reports.received(),
            commands_timed_out: whole.commands.timed_out(),
            drifts: whole.configuration.drifts(),
            leads: whole.replicas.leads(),
            replicas: whole.replicas.others().len() as u64 + 1,
        }
    }

    #[must_use]
    pub fn agents(&self) -> &AgentStore {
        &self.whole.agents
    }

    #[must_use]
    pub fn config(&self) -> &ConfigStore {
        &self.whole.config
    }

    #[must_use]
    pub fn report_store(&self) -> &ReportStore {
        &self.whole.reports.store
    }

    /// The owner of tasks that streams run on.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.whole.tasks
    }

    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.whole.clock
    }

    #[must_use]
    pub fn join_token(&self) -> &str {
        &self.whole.join_token
    }

    #[must_use]
    pub fn rollouts(&self) -> &RolloutStore {
        &self.whole.rollouts
    }

    #[must_use]
    pub fn bulks(&self) -> &BulkStore {
        &self.whole.bulks
    }

    /// What other replicas show to this one.
    #[must_use]
    pub fn relay_token(&self) -> &str {
        self.whole.replicas.own_token()
    }

    /// Whether an agent's configuration stream is open, here or at another replica.
    #[must_use]
    pub fn is_connected(&self, agent: &Agent) -> bool {
        let elsewhere = || {
            let replica = agent.stream_replica.as_deref();
            replica.is_some_and(|id| self.whole.replicas.other(id).is_some())
        };
        self.whole.has_configuration(&agent.id) || elsewhere()
    }

    /// Whether an agent holds what its pool shall hold at this head. Of an agent
    /// that is away, the content counts: its pool may not have changed since.
    #[must_use]
    pub fn is_current(&self, agent: &Agent, head: &Head) -> bool {
        let same_content = || {
            let view = self.whole.configuration.views.built(&agent.pool);
            view.is_some_and(|view| {
                view.head.revision >= head.revision && view.set.digest == agent.digest
            })
        };
        agent.epoch == head.epoch && (agent.revision >= head.revision || same_content())
    }

    /// Whether a rollout keeps the newest changes from an agent.
    #[must_use]
    pub fn is_held_back(&self, agent: &Agent) -> bool {
        let view = self.whole.configuration.views.built(&agent.pool);
        view.is_some_and(|view| view.keeps_from(&agent.id, agent.revision))
    }

    /// Asks one agent, through the replica that has it if that is another one.
    ///
    /// # Errors
    /// [`AskError`] says why there is no answer.
    pub async fn ask(
        &self,
        agent: &Agent,
        team_id: &str,
        command: Command,
    ) -> Result<Answer, AskError> {
        if let Some(need) = commands::needs(&command)
            && !agent.capabilities.iter().any(|has| has == need)
        {
            return Err(AskError::Unable(need));
        }
        let patience = self.whole.timings.command;
        if !self.whole.has_commands(&agent.id) {
            let replica = agent.commands_replica.as_deref();
            let Some(replica) = replica.and_then(|id| self.whole.replicas.other(id)) else {
                return Err(AskError::Away);
            };
            let relay = &self.whole.relay;
            return relay
                .ask(&replica, &agent.id, team_id, command, patience)
                .await;
        }
        self.ask_here(&agent.id, team_id, command, patience).await
    }

    /// Asks an agent that is connected here.
    ///
    /// # Errors
    /// [`AskError`] says why there is no answer.
    pub async fn ask_here(
        &self,
        agent_id: &str,
        team_id: &str,
        command: Command,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let patience = patience.min(self.whole.timings.command);
        self.whole
            .commands
            .ask(agent_id, team_id, command, patience)
            .await
    }

    /// Asks every agent that may hold evidence.
    ///
    /// # Errors
    /// [`StoreError`] when it is not known which those are.
    pub async fn ask_everyone(
        &self,
        team_id: &str,
        command: &Command,
    ) -> Result<Gathered, StoreError> {
        let mut holders = self.whole.agents.holders().await?;
        // Who came just now may not be written down yet.
        let known: HashSet<String> = holders.iter().map(|agent| agent.id.clone()).collect();
        let here = self.whole.commands.open.all().into_iter();
        let new = here.filter(|(_, link)| !known.contains(&link.agent.id));
        holders.extend(new.map(|(_, link)| link.agent.clone()));
        Ok(self.ask_these(holders, team_id, command).await)
    }

    /// Asks some agents.
    pub async fn ask_these(
        &self,
        agents: Vec<Agent>,
        team_id: &str,
        command: &Command,
    ) -> Gathered {
        let asked = agents.into_iter().map(|agent| async {
            let outcome = self.ask(&agent, team_id, command.clone()).await;
            (agent, outcome)
        });
        let mut gathered = Gathered {
            answers: Vec::new(),
            silent: Vec::new(),
        };
        for (agent, outcome) in join_all(asked).await {
            match outcome {
                Ok(answer) => gathered.answers.push((agent, answer)),
                Err(error) => gathered.silent.push((agent, error)),
            }
        }
        gathered
    }

    /// Follows what every agent stores, from now on.
    #[must_use]
    pub fn tail(
        &self,
        team_id: String,
        asked: TailRequestsRequest,
    ) -> Outgoing<TailRequestsResponse> {
        let whole = &self.whole;
        let others = tail::Others {
            replicas: Arc::clone(&whole.replicas),
            relay: Arc::clone(&whole.relay),
            look: whole.timings.replicas.beat,
        };
        self.follow(team_id, asked, Some(others))
    }

    /// Follows what the agents that are connected here store.
    #[must_use]
    pub fn tail_here(
        &self,
        team_id: String,
        asked: TailRequestsRequest,
    ) -> Outgoing<TailRequestsResponse> {
        self.follow(team_id, asked, None)
    }

    fn follow(
        &self,
        team_id: String,
        asked: TailRequestsRequest,
        others: Option<tail::Others>,
    ) -> Outgoing<TailRequestsResponse> {
        let whole = &self.whole;
        let tail = tail::Tail {
            team_id,
            asked,
            others,
        };
        let shutdown = whole.shutdown.clone();
        tail::follow(&whole.commands, tail, &whole.tasks, shutdown)
    }

    /// Serves an agent's configuration stream.
    pub fn serve_configuration(
        &self,
        agent: Agent,
        inbound: impl Stream<Item = Result<ConfigurationStreamRequest, Status>> + Send + Unpin + 'static,
    ) -> Outgoing<Frame> {
        let whole = &self.whole;
        let shutdown = whole.shutdown.clone();
        whole
            .configuration
            .serve(agent, inbound, &whole.tasks, shutdown)
    }

    /// Serves an agent's command stream.
    pub fn serve_commands(
        &self,
        agent: Agent,
        inbound: impl Stream<Item = Result<CommandStreamRequest, Status>> + Send + Unpin + 'static,
    ) -> Outgoing<CommandStreamResponse> {
        let whole = &self.whole;
        let shutdown = whole.shutdown.clone();
        whole.commands.serve(agent, inbound, &whole.tasks, shutdown)
    }

    /// Serves an agent's report stream.
    pub fn serve_reports(
        &self,
        agent: Agent,
        inbound: impl Stream<Item = Result<ReportStreamRequest, Status>> + Send + Unpin + 'static,
    ) -> Outgoing<ReportStreamResponse> {
        let whole = &self.whole;
        let shutdown = whole.shutdown.clone();
        whole.reports.serve(agent, inbound, &whole.tasks, shutdown)
    }
}
