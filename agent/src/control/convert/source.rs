//! A source with its connections and secrets: prepared together or refused together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookplane_proto::agent::v1::{KnownHandlerKey, SourceGroup};
use hookplane_proto::v1::source_auth::Scheme;
use hookplane_proto::v1::{
    self, HmacAlgorithm, SignatureEncoding, SourceConfig, SourceStatus, SourceType,
};
use hookplane_signature::{Algorithm, AuthSpec, Encoding, HmacSpec, Provider, Term, Verifier};
use http::HeaderValue;
use prost_types::Timestamp;

use super::{Unfit, bounded, method, rules};
use crate::config::{Branches, CustomResponse, HandlerKey, Source};

const MIB: u32 = 1_024 * 1_024;
const DAY: u32 = 86_400;
const MAX_RESPONSE: usize = 16 * 1_024;
const MAX_CONNECTIONS: usize = 1_000;
const MAX_HANDLER_KEYS: usize = 64;
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

pub(super) fn prepare(group: &SourceGroup, version: u64) -> Result<Source, Unfit> {
    let wire = group
        .source
        .as_ref()
        .ok_or_else(|| Unfit::new("source_missing", "the group has no source"))?;
    if wire.id.is_empty() || wire.team_id.is_empty() {
        return Err(Unfit::new(
            "id_missing",
            "a source needs its id and its team",
        ));
    }
    if group.connections.len() > MAX_CONNECTIONS {
        let message = format!("{MAX_CONNECTIONS} connections are the most");
        return Err(Unfit::new("limit_exceeded", message));
    }
    let unset = SourceConfig::default();
    let config = wire.config.as_ref().unwrap_or(&unset);
    let provider = provider(wire.r#type)?;
    let tolerance = bounded("tolerance_seconds", config.tolerance_seconds, 300, DAY)?;
    let auth = auth(config.auth.as_ref(), wire.r#type)?;
    let window = bounded(
        "dedupe_window_seconds",
        config.dedupe_window_seconds,
        3 * DAY,
        30 * DAY,
    )?;
    let connections = group
        .connections
        .iter()
        .map(|connection| rules::connection(connection, &wire.id).map(Arc::new))
        .collect::<Result<_, _>>()?;
    Ok(Source {
        id: wire.id.clone(),
        team_id: wire.team_id.clone(),
        name: wire.name.clone(),
        provider,
        enabled: enabled(wire.status)?,
        verifier: Verifier::with_terms(provider, auth, tolerance, &terms(config))?,
        methods: methods(&config.allowed_http_methods)?,
        custom_response: config
            .custom_response
            .as_ref()
            .map(custom_response)
            .transpose()?,
        max_body_bytes: bounded("max_body_bytes", config.max_body_bytes, MIB, 16 * MIB)? as usize,
        dedupe_window: Duration::from_secs(u64::from(window)),
        connections: Branches::of(provider, connections),
        handler_keys: handler_keys(&group.handler_keys)?,
        version,
    })
}

fn handler_keys(wire: &[KnownHandlerKey]) -> Result<Vec<HandlerKey>, Unfit> {
    if wire.len() > MAX_HANDLER_KEYS {
        let message = format!("{MAX_HANDLER_KEYS} handler keys are the most");
        return Err(Unfit::new("limit_exceeded", message));
    }
    let one = |key: &KnownHandlerKey| {
        let sha256 = key.sha256.as_slice().try_into();
        let sha256 = sha256.map_err(|_| {
            let message = format!("handler key {}: its hash has not 32 bytes", key.id);
            Unfit::new("handler_key_invalid", message)
        })?;
        let id = key.id.clone();
        Ok(HandlerKey { id, sha256 })
    };
    wire.iter().map(one).collect()
}

fn provider(wire: i32) -> Result<Provider, Unfit> {
    Ok(match SourceType::try_from(wire) {
        Ok(SourceType::Unspecified | SourceType::Webhook) => Provider::Webhook,
        Ok(SourceType::Clerk) => Provider::Clerk,
        Ok(SourceType::Svix) => Provider::Svix,
        Ok(SourceType::StandardWebhooks) => Provider::StandardWebhooks,
        Ok(SourceType::Github) => Provider::Github,
        Ok(SourceType::Stripe) => Provider::Stripe,
        Ok(SourceType::Shopify) => Provider::Shopify,
        Ok(SourceType::Slack) => Provider::Slack,
        Err(_) => return Err(Unfit::unsupported("the type of the source")),
    })
}

fn enabled(wire: i32) -> Result<bool, Unfit> {
    match SourceStatus::try_from(wire) {
        Ok(SourceStatus::Unspecified | SourceStatus::Enabled) => Ok(true),
        Ok(SourceStatus::Disabled) => Ok(false),
        Err(_) => Err(Unfit::unsupported("the status of the source")),
    }
}

/// No `auth` at all demands nothing. An `auth` without a scheme holds one that this
/// release does not know, and must not be taken for nothing.
fn auth(wire: Option<&v1::SourceAuth>, source_type: i32) -> Result<AuthSpec, Unfit> {
    let Some(wire) = wire else {
        return Ok(AuthSpec::None);
    };
    let scheme = wire
        .scheme
        .as_ref()
        .ok_or_else(|| Unfit::unsupported("the scheme in config.auth"))?;
    Ok(match scheme {
        Scheme::None(_) => AuthSpec::None,
        Scheme::Basic(basic) => AuthSpec::Basic {
            username: basic.username.clone(),
            password: basic.password.clone(),
        },
        Scheme::ApiKey(api_key) => AuthSpec::ApiKey {
            header: api_key.header.clone(),
            key: api_key.api_key.clone(),
        },
        Scheme::Hmac(hmac) => AuthSpec::Hmac(own_hmac(hmac)?),
        Scheme::ProviderSignature(signed) => {
            let repeated = SourceType::try_from(signed.provider);
            let same = repeated == Ok(SourceType::Unspecified) || signed.provider == source_type;
            if !same {
                return Err(Unfit::new(
                    "provider_mismatch",
                    "config.auth names another provider than the type of the source",
                ));
            }
            AuthSpec::Provider {
                secrets: signed.webhook_signing_secrets.clone(),
            }
        }
    })
}

/// When each secret is valid; always where the control plane does not say.
fn terms(config: &SourceConfig) -> Vec<Term> {
    let scheme = config.auth.as_ref().and_then(|auth| auth.scheme.as_ref());
    let Some(Scheme::ProviderSignature(signed)) = scheme else {
        return Vec::new();
    };
    let seconds = |time: &Timestamp| time.seconds;
    let term = |wire: &v1::SecretTerm| Term {
        version: wire.version,
        not_before: wire.not_before.as_ref().map(seconds),
        expires_at: wire.expires_at.as_ref().map(seconds),
    };
    signed.terms.iter().map(term).collect()
}

fn own_hmac(wire: &v1::HmacAuth) -> Result<HmacSpec, Unfit> {
    let algorithm = match HmacAlgorithm::try_from(wire.algorithm) {
        Ok(HmacAlgorithm::Unspecified | HmacAlgorithm::Sha256) => Algorithm::Sha256,
        Ok(HmacAlgorithm::Sha1) => Algorithm::Sha1,
        Ok(HmacAlgorithm::Sha512) => Algorithm::Sha512,
        Err(_) => return Err(Unfit::unsupported("the algorithm in config.auth")),
    };
    let encoding = match SignatureEncoding::try_from(wire.encoding) {
        Ok(SignatureEncoding::Unspecified | SignatureEncoding::Hex) => Encoding::Hex,
        Ok(SignatureEncoding::Base64) => Encoding::Base64,
        Err(_) => return Err(Unfit::unsupported("the encoding in config.auth")),
    };
    Ok(HmacSpec {
        header: wire.signature_header.clone(),
        secret: wire.secret.clone(),
        algorithm,
        encoding,
        prefix: wire.prefix.clone(),
    })
}

fn methods(names: &[String]) -> Result<Vec<http::Method>, Unfit> {
    if names.is_empty() {
        return METHODS.iter().map(|name| method(name)).collect();
    }
    names.iter().map(|name| method(name)).collect()
}

fn custom_response(wire: &v1::CustomResponse) -> Result<CustomResponse, Unfit> {
    let invalid = |message: &str| Unfit::new("custom_response_invalid", message);
    let content_type = match wire.content_type.as_str() {
        "" | "json" => "application/json",
        "text" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        media if media.contains('/') && HeaderValue::from_str(media).is_ok() => media,
        _ => {
            return Err(invalid(
                "content_type is neither json, text, xml nor a media type",
            ));
        }
    };
    if wire.body.len() > MAX_RESPONSE {
        return Err(invalid("the body is larger than 16 KiB"));
    }
    Ok(CustomResponse {
        content_type: content_type.to_owned(),
        body: Bytes::from(wire.body.clone()),
    })
}
