//! Destinations: what they are and what makes one valid.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::violation::{self, Violation};
use super::{DestinationAuth, Millis};

pub const DEFAULT_TIMEOUT_MS: u32 = 15_000;
pub const MAX_TIMEOUT_MS: u32 = 120_000;
pub const DEFAULT_IN_FLIGHT: u32 = 32;
pub const MAX_IN_FLIGHT: u32 = 1_000;
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
pub const MAX_RATE: u32 = 1_000_000;
const MAX_URL: usize = 2_048;
/// A destination as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Deliveries per period; 0 for no limit. Rows of the first release have none.
    #[serde(default)]
    pub rate_limit: u32,
    #[serde(default)]
    pub rate_limit_period: RateLimitPeriod,
    /// Its handlers tell what came of the work.
    #[serde(default)]
    pub reports_outcome: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitPeriod {
    #[default]
    Second,
    Minute,
    Hour,
}

impl DestinationSpec {
    /// Every fault of the settings and the auth together.
    #[must_use]
    pub fn faults(&self, auth: &DestinationAuth) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::slug("name", &self.name, &mut found);
        violation::description(&self.description, &mut found);
        violation::labels(&self.labels, &mut found);
        if let Err(message) = callable_url(&self.url) {
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
        if self.rate_limit > MAX_RATE {
            found.push(Violation::new(
                "config.rate_limit",
                format!("{}; at most {MAX_RATE} are possible", self.rate_limit),
            ));
        }
        violation::auth(auth, &mut found);
        auth.faults(self.url.starts_with("https:"), &mut found);
        found
    }
}

pub(super) fn callable_url(text: &str) -> Result<(), String> {
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
