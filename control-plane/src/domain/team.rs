//! Teams: the tenants of an installation.

use super::Millis;
use super::violation::{self, Violation};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    pub id: String,
    /// Unique in the installation.
    pub name: String,
    pub created_at: Millis,
}

/// Every fault of a name for a team.
#[must_use]
pub fn faults(name: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    violation::name("name", name, &mut found);
    found
}
