//! `handler-keys`: keys with which handlers report to agents. A secret is shown once.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{
    CreateHandlerKeyRequest, GetHandlerKeyRequest, HandlerKey, HandlerKeyStatus,
    ListHandlerKeysRequest, RevokeHandlerKeyRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, Sources, each_page, resolve};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum HandlerKeysVerb {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for: a service, an environment
        #[arg(long)]
        name: String,
        /// Source that its handlers may report on, by id or name; may be given again
        #[arg(long = "source", value_name = "SOURCE", required = true)]
        sources: Vec<String>,
    },
    /// Show all keys, without their secrets
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one key, without its secret
    Get {
        /// `phk_…`
        id: String,
    },
    /// End a key for good; agents refuse it about a second later
    Revoke {
        /// `phk_…`
        id: String,
    },
}

pub(crate) async fn run(
    verb: HandlerKeysVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut keys = client.handler_keys();
    match verb {
        HandlerKeysVerb::Create { name, sources } => {
            let mut source_ids = Vec::with_capacity(sources.len());
            for source in &sources {
                source_ids.push(resolve::<Sources>(client, source).await?.id);
            }
            let request = CreateHandlerKeyRequest { name, source_ids };
            let made = keys.create_handler_key(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&made));
            }
            output.table(&Table::of_values([
                ("id", made.id.clone()),
                ("name", made.name.clone()),
                ("sources", made.source_ids.join(" ")),
                ("key", made.key.clone()),
            ]))?;
            output.note("keep the key now: it is not shown again");
            Ok(())
        }
        HandlerKeysVerb::List { page } => list(&page, client, output).await,
        HandlerKeysVerb::Get { id } => {
            let key = keys.get_handler_key(GetHandlerKeyRequest { id }).await?;
            show(&key.into_inner(), output)
        }
        HandlerKeysVerb::Revoke { id } => {
            let request = RevokeHandlerKeyRequest { id };
            let key = keys.revoke_handler_key(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&key));
            }
            output.line(&format!("{} is revoked", key.id))
        }
    }
}

fn show(key: &HandlerKey, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(key));
    }
    output.table(&Table::of_values([
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("key", key.masked_key.clone()),
        ("status", status(key).to_owned()),
        ("sources", key.source_ids.join(" ")),
        ("created", day_time(key.created_at.as_ref())),
        ("revoked", day_time(key.revoked_at.as_ref())),
    ]))
}

async fn list(page: &PageArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(page, async |limit, page_token| {
        let request = ListHandlerKeysRequest { limit, page_token };
        let answer = client.handler_keys().list_handler_keys(request).await?;
        let answer = answer.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(&["id", "name", "key", "status", "sources"]);
    for key in &listed.models {
        table.row([
            key.id.clone(),
            key.name.clone(),
            key.masked_key.clone(),
            status(key).to_owned(),
            key.source_ids.join(" "),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn status(key: &HandlerKey) -> &'static str {
    match key.status() {
        HandlerKeyStatus::Revoked => "revoked",
        _ => "active",
    }
}
