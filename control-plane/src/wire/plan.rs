//! What a configuration that is applied changes, as a message: resource by
//! resource, field by field, without the values of secrets.

use std::collections::BTreeSet;

use hookplane_proto::{descriptor_pool, v1};
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};

use super::{Secrets, connection, destination, filter, source};
use crate::domain::ResourceKind;
use crate::service::{Planned, Snapshot};
use crate::store::config::FilterUse;

/// Fields that the server sets or that are copies of other resources.
const NOT_SET_BY_PEOPLE: [&str; 12] = [
    "id",
    "team_id",
    "url",
    "created_at",
    "updated_at",
    "revision",
    "etag",
    "agents",
    "source",
    "destination",
    "connections_count",
    "sample_connection_id",
];
/// Below it, only that something differs is told.
const SECRET: &str = "config.auth";

/// One step of a plan.
#[must_use]
pub fn message(step: &Planned) -> v1::PlannedChange {
    let action = match (&step.before, &step.after) {
        (None, _) => v1::ChangeAction::Create,
        (_, None) => v1::ChangeAction::Delete,
        _ if step.changed => v1::ChangeAction::Update,
        _ => v1::ChangeAction::Unchanged,
    };
    let (kind, id, name) = step
        .after
        .as_ref()
        .or(step.before.as_ref())
        .map_or((ResourceKind::Source, "", ""), named);
    v1::PlannedChange {
        kind: kind.noun().to_owned(),
        id: id.to_owned(),
        name: name.to_owned(),
        action: action.into(),
        fields: fields(step),
        because: step.because.clone(),
    }
}

/// The pool of a source before the step.
#[must_use]
pub fn pool_before(step: &Planned) -> Option<String> {
    match &step.before {
        Some(Snapshot::Source(source)) => Some(source.spec.pool.clone()),
        _ => None,
    }
}

fn named(snapshot: &Snapshot) -> (ResourceKind, &str, &str) {
    match snapshot {
        Snapshot::Source(one) => (ResourceKind::Source, &one.id, &one.spec.name),
        Snapshot::Destination(one) => (ResourceKind::Destination, &one.id, &one.spec.name),
        Snapshot::Filter(one) => (ResourceKind::Filter, &one.id, &one.spec.name),
        Snapshot::Connection(one) => (ResourceKind::Connection, &one.id, &one.spec.name),
    }
}

fn fields(step: &Planned) -> Vec<v1::FieldChange> {
    let (Some(before), Some(after)) = (&step.before, &step.after) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    differ("", &json(before), &json(after), &mut found);
    if other_secret(before, after) && !found.iter().any(|one| one.path.starts_with(SECRET)) {
        found.push(v1::FieldChange {
            path: SECRET.to_owned(),
            ..v1::FieldChange::default()
        });
    }
    found
}

/// Redacted, two secrets may look the same.
fn other_secret(before: &Snapshot, after: &Snapshot) -> bool {
    match (before, after) {
        (Snapshot::Source(before), Snapshot::Source(after)) => before.auth != after.auth,
        (Snapshot::Destination(before), Snapshot::Destination(after)) => before.auth != after.auth,
        _ => false,
    }
}

fn json(snapshot: &Snapshot) -> Value {
    match snapshot {
        Snapshot::Source(one) => written("Source", &source::message(one, "", Secrets::Redacted)),
        Snapshot::Destination(one) => {
            written("Destination", &destination::message(one, Secrets::Redacted))
        }
        Snapshot::Filter(one) => written("Filter", &filter::message(one, &FilterUse::default())),
        Snapshot::Connection(one) => written("Connection", &connection::message(one)),
    }
}

fn written(name: &str, message: &impl Message) -> Value {
    let descriptor = descriptor_pool()
        .get_message_by_name(&format!("hookplane.v1.{name}"))
        .expect("the contract holds every resource");
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .expect("the message was made from its own type");
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = dynamic.serialize_with_options(serde_json::value::Serializer, &options);
    let mut value = value.unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !NOT_SET_BY_PEOPLE.contains(&name.as_str()));
    }
    value
}

fn differ(path: &str, before: &Value, after: &Value, found: &mut Vec<v1::FieldChange>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let part = |of: &Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                differ(&below, &part(old), &part(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (place, (old, new)) in old.iter().zip(new).enumerate() {
                differ(&format!("{path}[{place}]"), old, new, found);
            }
        }
        (before, after) => {
            let shown = |value: &Value| {
                if path.starts_with(SECRET) {
                    String::new()
                } else {
                    value.to_string()
                }
            };
            found.push(v1::FieldChange {
                path: path.to_owned(),
                before: shown(before),
                after: shown(after),
            });
        }
    }
}
