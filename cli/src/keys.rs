//! `keys`: API keys of people and programs. A secret is shown once, when it is made.

use clap::{Args, Subcommand};
use hookplane_client::Client;
use hookplane_client::v1::{
    ApiKey, ApiKeyStatus, CreateApiKeyRequest, GetApiKeyRequest, ListApiKeysRequest,
    RevokeApiKeyRequest, RotateApiKeyRequest, UpdateApiKeyRequest,
};

use crate::failure::Failure;
use crate::json::to_json;
use crate::lasting::Span;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
    },
    /// Show all keys, without their secrets
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one key, without its secret
    Get {
        /// `pak_…`
        id: String,
    },
    /// Change what a key may do
    Update {
        /// `pak_…`
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        grant: GrantArgs,
        /// Take the expiry away
        #[arg(long, conflicts_with = "expires_in")]
        never_expires: bool,
    },
    /// Give a key a new secret; it is shown this once
    Rotate {
        /// `pak_…`
        id: String,
        /// How long the old secret stays valid beside it, `0s` to 30d [default: 24h]
        #[arg(long, value_name = "SPAN")]
        overlap: Option<Span>,
    },
    /// End a key for good
    Revoke {
        /// `pak_…`
        id: String,
    },
}

/// What a key may do. What is not given is as the calling key has it.
#[derive(Clone, Debug, Args)]
pub(crate) struct GrantArgs {
    /// `config:read`, `config:write`, `events:read`, `events:payload`, `events:execute`,
    /// `fleet:read`, `fleet:admin`, `keys:admin`, `audit:read`, `installation:admin`; may be given again
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// When it ends by itself: `12h`, `30d`
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    /// Calls per minute; 0 for no limit
    #[arg(long, value_name = "CALLS")]
    rate_per_minute: Option<u32>,
    /// Largest body of a call; 0 for no limit but the server's
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<u32>,
}

impl GrantArgs {
    pub(crate) fn asked(self, name: String) -> CreateApiKeyRequest {
        CreateApiKeyRequest {
            name,
            scopes: self.scopes,
            expires_at: self.expires_in.map(Span::hence),
            rate_limit_per_minute: self.rate_per_minute,
            max_body_bytes: self.max_body_bytes,
        }
    }
}

pub(crate) async fn run(
    verb: KeysVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut keys = client.api_keys();
    match verb {
        KeysVerb::Create { name, grant } => {
            let made = keys.create_api_key(grant.asked(name)).await?.into_inner();
            show_secret(&made, output)
        }
        KeysVerb::List { page } => list(&page, client, output).await,
        KeysVerb::Get { id } => {
            let key = keys.get_api_key(GetApiKeyRequest { id }).await?;
            show(&key.into_inner(), output)
        }
        KeysVerb::Update {
            id,
            name,
            grant,
            never_expires,
        } => {
            let request = UpdateApiKeyRequest {
                id,
                name,
                scopes: grant.scopes,
                expires_at: grant.expires_in.map(Span::hence),
                rate_limit_per_minute: grant.rate_per_minute,
                max_body_bytes: grant.max_body_bytes,
                never_expires,
            };
            show(&keys.update_api_key(request).await?.into_inner(), output)
        }
        KeysVerb::Rotate { id, overlap } => {
            let request = RotateApiKeyRequest {
                id,
                previous_valid_until: overlap.map(Span::hence),
            };
            let made = keys.rotate_api_key(request).await?.into_inner();
            show_secret(&made, output)
        }
        KeysVerb::Revoke { id } => {
            let request = RevokeApiKeyRequest { id };
            let key = keys.revoke_api_key(request).await?.into_inner();
            if output.is_json() {
                return output.json(&to_json(&key));
            }
            output.line(&format!("{} is revoked", key.id))
        }
    }
}

pub(crate) fn show_secret(made: &ApiKey, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(made));
    }
    output.table(&Table::of_values([
        ("id", made.id.clone()),
        ("name", made.name.clone()),
        ("scopes", made.scopes.join(" ")),
        ("key", made.key.clone()),
    ]))?;
    if made.previous_valid_until.is_some() {
        let until = day_time(made.previous_valid_until.as_ref());
        output.note(&format!("the old key is valid until {until}"));
    }
    output.note("keep the key now: it is not shown again");
    Ok(())
}

fn show(key: &ApiKey, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(key));
    }
    let limit = |limit: u32| match limit {
        0 => "none".to_owned(),
        limit => limit.to_string(),
    };
    output.table(&Table::of_values([
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("key", key.masked_key.clone()),
        ("status", status(key).to_owned()),
        ("scopes", key.scopes.join(" ")),
        ("calls per minute", limit(key.rate_limit_per_minute)),
        ("largest body", limit(key.max_body_bytes)),
        ("created", day_time(key.created_at.as_ref())),
        ("last used", day_time(key.last_used_at.as_ref())),
        ("expires", day_time(key.expires_at.as_ref())),
        ("rotated", day_time(key.rotated_at.as_ref())),
        ("revoked", day_time(key.revoked_at.as_ref())),
    ]))
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
    let mut table = Table::new(&["id", "name", "key", "status", "last used", "scopes"]);
    for key in &listed.models {
        table.row([
            key.id.clone(),
            key.name.clone(),
            key.masked_key.clone(),
            status(key).to_owned(),
            day_time(key.last_used_at.as_ref()),
            key.scopes.join(" "),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn status(key: &ApiKey) -> &'static str {
    match key.status() {
        ApiKeyStatus::Revoked => "revoked",
        ApiKeyStatus::Expired => "expired",
        _ => "active",
    }
}
