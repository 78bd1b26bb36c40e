//! API keys of people and programs. Only the hash of a key is ever stored.

use sha2::{Digest as _, Sha256};

use super::Millis;
use super::violation::{self, Violation};

/// What every key starts with.
pub const KEY_PREFIX: &str = "hpk_";
/// What every agent's credential starts with.
pub const CREDENTIAL_PREFIX: &str = "hpa_";

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub team_id: String,
    pub name: String,
    /// First and last characters of the key.
    pub masked: String,
    pub created_at: Millis,
    pub revoked_at: Option<Millis>,
}

/// Every fault of a name for a key.
#[must_use]
pub fn faults(name: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    violation::name("name", name, &mut found);
    found
}

/// A fresh key. The caller brings the randomness.
#[must_use]
pub fn compose(random: [u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", hex::encode(random))
}

/// First and last characters, enough to recognise a key and useless to guess it.
#[must_use]
pub fn masked(key: &str) -> String {
    let end = key.get(key.len().saturating_sub(4)..).unwrap_or_default();
    format!("{KEY_PREFIX}…{end}")
}

/// SHA-256, hex. The keys have 256 random bits, so nothing slower is needed.
#[must_use]
pub fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}
