//! What was done to configuration, keys and teams: one entry per change.
//!
//! Owns the form of an entry and what its hash covers. Refuses to know where
//! entries are kept and with which key they are authenticated.
//! Invariant: an entry holds no secret.

use serde_json::Value;

use super::{Caller, Millis};

/// A change about to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    pub action: Action,
    /// `source`, `api_key`, …
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    /// The configuration revision it made, if it made one.
    pub revision: Option<u64>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// Whether secrets changed: before and after look alike then.
    pub secrets_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Update,
    Delete,
    Rotate,
    Revoke,
    /// A rollout goes to every agent.
    Promote,
    /// A rollout is taken back.
    Return,
    /// Payloads were shown.
    Read,
    /// An event was sent again.
    Retry,
    /// A request went through today's rules again.
    Replay,
    /// A pending event was stopped.
    Cancel,
    /// A held event was let through.
    Release,
}

impl Action {
    /// The word in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
            Self::Promote => "promote",
            Self::Return => "return",
            Self::Read => "read",
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Cancel => "cancel",
            Self::Release => "release",
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub team_id: String,
    pub key_id: String,
    pub key_name: String,
}

impl Actor {
    /// The control plane itself.
    #[must_use]
    pub fn system() -> Self {
        Self::from(&Caller::system(""))
    }

    /// The same one, in the record of a team.
    #[must_use]
    pub fn in_team(&self, team_id: &str) -> Self {
        Self {
            team_id: team_id.to_owned(),
            ..self.clone()
        }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self {
            team_id: caller.team_id.clone(),
            key_id: caller.key_id.clone(),
            key_name: caller.key_name.clone(),
        }
    }
}

/// A recorded change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub actor: Actor,
    /// From 1 per team, without gaps.
    pub sequence: u64,
    pub at: Millis,
    pub action: String,
    pub kind: String,
    pub id: String,
    pub name: String,
    pub epoch: String,
    pub revision: Option<u64>,
    pub secrets_changed: bool,
    /// JSON.
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Entry {
    /// Everything of it and the hash of the entry before, so that no two entries
    /// or places have the same bytes.
    #[must_use]
    pub fn covered(&self, previous: &str) -> Vec<u8> {
        let revision = self.revision.map(|revision| revision.to_string());
        let fields = [
            Some(previous),
            Some(&self.actor.team_id),
            Some(&self.actor.key_id),
            Some(&self.actor.key_name),
            Some(&self.action),
            Some(&self.kind),
            Some(&self.id),
            Some(&self.name),
            Some(&self.epoch),
            revision.as_deref(),
            self.before.as_deref(),
            self.after.as_deref(),
        ];
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes.push(u8::from(self.secrets_changed));
        for field in fields {
            // Absent and empty differ, and no field can run into the next.
            bytes.push(u8::from(field.is_some()));
            let text = field.unwrap_or_default();
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}
