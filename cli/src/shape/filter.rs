//! A stored filter as written.

use std::collections::BTreeMap;

use hookplane_proto::v1::{Filter, FilterConditions};
use serde::Deserialize;
use serde_json::Value;

use super::{Shape, structure};

/// What can be written of a filter; absent means not given.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterShape {
    pub(crate) name: Option<String>,
    description: Option<String>,
    conditions: Option<ConditionsShape>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionsShape {
    headers: Option<Value>,
    body: Option<Value>,
    query: Option<Value>,
    path: Option<Value>,
    cel: Option<String>,
}

impl Shape for FilterShape {
    const SET_BY_SERVER: &'static [&'static str] = &[
        "id",
        "team_id",
        "created_at",
        "updated_at",
        "revision",
        "connections_count",
        "sample_connection_id",
        "etag",
        "agents",
    ];
}

impl FilterShape {
    /// The message for the API.
    pub(crate) fn to_proto(&self) -> Filter {
        let conditions = self.conditions.clone().unwrap_or_default();
        let part = |value: Option<Value>| value.as_ref().map(structure::to_proto);
        Filter {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone().unwrap_or_default(),
            conditions: Some(FilterConditions {
                headers: part(conditions.headers),
                body: part(conditions.body),
                query: part(conditions.query),
                path: part(conditions.path),
                cel: conditions.cel,
            }),
            labels: self.labels.clone().unwrap_or_default(),
            ..Filter::default()
        }
    }
}
