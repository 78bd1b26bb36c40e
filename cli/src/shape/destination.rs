//! A destination as written.

use std::collections::BTreeMap;

use hookplane_proto::v1::destination_auth::Scheme;
use hookplane_proto::v1::{
    BearerToken, CustomHeader, Destination, DestinationAuth, DestinationBasicAuth,
    DestinationConfig, DestinationType, HookplaneSignature, NoDestinationAuth,
};
use serde::Deserialize;
use serde_json::Value;

use super::{InvalidShape, Shape, auth_fields, enum_value};

/// What can be written of a destination; absent means not given.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DestinationShape {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) r#type: Option<String>,
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicFields {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFields {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFields {
    header_name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFields {
    secret: String,
}

impl Shape for DestinationShape {
    const SET_BY_SERVER: &'static [&'static str] = &[
        "id",
        "team_id",
        "disabled_at",
        "created_at",
        "updated_at",
        "revision",
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
        Ok(Destination {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone().unwrap_or_default(),
            r#type: kind.transpose()?.unwrap_or_default().into(),
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
                auth: config.auth()?.map(|scheme| DestinationAuth {
                    scheme: Some(scheme),
                }),
                timeout_ms: config.timeout_ms.unwrap_or_default(),
                max_in_flight: config.max_in_flight.unwrap_or_default(),
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
        ]
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(path, _)| path.to_owned())
        .collect()
    }
}

impl DestinationConfigShape {
    fn auth(&self) -> Result<Option<Scheme>, InvalidShape> {
        let auth = self.auth.as_ref();
        let known = "BASIC_AUTH, BEARER_TOKEN, CUSTOM_HEADER or HOOKPLANE_SIGNATURE";
        let Some(auth_type) = self.auth_type.as_deref() else {
            return match auth {
                None => Ok(None),
                Some(_) => Err(InvalidShape::new(
                    "config.auth_type",
                    format!("`auth` needs `auth_type` beside it: {known}"),
                )),
            };
        };
        let scheme = match auth_type.to_uppercase().as_str() {
            "NONE" => Scheme::None(NoDestinationAuth {}),
            "BASIC_AUTH" => {
                let BasicFields { username, password } = auth_fields(auth)?;
                Scheme::BasicAuth(DestinationBasicAuth { username, password })
            }
            "BEARER_TOKEN" => {
                let TokenFields { token } = auth_fields(auth)?;
                Scheme::BearerToken(BearerToken { token })
            }
            "CUSTOM_HEADER" => {
                let HeaderFields { header_name, value } = auth_fields(auth)?;
                Scheme::CustomHeader(CustomHeader { header_name, value })
            }
            "HOOKPLANE_SIGNATURE" => {
                let SecretFields { secret } = auth_fields(auth)?;
                Scheme::HookplaneSignature(HookplaneSignature { secret })
            }
            other => {
                return Err(InvalidShape::new(
                    "config.auth_type",
                    format!("`{other}` is not known; it is one of {known}"),
                ));
            }
        };
        Ok(Some(scheme))
    }
}
