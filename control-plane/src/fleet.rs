//! The fleet: agents, the streams they open, and what can be asked of them.
//!
//! Owns three streams per agent, so that none can hold up another: configuration,
//! commands and reports. Refuses to know what people may do with configuration
//! (`service`) and what evidence means: it carries it. Invariants: agents dial,
//! nothing dials an agent; an agent gets its pool's resources only; every queue
//! to an agent is bounded and every wait has a deadline.

mod commands;
mod conditions;
mod configuration;
mod ending;
mod held;
mod housekeeping;
mod outbound;
mod registry;
mod reports;
mod tail;
mod view;

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{
    CommandStreamRequest, CommandStreamResponse, ConfigurationStreamRequest,
    ConfigurationStreamResponse, ReportStreamRequest, ReportStreamResponse,
};
use hookplane_proto::v1::{TailRequestsRequest, TailRequestsResponse};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

pub use commands::{AskError, Gathered};
pub use conditions::{Condition, Stand, Subject};
pub use ending::Ending;
pub use outbound::Outgoing;

use crate::clock::SharedClock;
use crate::domain::Agent;
use crate::store::config::Head;
use crate::store::{AgentStore, ConfigStore, ReportStore, StoreError};
use commands::Commands;
use configuration::Streams;
use reports::Reports;

/// What a fleet is made of.
pub struct Parts {
    pub config: ConfigStore,
    pub agents: AgentStore,
    pub reports: ReportStore,
    pub clock: SharedClock,
    /// Where sources are reached; their URLs start with it.
    pub ingest_base: String,
    /// What an agent shows to be enrolled.
    pub join_token: String,
    /// Cancelled, every stream ends at once.
    pub shutdown: CancellationToken,
    /// Owns the tasks of all streams.
    pub tasks: TaskTracker,
    pub timings: Timings,
}

/// How long things may take. The defaults are the contract's.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// From a stream's opening to its hello.
    pub hello: Duration,
    /// For an agent to take a message and to acknowledge it.
    pub answer: Duration,
    pub heartbeat: Duration,
    /// Without a word from the agent.
    pub silence: Duration,
    /// For an agent to answer a command.
    pub command: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(35),
            command: Duration::from_secs(5),
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
}

impl Fleet {
    /// Makes the fleet and starts its housekeeping on the tracker.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let configuration = Streams::new(
            parts.config.clone(),
            parts.agents.clone(),
            parts.ingest_base,
            Arc::clone(&parts.clock),
            parts.timings,
        );
        let reports = Reports::new(parts.reports, Arc::clone(&parts.clock), parts.timings);
        let whole = Whole {
            config: parts.config,
            agents: parts.agents,
            clock: parts.clock,
            join_token: parts.join_token,
            shutdown: parts.shutdown,
            tasks: parts.tasks,
            timings: parts.timings,
            configuration,
            commands: Arc::new(Commands::new()),
            reports,
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
            head_revision: *whole.config.changes().borrow(),
            acknowledged_revision_min: whole.configuration.lowest_acknowledged(),
            reports_received: whole.reports.received(),
            commands_timed_out: whole.commands.timed_out(),
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

    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.whole.clock
    }

    #[must_use]
    pub fn join_token(&self) -> &str {
        &self.whole.join_token
    }

    /// Whether an agent's configuration stream is open.
    #[must_use]
    pub fn is_connected(&self, agent_id: &str) -> bool {
        self.whole.configuration.open.get(agent_id).is_some()
    }

    /// Whether an agent holds what its pool shall hold at this head. Of an agent
    /// that is away, the content counts: its pool may not have changed since.
    #[must_use]
    pub fn is_current(&self, agent: &Agent, head: &Head) -> bool {
        let same_content = || {
            let view = self.whole.configuration.views.built(&agent.pool);
            view.is_some_and(|view| {
                view.head.revision >= head.revision && view.digest == agent.digest
            })
        };
        agent.epoch == head.epoch && (agent.revision >= head.revision || same_content())
    }

    /// Asks one agent.
    ///
    /// # Errors
    /// [`AskError`] says why there is no answer.
    pub async fn ask(
        &self,
        agent_id: &str,
        team_id: &str,
        command: Command,
    ) -> Result<Answer, AskError> {
        let patience = self.whole.timings.command;
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
        let holders = self.whole.agents.holders().await?;
        Ok(self.ask_these(holders, team_id, command).await)
    }

    /// Asks some agents.
    pub async fn ask_these(
        &self,
        agents: Vec<Agent>,
        team_id: &str,
        command: &Command,
    ) -> Gathered {
        let patience = self.whole.timings.command;
        self.whole
            .commands
            .gather(agents, team_id, command, patience)
            .await
    }

    /// Follows what every agent stores, from now on.
    #[must_use]
    pub fn tail(
        &self,
        team_id: String,
        asked: TailRequestsRequest,
    ) -> Outgoing<TailRequestsResponse> {
        let whole = &self.whole;
        let command = Command::TailRequests(asked);
        let shutdown = whole.shutdown.clone();
        tail::follow(&whole.commands, team_id, command, &whole.tasks, shutdown)
    }

    /// Serves an agent's configuration stream.
    pub fn serve_configuration(
        &self,
        agent: Agent,
        inbound: impl Stream<Item = Result<ConfigurationStreamRequest, Status>> + Send + Unpin + 'static,
    ) -> Outgoing<ConfigurationStreamResponse> {
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
