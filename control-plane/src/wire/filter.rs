//! Filters, both ways.

use hookplane_proto::v1;
use hookplane_rules::FilterSpec;
use serde_json::{Map, Value};

use super::{timestamp, value};
use crate::domain::{Filter, FilterSettings, etag};
use crate::service::FilterDraft;
use crate::store::config::FilterUse;

/// The message of a stored filter.
#[must_use]
pub fn message(filter: &Filter, used: &FilterUse) -> v1::Filter {
    let spec = &filter.spec;
    v1::Filter {
        id: filter.id.clone(),
        team_id: filter.team_id.clone(),
        name: spec.name.clone(),
        description: spec.description.clone(),
        conditions: Some(conditions(&spec.conditions)),
        labels: spec.labels.clone(),
        created_at: Some(timestamp(filter.created_at)),
        updated_at: Some(timestamp(filter.updated_at)),
        revision: filter.revision,
        connections_count: u32::try_from(used.connections).unwrap_or(u32::MAX),
        sample_connection_id: used.sample.clone().unwrap_or_default(),
        etag: etag(&filter.id, filter.revision, filter.updated_at),
        agents: Vec::new(),
    }
}

/// What a message asks for.
#[must_use]
pub fn draft(message: v1::Filter) -> FilterDraft {
    FilterDraft {
        spec: FilterSettings {
            name: message.name,
            description: message.description,
            labels: message.labels,
            conditions: spec(message.conditions.unwrap_or_default()),
        },
    }
}

/// Conditions as the rules know them.
#[must_use]
pub fn spec(conditions: v1::FilterConditions) -> FilterSpec {
    FilterSpec {
        headers: conditions.headers.map(value::json),
        body: conditions.body.map(value::json),
        query: conditions.query.map(value::json),
        path: conditions.path.map(value::json),
        cel: conditions.cel,
    }
}

fn conditions(spec: &FilterSpec) -> v1::FilterConditions {
    let part = |json: &Option<Value>| json.clone().map(value::wire);
    v1::FilterConditions {
        headers: part(&spec.headers),
        body: part(&spec.body),
        query: part(&spec.query),
        path: part(&spec.path),
        cel: spec.cel.clone(),
    }
}

/// A request as filters look at it.
#[derive(Clone, Debug)]
pub struct Input {
    pub headers: Value,
    pub body: Option<Value>,
    pub query: Value,
    pub path: String,
}

/// What a message says of a request.
#[must_use]
pub fn input(message: v1::FilterInput) -> Input {
    let headers = message.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let query = message.query.into_iter();
    let query = query.map(|(name, value)| (name, Value::String(value)));
    Input {
        headers: hookplane_rules::headers_value(headers),
        body: message.body.map(value::json),
        query: Value::Object(query.collect::<Map<_, _>>()),
        path: message.path,
    }
}
