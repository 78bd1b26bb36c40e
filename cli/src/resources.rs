//! `sources`, `destinations`, `connections`: the same verbs for each.
//!
//! Owns the verbs; what differs by kind stands in the file of the kind. Refuses
//! to judge values: the control plane does, and its words are passed on.

use std::path::PathBuf;

use clap::Subcommand;
use hookplane_client::Client;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table};
use crate::shape;

mod connections;
mod deduplicate;
mod delay;
mod destination_auth;
mod destinations;
mod kind;
mod lookup;
mod paging;
mod retry;
mod sources;

pub(crate) use connections::{Connections, ConnectionsVerb, connections};
pub(crate) use destinations::{DestinationFlags, Destinations};
pub(crate) use kind::{Kind, Switchable};
pub(crate) use lookup::resolve;
pub(crate) use paging::{Page, PageArgs, each_page, warn_of_partial};
pub(crate) use sources::{SourceFlags, Sources, pair, secret};

/// Flags that describe a resource of one kind.
pub(crate) trait Flags: clap::Args {
    type Kind: Kind;

    /// The resource as flags and file say, and the paths that were given.
    async fn written(
        &self,
        client: &Client,
        file: Option<Value>,
    ) -> Result<(<Self::Kind as Kind>::Message, Vec<String>), Failure>;
}

/// What can be done with a resource.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Verb<F: Flags> {
    /// Make a new one
    Create {
        #[command(flatten)]
        flags: F,
        /// TOML or JSON file with one resource; flags win over it
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show one
    Get {
        /// Name or id
        resource: String,
    },
    /// Show all, newest first
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Change what is given and leave the rest
    Update {
        /// Name or id
        resource: String,
        #[command(flatten)]
        flags: F,
        /// TOML or JSON file with the fields to change; flags win over it
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete one; refused while a connection refers to it
    Delete {
        /// Name or id
        resource: String,
    },
    /// Let it take part again
    Enable {
        /// Name or id
        resource: String,
    },
    /// Take it out until it is enabled again
    Disable {
        /// Name or id
        resource: String,
    },
}

/// Runs one verb.
pub(crate) async fn run<F: Flags>(
    verb: Verb<F>,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure>
where
    F::Kind: Switchable,
{
    match verb {
        Verb::Create { flags, file } => {
            let file = file.as_deref().map(shape::read_file).transpose()?;
            let (message, _) = flags.written(client, file).await?;
            let made = F::Kind::create(client, message).await?;
            show::<F::Kind>(&made, output)
        }
        Verb::Get { resource } => {
            let found = resolve::<F::Kind>(client, &resource).await?;
            show::<F::Kind>(&found, output)
        }
        Verb::List { page } => list::<F::Kind>(client, &page, output).await,
        Verb::Update {
            resource,
            flags,
            file,
        } => {
            let file = file.as_deref().map(shape::read_file).transpose()?;
            let (message, given) = flags.written(client, file).await?;
            if given.is_empty() {
                return Err(Failure::usage(
                    "nothing to change is given",
                    "give at least one flag, or a file with -f",
                ));
            }
            let found = resolve::<F::Kind>(client, &resource).await?;
            let changed = F::Kind::patch(client, F::Kind::id(&found), message, given).await?;
            show::<F::Kind>(&changed, output)
        }
        Verb::Delete { resource } => {
            let found = resolve::<F::Kind>(client, &resource).await?;
            let id = F::Kind::id(&found).to_owned();
            F::Kind::delete(client, &id).await?;
            if output.is_json() {
                output.json(&json!({ "id": id }))
            } else {
                output.line(&format!("{} {id} deleted", F::Kind::NOUN))
            }
        }
        Verb::Enable { resource } => switch::<F::Kind>(client, &resource, true, output).await,
        Verb::Disable { resource } => switch::<F::Kind>(client, &resource, false, output).await,
    }
}

async fn switch<K: Switchable>(
    client: &Client,
    resource: &str,
    on: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let found = resolve::<K>(client, resource).await?;
    let changed = K::switch(client, K::id(&found), on).await?;
    show::<K>(&changed, output)
}

async fn list<K: Kind>(
    client: &Client,
    page: &PageArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    let listed = each_page(page, |limit, token| K::list(client, limit, token, "")).await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let mut table = Table::new(K::COLUMNS);
    for message in &listed.models {
        table.row(K::row(message));
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn show<K: Kind>(message: &K::Message, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(&to_json(message))
    } else {
        output.table(&Table::of_values(K::values(message)))
    }
}
