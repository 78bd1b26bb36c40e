//! How deliveries prove who sends them: what makes a proof usable, what readers
//! see of it, and how a redacted secret that comes back is understood.
//!
//! Invariant: no value of this module prints a secret.

use std::fmt;

use hookplane_signature::StandardSigner;
use serde::{Deserialize, Serialize};

use super::certificate::ClientCertificate;
use super::destination::callable_url;
use super::secret;
use super::violation::Violation;

const MIN_SIGNING_SECRET: usize = 16;
/// Names that the delivery itself sets; a custom header may not take their place.
const RESERVED_HEADERS: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "traceparent",
    "te",
];
const MAX_PARAMETER: usize = 2_048;

/// How a delivery proves who sends it. Prints no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DestinationAuth {
    None,
    Basic { username: String, password: String },
    Bearer { token: String },
    Header { name: String, value: String },
    HookplaneSignature { secret: String },
    StandardWebhooks { secrets: Vec<String> },
    ClientCredentials(ClientCredentials),
    ClientCertificate(ClientCertificate),
}

/// What an agent asks for a token with. Prints no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCredentials {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: String,
    pub scope: String,
    pub audience: String,
    /// In the form instead of the Authorization header.
    pub in_body: bool,
}

impl DestinationAuth {
    pub(super) fn faults(&self, over_tls: bool, found: &mut Vec<Violation>) {
        match self {
            Self::None => {}
            Self::Basic { username, password } => {
                if username.is_empty() || username.contains(':') {
                    found.push(Violation::new(
                        "config.auth.username",
                        "a user name is needed, without a colon",
                    ));
                }
                present("config.auth.password", password, found);
            }
            Self::Bearer { token } => {
                present("config.auth.token", token, found);
                header_value("config.auth.token", token, found);
            }
            Self::Header { name, value } => header(name, value, found),
            Self::HookplaneSignature { secret } => {
                if secret.len() < MIN_SIGNING_SECRET {
                    found.push(Violation::new(
                        "config.auth.secret",
                        format!("{MIN_SIGNING_SECRET} characters are needed at least"),
                    ));
                }
            }
            Self::StandardWebhooks { secrets } => {
                if let Err(fault) = StandardSigner::new(secrets) {
                    let field = format!("config.auth.{}", fault.field);
                    found.push(Violation::new(field, fault.message));
                }
            }
            Self::ClientCredentials(credentials) => credentials.faults(found),
            Self::ClientCertificate(certificate) => {
                if !over_tls {
                    found.push(Violation::new(
                        "config.url",
                        "a client certificate is shown over TLS only; give an https URL",
                    ));
                }
                certificate.faults(found);
            }
        }
    }

    /// As readers see it.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        for (_, secret) in copy.secrets_mut() {
            *secret = secret::redacted(secret);
        }
        copy
    }

    /// Puts the stored secret where a redacted one came back.
    ///
    /// # Errors
    /// A [`Violation`] for each redacted value that stands for nothing stored.
    pub fn restore(mut self, stored: Option<&Self>) -> Result<Self, Vec<Violation>> {
        // A secret goes back to a proof of the same kind only: it was not given to another.
        let same =
            |stored: &&Self| std::mem::discriminant(*stored) == std::mem::discriminant(&self);
        let mut known = stored.filter(same).cloned();
        let known: Vec<String> = known
            .as_mut()
            .map(|known| {
                known
                    .secrets_mut()
                    .into_iter()
                    .map(|(_, text)| text.clone())
            })
            .map(Iterator::collect)
            .unwrap_or_default();
        let mut faults = Vec::new();
        for (place, (field, sent)) in self.secrets_mut().into_iter().enumerate() {
            if !secret::is_redacted(sent) {
                continue;
            }
            match secret::restore(sent, place, &known) {
                Some(secret) => *sent = secret.clone(),
                None => faults.push(Violation::new(
                    field,
                    "this is a redacted value that stands for no stored secret; give the secret itself",
                )),
            }
        }
        if faults.is_empty() {
            Ok(self)
        } else {
            Err(faults)
        }
    }

    /// Each secret with its field.
    fn secrets_mut(&mut self) -> Vec<(String, &mut String)> {
        let one = |field: &str, secret| vec![(format!("config.auth.{field}"), secret)];
        match self {
            Self::None => Vec::new(),
            Self::Basic { password, .. } => one("password", password),
            Self::Bearer { token } => one("token", token),
            Self::Header { value, .. } => one("value", value),
            Self::HookplaneSignature { secret } => one("secret", secret),
            Self::StandardWebhooks { secrets } => secrets
                .iter_mut()
                .enumerate()
                .map(|(place, secret)| (format!("config.auth.secrets[{place}]"), secret))
                .collect(),
            Self::ClientCredentials(credentials) => {
                one("client_secret", &mut credentials.client_secret)
            }
            Self::ClientCertificate(certificate) => {
                one("private_key", &mut certificate.private_key)
            }
        }
    }
}

impl ClientCredentials {
    fn faults(&self, found: &mut Vec<Violation>) {
        if let Err(message) = callable_url(&self.token_url) {
            found.push(Violation::new("config.auth.token_url", message));
        }
        present("config.auth.client_id", &self.client_id, found);
        present("config.auth.client_secret", &self.client_secret, found);
        for (field, text) in [
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("scope", &self.scope),
            ("audience", &self.audience),
        ] {
            if text.len() > MAX_PARAMETER || text.chars().any(char::is_control) {
                found.push(Violation::new(
                    format!("config.auth.{field}"),
                    format!(
                        "at most {MAX_PARAMETER} bytes without control characters are possible"
                    ),
                ));
            }
        }
    }
}

fn header(name: &str, value: &str, found: &mut Vec<Violation>) {
    let lower = name.to_ascii_lowercase();
    if http::HeaderName::try_from(lower.as_str()).is_err() {
        found.push(Violation::new(
            "config.auth.header_name",
            "this is no name of an HTTP header",
        ));
    } else if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("hookplane-") {
        found.push(Violation::new(
            "config.auth.header_name",
            format!("`{lower}` is set by the delivery itself; choose another name"),
        ));
    }
    present("config.auth.value", value, found);
    header_value("config.auth.value", value, found);
}

fn present(field: &str, text: &str, found: &mut Vec<Violation>) {
    if text.is_empty() {
        found.push(Violation::new(field, "a value is needed"));
    }
}

fn header_value(field: &str, text: &str, found: &mut Vec<Violation>) {
    if http::HeaderValue::try_from(text).is_err() {
        found.push(Violation::new(
            field,
            "a header cannot carry this value: it holds control characters",
        ));
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCredentials({}, redacted)", self.token_url)
    }
}

impl fmt::Debug for DestinationAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::Bearer { .. } => "Bearer(redacted)",
            Self::Header { .. } => "Header(redacted)",
            Self::HookplaneSignature { .. } => "HookplaneSignature(redacted)",
            Self::StandardWebhooks { .. } => "StandardWebhooks(redacted)",
            Self::ClientCredentials(_) => "ClientCredentials(redacted)",
            Self::ClientCertificate(_) => "ClientCertificate(redacted)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard(secrets: &[&str]) -> DestinationAuth {
        DestinationAuth::StandardWebhooks {
            secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        }
    }

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const THIRD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

    #[test]
    fn several_secrets_come_back_wherever_they_stand() {
        let stored = standard(&[OLD, NEW]);
        let DestinationAuth::StandardWebhooks { secrets: shown } = stored.redacted() else {
            panic!("the kind changed")
        };
        assert!(shown.iter().all(|secret| secret.contains(secret::MARK)));
        let sent = standard(&[THIRD, &shown[1], &shown[0]]);
        let restored = sent.restore(Some(&stored)).expect("both are stored");
        assert_eq!(restored, standard(&[THIRD, NEW, OLD]));
    }

    #[test]
    fn a_redacted_secret_is_restored_to_its_own_kind_only() {
        let stored = DestinationAuth::Bearer {
            token: "a-token".into(),
        };
        let sent = DestinationAuth::Basic {
            username: "u".into(),
            password: secret::redacted("a-token"),
        };
        let faults = sent.restore(Some(&stored)).expect_err("another kind");
        assert_eq!(faults[0].field, "config.auth.password");
        let faults = standard(&[OLD, "whsec_••••••••XXXX"]).restore(Some(&standard(&[OLD])));
        assert_eq!(faults.unwrap_err()[0].field, "config.auth.secrets[1]");
    }
}
