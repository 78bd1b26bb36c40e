//! What a configuration would make of the sources it concerns: made in a change that is given up.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Applying, Configuration, Planned, Snapshot, Turn, Wanted, bounded};
use crate::domain::{Connection, Violation};
use crate::service::{Call, ServiceError};
use crate::store::{Change, SourceGroup};

/// Sources of one evaluation: each is a question to all agents.
const MOST_SOURCES: usize = 16;

/// A stored source as agents have it, and as they would.
#[derive(Clone, Debug)]
pub struct Shadowed {
    pub before: SourceGroup,
    pub after: SourceGroup,
}

impl Configuration {
    /// The stored sources that would change, themselves or by their connections and stored filters.
    /// Nothing is changed.
    ///
    /// # Errors
    /// [`ServiceError`] says what stands in the way of the proposal.
    pub async fn shadow(&self, call: &Call, wanted: Wanted) -> Result<Vec<Shadowed>, ServiceError> {
        bounded(&wanted)?;
        let _turn = Turn::of(&self.under_way, &call.team_id)?;
        let change = self.store.change().await?;
        let mut applying = Applying {
            change: &change,
            call,
            now: self.clock.now_millis(),
            steps: Vec::new(),
            named: HashSet::new(),
            names: HashMap::new(),
        };
        applying.all(wanted).await?;
        let steps = applying.steps;
        let concerned = concerned(&change, &call.team_id, &steps).await?;
        let ids = Vec::from_iter(concerned);
        let after = change.groups(&call.team_id, &ids).await?;
        // Given up, so that it is as if nothing had been asked.
        drop(change);
        let before = self.store.groups(&call.team_id, &ids).await?;
        // What is new has no requests yet.
        let mut pairs = Vec::new();
        for before in before {
            if let Some(after) = after.iter().find(|one| one.source.id == before.source.id) {
                let after = after.clone();
                pairs.push(Shadowed { before, after });
            }
        }
        if pairs.len() > MOST_SOURCES {
            let count = pairs.len();
            let text = format!("{count} stored sources would change; {MOST_SOURCES} are possible");
            return Err(vec![Violation::new("sources", text)].into());
        }
        Ok(pairs)
    }
}

/// Ids of the sources that the steps change.
async fn concerned(
    change: &Change,
    team_id: &str,
    steps: &[Planned],
) -> Result<BTreeSet<String>, ServiceError> {
    let mut sources = BTreeSet::new();
    let mut filters = HashSet::new();
    for step in steps.iter().filter(|step| step.changed) {
        for snapshot in step.before.iter().chain(&step.after) {
            match snapshot {
                Snapshot::Source(one) => drop(sources.insert(one.id.clone())),
                Snapshot::Connection(one) => drop(sources.insert(one.source_id.clone())),
                Snapshot::Filter(one) => drop(filters.insert(one.id.clone())),
                // Where events go does not change which there are.
                Snapshot::Destination(_) => {}
            }
        }
    }
    if !filters.is_empty() {
        let uses = |one: &Connection| one.spec.filter_ids().any(|(_, id)| filters.contains(id));
        let users = change.all_where::<Connection>(team_id, uses).await?;
        sources.extend(users.into_iter().map(|one| one.source_id));
    }
    Ok(sources)
}
