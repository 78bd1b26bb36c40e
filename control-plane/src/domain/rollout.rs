//! Staged rollouts: a change reaches a share of a pool first, holds, and goes on or returns.

use super::Millis;
use super::violation::{self, Violation};

/// A day; longer holds are a person's to make, with 0.
const MAX_HOLD_SECONDS: u32 = 86_400;

/// How changes of a pool are rolled out. A pool without one gets them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPolicy {
    pub pool: String,
    /// Of its agents, rounded up: 1 to 99.
    pub share_percent: u32,
    /// From the last change until the rest follows; 0 waits for a person.
    pub hold_seconds: u32,
    /// By how many percent points failures may rise before the change returns.
    pub max_failure_percent: u32,
    pub updated_at: Millis,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutState {
    /// The share has it, the rest does not.
    Holding,
    /// Everyone has it.
    Promoted,
    /// Nobody has it any more.
    Returned,
}

/// Changes on their way through a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub id: String,
    pub pool: String,
    pub state: RolloutState,
    /// What the agents outside the share keep.
    pub base_revision: u64,
    /// The newest change that belongs to it.
    pub revision: u64,
    /// The revision that ended it.
    pub ended_revision: Option<u64>,
    pub policy: RolloutPolicy,
    /// Ids of the agents in the share.
    pub agents: Vec<String>,
    /// 0 until the control plane has looked at it once.
    pub started_at: Millis,
    /// When the newest change joined it.
    pub changed_at: Millis,
    pub ended_at: Option<Millis>,
    /// Why it ended, or what it waits for.
    pub reason: String,
}

/// A resource that a rollout changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutResource {
    /// `source`, `connection` or `destination`.
    pub kind: String,
    pub id: String,
}

impl RolloutState {
    /// The word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Promoted => "promoted",
            Self::Returned => "returned",
        }
    }

    /// # Errors
    /// The word, when there is no such state.
    pub fn read(word: &str) -> Result<Self, String> {
        let all = [Self::Holding, Self::Promoted, Self::Returned];
        let found = all.into_iter().find(|state| state.word() == word);
        found.ok_or_else(|| format!("`{word}` is no state of a rollout"))
    }
}

impl RolloutPolicy {
    /// Every fault of it.
    #[must_use]
    pub fn faults(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::slug("pool", &self.pool, &mut found);
        if !(1..=99).contains(&self.share_percent) {
            found.push(Violation::new(
                "share_percent",
                "1 to 99; delete the policy to reach every agent at once",
            ));
        }
        if self.hold_seconds > MAX_HOLD_SECONDS {
            found.push(Violation::new(
                "hold_seconds",
                format!("at most {MAX_HOLD_SECONDS}; 0 holds until somebody promotes"),
            ));
        }
        if !(1..=100).contains(&self.max_failure_percent) {
            found.push(Violation::new("max_failure_percent", "1 to 100"));
        }
        found
    }

    /// How many of so many agents get a change first.
    #[must_use]
    pub fn share_of(&self, agents: usize) -> usize {
        (agents * self.share_percent as usize).div_ceil(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(share_percent: u32) -> RolloutPolicy {
        RolloutPolicy {
            pool: "default".to_owned(),
            share_percent,
            hold_seconds: 60,
            max_failure_percent: 20,
            updated_at: 0,
        }
    }

    #[test]
    fn a_share_is_never_nobody() {
        assert_eq!(policy(10).share_of(1), 1);
        assert_eq!(policy(10).share_of(10), 1);
        assert_eq!(policy(10).share_of(11), 2);
        assert_eq!(policy(10).share_of(0), 0);
    }

    #[test]
    fn a_policy_out_of_bounds_is_refused_by_field() {
        let fields = |policy: RolloutPolicy| -> Vec<String> {
            policy.faults().into_iter().map(|one| one.field).collect()
        };
        assert!(policy(10).faults().is_empty());
        assert_eq!(fields(policy(0)), ["share_percent"]);
        let long = RolloutPolicy {
            hold_seconds: MAX_HOLD_SECONDS + 1,
            max_failure_percent: 0,
            ..policy(10)
        };
        assert_eq!(fields(long), ["hold_seconds", "max_failure_percent"]);
    }
}
