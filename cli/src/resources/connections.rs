//! Connections: their flags and how they are shown.

use hookplane_client::Client;
use hookplane_client::v1::{self, Connection, rule::Rule};
use serde_json::{Value, json};

use super::deduplicate::{self, DeduplicateFlags};
use super::delay::{self, DelayFlags};
use super::kind::{Kind, Switchable, calls, switchable};
use super::paging::Page;
use super::retry::{self, RetryFlags};
use super::sources::{label, labels, over, over_labels};
use super::{Destinations, Flags, Sources, Verb, resolve, run, show};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, day_time};
use crate::shape::{self, ConnectionShape, Endpoint, InvalidShape, RuleShape};

/// The kind.
#[derive(Clone, Debug)]
pub(crate) struct Connections;

/// What of a connection can be said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConnectionFlags {
    /// Name, unique within its source
    #[arg(long)]
    name: Option<String>,
    /// Name or id of the source
    #[arg(long)]
    source: Option<String>,
    /// Name or id of the destination
    #[arg(long)]
    destination: Option<String>,
    /// Conditions as JSON: `{"body":{"type":{"$starts_with":"user."}}}`; parts are body, headers, query, path
    #[arg(long = "filter", value_name = "JSON")]
    filters: Vec<String>,
    #[command(flatten)]
    deduplicate: DeduplicateFlags,
    #[command(flatten)]
    delay: DelayFlags,
    /// What is sent in place of what came, as an expression (CEL): `{'body': body.data}`; `@file` reads it from a file
    #[arg(long, value_name = "CEL")]
    transform: Option<String>,
    #[command(flatten)]
    retry: RetryFlags,
    #[arg(long)]
    description: Option<String>,
    /// Label, `key=value`
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// What can be done with connections.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum ConnectionsVerb {
    #[command(flatten)]
    Common(Box<Verb<ConnectionFlags>>),
    /// Hold its events until it is resumed; nothing is lost, siblings are not touched
    Pause {
        /// Name or id
        resource: String,
    },
    /// Let the held events go
    #[command(visible_alias = "unpause")]
    Resume {
        /// Name or id
        resource: String,
        /// Most held events that are sent per second and agent [default: as fast as the destination takes them]
        #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: Option<u32>,
    },
}

/// Runs one verb.
pub(crate) async fn connections(
    verb: ConnectionsVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let changed = match verb {
        ConnectionsVerb::Common(verb) => return run(*verb, client, output).await,
        ConnectionsVerb::Pause { resource } => {
            let id = resolve::<Connections>(client, &resource).await?.id;
            let request = v1::PauseConnectionRequest {
                id,
                ..v1::PauseConnectionRequest::default()
            };
            client.connections().pause_connection(request).await?
        }
        ConnectionsVerb::Resume { resource, rate } => {
            let id = resolve::<Connections>(client, &resource).await?.id;
            let request = v1::UnpauseConnectionRequest {
                id,
                rate: rate.unwrap_or_default(),
                ..v1::UnpauseConnectionRequest::default()
            };
            client.connections().unpause_connection(request).await?
        }
    };
    show::<Connections>(&changed.into_inner(), output)
}

impl Flags for ConnectionFlags {
    type Kind = Connections;

    async fn written(
        &self,
        client: &Client,
        file: Option<Value>,
    ) -> Result<(Connection, Vec<String>), Failure> {
        let mut shape = match file {
            Some(file) => shape::read::<ConnectionShape>(file)
                .map_err(|invalid| invalid.in_resource("the file"))?,
            None => ConnectionShape::default(),
        };
        self.overlay(&mut shape)?;
        let mut message = shape
            .to_proto()
            .map_err(|invalid| invalid.in_resource("the connection"))?;
        if let Some(Endpoint(text)) = &shape.source {
            message.source_id = resolve::<Sources>(client, text).await?.id;
        }
        if let Some(Endpoint(text)) = &shape.destination {
            message.destination_id = resolve::<Destinations>(client, text).await?.id;
        }
        Ok((message, shape.given()))
    }
}

impl ConnectionFlags {
    fn overlay(&self, shape: &mut ConnectionShape) -> Result<(), Failure> {
        over(&mut shape.name, &self.name);
        over(&mut shape.source, &self.source.clone().map(Endpoint));
        over(
            &mut shape.destination,
            &self.destination.clone().map(Endpoint),
        );
        over(&mut shape.description, &self.description);
        over_labels(&mut shape.labels, &self.labels);
        let mut rules = Vec::new();
        for text in &self.filters {
            rules.push(filter(text)?);
        }
        rules.extend(self.deduplicate.rule());
        rules.extend(self.delay.rule());
        rules.extend(self.transform.as_deref().map(transform).transpose()?);
        rules.extend(self.retry.rule());
        if !rules.is_empty() {
            shape.rules = Some(rules);
        }
        Ok(())
    }
}

fn transform(text: &str) -> Result<RuleShape, Failure> {
    let code = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::file(std::path::Path::new(file), &error))?,
    };
    Ok(RuleShape::Transform { code })
}

fn filter(text: &str) -> Result<RuleShape, Failure> {
    let wrong = |message: String| {
        let mut failure = InvalidShape::new("filter", message).in_resource("the connection");
        failure.hint = Some(
            "a filter is JSON such as {\"body\":{\"type\":{\"$starts_with\":\"user.\"}}}".into(),
        );
        failure
    };
    let mut written: Value =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let Some(object) = written.as_object_mut().filter(|object| !object.is_empty()) else {
        return Err(wrong(
            "it is not an object with body, headers, query or path".to_owned(),
        ));
    };
    object.insert("type".to_owned(), json!("filter"));
    serde_json::from_value(written).map_err(|error| wrong(error.to_string()))
}

impl Kind for Connections {
    type Message = Connection;

    const NOUN: &'static str = "connection";
    const PREFIX: &'static str = "web_";
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "status", "source", "destination", "rules"];

    fn id(message: &Connection) -> &str {
        &message.id
    }

    fn name(message: &Connection) -> &str {
        &message.name
    }

    fn row(message: &Connection) -> Vec<String> {
        vec![
            message.id.clone(),
            message.name.clone(),
            status(message).to_owned(),
            source(message),
            destination(message),
            rules(message).join("; "),
        ]
    }

    fn values(message: &Connection) -> Vec<(&'static str, String)> {
        vec![
            ("id", message.id.clone()),
            ("name", message.name.clone()),
            ("description", message.description.clone()),
            ("status", status(message).to_owned()),
            (
                "source",
                format!("{} ({})", source(message), message.source_id),
            ),
            (
                "destination",
                format!("{} ({})", destination(message), message.destination_id),
            ),
            ("rules", rules(message).join("\n")),
            ("labels", labels(&message.labels)),
            ("created", day_time(message.created_at.as_ref())),
            ("updated", day_time(message.updated_at.as_ref())),
            ("disabled", day_time(message.disabled_at.as_ref())),
            ("paused", day_time(message.paused_at.as_ref())),
            ("draining", drain(message.drain.as_ref())),
            ("revision", message.revision.to_string()),
        ]
    }

    calls! {
        Connection, connections, connection:
        create_connection CreateConnectionRequest, upsert_connection UpsertConnectionRequest,
        list_connections ListConnectionsRequest, get_connection GetConnectionRequest,
        patch_connection PatchConnectionRequest, delete_connection DeleteConnectionRequest
    }
}

switchable! {
    Connections, Connection, connections:
    enable_connection EnableConnectionRequest, disable_connection DisableConnectionRequest
}

fn status(connection: &Connection) -> &'static str {
    if connection.disabled_at.is_some() {
        "disabled"
    } else if connection.paused_at.is_some() {
        "paused"
    } else {
        "enabled"
    }
}

fn drain(drain: Option<&v1::Drain>) -> String {
    let told = drain.map(|drain| {
        let since = day_time(drain.resumed_at.as_ref());
        format!("{} per second, what came before {since}", drain.rate)
    });
    told.unwrap_or_default()
}

fn source(connection: &Connection) -> String {
    let named = connection.source.as_ref().map(|source| source.name.clone());
    named.unwrap_or_else(|| connection.source_id.clone())
}

fn destination(connection: &Connection) -> String {
    let named = connection
        .destination
        .as_ref()
        .map(|found| found.name.clone());
    named.unwrap_or_else(|| connection.destination_id.clone())
}

/// Each rule in a few words.
fn rules(connection: &Connection) -> Vec<String> {
    let json = to_json(connection);
    let shown = json["rules"].as_array().cloned().unwrap_or_default();
    connection
        .rules
        .iter()
        .zip(shown)
        .map(|(rule, mut shown)| match &rule.rule {
            Some(Rule::Deduplicate(rule)) => deduplicate::described(rule),
            Some(Rule::Transform(rule)) => {
                let code: Vec<&str> = rule.code.split_whitespace().collect();
                format!("transform {}", code.join(" "))
            }
            Some(Rule::Delay(rule)) => delay::described(rule),
            Some(Rule::Retry(rule)) => retry::described(rule),
            _ => {
                if let Some(object) = shown.as_object_mut() {
                    object.retain(|name, value| name != "type" && value != "" && !value.is_null());
                }
                format!("filter {shown}")
            }
        })
        .collect()
}
