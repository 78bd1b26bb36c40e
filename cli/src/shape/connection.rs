//! A connection as written: its ends by name or id, its rules tagged by `type`.

use std::collections::BTreeMap;

use hookplane_proto::v1::{
    Connection, DeduplicateRule, DelayRule, FilterRule, RetryRule, RetryStrategy, Rule,
    TransformRule, rule,
};
use prost_types::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{InvalidShape, Shape, disabled_at, enum_value, structure};

/// What can be written of a connection; absent means not given.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionShape {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) source: Option<Endpoint>,
    pub(crate) destination: Option<Endpoint>,
    pub(crate) status: Option<String>,
    pub(crate) rules: Option<Vec<RuleShape>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// One end of a connection: a name or an id, or an object that has one.
#[derive(Clone, Deserialize)]
#[serde(from = "EndpointForm")]
pub(crate) struct Endpoint(pub(crate) String);

#[derive(Deserialize)]
#[serde(untagged)]
enum EndpointForm {
    Text(String),
    ById { id: String },
    ByName { name: String },
}

impl From<EndpointForm> for Endpoint {
    fn from(form: EndpointForm) -> Self {
        match form {
            EndpointForm::Text(text) => Self(text),
            EndpointForm::ById { id } => Self(id),
            EndpointForm::ByName { name } => Self(name),
        }
    }
}

#[derive(Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum RuleShape {
    Filter {
        headers: Option<Value>,
        body: Option<Value>,
        query: Option<Value>,
        path: Option<Value>,
        cel: Option<String>,
        filter_id: Option<String>,
    },
    Deduplicate {
        window: u64,
        #[serde(default)]
        include_fields: Vec<String>,
    },
    Transform {
        code: String,
    },
    Delay {
        delay: Option<u64>,
        until: Option<String>,
    },
    Retry {
        strategy: Option<String>,
        #[serde(default)]
        count: u32,
        interval: Option<u64>,
        #[serde(default)]
        response_status_codes: Vec<String>,
        #[serde(default)]
        give_up_status_codes: Vec<String>,
        #[serde(default)]
        delays: Vec<u64>,
        jitter_percent: Option<u32>,
    },
}

impl Shape for ConnectionShape {
    const SET_BY_SERVER: &'static [&'static str] = &[
        "id",
        "team_id",
        "disabled_at",
        "paused_at",
        "drain",
        "created_at",
        "updated_at",
        "revision",
        "etag",
        "agents",
    ];
}

impl ConnectionShape {
    /// The message for the API; ids of the ends are filled in by the caller.
    pub(crate) fn to_proto(&self) -> Result<Connection, InvalidShape> {
        let rules = self.rules.iter().flatten().enumerate();
        Ok(Connection {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone().unwrap_or_default(),
            rules: rules
                .map(|(place, rule)| rule.to_proto(place))
                .collect::<Result<_, _>>()?,
            labels: self
                .labels
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            disabled_at: self.state()?.0,
            paused_at: self.state()?.1,
            ..Connection::default()
        })
    }

    /// When it was disabled and when paused, as the API knows a status.
    fn state(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), InvalidShape> {
        match self.status.as_deref() {
            Some("paused") => Ok((None, Some(Timestamp::default()))),
            Some(other) if other != "disabled" => Err(InvalidShape::new(
                "status",
                format!(
                    "`{other}` is not possible; give `disabled` or `paused`, or nothing to leave it as it is"
                ),
            )),
            other => Ok((disabled_at(other)?, None)),
        }
    }

    /// Paths of what is given, for a patch.
    pub(crate) fn given(&self) -> Vec<String> {
        [
            ("name", self.name.is_some()),
            ("disabled_at", self.status.is_some()),
            ("paused_at", self.status.is_some()),
            ("description", self.description.is_some()),
            ("source_id", self.source.is_some()),
            ("destination_id", self.destination.is_some()),
            ("rules", self.rules.is_some()),
            ("labels", self.labels.is_some()),
        ]
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(path, _)| path.to_owned())
        .collect()
    }
}

impl RuleShape {
    fn to_proto(&self, place: usize) -> Result<Rule, InvalidShape> {
        let rule = match self {
            Self::Filter {
                headers,
                body,
                query,
                path,
                cel,
                filter_id,
            } => rule::Rule::Filter(FilterRule {
                headers: headers.as_ref().map(structure::to_proto),
                body: body.as_ref().map(structure::to_proto),
                query: query.as_ref().map(structure::to_proto),
                path: path.as_ref().map(structure::to_proto),
                cel: cel.clone(),
                filter_id: filter_id.clone().unwrap_or_default(),
            }),
            Self::Deduplicate {
                window,
                include_fields,
            } => rule::Rule::Deduplicate(DeduplicateRule {
                window: *window,
                include_fields: include_fields.clone(),
            }),
            Self::Transform { code } => rule::Rule::Transform(TransformRule { code: code.clone() }),
            Self::Delay { delay, until } => rule::Rule::Delay(DelayRule {
                delay: *delay,
                until: until.clone(),
            }),
            Self::Retry {
                strategy,
                count,
                interval,
                response_status_codes,
                give_up_status_codes,
                delays,
                jitter_percent,
            } => {
                let field = format!("rules[{place}].strategy");
                let strategy = strategy.as_deref().map(|short| {
                    let parse = RetryStrategy::from_str_name;
                    let known = ["exponential", "linear", "list"];
                    enum_value(&field, "RETRY_STRATEGY_", short, parse, &known)
                });
                rule::Rule::Retry(RetryRule {
                    strategy: strategy.transpose()?.unwrap_or_default().into(),
                    count: *count,
                    interval: interval.unwrap_or_default(),
                    response_status_codes: response_status_codes.clone(),
                    give_up_status_codes: give_up_status_codes.clone(),
                    delays: delays.clone(),
                    jitter_percent: *jitter_percent,
                })
            }
        };
        Ok(Rule { rule: Some(rule) })
    }
}
