//! `keys`: API keys of people and programs. A secret is shown once, when it is made.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    ApiKey, ApiKeyStatus, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
    },
    /// Show all keys, without their secrets
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// End a key for good
    Revoke {
        /// `pak_…`
        id: String,
    },
}

pub(crate) async fn run(
    verb: KeysVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        KeysVerb::Create { name } => {
            let request = CreateApiKeyRequest { name };
            let made = client
                .api_keys()
                .create_api_key(request)
                .await?
                .into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            output.table(&Table::of_values([
                ("id", made.id.clone()),
                ("name", made.name.clone()),
                ("key", made.key.clone()),
            ]))?;
            output.note("keep the key now: it is not shown again");
            Ok(())
        }
        KeysVerb::List { page } => list(&page, client, output).await,
        KeysVerb::Revoke { id } => {
            let request = RevokeApiKeyRequest { id };
            let key = client
                .api_keys()
                .revoke_api_key(request)
                .await?
                .into_inner();
            if output.is_json() {
                return output.json(&to_json(&key));
            }
            output.line(&format!("{} is revoked", key.id))
        }
    }
}

async fn list(page: &PageArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListApiKeysRequest { limit, page_token };
        let answer = client.api_keys().list_api_keys(request).await?.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&["id", "name", "key", "status", "created", "revoked"]);
    for key in &listed.models {
        table.row([
            key.id.clone(),
            key.name.clone(),
            key.masked_key.clone(),
            status(key).to_owned(),
            day_time(key.created_at.as_ref()),
            day_time(key.revoked_at.as_ref()),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn status(key: &ApiKey) -> &'static str {
    match key.status() {
        ApiKeyStatus::Revoked => "revoked",
        _ => "active",
    }
}
