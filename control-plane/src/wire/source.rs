//! Sources, both ways.

use hookplane_proto::v1;
use hookplane_proto::v1::source_auth::Scheme;
use hookplane_signature::Provider;

use super::{Secrets, millis, timestamp};
use crate::domain::source::{
    DEFAULT_BODY_BYTES, DEFAULT_DEDUPE_SECONDS, DEFAULT_METHODS, DEFAULT_TOLERANCE_SECONDS,
    HmacAlgorithm, SignatureEncoding,
};
use crate::domain::{
    CustomResponse, DEFAULT_POOL, SecretTerm, SecretUse, Source, SourceAuth, SourceSpec, Violation,
    etag,
};
use crate::service::{SourceDraft, State};

const TYPE_PREFIX: &str = "SOURCE_TYPE_";

/// The message of a stored source. `ingest_base` is what its URL starts with.
#[must_use]
pub fn message(source: &Source, ingest_base: &str, secrets: Secrets) -> v1::Source {
    let spec = &source.spec;
    let auth = match secrets {
        Secrets::Revealed => source.auth.clone(),
        Secrets::Redacted => source.auth.redacted(),
    };
    let status = if source.disabled_at.is_none() {
        v1::SourceStatus::Enabled
    } else {
        v1::SourceStatus::Disabled
    };
    v1::Source {
        id: source.id.clone(),
        team_id: source.team_id.clone(),
        name: spec.name.clone(),
        description: spec.description.clone(),
        r#type: source_type(spec.provider).into(),
        status: status.into(),
        url: format!("{}/{}", ingest_base.trim_end_matches('/'), source.id),
        config: Some(v1::SourceConfig {
            auth: Some(v1::SourceAuth {
                scheme: Some(scheme(auth, spec.provider)),
            }),
            allowed_http_methods: spec.methods.clone(),
            custom_response: spec
                .custom_response
                .as_ref()
                .map(|response| v1::CustomResponse {
                    content_type: response.content_type.clone(),
                    body: response.body.clone(),
                }),
            max_body_bytes: spec.max_body_bytes,
            tolerance_seconds: spec.tolerance_seconds,
            dedupe_window_seconds: spec.dedupe_window_seconds,
        }),
        environment: spec.environment.clone(),
        pool: spec.pool.clone(),
        labels: spec.labels.clone().into_iter().collect(),
        disabled_at: source.disabled_at.map(timestamp),
        created_at: Some(timestamp(source.created_at)),
        updated_at: Some(timestamp(source.updated_at)),
        revision: source.revision,
        // Agents know a resource by its version.
        etag: match secrets {
            Secrets::Revealed => String::new(),
            Secrets::Redacted => etag(&source.id, source.revision, source.updated_at),
        },
        agents: Vec::new(),
    }
}

/// What a message asks for, with defaults filled in.
///
/// # Errors
/// A [`Violation`] for each field whose shape makes no sense.
pub fn draft(message: v1::Source) -> Result<SourceDraft, Vec<Violation>> {
    let mut faults = Vec::new();
    let config = message.config.unwrap_or_default();
    let named = provider(message.r#type, "type", &mut faults);
    let (auth, repeated) = auth(config.auth, &mut faults);
    let provider = match (named, repeated) {
        (Some(named), Some(repeated)) if named != repeated => {
            faults.push(Violation::new(
                "config.auth.provider",
                format!("`{repeated}` is not the source's type, which is `{named}`"),
            ));
            named
        }
        (Some(provider), _) | (None, Some(provider)) => provider,
        (None, None) => Provider::Webhook,
    };
    let methods = if config.allowed_http_methods.is_empty() {
        DEFAULT_METHODS.map(str::to_owned).to_vec()
    } else {
        let mut upper = Vec::new();
        for method in config.allowed_http_methods {
            let method = method.to_ascii_uppercase();
            if !upper.contains(&method) {
                upper.push(method);
            }
        }
        upper
    };
    let state = match v1::SourceStatus::try_from(message.status) {
        // Without a status the time tells, as it does for the other kinds.
        Ok(v1::SourceStatus::Unspecified) => State::of_disabled_at(message.disabled_at.is_some()),
        Ok(v1::SourceStatus::Enabled) => State::Enabled,
        Ok(v1::SourceStatus::Disabled) => State::Disabled,
        Err(_) => {
            faults.push(Violation::new("status", "give `enabled` or `disabled`"));
            State::Keep
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let spec = SourceSpec {
        name: message.name,
        description: message.description,
        provider,
        environment: message.environment,
        pool: or(message.pool, DEFAULT_POOL),
        labels: message.labels.into_iter().collect(),
        methods,
        custom_response: config.custom_response.map(|response| CustomResponse {
            content_type: media_type(&response.content_type),
            body: response.body,
        }),
        max_body_bytes: non_zero(config.max_body_bytes, DEFAULT_BODY_BYTES),
        tolerance_seconds: non_zero(config.tolerance_seconds, DEFAULT_TOLERANCE_SECONDS),
        dedupe_window_seconds: non_zero(config.dedupe_window_seconds, DEFAULT_DEDUPE_SECONDS),
    };
    Ok(SourceDraft { spec, auth, state })
}

fn auth(
    message: Option<v1::SourceAuth>,
    faults: &mut Vec<Violation>,
) -> (SourceAuth, Option<Provider>) {
    let auth = match message.and_then(|auth| auth.scheme) {
        None | Some(Scheme::None(_)) => SourceAuth::None,
        Some(Scheme::Basic(basic)) => SourceAuth::Basic {
            username: basic.username,
            password: basic.password,
        },
        Some(Scheme::ApiKey(key)) => SourceAuth::ApiKey {
            header: key.header,
            key: key.api_key,
        },
        Some(Scheme::Hmac(hmac)) => own_hmac(hmac, faults),
        Some(Scheme::ProviderSignature(signature)) => {
            let repeated = provider(signature.provider, "config.auth.provider", faults);
            let secrets = signature.webhook_signing_secrets;
            let terms = signature.terms.into_iter().map(own_term).collect();
            let auth = SourceAuth::Provider {
                secrets,
                terms,
                issued: 0,
            };
            return (auth, repeated);
        }
    };
    (auth, None)
}

fn own_hmac(hmac: v1::HmacAuth, faults: &mut Vec<Violation>) -> SourceAuth {
    let algorithm = match v1::HmacAlgorithm::try_from(hmac.algorithm) {
        Ok(v1::HmacAlgorithm::Unspecified | v1::HmacAlgorithm::Sha256) => HmacAlgorithm::Sha256,
        Ok(v1::HmacAlgorithm::Sha1) => HmacAlgorithm::Sha1,
        Ok(v1::HmacAlgorithm::Sha512) => HmacAlgorithm::Sha512,
        Err(_) => {
            faults.push(Violation::new(
                "config.auth.algorithm",
                "give `sha256`, `sha512` or `sha1`",
            ));
            HmacAlgorithm::Sha256
        }
    };
    let encoding = match v1::SignatureEncoding::try_from(hmac.encoding) {
        Ok(v1::SignatureEncoding::Unspecified | v1::SignatureEncoding::Hex) => {
            SignatureEncoding::Hex
        }
        Ok(v1::SignatureEncoding::Base64) => SignatureEncoding::Base64,
        Err(_) => {
            faults.push(Violation::new(
                "config.auth.encoding",
                "give `hex` or `base64`",
            ));
            SignatureEncoding::Hex
        }
    };
    SourceAuth::Hmac {
        header: hmac.signature_header,
        secret: hmac.secret,
        algorithm,
        encoding,
        prefix: hmac.prefix,
    }
}

fn scheme(auth: SourceAuth, provider: Provider) -> Scheme {
    match auth {
        SourceAuth::None => Scheme::None(v1::NoAuth {}),
        SourceAuth::Basic { username, password } => {
            Scheme::Basic(v1::BasicAuth { username, password })
        }
        SourceAuth::ApiKey { header, key } => Scheme::ApiKey(v1::ApiKeyAuth {
            header,
            api_key: key,
        }),
        SourceAuth::Hmac {
            header,
            secret,
            algorithm,
            encoding,
            prefix,
        } => Scheme::Hmac(v1::HmacAuth {
            signature_header: header,
            secret,
            algorithm: match algorithm {
                HmacAlgorithm::Sha1 => v1::HmacAlgorithm::Sha1,
                HmacAlgorithm::Sha256 => v1::HmacAlgorithm::Sha256,
                HmacAlgorithm::Sha512 => v1::HmacAlgorithm::Sha512,
            }
            .into(),
            encoding: match encoding {
                SignatureEncoding::Hex => v1::SignatureEncoding::Hex,
                SignatureEncoding::Base64 => v1::SignatureEncoding::Base64,
            }
            .into(),
            prefix,
        }),
        SourceAuth::Provider { secrets, terms, .. } => {
            Scheme::ProviderSignature(v1::ProviderSignature {
                provider: source_type(provider).into(),
                webhook_signing_secrets: secrets,
                terms: terms.into_iter().map(term).collect(),
            })
        }
    }
}

fn term(term: SecretTerm) -> v1::SecretTerm {
    v1::SecretTerm {
        version: term.version,
        not_before: term.not_before.map(timestamp),
        expires_at: term.expires_at.map(timestamp),
        ..v1::SecretTerm::default()
    }
}

fn own_term(wire: v1::SecretTerm) -> SecretTerm {
    SecretTerm {
        version: wire.version,
        not_before: wire.not_before.map(millis),
        expires_at: wire.expires_at.map(millis),
    }
}

/// Tells how much each secret was used.
pub fn tell_uses(message: &mut v1::Source, uses: &[SecretUse]) {
    let Some(signature) = signature(message) else {
        return;
    };
    for term in &mut signature.terms {
        if let Some(told) = uses.iter().find(|told| told.version == term.version) {
            term.verified_count = told.verified;
            term.last_verified_at = Some(timestamp(told.last_verified_at));
        }
    }
}

/// A patch that gives secrets and no terms means the terms that those secrets have.
pub fn forget_terms(merged: &mut v1::Source, patch: &v1::Source) {
    let mut patch = patch.clone();
    let without = signature(&mut patch).is_some_and(|given| given.terms.is_empty());
    if let (true, Some(signature)) = (without, signature(merged)) {
        signature.terms.clear();
    }
}

fn signature(message: &mut v1::Source) -> Option<&mut v1::ProviderSignature> {
    match message.config.as_mut()?.auth.as_mut()?.scheme.as_mut()? {
        Scheme::ProviderSignature(signature) => Some(signature),
        _ => None,
    }
}

/// The wire value and the provider share their name, so no table has to be kept.
fn source_type(provider: Provider) -> v1::SourceType {
    v1::SourceType::from_str_name(&format!("{TYPE_PREFIX}{}", provider.as_str()))
        .unwrap_or(v1::SourceType::Unspecified)
}

fn provider(value: i32, field: &str, faults: &mut Vec<Violation>) -> Option<Provider> {
    let message = match v1::SourceType::try_from(value) {
        Ok(v1::SourceType::Unspecified) => return None,
        Ok(known) => {
            let name = known.as_str_name().trim_start_matches(TYPE_PREFIX);
            match name.parse::<Provider>() {
                Ok(provider) => return Some(provider),
                Err(unknown) => unknown.to_string(),
            }
        }
        Err(_) => {
            let known: Vec<&str> = Provider::ALL.iter().map(|known| known.as_str()).collect();
            format!("{value} is no source type; known are {}", known.join(", "))
        }
    };
    faults.push(Violation::new(field, message));
    None
}

fn media_type(text: &str) -> String {
    match text {
        "" | "json" => "application/json",
        "text" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        other => other,
    }
    .to_owned()
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

pub(super) const fn non_zero(value: u32, default: u32) -> u32 {
    if value == 0 { default } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_its_own_value_on_the_wire() {
        for known in Provider::ALL {
            let wire = source_type(known);
            assert_ne!(
                wire,
                v1::SourceType::Unspecified,
                "{known} has no wire value"
            );
            assert_eq!(provider(wire.into(), "type", &mut Vec::new()), Some(known));
        }
    }
}
