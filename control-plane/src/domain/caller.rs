//! Who acts: the holder of an API key, for one team.

use super::api_key::Grant;
use super::scope::Scope;

/// The holder of an API key, in the extensions of every request to `hookplane.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub team_id: String,
    pub key_id: String,
    pub key_name: String,
    pub grant: Grant,
}

impl Caller {
    /// The control plane itself, which makes the first key of an installation.
    #[must_use]
    pub fn system(team_id: &str) -> Self {
        Self {
            team_id: team_id.to_owned(),
            key_id: String::new(),
            key_name: "the control plane".to_owned(),
            grant: Grant::everything(),
        }
    }

    #[must_use]
    pub const fn may(&self, scope: Scope) -> bool {
        self.grant.scopes.has(scope)
    }
}
