//! Stored filters: conditions with a name, for rules of connections to refer to.

use std::collections::BTreeMap;

use hookplane_rules::{Filter as Compiled, FilterSpec};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::violation::{self, Violation};

/// A filter as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub id: String,
    pub team_id: String,
    pub spec: FilterSettings,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Configuration revision of the last change.
    pub revision: u64,
}

/// What people set. Serialised into the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterSettings {
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub conditions: FilterSpec,
}

impl FilterSettings {
    /// Every fault. Compiles the conditions with the code that agents run.
    #[must_use]
    pub fn faults(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        violation::slug("name", &self.name, &mut found);
        violation::description(&self.description, &mut found);
        violation::labels(&self.labels, &mut found);
        if let Err(fault) = Compiled::compile(&self.conditions) {
            let field = format!("conditions.{}", fault.path);
            found.push(Violation::new(field, fault.message));
        }
        found
    }

    /// What it adds to the bytes of a source's connections, each time it is used.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // What cannot be written has no length that would be allowed.
        serde_json::to_vec(self).map_or(u64::MAX, |text| text.len() as u64)
    }
}
