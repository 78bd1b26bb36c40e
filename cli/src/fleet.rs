//! `status` and `agents`: who is there, what they hold, what they do.

mod access;
mod authorities;
mod standing;

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    Agent, AgentState, ConfigState, GetAgentRequest, GetStatusRequest, ListAgentsRequest, Status,
};

pub(crate) use access::TokensVerb;
pub(crate) use authorities::AuthoritiesVerb;

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, Tone, count, day_time, millis};
use crate::resources::{Page, PageArgs, each_page};

/// Characters of a digest that are shown; the JSON has it whole.
const DIGEST_SHOWN: usize = 12;

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AgentsVerb {
    /// Show all agents
    List {
        /// Of this pool
        #[arg(long)]
        pool: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one, with what it refused
    Get {
        /// `agt_…`
        id: String,
    },
    /// End an agent for good: its streams, and its credential
    Revoke {
        /// `agt_…`
        id: String,
    },
    /// Tokens with which one agent enrols, once
    #[command(subcommand)]
    Tokens(TokensVerb),
    /// Who signs the certificates of agents
    #[command(subcommand)]
    Authorities(AuthoritiesVerb),
}

/// Flags of `status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Minutes the throughput is taken over
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1440))]
    window: u32,
}

pub(crate) async fn agents(
    verb: AgentsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        AgentsVerb::List { pool, page } => {
            list(pool.unwrap_or_default(), &page, client, output).await
        }
        AgentsVerb::Get { id } => {
            let request = GetAgentRequest { id };
            let agent = client.fleet().get_agent(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&agent));
            }
            output.table(&Table::of_values(values(&agent)))?;
            refusals(std::slice::from_ref(&agent), output)
        }
        AgentsVerb::Revoke { id } => access::revoke(id, client, output).await,
        AgentsVerb::Tokens(verb) => access::run(verb, client, output).await,
        AgentsVerb::Authorities(verb) => authorities::run(verb, client, output).await,
    }
}

async fn list(
    pool: String,
    page: &PageArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListAgentsRequest {
            limit,
            page_token,
            pool: pool.clone(),
        };
        let answer = client.fleet().list_agents(request).await?.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    output.table(&table(&listed.models))?;
    listed.mention_rest(output);
    Ok(())
}

/// What the control plane says of the whole.
pub(crate) async fn fetch(client: &Client, window_minutes: u32) -> Result<Status, Failure> {
    let request = GetStatusRequest { window_minutes };
    Ok(client.fleet().get_status(request).await?.into_inner())
}

pub(crate) async fn status(
    args: StatusArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let status = fetch(client, args.window).await?;
    if output.is_json() {
        return output.json(&to_json(&status));
    }
    overview(&status, client.api_url(), output)?;
    section("agents", output)?;
    output.table(&table(&status.agents))?;
    refusals(&status.agents, output)?;
    unserved(&status.unserved_pools, output)?;
    by_source(&status, output)?;
    by_destination(&status, output)
}

fn section(name: &str, output: &mut Output) -> Result<(), Failure> {
    output.line("")?;
    let name = output.paint(Tone::Strong, name);
    output.line(&name)
}

fn overview(status: &Status, api_url: &str, output: &mut Output) -> Result<(), Failure> {
    let sums = status.throughput.unwrap_or_default();
    let minutes = f64::from(sums.window_minutes.max(1));
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let rate = |events: u64| format!("{:.1}/s", events as f64 / (minutes * 60.0));
    output.table(&Table::of_values([
        (
            "control plane",
            format!("{api_url}, version {}", status.version),
        ),
        (
            "revision",
            format!("{} of epoch {}", status.revision, status.epoch),
        ),
        (
            "configured",
            format!(
                "{} sources, {} connections, {} destinations",
                status.sources, status.connections, status.destinations
            ),
        ),
        (
            "requests",
            format!(
                "{} ({}): {} accepted, {} rejected, {} repeats in {} min",
                count(sums.received),
                rate(sums.received),
                count(sums.accepted),
                count(sums.rejected),
                count(sums.repeats),
                sums.window_minutes,
            ),
        ),
        (
            "attempts",
            format!(
                "{} ({}): {} successful, {} failed in {} min",
                count(sums.attempts),
                rate(sums.attempts),
                count(sums.successful),
                count(sums.failed),
                sums.window_minutes,
            ),
        ),
        (
            "backlog",
            format!("{} events waiting", count(status.backlog)),
        ),
    ]))
}

fn by_source(status: &Status, output: &mut Output) -> Result<(), Failure> {
    if status.by_source.is_empty() {
        return Ok(());
    }
    section("sources", output)?;
    let mut table = Table::new(&[
        "source",
        "event type",
        "received",
        "accepted",
        "rejected",
        "repeats",
        "p50",
        "p99",
    ]);
    for row in &status.by_source {
        table.row([
            named(&row.source_name, &row.source_id),
            row.event_type.clone(),
            count(row.received),
            count(row.accepted),
            count(row.rejected),
            count(row.repeats),
            millis(row.accept_p50_ms),
            millis(row.accept_p99_ms),
        ]);
    }
    output.table(&table)
}

fn by_destination(status: &Status, output: &mut Output) -> Result<(), Failure> {
    if status.by_destination.is_empty() {
        return Ok(());
    }
    section("destinations", output)?;
    let mut table = Table::new(&[
        "destination",
        "attempts",
        "successful",
        "failed",
        "p50",
        "p99",
        "waits p99",
        "delivered p99",
        "state",
    ]);
    for row in &status.by_destination {
        table.row([
            named(&row.destination_name, &row.destination_id),
            count(row.attempts),
            count(row.successful),
            count(row.failed),
            millis(row.delivery_p50_ms),
            millis(row.delivery_p99_ms),
            millis(row.start_delay_p99_ms),
            millis(row.delivered_after_p99_ms),
            standing::summary(&row.agents),
        ]);
    }
    output.table(&table)?;
    for row in &status.by_destination {
        for held in row.agents.iter().filter_map(standing::held_back) {
            let name = named(&row.destination_name, &row.destination_id);
            output.untrusted(&format!("{name} {held}"))?;
        }
    }
    Ok(())
}

fn named(name: &str, id: &str) -> String {
    if name.is_empty() {
        id.to_owned()
    } else {
        name.to_owned()
    }
}

fn table(agents: &[Agent]) -> Table {
    let mut table = Table::new(&[
        "id",
        "name",
        "pool",
        "state",
        "revision",
        "config",
        "backlog",
        "version",
        "last seen",
    ]);
    for agent in agents {
        table.row([
            agent.id.clone(),
            agent.name.clone(),
            agent.pool.clone(),
            state(agent),
            agent.revision.to_string(),
            config_state(agent),
            count(agent.backlog),
            agent.version.clone(),
            day_time(agent.last_seen_at.as_ref()),
        ]);
    }
    table
}

fn values(agent: &Agent) -> Vec<(&'static str, String)> {
    vec![
        ("id", agent.id.clone()),
        ("name", agent.name.clone()),
        ("pool", agent.pool.clone()),
        ("version", agent.version.clone()),
        ("store", agent.store.to_string()),
        ("state", state(agent)),
        ("config", config_state(agent)),
        (
            "revision",
            format!("{} of epoch {}", agent.revision, agent.epoch),
        ),
        ("digest", agent.digest.chars().take(DIGEST_SHOWN).collect()),
        (
            "backlog",
            format!("{} events waiting", count(agent.backlog)),
        ),
        ("connected", day_time(agent.connected_at.as_ref())),
        ("last seen", day_time(agent.last_seen_at.as_ref())),
        ("enrolled", day_time(agent.created_at.as_ref())),
        (
            "certificate",
            match &agent.certificate_expires_at {
                Some(end) => format!("until {}", day_time(Some(end))),
                None => "none".to_owned(),
            },
        ),
    ]
}

fn refusals(agents: &[Agent], output: &mut Output) -> Result<(), Failure> {
    for agent in agents {
        for refused in &agent.refused {
            output.untrusted(&format!(
                "{} refused {} {} of revision {}: {} ({})",
                agent.name,
                refused.kind,
                refused.id,
                refused.version,
                refused.message,
                refused.reason
            ))?;
        }
    }
    Ok(())
}

fn unserved(pools: &[String], output: &mut Output) -> Result<(), Failure> {
    for pool in pools {
        output.untrusted(&format!(
            "warning: no agent is enrolled in the pool {pool}; what is sent to its sources reaches nobody (start one with --pool {pool})"
        ))?;
    }
    Ok(())
}

fn state(agent: &Agent) -> String {
    match agent.state() {
        AgentState::Connected => "connected",
        AgentState::Disconnected => "away",
        AgentState::Revoked => "revoked",
        AgentState::Unspecified => "",
    }
    .to_owned()
}

fn config_state(agent: &Agent) -> String {
    match agent.config_state() {
        ConfigState::Current => "current",
        ConfigState::Pending => "pending",
        ConfigState::Refused => "refused",
        ConfigState::Drifted => "drifted",
        ConfigState::HeldBack => "held back",
        ConfigState::Unspecified => "",
    }
    .to_owned()
}
