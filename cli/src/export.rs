//! `export`: the configuration as files that `apply` reads, so that applying them
//! changes nothing.
//!
//! Secrets come back redacted, and a redacted secret that is applied keeps the
//! stored one. Invariant: what is written has names where the control plane has ids.

use std::collections::BTreeMap;

use hookplane_client::Client;
use hookplane_client::v1::ListFiltersRequest;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::Output;
use crate::resources::{Connections, Destinations, Kind, PageArgs, Sources, each_page};

/// What the control plane sets.
const SET_BY_SERVER: [&str; 15] = [
    "id",
    "team_id",
    "url",
    "disabled_at",
    "paused_at",
    "drain",
    "created_at",
    "updated_at",
    "revision",
    "etag",
    "agents",
    "source_id",
    "destination_id",
    "connections_count",
    "sample_connection_id",
];

/// Flags of `export`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Only resources with this label
    #[arg(long, value_name = "LABEL=VALUE")]
    label: Option<String>,
}

/// Runs the command: TOML, or JSON when that is asked for.
pub(crate) async fn run(
    args: &ExportArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let filters = filters(client).await?;
    let by_id: BTreeMap<String, String> = filters
        .iter()
        .filter_map(|one| Some((text(one, "id")?, text(one, "name")?)))
        .collect();
    let mut connections = all::<Connections>(client).await?;
    for connection in &mut connections {
        name_ends(connection);
        name_filters(connection, &by_id);
    }
    let wanted = |some: Vec<Value>| -> Vec<Value> {
        let some = some
            .into_iter()
            .filter(|one| has(one, args.label.as_deref()));
        some.map(written).collect()
    };
    let whole = json!({
        "sources": wanted(all::<Sources>(client).await?),
        "destinations": wanted(all::<Destinations>(client).await?),
        "filters": wanted(filters),
        "connections": wanted(connections),
    });
    if output.is_json() {
        return output.json(&whole);
    }
    let toml = toml::to_string_pretty(&whole).map_err(|error| {
        Failure::new("NOT_TOML", "TOML cannot say all of it")
            .detail(error.to_string())
            .hint("conditions with null have no form in TOML: use -o json")
    })?;
    output.raw(toml.as_bytes())
}

async fn all<K: Kind>(client: &Client) -> Result<Vec<Value>, Failure> {
    let every = PageArgs {
        limit: 255,
        all: true,
        page_token: None,
    };
    let listed = each_page(&every, |limit, token| K::list(client, limit, token, "")).await?;
    Ok(listed.models.iter().map(to_json).collect())
}

async fn filters(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let asked = ListFiltersRequest {
            limit: 255,
            page_token,
            ..ListFiltersRequest::default()
        };
        let page = client.filters().list_filters(asked).await?.into_inner();
        found.extend(page.models.iter().map(to_json));
        page_token = page.pagination.unwrap_or_default().next;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn text(of: &Value, key: &str) -> Option<String> {
    of[key].as_str().map(str::to_owned)
}

fn has(resource: &Value, label: Option<&str>) -> bool {
    label.is_none_or(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        resource["labels"][key] == value
    })
}

/// Its ends by name, which is how another installation knows them.
fn name_ends(connection: &mut Value) {
    for end in ["source", "destination"] {
        let name = connection[end]["name"].clone();
        connection[end] = name;
    }
}

fn name_filters(connection: &mut Value, by_id: &BTreeMap<String, String>) {
    let rules = connection["rules"].as_array_mut();
    for rule in rules.into_iter().flatten() {
        let named = text(rule, "filter_id").and_then(|id| by_id.get(&id));
        if let Some(name) = named {
            rule["filter_id"] = json!(name);
        }
    }
}

/// Without what the server sets and what says nothing.
fn written(resource: Value) -> Value {
    let Value::Object(mut fields) = resource else {
        return resource;
    };
    // Only what is switched off is said: applied, a file without a status leaves it as it is.
    let is_set = |field: &str| fields.get(field).is_some_and(|at: &Value| !at.is_null());
    let status = [("disabled_at", "disabled"), ("paused_at", "paused")]
        .into_iter()
        .find(|(field, _)| is_set(field));
    fields.remove("status");
    if let Some((_, status)) = status {
        fields.insert("status".to_owned(), json!(status));
    }
    fields.retain(|key, _| !SET_BY_SERVER.contains(&key.as_str()));
    if let Some(config) = fields.get_mut("config").and_then(Value::as_object_mut) {
        if let Some(auth) = config.get_mut("auth").and_then(Value::as_object_mut) {
            // Repeats the first of the list.
            if auth.contains_key("webhook_signing_secrets") {
                auth.remove("webhook_signing_secret");
            }
            auth.remove("expires_at");
            write_terms(auth);
            trim(auth);
        }
        trim(config);
    }
    let rules = fields.get_mut("rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            trim(rule);
        }
    }
    if let Some(conditions) = fields.get_mut("conditions").and_then(Value::as_object_mut) {
        trim(conditions);
    }
    trim(&mut fields);
    Value::Object(fields)
}

/// Numbers and counts belong to one installation; without times nothing is left to say.
fn write_terms(auth: &mut Map<String, Value>) {
    let Some(Value::Array(terms)) = auth.get_mut("terms") else {
        return;
    };
    for term in terms.iter_mut().filter_map(Value::as_object_mut) {
        term.retain(|name, value| {
            matches!(name.as_str(), "not_before" | "expires_at") && !value.is_null()
        });
    }
    let says_nothing = |term: &Value| term.as_object().is_none_or(Map::is_empty);
    if terms.iter().all(says_nothing) {
        auth.remove("terms");
    }
}

fn trim(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    });
}
