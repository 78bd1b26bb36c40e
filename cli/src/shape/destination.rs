//! A destination as written.

use std::collections::BTreeMap;

use hookplane_proto::v1::{
    Destination, DestinationAuth, DestinationConfig, DestinationType, RateLimitPeriod,
};
use serde::Deserialize;
use serde_json::Value;

use super::{InvalidShape, Shape, destination_auth, disabled_at, enum_value};

/// What can be written of a destination; absent means not given.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationShape {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) config: DestinationConfigShape,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationConfigShape {
    pub(crate) url: Option<String>,
    pub(crate) http_method: Option<String>,
    pub(crate) path_forwarding_disabled: Option<bool>,
    pub(crate) auth_type: Option<String>,
    pub(crate) auth: Option<Value>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) rate_limit: Option<u32>,
    pub(crate) rate_limit_period: Option<String>,
    pub(crate) reports_outcome: Option<bool>,
}

impl Shape for DestinationShape {
    const SET_BY_SERVER: &'static [&'static str] = &[
        "id",
        "team_id",
        "disabled_at",
        "created_at",
        "updated_at",
        "revision",
        "etag",
        "agents",
    ];
}

impl DestinationShape {
    /// The message for the API.
    pub(crate) fn to_proto(&self) -> Result<Destination, InvalidShape> {
        let kind = self.r#type.as_deref().map(|short| {
            let parse = DestinationType::from_str_name;
            enum_value("type", "DESTINATION_TYPE_", short, parse, &["HTTP"])
        });
        let config = &self.config;
        let period = config.rate_limit_period.as_deref().map(|short| {
            let (parse, known) = (RateLimitPeriod::from_str_name, ["second", "minute", "hour"]);
            let field = "config.rate_limit_period";
            enum_value(field, "RATE_LIMIT_PERIOD_", short, parse, &known)
        });
        let auth = destination_auth::scheme(config.auth_type.as_deref(), config.auth.as_ref())?;
        Ok(Destination {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone().unwrap_or_default(),
            r#type: kind.transpose()?.unwrap_or_default().into(),
            disabled_at: disabled_at(self.status.as_deref())?,
            labels: self
                .labels
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            config: Some(DestinationConfig {
                url: config.url.clone().unwrap_or_default(),
                http_method: config.http_method.clone().unwrap_or_default(),
                path_forwarding_disabled: config.path_forwarding_disabled.unwrap_or_default(),
                auth: auth.map(|scheme| DestinationAuth {
                    scheme: Some(scheme),
                }),
                timeout_ms: config.timeout_ms.unwrap_or_default(),
                max_in_flight: config.max_in_flight.unwrap_or_default(),
                rate_limit: config.rate_limit.unwrap_or_default(),
                rate_limit_period: period.transpose()?.unwrap_or_default().into(),
                reports_outcome: config.reports_outcome.unwrap_or_default(),
            }),
            ..Destination::default()
        })
    }

    /// Paths of what is given, for a patch.
    pub(crate) fn given(&self) -> Vec<String> {
        let config = &self.config;
        [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("type", self.r#type.is_some()),
            ("disabled_at", self.status.is_some()),
            ("labels", self.labels.is_some()),
            ("config.url", config.url.is_some()),
            ("config.http_method", config.http_method.is_some()),
            (
                "config.path_forwarding_disabled",
                config.path_forwarding_disabled.is_some(),
            ),
            (
                "config.auth",
                config.auth_type.is_some() || config.auth.is_some(),
            ),
            ("config.timeout_ms", config.timeout_ms.is_some()),
            ("config.max_in_flight", config.max_in_flight.is_some()),
            ("config.rate_limit", config.rate_limit.is_some()),
            (
                "config.rate_limit_period",
                config.rate_limit_period.is_some(),
            ),
            ("config.reports_outcome", config.reports_outcome.is_some()),
        ]
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(path, _)| path.to_owned())
        .collect()
    }
}
