//! Destinations: what they are and what makes one valid.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};
use url::Url;

use super::violation::{self, Violation};
use super::{Millis, secret};

pub const DEFAULT_TIMEOUT_MS: u32 = 15_000;
pub const MAX_TIMEOUT_MS: u32 = 120_000;
pub const DEFAULT_IN_FLIGHT: u32 = 32;
pub const MAX_IN_FLIGHT: u32 = 1_000;
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const MIN_SIGNING_SECRET: usize = 16;
const MAX_URL: usize = 2_048;
/// Names that the delivery itself sets; a custom header may not take their place.
const RESERVED_HEADERS: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "traceparent",
    "te",
];

/// A destination as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub id: String,
    pub team_id: String,
    pub spec: DestinationSpec,
    pub auth: DestinationAuth,
    /// `None` while enabled.
    pub disabled_at: Option<Millis>,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Configuration revision of the last change.
    pub revision: u64,
}

/// What people set, without secrets. Serialised into the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationSpec {
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub url: String,
    /// Empty: the inbound request's.
    pub http_method: String,
    pub path_forwarding_disabled: bool,
    pub timeout_ms: u32,
    pub max_in_flight: u32,
}

/// How a delivery proves who sends it. Prints no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DestinationAuth {
    None,
    Basic { username: String, password: String },
    Bearer { token: String },
    Header { name: String, value: String },
    HookplaneSignature { secret: String },
}

impl DestinationSpec {
    /// Every fault of the settings and the auth together.
    #[must_use]
    pub fn faults(&self, auth: &DestinationAuth) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::slug("name", &self.name, &mut found);
        violation::description(&self.description, &mut found);
        violation::labels(&self.labels, &mut found);
        if let Err(message) = readable_url(&self.url) {
            found.push(Violation::new("config.url", message));
        }
        if !self.http_method.is_empty() && !METHODS.contains(&self.http_method.as_str()) {
            found.push(Violation::new(
                "config.http_method",
                format!(
                    "give one of {}, or none to keep the sender's",
                    METHODS.join(", ")
                ),
            ));
        }
        if self.timeout_ms > MAX_TIMEOUT_MS {
            found.push(Violation::new(
                "config.timeout_ms",
                format!(
                    "{} ms; at most {MAX_TIMEOUT_MS} are possible",
                    self.timeout_ms
                ),
            ));
        }
        if self.max_in_flight > MAX_IN_FLIGHT {
            found.push(Violation::new(
                "config.max_in_flight",
                format!(
                    "{}; at most {MAX_IN_FLIGHT} are possible",
                    self.max_in_flight
                ),
            ));
        }
        violation::auth(auth, &mut found);
        auth.faults(&mut found);
        found
    }
}

fn readable_url(text: &str) -> Result<(), String> {
    const RIGHT: &str = "give an absolute URL such as `https://billing.internal/hooks/clerk`";
    if text.is_empty() {
        return Err(format!("a URL is needed: {RIGHT}"));
    }
    if text.len() > MAX_URL {
        return Err(format!("at most {MAX_URL} characters are possible"));
    }
    // The parser would leave some of them out, and the URL would not be what was given.
    if text.chars().any(char::is_control) {
        return Err(format!("control characters are not possible: {RIGHT}"));
    }
    let url = Url::parse(text).map_err(|fault| format!("{fault}: {RIGHT}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`{}` is neither http nor https: {RIGHT}",
            url.scheme()
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("the host is missing: {RIGHT}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "user and password do not belong into the URL; use `auth_type` BASIC_AUTH".to_owned(),
        );
    }
    if url.fragment().is_some() {
        return Err("a URL for deliveries has no fragment".to_owned());
    }
    Ok(())
}

impl DestinationAuth {
    fn faults(&self, found: &mut Vec<Violation>) {
        match self {
            Self::None => {}
            Self::Basic { username, password } => {
                if username.is_empty() || username.contains(':') {
                    found.push(Violation::new(
                        "config.auth.username",
                        "a user name is needed, without a colon",
                    ));
                }
                violation::printable("config.auth.username", username, found);
                present("config.auth.password", password, found);
                violation::printable("config.auth.password", password, found);
            }
            Self::Bearer { token } => {
                present("config.auth.token", token, found);
                header_value("config.auth.token", token, found);
            }
            Self::Header { name, value } => {
                let lower = name.to_ascii_lowercase();
                if http::HeaderName::try_from(lower.as_str()).is_err() {
                    found.push(Violation::new(
                        "config.auth.header_name",
                        "this is no name of an HTTP header",
                    ));
                } else if RESERVED_HEADERS.contains(&lower.as_str())
                    || lower.starts_with("hookplane-")
                {
                    found.push(Violation::new(
                        "config.auth.header_name",
                        format!("`{lower}` is set by the delivery itself; choose another name"),
                    ));
                }
                present("config.auth.value", value, found);
                header_value("config.auth.value", value, found);
            }
            Self::HookplaneSignature { secret } => {
                if secret.len() < MIN_SIGNING_SECRET {
                    found.push(Violation::new(
                        "config.auth.secret",
                        format!("{MIN_SIGNING_SECRET} characters are needed at least"),
                    ));
                }
            }
        }
    }

    /// As readers see it.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        if let Some((_, secret)) = copy.secret_mut() {
            *secret = secret::redacted(secret);
        }
        copy
    }

    /// Puts the stored secret where a redacted one came back. It stays in its
    /// scheme: under another one it would be sent in other ways.
    ///
    /// # Errors
    /// A [`Violation`] when the redacted value stands for nothing stored.
    pub fn restore(mut self, stored: Option<&Self>) -> Result<Self, Vec<Violation>> {
        let mut known = stored
            .filter(|stored| discriminant(*stored) == discriminant(&self))
            .cloned();
        let known = known
            .as_mut()
            .and_then(Self::secret_mut)
            .map(|(_, secret)| secret.clone());
        if let Some((field, sent)) = self.secret_mut()
            && secret::is_redacted(sent)
        {
            match known.filter(|known| secret::redacted(known) == *sent) {
                Some(secret) => *sent = secret,
                None => {
                    return Err(vec![Violation::new(
                        field,
                        "this is a redacted value that stands for no stored secret; give the secret itself",
                    )]);
                }
            }
        }
        Ok(self)
    }

    fn secret_mut(&mut self) -> Option<(&'static str, &mut String)> {
        match self {
            Self::None => None,
            Self::Basic { password, .. } => Some(("config.auth.password", password)),
            Self::Bearer { token } => Some(("config.auth.token", token)),
            Self::Header { value, .. } => Some(("config.auth.value", value)),
            Self::HookplaneSignature { secret } => Some(("config.auth.secret", secret)),
        }
    }
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

impl fmt::Debug for DestinationAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::Bearer { .. } => "Bearer(redacted)",
            Self::Header { .. } => "Header(redacted)",
            Self::HookplaneSignature { .. } => "HookplaneSignature(redacted)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_secret_stands_for_one_of_the_same_scheme_only() {
        let stored = DestinationAuth::Bearer {
            token: "the receiver's own".to_owned(),
        };
        let shown = stored.redacted();
        assert_eq!(shown.restore(Some(&stored)), Ok(stored.clone()));
        let DestinationAuth::Bearer { token } = stored.redacted() else {
            panic!("a redacted scheme is another one");
        };
        let moved = DestinationAuth::Header {
            name: "x-token".to_owned(),
            value: token,
        };
        let faults = moved.restore(Some(&stored)).expect_err("another scheme");
        assert_eq!(faults[0].field, "config.auth.value");
    }
}
