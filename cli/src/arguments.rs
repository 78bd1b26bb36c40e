//! The command line: every command and flag, with its help.

use clap::{Parser, Subcommand};

use crate::apply::ApplyArgs;
use crate::audit::AuditVerb;
use crate::bulk::{BulkVerb, ReplayArgs};
use crate::dev::DevArgs;
use crate::evidence::{AttemptsVerb, DiagnoseArgs, EventsVerb, RequestsVerb, TailArgs, TraceArgs};
use crate::export::ExportArgs;
use crate::fleet::{AgentsVerb, StatusArgs};
use crate::handler_keys::HandlerKeysVerb;
use crate::keys::KeysVerb;
use crate::output::Format;
use crate::resources::{ConnectionsVerb, DestinationFlags, SourceFlags, Verb};
use crate::rollouts::RolloutsVerb;
use crate::secrets::SecretsVerb;
use crate::send::SendArgs;
use crate::session::SessionArgs;
use crate::shadow::ShadowArgs;
use crate::teams::TeamsVerb;

/// Webhooks in, proven, stored, delivered, seen.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hookplane",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// How answers are written
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Everywhere",
        value_enum,
        default_value_t
    )]
    pub(crate) output: Format,
    /// No colour, also by NO_COLOR
    #[arg(
        long,
        global = true, help_heading = "Everywhere",
        env = "NO_COLOR",
        hide_env_values = true,
        num_args = 0..=1,
        default_missing_value = "1",
        require_equals = true,
        value_name = "ANY"
    )]
    no_color: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    pub(crate) fn no_colour(&self) -> bool {
        self.no_color.as_ref().is_some_and(|set| !set.is_empty())
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Where webhooks come from
    #[command(subcommand, visible_alias = "source")]
    Sources(Verb<SourceFlags>),
    /// Where events are delivered to
    #[command(subcommand, visible_alias = "destination")]
    Destinations(Verb<DestinationFlags>),
    /// Which source feeds which destination, and by what rules
    #[command(subcommand, visible_alias = "connection")]
    Connections(ConnectionsVerb),
    /// Make the configuration as files say, and wait until agents have it
    Apply(ApplyArgs),
    /// Compare what files would have made of the last requests with what is made of them today
    Shadow(ShadowArgs),
    /// Write the configuration as a file that `apply` reads
    Export(ExportArgs),
    /// Inbound calls, accepted or rejected
    #[command(subcommand)]
    Requests(RequestsVerb),
    /// Requests on one connection
    #[command(subcommand)]
    Events(EventsVerb),
    /// Send many again: failed events on their branch, or requests through today's rules
    Replay(Box<ReplayArgs>),
    /// Operations that `replay` began
    #[command(subcommand)]
    Bulk(BulkVerb),
    /// Single outbound tries
    #[command(subcommand)]
    Attempts(AttemptsVerb),
    /// One request with all that came of it
    Trace(TraceArgs),
    /// Why a request was refused, with what proves it and what to do
    Diagnose(DiagnoseArgs),
    /// Requests and attempts as they happen
    Tail(TailArgs),
    /// Agents, revisions, throughput, backlog
    Status(StatusArgs),
    /// The data-plane processes
    #[command(subcommand)]
    Agents(AgentsVerb),
    /// Changes on their way through a pool
    #[command(subcommand, visible_alias = "rollout")]
    Rollouts(RolloutsVerb),
    /// API keys
    #[command(subcommand)]
    Keys(KeysVerb),
    /// Keys with which handlers report to agents
    #[command(subcommand)]
    HandlerKeys(HandlerKeysVerb),
    /// Who changed what
    #[command(subcommand)]
    Audit(AuditVerb),
    /// The keys under which secrets are stored
    #[command(subcommand)]
    Secrets(SecretsVerb),
    /// Tenants of the installation
    #[command(subcommand)]
    Teams(TeamsVerb),
    /// Sign and send sample webhooks
    Send(SendArgs),
    /// Both planes in one process, to try things out
    Dev(DevArgs),
}
