//! Keys with which handlers speak to agents. Only the hash of a key is ever stored or sent.
//!
//! Owns what such a key names and its bounds. Refuses to know API keys, which open the
//! control plane; a handler's key opens nothing there.

use super::Millis;
use super::api_key;
use super::violation::{self, Violation};

/// What every handler's key starts with.
pub const HANDLER_KEY_PREFIX: &str = "hph_";
pub const MAX_SOURCES: usize = 100;
/// Keys in force per source: they travel with it to its agents.
pub const MAX_PER_SOURCE: usize = 32;
/// Keys of a team, revoked ones included.
pub const MAX_PER_TEAM: u64 = 10_000;

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerKey {
    pub id: String,
    pub team_id: String,
    pub name: String,
    /// First and last characters of the key.
    pub masked: String,
    /// Sorted; those that were deleted are left out.
    pub source_ids: Vec<String>,
    pub created_at: Millis,
    pub revoked_at: Option<Millis>,
    /// Configuration revision of the last change.
    pub revision: u64,
}

/// What the agents of a source know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHandlerKey {
    pub id: String,
    /// SHA-256, hex.
    pub hash: String,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandlerKeyDraft {
    pub name: String,
    pub source_ids: Vec<String>,
}

impl HandlerKeyDraft {
    /// Every fault that can be seen without the sources themselves.
    #[must_use]
    pub fn faults(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::name("name", &self.name, &mut found);
        if self.source_ids.is_empty() {
            let message = "name at least one source that the handler may report on";
            found.push(Violation::new("source_ids", message));
        }
        if self.source_ids.len() > MAX_SOURCES {
            let message = format!("{MAX_SOURCES} sources are the most for one key");
            found.push(Violation::new("source_ids", message));
        }
        found
    }
}

/// A fresh key. The caller brings the randomness.
#[must_use]
pub fn compose(random: [u8; 32]) -> String {
    format!("{HANDLER_KEY_PREFIX}{}", hex::encode(random))
}

/// Start and end of a key.
#[must_use]
pub fn masked(key: &str) -> String {
    let end = key.get(key.len().saturating_sub(4)..).unwrap_or_default();
    format!("{HANDLER_KEY_PREFIX}…{end}")
}

/// SHA-256, hex; see `api_key::hash`.
#[must_use]
pub fn hash(key: &str) -> String {
    api_key::hash(key)
}
