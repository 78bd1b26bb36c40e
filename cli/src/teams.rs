//! `teams`: the tenants of an installation. Needs a key with `installation:admin`.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{CreateTeamApiKeyRequest, CreateTeamRequest, ListTeamsRequest};

use crate::failure::Failure;
use crate::json::to_json;
use crate::keys::{GrantArgs, show_secret};
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TeamsVerb {
    /// Make a team with a first key, whose secret is shown this once
    Create {
        #[arg(long)]
        name: String,
    },
    /// Show all teams
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Make another key for a team; its secret is shown this once
    Key {
        /// `tm_…`
        team: String,
        /// What the key is for
        #[arg(long)]
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
    },
}

pub(crate) async fn run(
    verb: TeamsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut installation = client.installation();
    match verb {
        TeamsVerb::Create { name } => {
            let request = CreateTeamRequest { name };
            let made = installation.create_team(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            let (team, key) = (
                made.team.unwrap_or_default(),
                made.api_key.unwrap_or_default(),
            );
            output.table(&Table::of_values([
                ("id", team.id),
                ("name", team.name),
                ("key", key.key),
            ]))?;
            output.note("keep the key now: it is not shown again");
            Ok(())
        }
        TeamsVerb::List { page } => list(&page, client, output).await,
        TeamsVerb::Key { team, name, grant } => {
            let request = CreateTeamApiKeyRequest {
                team_id: team,
                key: Some(grant.asked(name)),
            };
            let made = installation.create_team_api_key(request).await?;
            show_secret(&made.into_inner(), output)
        }
    }
}

async fn list(page: &PageArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListTeamsRequest { limit, page_token };
        let answer = client.installation().list_teams(request).await?;
        let answer = answer.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&["id", "name", "created"]);
    for team in &listed.models {
        table.row([
            team.id.clone(),
            team.name.clone(),
            day_time(team.created_at.as_ref()),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}
