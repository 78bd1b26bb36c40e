//! Authorities of agents' certificates: which of them signs, and which are trusted.
//!
//! Owns terms and lives; what is in the certificates stands in [`pki`].

pub mod pki;

use zeroize::Zeroizing;

use super::Millis;

const SECOND: Millis = 1_000;
const DAY: Millis = 86_400 * SECOND;
/// Of an authority.
pub const LIFE: Millis = 5 * 365 * DAY;
/// One that is older than this no longer signs, so that nothing outlives its authority.
const SIGNS: Millis = LIFE / 3 * 2;
/// Longest time that one is trusted when another signs.
pub const LONGEST_OVERLAP: Millis = 30 * DAY;
/// Most that are trusted at once: each is tried at each call of an agent.
pub const MOST_TRUSTED: usize = 8;
/// Ended ones are listed for so long; the audit record has them for good.
pub const REMEMBERED: Millis = 30 * DAY;

/// An authority as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAuthority {
    pub id: String,
    /// PEM.
    pub certificate: String,
    pub created_at: Millis,
    pub expires_at: Millis,
    /// `None` as long as no other one signs.
    pub trusted_until: Option<Millis>,
}

/// What an authority is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Signs, and is trusted.
    Signing,
    /// What it signed is trusted.
    Trusted,
    Ended,
}

impl AgentAuthority {
    #[must_use]
    pub fn standing(&self, now: Millis) -> Standing {
        if self.ends_at() <= now {
            Standing::Ended
        } else if self.trusted_until.is_some() || now - self.created_at >= SIGNS {
            Standing::Trusted
        } else {
            Standing::Signing
        }
    }

    /// From then on nobody trusts it.
    #[must_use]
    pub fn ends_at(&self) -> Millis {
        self.trusted_until
            .map_or(self.expires_at, |until| until.min(self.expires_at))
    }
}

/// An authority with the key it signs with. Prints no secret.
pub struct Signer {
    pub authority: AgentAuthority,
    /// PEM.
    pub private_key: Zeroizing<String>,
}
