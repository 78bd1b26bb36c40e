//! Sources: what they are and what makes one valid.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::discriminant;

use hookplane_signature::{Algorithm, AuthSpec, Encoding, HmacSpec, Provider, Verifier};
use serde::{Deserialize, Serialize};

use super::violation::{self, Violation};
use super::{Millis, SecretTerm, secret, secret_term};

pub const DEFAULT_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
pub const DEFAULT_BODY_BYTES: u32 = 1 << 20;
pub const MAX_BODY_BYTES: u32 = 16 << 20;
pub const DEFAULT_TOLERANCE_SECONDS: u32 = 300;
pub const MAX_TOLERANCE_SECONDS: u32 = 86_400;
pub const DEFAULT_DEDUPE_SECONDS: u32 = 3 * 86_400;
pub const MAX_DEDUPE_SECONDS: u32 = 30 * 86_400;
const MAX_RESPONSE_BYTES: usize = 16 * 1_024;
const KNOWN_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A source as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub id: String,
    pub team_id: String,
    pub spec: SourceSpec,
    pub auth: SourceAuth,
    /// `None` while enabled.
    pub disabled_at: Option<Millis>,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Configuration revision of the last change.
    pub revision: u64,
}

/// What people set, without secrets. Serialised into the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    pub name: String,
    pub description: String,
    #[serde(with = "provider_name")]
    pub provider: Provider,
    pub environment: String,
    pub pool: String,
    pub labels: BTreeMap<String, String>,
    /// Upper-case names.
    pub methods: Vec<String>,
    pub custom_response: Option<CustomResponse>,
    pub max_body_bytes: u32,
    pub tolerance_seconds: u32,
    pub dedupe_window_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomResponse {
    /// A full media type.
    pub content_type: String,
    pub body: String,
}

/// How senders prove themselves. Prints no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceAuth {
    None,
    Basic {
        username: String,
        password: String,
    },
    ApiKey {
        header: String,
        key: String,
    },
    Hmac {
        header: String,
        secret: String,
        algorithm: HmacAlgorithm,
        encoding: SignatureEncoding,
        prefix: String,
    },
    Provider {
        secrets: Vec<String>,
        /// One for each secret. Rows of the first release have none.
        #[serde(default)]
        terms: Vec<SecretTerm>,
        /// The highest number that a secret of this source ever had.
        #[serde(default)]
        issued: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    Hex,
    Base64,
}

impl SourceSpec {
    /// Every fault of the settings and the auth together. Asks the verifier that agents run.
    #[must_use]
    pub fn faults(&self, auth: &SourceAuth) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::name("name", &self.name, &mut found);
        violation::description(&self.description, &mut found);
        violation::labels(&self.labels, &mut found);
        violation::slug("pool", &self.pool, &mut found);
        violation::short("environment", &self.environment, &mut found);
        self.method_faults(&mut found);
        self.limit_faults(&mut found);
        violation::auth(auth, &mut found);
        if let Err(fault) = Verifier::new(self.provider, auth.spec(), self.tolerance_seconds) {
            let field = match (fault.field.as_str(), auth) {
                // Without a scheme it is the choice of the scheme that is wrong.
                ("", _) => "config.auth_type".to_owned(),
                (field, _) => format!("config.auth.{field}"),
            };
            found.push(Violation::new(field, fault.message));
        }
        found
    }

    fn method_faults(&self, found: &mut Vec<Violation>) {
        for (place, method) in self.methods.iter().enumerate() {
            if !KNOWN_METHODS.contains(&method.as_str()) {
                let shown: String = method.chars().take(16).collect();
                found.push(Violation::new(
                    format!("config.allowed_http_methods[{place}]"),
                    format!("`{shown}` is none of {}", KNOWN_METHODS.join(", ")),
                ));
            }
        }
        if self.methods.is_empty() || self.methods.len() > KNOWN_METHODS.len() {
            found.push(Violation::new(
                "config.allowed_http_methods",
                "1 to 7 methods are needed, each once",
            ));
        }
    }

    fn limit_faults(&self, found: &mut Vec<Violation>) {
        if self.max_body_bytes > MAX_BODY_BYTES {
            found.push(Violation::new(
                "config.max_body_bytes",
                format!(
                    "{} bytes; at most {MAX_BODY_BYTES} are possible",
                    self.max_body_bytes
                ),
            ));
        }
        if self.tolerance_seconds > MAX_TOLERANCE_SECONDS {
            found.push(Violation::new(
                "config.tolerance_seconds",
                format!(
                    "{} s; at most {MAX_TOLERANCE_SECONDS} are possible",
                    self.tolerance_seconds
                ),
            ));
        }
        if self.dedupe_window_seconds > MAX_DEDUPE_SECONDS {
            found.push(Violation::new(
                "config.dedupe_window_seconds",
                format!(
                    "{} s; at most {MAX_DEDUPE_SECONDS} are possible",
                    self.dedupe_window_seconds
                ),
            ));
        }
        if let Some(response) = &self.custom_response {
            violation::printable(
                "config.custom_response.content_type",
                &response.content_type,
                found,
            );
            if response.body.len() > MAX_RESPONSE_BYTES {
                found.push(Violation::new(
                    "config.custom_response.body",
                    format!("at most {MAX_RESPONSE_BYTES} bytes are possible"),
                ));
            }
            let readable = http::HeaderValue::try_from(&response.content_type).is_ok();
            if !readable || !response.content_type.contains('/') {
                found.push(Violation::new(
                    "config.custom_response.content_type",
                    "give `json`, `text`, `xml`, or a media type such as `application/json`",
                ));
            }
        }
    }
}

impl SourceAuth {
    /// The same demand in the words of the signature crate.
    #[must_use]
    pub fn spec(&self) -> AuthSpec {
        match self.clone() {
            Self::None => AuthSpec::None,
            Self::Basic { username, password } => AuthSpec::Basic { username, password },
            Self::ApiKey { header, key } => AuthSpec::ApiKey { header, key },
            Self::Hmac {
                header,
                secret,
                algorithm,
                encoding,
                prefix,
            } => AuthSpec::Hmac(HmacSpec {
                header,
                secret,
                algorithm: match algorithm {
                    HmacAlgorithm::Sha1 => Algorithm::Sha1,
                    HmacAlgorithm::Sha256 => Algorithm::Sha256,
                    HmacAlgorithm::Sha512 => Algorithm::Sha512,
                },
                encoding: match encoding {
                    SignatureEncoding::Hex => Encoding::Hex,
                    SignatureEncoding::Base64 => Encoding::Base64,
                },
                prefix,
            }),
            Self::Provider { secrets, .. } => AuthSpec::Provider { secrets },
        }
    }

    /// Gives secrets that have none a term and a number: those of the first release.
    #[must_use]
    pub fn filled(mut self) -> Self {
        if let Self::Provider {
            secrets,
            terms,
            issued,
        } = &mut self
        {
            secret_term::fill(secrets, terms, issued);
        }
        self
    }

    /// Gives every secret its term and its number, on top of what is stored.
    ///
    /// # Errors
    /// A [`Violation`] for each term that cannot be.
    pub fn settled(mut self, stored: Option<&Self>) -> Result<Self, Vec<Violation>> {
        let Self::Provider {
            secrets,
            terms,
            issued,
        } = &mut self
        else {
            return Ok(self);
        };
        let known = match stored {
            Some(Self::Provider {
                secrets,
                terms,
                issued: before,
            }) => {
                *issued = *before;
                secret_term::Known { secrets, terms }
            }
            _ => secret_term::Known {
                secrets: &[],
                terms: &[],
            },
        };
        *terms = secret_term::settle(secrets, terms, known, issued)?;
        Ok(self)
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

    /// Puts stored secrets where redacted ones came back. A secret stays in its
    /// scheme: under another one it would be used, and shown, in other ways.
    ///
    /// # Errors
    /// A [`Violation`] for each redacted value that stands for nothing stored.
    pub fn restore(mut self, stored: Option<&Self>) -> Result<Self, Vec<Violation>> {
        let same = stored.filter(|stored| discriminant(*stored) == discriminant(&self));
        let known: Vec<String> = same.map(Self::secrets).unwrap_or_default();
        let mut faults = Vec::new();
        for (place, (field, sent)) in self.secrets_mut().into_iter().enumerate() {
            if !secret::is_redacted(sent) {
                continue;
            }
            match secret::restore(sent, place, &known) {
                Some(secret) => sent.clone_from(secret),
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

    /// In the order of the scheme.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::Basic {
                password: secret, ..
            }
            | Self::ApiKey { key: secret, .. }
            | Self::Hmac { secret, .. } => vec![secret.clone()],
            Self::Provider { secrets, .. } => secrets.clone(),
        }
    }

    fn secrets_mut(&mut self) -> Vec<(String, &mut String)> {
        match self {
            Self::None => Vec::new(),
            Self::Basic { password, .. } => vec![("config.auth.password".to_owned(), password)],
            Self::ApiKey { key, .. } => vec![("config.auth.api_key".to_owned(), key)],
            Self::Hmac { secret, .. } => vec![("config.auth.secret".to_owned(), secret)],
            Self::Provider { secrets, .. } => secrets
                .iter_mut()
                .enumerate()
                .map(|(place, secret)| {
                    (
                        format!("config.auth.webhook_signing_secrets[{place}]"),
                        secret,
                    )
                })
                .collect(),
        }
    }
}

impl fmt::Debug for SourceAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::ApiKey { .. } => "ApiKey(redacted)",
            Self::Hmac { .. } => "Hmac(redacted)",
            Self::Provider { .. } => "Provider(redacted)",
        })
    }
}

mod provider_name {
    use hookplane_signature::Provider;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Provider, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Provider, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_secret_stands_for_one_of_the_same_scheme_only() {
        let stored = SourceAuth::Basic {
            username: "clerk".to_owned(),
            password: "correct horse".to_owned(),
        };
        let shown = stored.redacted();
        assert_eq!(shown.restore(Some(&stored)), Ok(stored.clone()));
        let SourceAuth::Basic { password, .. } = stored.redacted() else {
            panic!("a redacted scheme is another one");
        };
        let moved = SourceAuth::ApiKey {
            header: "x-key".to_owned(),
            key: password,
        };
        let faults = moved.restore(Some(&stored)).expect_err("another scheme");
        assert_eq!(faults[0].field, "config.auth.api_key");
    }
}
