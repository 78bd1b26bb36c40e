//! `secrets`: the keys under which the control plane stores secrets, and their
//! exchange. Needs a key with `installation:admin`.

use clap::Subcommand;
use hookplane_client::Client;
use hookplane_client::v1::{GetSecretKeysRequest, RewrapSecretsRequest};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SecretsVerb {
    /// Show which keys the stored secrets need
    Keys,
    /// Put all stored secrets under the first of the given keys
    Rewrap {
        /// Also give every secret a new key of its own
        #[arg(long)]
        reencrypt: bool,
    },
}

pub(crate) async fn run(
    verb: SecretsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        SecretsVerb::Keys => keys(client, output).await,
        SecretsVerb::Rewrap { reencrypt } => rewrap(reencrypt, client, output).await,
    }
}

async fn keys(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let asked = GetSecretKeysRequest {};
    let answer = client.installation().get_secret_keys(asked).await?;
    let answer = answer.into_inner();
    if output.is_json() {
        return output.json(&to_json(&answer));
    }
    let mut table = Table::new(&["key", "standing", "stored secrets"]);
    for key in &answer.keys {
        let standing = match (key.current, key.given) {
            (true, _) => "seals and opens",
            (false, true) => "opens",
            (false, false) => "missing",
        };
        table.row([key.id.clone(), standing.to_owned(), key.values.to_string()]);
    }
    output.table(&table)?;
    if answer.values_without_own_key > 0 {
        let number = answer.values_without_own_key;
        output.note(&format!(
            "{number} secrets have no key of their own yet; `secrets rewrap` gives them one"
        ));
    }
    Ok(())
}

async fn rewrap(reencrypt: bool, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut asked = RewrapSecretsRequest {
        page_token: String::new(),
        reencrypt,
    };
    let mut changed = 0;
    loop {
        let step = client.installation().rewrap_secrets(asked.clone()).await?;
        let step = step.into_inner();
        changed += step.changed;
        if step.next.is_empty() {
            return output.line(&format!("{changed} stored secrets changed their key"));
        }
        asked.page_token = step.next;
    }
}
