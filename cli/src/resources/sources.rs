//! Sources: their flags and how they are shown.

use std::collections::BTreeMap;
use std::path::Path;

use hookplane_client::Client;
use hookplane_client::v1::source_auth::Scheme;
use hookplane_client::v1::{self, Source, SourceStatus, SourceType};
use serde_json::{Value, json};

use super::Flags;
use super::kind::{Kind, Switchable, calls, switchable};
use super::paging::Page;
use crate::failure::Failure;
use crate::output::day_time;
use crate::shape::{self, SourceShape};

/// The kind.
#[derive(Clone, Debug)]
pub(crate) struct Sources;

/// What of a source can be said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SourceFlags {
    /// Unique name
    #[arg(long)]
    name: Option<String>,
    /// What sends: CLERK, SVIX, STANDARD_WEBHOOKS, GITHUB, STRIPE, SHOPIFY, SLACK or WEBHOOK
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Signing secret, or `@file` that holds it; several during a rotation
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,
    /// HTTP methods that are allowed; POST PUT PATCH DELETE when none is given
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// Group of agents that serves it
    #[arg(long)]
    pool: Option<String>,
    /// Free text such as `production`
    #[arg(long)]
    environment: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// Label, `key=value`
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// WEBHOOK: header of an HMAC over the body, keyed by --secret
    #[arg(long, value_name = "HEADER", requires = "secrets")]
    signature_header: Option<String>,
    /// WEBHOOK: sha1, sha256 or sha512
    #[arg(long, value_name = "NAME", requires = "signature_header")]
    signature_algorithm: Option<String>,
    /// WEBHOOK: hex or base64
    #[arg(long, value_name = "NAME", requires = "signature_header")]
    signature_encoding: Option<String>,
    /// WEBHOOK: text before the signature, `sha256=` for example
    #[arg(long, value_name = "TEXT", requires = "signature_header")]
    signature_prefix: Option<String>,
    /// WEBHOOK: key expected in a header, `header:key`
    #[arg(long, value_name = "HEADER:KEY", conflicts_with = "secrets")]
    auth_api_key: Option<String>,
    /// WEBHOOK: `user:password` expected as basic authentication
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with_all = ["secrets", "auth_api_key"])]
    auth_basic: Option<String>,
    /// Largest body in bytes
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<u32>,
    /// Allowed clock difference in seconds
    #[arg(long, value_name = "SECONDS")]
    tolerance_seconds: Option<u32>,
    /// How long a repeated message is recognised, in seconds
    #[arg(long, value_name = "SECONDS")]
    dedupe_window_seconds: Option<u32>,
}

/// `key=value`
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "a label is `key=value`".to_owned())
}

/// A secret as given, or the first line of the file it names with `@`.
pub(crate) fn secret(text: &str) -> Result<String, Failure> {
    let Some(path) = text.strip_prefix('@').map(Path::new) else {
        return Ok(text.to_owned());
    };
    let held = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    Ok(held.lines().next().unwrap_or_default().trim().to_owned())
}

/// `a:b`, of a flag that wants two.
pub(crate) fn pair<'t>(flag: &str, text: &'t str) -> Result<(&'t str, &'t str), Failure> {
    text.split_once(':').ok_or_else(|| {
        Failure::usage(
            format!("{flag} has no colon"),
            format!("`hookplane help` shows the form of {flag}"),
        )
    })
}

impl Flags for SourceFlags {
    type Kind = Sources;

    async fn written(
        &self,
        _client: &Client,
        file: Option<Value>,
    ) -> Result<(Source, Vec<String>), Failure> {
        let mut shape = match file {
            Some(file) => shape::read::<SourceShape>(file)
                .map_err(|invalid| invalid.in_resource("the file"))?,
            None => SourceShape::default(),
        };
        self.overlay(&mut shape)?;
        let message = shape
            .to_proto()
            .map_err(|invalid| invalid.in_resource("the source"))?;
        Ok((message, shape.given()))
    }
}

impl SourceFlags {
    fn overlay(&self, shape: &mut SourceShape) -> Result<(), Failure> {
        over(&mut shape.name, &self.name);
        over(&mut shape.r#type, &self.kind);
        over(&mut shape.pool, &self.pool);
        over(&mut shape.environment, &self.environment);
        over(&mut shape.description, &self.description);
        over_labels(&mut shape.labels, &self.labels);
        let config = &mut shape.config;
        over(&mut config.max_body_bytes, &self.max_body_bytes);
        over(&mut config.tolerance_seconds, &self.tolerance_seconds);
        over(
            &mut config.dedupe_window_seconds,
            &self.dedupe_window_seconds,
        );
        if !self.methods.is_empty() {
            let upper = self.methods.iter().map(|method| method.to_uppercase());
            config.allowed_http_methods = Some(upper.collect());
        }
        if let Some((auth_type, auth)) = self.auth()? {
            config.auth_type = Some(auth_type.to_owned());
            config.auth = Some(auth);
        }
        Ok(())
    }

    fn auth(&self) -> Result<Option<(&'static str, Value)>, Failure> {
        if let Some(text) = &self.auth_basic {
            let (username, password) = pair("--auth-basic", text)?;
            return Ok(Some((
                "BASIC_AUTH",
                json!({"username": username, "password": password}),
            )));
        }
        if let Some(text) = &self.auth_api_key {
            let (header, key) = pair("--auth-api-key", text)?;
            return Ok(Some((
                "API_KEY",
                json!({"header": header.trim(), "api_key": key.trim()}),
            )));
        }
        if self.secrets.is_empty() {
            return Ok(None);
        }
        let secrets = self.secrets.iter().map(|text| secret(text));
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        let Some(header) = &self.signature_header else {
            return Ok(Some((
                "PROVIDER_SIGNATURE",
                json!({"webhook_signing_secrets": secrets}),
            )));
        };
        Ok(Some((
            "HMAC",
            json!({
                "signature_header": header,
                "secret": secrets[0],
                "algorithm": self.signature_algorithm,
                "encoding": self.signature_encoding,
                "prefix": self.signature_prefix.clone().unwrap_or_default(),
            }),
        )))
    }
}

/// A flag wins over the file.
pub(super) fn over<T: Clone>(shape: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        shape.clone_from(flag);
    }
}

pub(super) fn over_labels(
    shape: &mut Option<BTreeMap<String, String>>,
    flags: &[(String, String)],
) {
    if !flags.is_empty() {
        shape.get_or_insert_default().extend(flags.iter().cloned());
    }
}

impl Kind for Sources {
    type Message = Source;

    const NOUN: &'static str = "source";
    const PREFIX: &'static str = "src_";
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "type", "status", "pool", "environment", "url"];

    fn id(message: &Source) -> &str {
        &message.id
    }

    fn name(message: &Source) -> &str {
        &message.name
    }

    fn row(message: &Source) -> Vec<String> {
        vec![
            message.id.clone(),
            message.name.clone(),
            type_name(message).to_owned(),
            status(message).to_owned(),
            message.pool.clone(),
            message.environment.clone(),
            message.url.clone(),
        ]
    }

    fn values(message: &Source) -> Vec<(&'static str, String)> {
        let config = message.config.clone().unwrap_or_default();
        vec![
            ("id", message.id.clone()),
            ("name", message.name.clone()),
            ("description", message.description.clone()),
            ("type", type_name(message).to_owned()),
            ("status", status(message).to_owned()),
            ("url", message.url.clone()),
            ("verified by", demand(message)),
            ("methods", config.allowed_http_methods.join(" ")),
            ("environment", message.environment.clone()),
            ("pool", message.pool.clone()),
            ("labels", labels(&message.labels)),
            ("created", day_time(message.created_at.as_ref())),
            ("updated", day_time(message.updated_at.as_ref())),
            ("disabled", day_time(message.disabled_at.as_ref())),
            ("revision", message.revision.to_string()),
        ]
    }

    calls! {
        Source, sources, source:
        create_source CreateSourceRequest, upsert_source UpsertSourceRequest,
        list_sources ListSourcesRequest, get_source GetSourceRequest,
        patch_source PatchSourceRequest, delete_source DeleteSourceRequest
    }
}

switchable! {
    Sources, Source, sources:
    enable_source EnableSourceRequest, disable_source DisableSourceRequest
}

pub(super) fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let mut pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.sort();
    pairs.join(" ")
}

fn type_name(source: &Source) -> &'static str {
    SourceType::try_from(source.r#type)
        .unwrap_or_default()
        .as_str_name()
        .trim_start_matches("SOURCE_TYPE_")
}

fn status(source: &Source) -> &'static str {
    match source.status() {
        SourceStatus::Disabled => "disabled",
        _ if source.disabled_at.is_some() => "disabled",
        _ => "enabled",
    }
}

/// What a sender must prove, with the redacted secrets.
fn demand(source: &Source) -> String {
    let auth = source
        .config
        .as_ref()
        .and_then(|config| config.auth.as_ref());
    match auth.and_then(|auth| auth.scheme.as_ref()) {
        None | Some(Scheme::None(_)) => "nothing: everybody is believed".to_owned(),
        Some(Scheme::Basic(basic)) => format!("basic authentication of {}", basic.username),
        Some(Scheme::ApiKey(key)) => format!("key in {}: {}", key.header, key.api_key),
        Some(Scheme::Hmac(hmac)) => format!("HMAC in {}: {}", hmac.signature_header, hmac.secret),
        Some(Scheme::ProviderSignature(signature)) => {
            format!(
                "signature: {}",
                signature.webhook_signing_secrets.join(" or ")
            )
        }
    }
}
