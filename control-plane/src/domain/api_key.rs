//! API keys of people and programs. Only the hash of a key is ever stored.
//!
//! Owns what a key grants and until when. Invariant: nobody grants more than
//! he has, neither in scopes nor in time, pace or size.

use sha2::{Digest as _, Sha256};

use super::Millis;
use super::scope::{Scope, Scopes};
use super::violation::{self, Violation};

/// What every key starts with.
pub const KEY_PREFIX: &str = "hpk_";
/// What every agent's credential starts with.
pub const CREDENTIAL_PREFIX: &str = "hpa_";
pub const MAX_RATE: u32 = 1_000_000;
/// The least room: a smaller one would refuse an ordinary source.
pub const MIN_BODY_BYTES: u32 = 1_024;
/// How long an old secret may stay valid beside the new one.
pub const MAX_OVERLAP: Millis = 30 * 86_400_000;
pub const DEFAULT_OVERLAP: Millis = 86_400_000;

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub team_id: String,
    pub name: String,
    /// First and last characters of the key.
    pub masked: String,
    pub grant: Grant,
    pub created_at: Millis,
    pub revoked_at: Option<Millis>,
    /// To the minute.
    pub last_used_at: Option<Millis>,
    pub rotated_at: Option<Millis>,
    /// Until when the secret before the last rotation is valid too.
    pub previous_until: Option<Millis>,
}

/// What a key allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub scopes: Scopes,
    pub expires_at: Option<Millis>,
    /// Calls per minute; 0 for no limit of its own.
    pub rate_per_minute: u32,
    /// Bytes of a call's body; 0 for no limit of its own.
    pub max_body_bytes: u32,
}

/// What is asked for a key. What is not given is as the one who makes it has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDraft {
    pub name: Option<String>,
    pub scopes: Option<Scopes>,
    /// `Some(None)` for never.
    pub expires_at: Option<Option<Millis>>,
    pub rate_per_minute: Option<u32>,
    pub max_body_bytes: Option<u32>,
}

/// Whether a key opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Revoked,
    Expired,
}

impl ApiKey {
    #[must_use]
    pub fn standing(&self, now: Millis) -> Standing {
        if self.revoked_at.is_some() {
            Standing::Revoked
        } else if self.grant.expires_at.is_some_and(|at| at <= now) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }

    /// Whether people can still make keys with this one.
    #[must_use]
    pub fn administers(&self, now: Millis) -> bool {
        self.standing(now) == Standing::Active && self.grant.scopes.has(Scope::KeysAdmin)
    }
}

impl Grant {
    /// Everything, for ever: what the first key of an installation has.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            scopes: Scopes::all(),
            expires_at: None,
            rate_per_minute: 0,
            max_body_bytes: 0,
        }
    }

    /// Everything within one team, for ever.
    #[must_use]
    pub fn whole_team() -> Self {
        Self {
            scopes: Scopes::of_team(),
            ..Self::everything()
        }
    }

    /// What a draft asks for on top of this.
    #[must_use]
    pub fn with(&self, draft: &KeyDraft) -> Self {
        Self {
            scopes: draft.scopes.unwrap_or(self.scopes),
            expires_at: draft.expires_at.unwrap_or(self.expires_at),
            rate_per_minute: draft.rate_per_minute.unwrap_or(self.rate_per_minute),
            max_body_bytes: draft.max_body_bytes.unwrap_or(self.max_body_bytes),
        }
    }

    /// Every way in which this is no grant, or more than `own` allows to give.
    #[must_use]
    pub fn faults(&self, own: &Self, now: Millis) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut fault = |field: &str, message: String| found.push(Violation::new(field, message));
        if self.scopes.is_empty() {
            fault("scopes", "at least one is needed".to_owned());
        }
        let missing = self.scopes.without(own.scopes);
        if !missing.is_empty() {
            let message = format!("the calling key has not {missing} itself, and cannot grant it");
            fault("scopes", message);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            fault("expires_at", "this time has passed".to_owned());
        }
        if later(self.expires_at, own.expires_at) {
            fault("expires_at", "the calling key ends before".to_owned());
        }
        let bound = "the calling key has a lower limit";
        if above(self.rate_per_minute, own.rate_per_minute) {
            fault("rate_limit_per_minute", bound.to_owned());
        }
        if self.rate_per_minute > MAX_RATE {
            let message = format!("at most {MAX_RATE} calls per minute are possible");
            fault("rate_limit_per_minute", message);
        }
        if above(self.max_body_bytes, own.max_body_bytes) {
            fault("max_body_bytes", bound.to_owned());
        }
        if (1..MIN_BODY_BYTES).contains(&self.max_body_bytes) {
            let message = format!("at least {MIN_BODY_BYTES} bytes, or 0 for no limit");
            fault("max_body_bytes", message);
        }
        found
    }
}

/// None is never.
fn later(time: Option<Millis>, bound: Option<Millis>) -> bool {
    bound.is_some_and(|bound| time.is_none_or(|time| time > bound))
}

/// 0 is no limit.
const fn above(limit: u32, bound: u32) -> bool {
    bound != 0 && (limit == 0 || limit > bound)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_grants_more_than_he_has() {
        let own = Grant {
            scopes: Scopes::parse(["config:write", "keys:admin"]).expect("they are some"),
            expires_at: Some(1_000),
            rate_per_minute: 60,
            max_body_bytes: 4_096,
        };
        assert_eq!(own.faults(&own, 0), []);
        let fields = |grant: &Grant| -> Vec<String> {
            let faults = grant.faults(&own, 0);
            faults.into_iter().map(|fault| fault.field).collect()
        };
        let more = Grant::everything();
        let expected = [
            "scopes",
            "expires_at",
            "rate_limit_per_minute",
            "max_body_bytes",
        ];
        assert_eq!(fields(&more), expected);
        let longer = Grant {
            expires_at: Some(1_001),
            ..own.clone()
        };
        assert_eq!(fields(&longer), ["expires_at"]);
    }
}
