//! What differs between a written resource and the one that is held.
//!
//! Both are brought to one form first: defaults filled in, server-set fields
//! cleared. Secrets are compared by what their redacted form still shows.

use hookplane_client::v1::destination_auth::Scheme;
use hookplane_client::v1::{
    ClientAuthentication, Connection, Destination, DestinationType, HmacAlgorithm, RateLimitPeriod,
    RetryStrategy, SignatureEncoding, Source, SourceStatus, SourceType, rule, source_auth,
};
use serde_json::Value;

use crate::json::{Shown, to_json};

/// Stands for the hidden part of a redacted secret.
const HIDDEN: char = '\u{2022}';

const MEBIBYTE: u32 = 1024 * 1024;
const THREE_DAYS: u32 = 3 * 24 * 3600;

/// A resource in a form that can be compared.
pub(super) trait Comparable: Shown + Clone {
    /// With defaults filled in and without what the server sets.
    fn settled(&self) -> Self;
    /// Whether it carries a secret, which a comparison cannot be sure of.
    fn has_secret(&self) -> bool;
}

/// Each difference, `config.tolerance_seconds: 300 -> 600`.
pub(super) fn changes<M: Comparable>(wanted: &M, held: &M) -> Vec<String> {
    let mut found = Vec::new();
    let (held, wanted) = (to_json(&held.settled()), to_json(&wanted.settled()));
    differ("", &held, &wanted, &mut found);
    found
}

fn differ(path: &str, held: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (held, wanted) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                // The single secret repeats the first of the list.
                if key == "webhook_signing_secret" {
                    continue;
                }
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let part = |object: &serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                differ(&below, &part(old), &part(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                differ(&format!("{path}[{index}]"), old, new, found);
            }
        }
        (Value::String(old), Value::String(new)) if may_be(old, new) => {}
        (Value::String(old), Value::String(_)) if old.contains(HIDDEN) => {
            found.push(format!("{path}: another secret"));
        }
        (old, new) if old != new => {
            let hide = path.starts_with("config.auth.");
            let shown = |value: &Value| {
                if hide {
                    "…".to_owned()
                } else {
                    value.to_string()
                }
            };
            found.push(format!("{path}: {} -> {}", shown(old), shown(new)));
        }
        _ => {}
    }
}

/// Whether a secret may be the one behind a redacted form.
fn may_be(redacted: &str, secret: &str) -> bool {
    if !redacted.contains(HIDDEN) || secret.contains(HIDDEN) {
        return redacted == secret || secret.contains(HIDDEN);
    }
    let start = redacted.split(HIDDEN).next().unwrap_or_default();
    let end = redacted.rsplit(HIDDEN).next().unwrap_or_default();
    secret.len() >= start.len() + end.len() && secret.starts_with(start) && secret.ends_with(end)
}

impl Comparable for Source {
    fn settled(&self) -> Self {
        let mut config = self.config.clone().unwrap_or_default();
        if config.allowed_http_methods.is_empty() {
            config.allowed_http_methods =
                ["POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).into();
        }
        config.allowed_http_methods.sort();
        fill(&mut config.max_body_bytes, MEBIBYTE);
        fill(&mut config.tolerance_seconds, 300);
        fill(&mut config.dedupe_window_seconds, THREE_DAYS);
        let kind = if self.r#type == 0 {
            SourceType::Webhook.into()
        } else {
            self.r#type
        };
        match config.auth.as_mut().and_then(|auth| auth.scheme.as_mut()) {
            Some(source_auth::Scheme::Hmac(hmac)) => {
                fill_enum(&mut hmac.algorithm, HmacAlgorithm::Sha256.into());
                fill_enum(&mut hmac.encoding, SignatureEncoding::Hex.into());
            }
            Some(source_auth::Scheme::ProviderSignature(signature)) => signature.provider = kind,
            _ => {}
        }
        let disabled = self.disabled_at.is_some() || self.status() == SourceStatus::Disabled;
        let status = if disabled {
            SourceStatus::Disabled
        } else {
            SourceStatus::Enabled
        };
        Self {
            name: self.name.clone(),
            description: self.description.clone(),
            r#type: kind,
            status: status.into(),
            config: Some(config),
            environment: self.environment.clone(),
            pool: if self.pool.is_empty() {
                "default".to_owned()
            } else {
                self.pool.clone()
            },
            labels: self.labels.clone(),
            ..Self::default()
        }
    }

    fn has_secret(&self) -> bool {
        let auth = self.config.as_ref().and_then(|config| config.auth.as_ref());
        auth.and_then(|auth| auth.scheme.as_ref())
            .is_some_and(|scheme| !matches!(scheme, source_auth::Scheme::None(_)))
    }
}

impl Comparable for Destination {
    fn settled(&self) -> Self {
        let mut config = self.config.clone().unwrap_or_default();
        fill(&mut config.timeout_ms, 15_000);
        fill(&mut config.max_in_flight, 32);
        if config.rate_limit == 0 {
            config.rate_limit_period = 0;
        } else {
            fill_enum(
                &mut config.rate_limit_period,
                RateLimitPeriod::Second.into(),
            );
        }
        match config.auth.as_mut().and_then(|auth| auth.scheme.as_mut()) {
            Some(Scheme::Oauth2ClientCredentials(client)) => {
                let basic = ClientAuthentication::Basic.into();
                fill_enum(&mut client.client_authentication, basic);
            }
            Some(Scheme::ClientCertificate(pair)) => pair.expires_at = None,
            _ => {}
        }
        Self {
            name: self.name.clone(),
            description: self.description.clone(),
            r#type: DestinationType::Http.into(),
            config: Some(config),
            labels: self.labels.clone(),
            ..Self::default()
        }
    }

    fn has_secret(&self) -> bool {
        let auth = self.config.as_ref().and_then(|config| config.auth.as_ref());
        auth.is_some_and(|auth| auth.scheme.is_some())
    }
}

impl Comparable for Connection {
    fn settled(&self) -> Self {
        let mut rules = self.rules.clone();
        for rule in &mut rules {
            if let Some(rule::Rule::Retry(retry)) = &mut rule.rule {
                fill_enum(&mut retry.strategy, RetryStrategy::Exponential.into());
                if retry.interval == 0 && retry.strategy() != RetryStrategy::List {
                    retry.interval = 60_000;
                }
            }
        }
        Self {
            name: self.name.clone(),
            description: self.description.clone(),
            source_id: self.source_id.clone(),
            destination_id: self.destination_id.clone(),
            rules,
            labels: self.labels.clone(),
            ..Self::default()
        }
    }

    fn has_secret(&self) -> bool {
        false
    }
}

fn fill(number: &mut u32, default: u32) {
    if *number == 0 {
        *number = default;
    }
}

fn fill_enum(number: &mut i32, default: i32) {
    if *number == 0 {
        *number = default;
    }
}

#[cfg(test)]
mod tests {
    use hookplane_client::v1::{
        DestinationAuth, DestinationConfig, Oauth2ClientCredentials, ProviderSignature, RetryRule,
        Rule, SourceAuth, SourceConfig,
    };

    use super::*;

    fn source(secret: &str) -> Source {
        let signature = ProviderSignature {
            provider: 0,
            webhook_signing_secrets: vec![secret.to_owned()],
        };
        Source {
            name: "clerk".to_owned(),
            r#type: SourceType::Clerk.into(),
            config: Some(SourceConfig {
                auth: Some(SourceAuth {
                    scheme: Some(source_auth::Scheme::ProviderSignature(signature)),
                }),
                ..SourceConfig::default()
            }),
            ..Source::default()
        }
    }

    #[test]
    fn defaults_written_out_or_left_out_are_no_difference() {
        let mut held = source("whsec_\u{2022}\u{2022}\u{2022}cdef");
        held.id = "src_1".to_owned();
        held.revision = 9;
        held.pool = "default".to_owned();
        held.status = SourceStatus::Enabled.into();
        held.config.as_mut().unwrap().tolerance_seconds = 300;
        assert_eq!(
            changes(&source("whsec_0123abcdef"), &held),
            Vec::<String>::new()
        );
    }

    #[test]
    fn limits_and_proofs_settle_after_the_first_apply() {
        let destination = |rate_limit_period, scheme| Destination {
            config: Some(DestinationConfig {
                rate_limit: 10,
                rate_limit_period,
                auth: Some(DestinationAuth {
                    scheme: Some(scheme),
                }),
                ..DestinationConfig::default()
            }),
            ..Destination::default()
        };
        let client = |client_secret: &str, how| {
            Scheme::Oauth2ClientCredentials(Oauth2ClientCredentials {
                client_secret: client_secret.to_owned(),
                client_authentication: how,
                ..Oauth2ClientCredentials::default()
            })
        };
        let wanted = destination(0, client("secret", 0));
        let held = destination(1, client("\u{2022}\u{2022}", 1));
        assert_eq!(changes(&wanted, &held), Vec::<String>::new());
        let list = |count| Connection {
            rules: vec![Rule {
                rule: Some(rule::Rule::Retry(RetryRule {
                    strategy: RetryStrategy::List.into(),
                    delays: vec![1_000, 2_000],
                    jitter_percent: Some(count),
                    ..RetryRule::default()
                })),
            }],
            ..Connection::default()
        };
        assert_eq!(changes(&list(5), &list(5)), Vec::<String>::new());
        assert_eq!(
            changes(&list(9), &list(5)),
            ["rules[0].jitter_percent: 5 -> 9"]
        );
    }

    #[test]
    fn a_difference_is_named_with_both_values() {
        let (held, mut wanted) = (source("x"), source("x"));
        wanted.config.as_mut().unwrap().tolerance_seconds = 600;
        assert_eq!(
            changes(&wanted, &held),
            ["config.tolerance_seconds: 300 -> 600"]
        );
    }

    #[test]
    fn another_secret_is_seen_by_its_ends_and_never_shown() {
        let held = source("whsec_\u{2022}\u{2022}\u{2022}cdef");
        let found = changes(&source("whsec_0123456789"), &held);
        assert_eq!(
            found,
            ["config.auth.webhook_signing_secrets[0]: another secret"]
        );
        let found = changes(&source("new"), &source("old"));
        assert!(!found.join("").contains("new"), "{found:?}");
    }
}
