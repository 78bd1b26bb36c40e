//! `agents tokens` and `agents revoke`: who may be an agent.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    AgentToken, AgentTokenStatus, CreateAgentTokenRequest, ListAgentTokensRequest,
    RevokeAgentRequest, RevokeAgentTokenRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokensVerb {
    /// Make a token for one agent; it is shown this once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// The pool of the agent
        #[arg(long, default_value = "default")]
        pool: String,
        /// How long somebody can enrol with it, 60 s to 7 days
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600,
              value_parser = clap::value_parser!(u32).range(60..=604_800))]
        valid_seconds: u32,
    },
    /// Show the team's tokens, without their secrets
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// End a token that nobody used
    Revoke {
        /// `aet_…`
        id: String,
    },
}

pub(crate) async fn run(
    verb: TokensVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        TokensVerb::Create {
            name,
            pool,
            valid_seconds,
        } => {
            let request = CreateAgentTokenRequest {
                name,
                pool,
                valid_seconds,
            };
            let made = client.agent_access().create_agent_token(request).await?;
            show_secret(&made.into_inner(), output)
        }
        TokensVerb::List { page } => list(&page, client, output).await,
        TokensVerb::Revoke { id } => {
            let request = RevokeAgentTokenRequest { id };
            let token = client.agent_access().revoke_agent_token(request).await?;
            let token = token.into_inner();
            if output.is_json() {
                return output.json(&to_json(&token));
            }
            output.line(&format!("{} is {}", token.id, status(&token)))?;
            if token.status() == AgentTokenStatus::Used {
                let agent = &token.used_by_agent_id;
                output.note(&format!(
                    "the agent {agent} enrolled with it and stays; `hookplane agents revoke {agent}` ends it"
                ));
            }
            Ok(())
        }
    }
}

/// Ends an agent for good.
pub(crate) async fn revoke(
    id: String,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = RevokeAgentRequest { id };
    let agent = client.agent_access().revoke_agent(request).await?;
    let agent = agent.into_inner();
    if output.is_json() {
        return output.json(&to_json(&agent));
    }
    output.line(&format!("{} is revoked", agent.id))?;
    output.note("it goes on with the configuration it holds: stop its process, and change what secrets it had");
    Ok(())
}

fn show_secret(made: &AgentToken, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(made));
    }
    output.table(&Table::of_values([
        ("id", made.id.clone()),
        ("name", made.name.clone()),
        ("pool", made.pool.clone()),
        ("expires", day_time(made.expires_at.as_ref())),
        ("token", made.token.clone()),
    ]))?;
    output.note("write the token to the agent's join token file now: it is not shown again");
    Ok(())
}

async fn list(page: &PageArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListAgentTokensRequest { limit, page_token };
        let answer = client.agent_access().list_agent_tokens(request).await?;
        let answer = answer.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&["id", "name", "pool", "status", "expires", "used by"]);
    for token in &listed.models {
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.pool.clone(),
            status(token).to_owned(),
            day_time(token.expires_at.as_ref()),
            token.used_by_agent_id.clone(),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn status(token: &AgentToken) -> &'static str {
    match token.status() {
        AgentTokenStatus::Open => "open",
        AgentTokenStatus::Used => "used",
        AgentTokenStatus::Revoked => "revoked",
        AgentTokenStatus::Expired => "expired",
        AgentTokenStatus::Unspecified => "",
    }
}
