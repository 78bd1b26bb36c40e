//! Tokens with which one agent enrols, once and within a time.
//!
//! Owns what makes one valid and when it still opens something. Only the hash is ever stored.

use super::Millis;
use super::violation::{self, Violation};

/// What every token starts with.
pub const TOKEN_PREFIX: &str = "hpe_";
const SECOND: Millis = 1_000;
pub const SHORTEST: Millis = 60 * SECOND;
pub const LONGEST: Millis = 7 * 86_400 * SECOND;
pub const USUAL: Millis = 3_600 * SECOND;
/// Ended tokens are listed for so long; the audit record has them for good.
pub const REMEMBERED: Millis = 30 * 86_400 * SECOND;

/// A token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentToken {
    pub id: String,
    /// The team whose key made it.
    pub team_id: String,
    pub name: String,
    /// Whoever enrols with it is in this pool.
    pub pool: String,
    pub created_at: Millis,
    pub expires_at: Millis,
    pub used_at: Option<Millis>,
    /// The agent that enrolled with it.
    pub used_by: Option<String>,
    pub revoked_at: Option<Millis>,
}

/// Whether somebody can enrol with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Open,
    Used,
    Revoked,
    Expired,
}

impl AgentToken {
    #[must_use]
    pub const fn standing(&self, now: Millis) -> Standing {
        if self.used_at.is_some() {
            Standing::Used
        } else if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.expires_at <= now {
            Standing::Expired
        } else {
            Standing::Open
        }
    }
}

/// The text of a token, from 256 random bits.
#[must_use]
pub fn compose(random: [u8; 32]) -> String {
    format!("{TOKEN_PREFIX}{}", hex::encode(random))
}

/// Every fault of what is asked for a token.
#[must_use]
pub fn faults(name: &str, pool: &str, life: Millis) -> Vec<Violation> {
    let mut found = Vec::new();
    violation::name("name", name, &mut found);
    violation::slug("pool", pool, &mut found);
    if !(SHORTEST..=LONGEST).contains(&life) {
        let fault = "a token is valid for 60 to 604,800 seconds";
        found.push(Violation::new("valid_seconds", fault));
    }
    found
}
