//! `agents authorities`: who signs the certificates of agents.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    AgentAuthority, AgentAuthorityStatus, ListAgentAuthoritiesRequest, RotateAgentAuthorityRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::lasting::Span;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuthoritiesVerb {
    /// Show who signs, and what else is trusted
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Have a new authority sign from now on
    Rotate {
        /// How long what the others signed is trusted, `24h` or `0s` for example, at most 30 days
        /// [default: the life of a certificate]
        #[arg(long, value_name = "SPAN")]
        overlap: Option<Span>,
    },
}

pub(crate) async fn run(
    verb: AuthoritiesVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        AuthoritiesVerb::List { page } => list(&page, client, output).await,
        AuthoritiesVerb::Rotate { overlap } => {
            let request = RotateAgentAuthorityRequest {
                overlap_seconds: overlap.map(Span::seconds),
            };
            let made = client
                .agent_access()
                .rotate_agent_authority(request)
                .await?;
            let made = made.into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            output.line(&format!("{} signs from now on", made.id))?;
            output.note("agents get a certificate of it when theirs is due; `hookplane agents authorities list` shows until when the others are trusted");
            Ok(())
        }
    }
}

async fn list(page: &PageArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListAgentAuthoritiesRequest { limit, page_token };
        let answer = client
            .agent_access()
            .list_agent_authorities(request)
            .await?;
        let answer = answer.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&["id", "status", "made", "trusted until"]);
    for authority in &listed.models {
        let until = authority.trusted_until.or(authority.expires_at);
        table.row([
            authority.id.clone(),
            status(authority).to_owned(),
            day_time(authority.created_at.as_ref()),
            day_time(until.as_ref()),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn status(authority: &AgentAuthority) -> &'static str {
    match authority.status() {
        AgentAuthorityStatus::Signing => "signing",
        AgentAuthorityStatus::Trusted => "trusted",
        AgentAuthorityStatus::Ended => "ended",
        AgentAuthorityStatus::Unspecified => "",
    }
}
