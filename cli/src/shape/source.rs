//! A source as written.

use std::collections::BTreeMap;

use hookplane_proto::v1::source_auth::Scheme;
use hookplane_proto::v1::{
    ApiKeyAuth, BasicAuth, CustomResponse, HmacAlgorithm, HmacAuth, NoAuth, ProviderSignature,
    SignatureEncoding, Source, SourceAuth, SourceConfig, SourceStatus, SourceType,
};
use serde::Deserialize;
use serde_json::Value;

use super::secret_term::TermFields;
use super::{InvalidShape, Shape, auth_fields, enum_value};

const TYPES: [&str; 8] = [
    "WEBHOOK",
    "CLERK",
    "SVIX",
    "STANDARD_WEBHOOKS",
    "GITHUB",
    "STRIPE",
    "SHOPIFY",
    "SLACK",
];

/// What can be written of a source; absent means not given.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceShape {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) config: SourceConfigShape,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceConfigShape {
    pub(crate) auth_type: Option<String>,
    pub(crate) auth: Option<Value>,
    pub(crate) allowed_http_methods: Option<Vec<String>>,
    pub(crate) custom_response: Option<CustomResponseShape>,
    pub(crate) max_body_bytes: Option<u32>,
    pub(crate) tolerance_seconds: Option<u32>,
    pub(crate) dedupe_window_seconds: Option<u32>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomResponseShape {
    pub(crate) content_type: String,
    #[serde(default)]
    pub(crate) body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicFields {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKeyFields {
    #[serde(alias = "header_name")]
    header: String,
    #[serde(alias = "value")]
    api_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HmacFields {
    signature_header: String,
    secret: String,
    algorithm: Option<String>,
    encoding: Option<String>,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderFields {
    provider: Option<String>,
    webhook_signing_secret: Option<String>,
    webhook_signing_secrets: Option<Vec<String>>,
    #[serde(default)]
    terms: Vec<TermFields>,
}

impl Shape for SourceShape {
    const SET_BY_SERVER: &'static [&'static str] = &[
        "id",
        "team_id",
        "disabled_at",
        "created_at",
        "updated_at",
        "revision",
        "etag",
        "agents",
        "url",
    ];
}

impl SourceShape {
    /// The message for the API.
    pub(crate) fn to_proto(&self) -> Result<Source, InvalidShape> {
        let kind = self.r#type.as_deref().map(source_type).transpose()?;
        let status = self.status.as_deref().map(status).transpose()?;
        Ok(Source {
            name: self.name.clone().unwrap_or_default(),
            description: self.description.clone().unwrap_or_default(),
            r#type: kind.unwrap_or_default().into(),
            status: status.unwrap_or_default().into(),
            environment: self.environment.clone().unwrap_or_default(),
            pool: self.pool.clone().unwrap_or_default(),
            labels: self
                .labels
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            config: Some(self.config.to_proto(kind.unwrap_or_default())?),
            ..Source::default()
        })
    }

    /// Paths of what is given, for a patch.
    pub(crate) fn given(&self) -> Vec<String> {
        let config = &self.config;
        [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("type", self.r#type.is_some()),
            ("status", self.status.is_some()),
            ("environment", self.environment.is_some()),
            ("pool", self.pool.is_some()),
            ("labels", self.labels.is_some()),
            (
                "config.auth",
                config.auth_type.is_some() || config.auth.is_some(),
            ),
            (
                "config.allowed_http_methods",
                config.allowed_http_methods.is_some(),
            ),
            ("config.custom_response", config.custom_response.is_some()),
            ("config.max_body_bytes", config.max_body_bytes.is_some()),
            (
                "config.tolerance_seconds",
                config.tolerance_seconds.is_some(),
            ),
            (
                "config.dedupe_window_seconds",
                config.dedupe_window_seconds.is_some(),
            ),
        ]
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(path, _)| path.to_owned())
        .collect()
    }
}

impl SourceConfigShape {
    fn to_proto(&self, kind: SourceType) -> Result<SourceConfig, InvalidShape> {
        Ok(SourceConfig {
            auth: self.auth(kind)?.map(|scheme| SourceAuth {
                scheme: Some(scheme),
            }),
            allowed_http_methods: self.allowed_http_methods.clone().unwrap_or_default(),
            custom_response: self
                .custom_response
                .as_ref()
                .map(|response| CustomResponse {
                    content_type: response.content_type.clone(),
                    body: response.body.clone(),
                }),
            max_body_bytes: self.max_body_bytes.unwrap_or_default(),
            tolerance_seconds: self.tolerance_seconds.unwrap_or_default(),
            dedupe_window_seconds: self.dedupe_window_seconds.unwrap_or_default(),
        })
    }

    fn auth(&self, kind: SourceType) -> Result<Option<Scheme>, InvalidShape> {
        let auth = self.auth.as_ref();
        let Some(auth_type) = self.auth_type.as_deref() else {
            return match auth {
                None => Ok(None),
                Some(_) => Err(InvalidShape::new(
                    "config.auth_type",
                    "`auth` needs `auth_type` beside it: BASIC_AUTH, API_KEY, HMAC or PROVIDER_SIGNATURE",
                )),
            };
        };
        let scheme = match auth_type.to_uppercase().as_str() {
            "NONE" => Scheme::None(NoAuth {}),
            "BASIC_AUTH" => {
                let BasicFields { username, password } = auth_fields(auth)?;
                Scheme::Basic(BasicAuth { username, password })
            }
            "API_KEY" => {
                let ApiKeyFields { header, api_key } = auth_fields(auth)?;
                Scheme::ApiKey(ApiKeyAuth { header, api_key })
            }
            "HMAC" => Scheme::Hmac(hmac(auth_fields(auth)?)?),
            "PROVIDER_SIGNATURE" => Scheme::ProviderSignature(provider(auth_fields(auth)?, kind)?),
            other => {
                return Err(InvalidShape::new(
                    "config.auth_type",
                    format!(
                        "`{other}` is not known; it is one of BASIC_AUTH, API_KEY, HMAC, PROVIDER_SIGNATURE"
                    ),
                ));
            }
        };
        Ok(Some(scheme))
    }
}

pub(crate) fn source_type(short: &str) -> Result<SourceType, InvalidShape> {
    enum_value(
        "type",
        "SOURCE_TYPE_",
        short,
        SourceType::from_str_name,
        &TYPES,
    )
}

fn status(short: &str) -> Result<SourceStatus, InvalidShape> {
    let parse = SourceStatus::from_str_name;
    enum_value(
        "status",
        "SOURCE_STATUS_",
        short,
        parse,
        &["enabled", "disabled"],
    )
}

fn hmac(fields: HmacFields) -> Result<HmacAuth, InvalidShape> {
    let algorithm = fields.algorithm.as_deref().map(|short| {
        let parse = HmacAlgorithm::from_str_name;
        let known = ["sha1", "sha256", "sha512"];
        enum_value(
            "config.auth.algorithm",
            "HMAC_ALGORITHM_",
            short,
            parse,
            &known,
        )
    });
    let encoding = fields.encoding.as_deref().map(|short| {
        let parse = SignatureEncoding::from_str_name;
        enum_value(
            "config.auth.encoding",
            "SIGNATURE_ENCODING_",
            short,
            parse,
            &["hex", "base64"],
        )
    });
    Ok(HmacAuth {
        signature_header: fields.signature_header,
        secret: fields.secret,
        algorithm: algorithm.transpose()?.unwrap_or_default().into(),
        encoding: encoding.transpose()?.unwrap_or_default().into(),
        prefix: fields.prefix,
    })
}

fn provider(fields: ProviderFields, kind: SourceType) -> Result<ProviderSignature, InvalidShape> {
    let provider = fields.provider.as_deref().map(source_type).transpose()?;
    // Answers carry the single secret and the list; the list holds them all.
    let secrets = fields
        .webhook_signing_secrets
        .or_else(|| fields.webhook_signing_secret.map(|one| vec![one]));
    let terms = fields.terms.iter().enumerate();
    let terms = terms.map(|(place, term)| term.to_proto(place));
    Ok(ProviderSignature {
        provider: provider.unwrap_or(kind).into(),
        webhook_signing_secrets: secrets.unwrap_or_default(),
        terms: terms.collect::<Result<_, _>>()?,
    })
}
