//! What the agent holds of the control plane's configuration, and how a change alters it.
//!
//! Pure: takes what is held and a change, gives what is held afterwards. A
//! refused resource keeps its previous state and is parked: it is tried again
//! with every later change, because what it lacked (its destination, say) may
//! come without the resource being sent again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use hookplane_proto::agent::v1::{Held, Refusal, Resource, ResourceKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::convert::{Key, Kind, Prepared, Unfit, prepare};
use super::disk::Generation;
use crate::config::Configuration;

/// Deletions remembered; the control plane tells of the past 60 days.
const MAX_DELETED: usize = 100_000;

/// Everything held. Cheap to clone next to a change.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) configuration: Arc<Configuration>,
    applied: BTreeMap<Key, Arc<Resource>>,
    parked: BTreeMap<Key, Arc<Resource>>,
    /// Destinations in force that were removed: a source that stays as it was uses them.
    retained: BTreeSet<Key>,
    /// The last digest the control plane gave agreed with ours.
    digests_agree: bool,
}

/// A whole configuration, or changes to the one of `base`.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) held: Held,
    /// `None` replaces everything.
    pub(super) base: Option<u64>,
    pub(super) upserts: Vec<Resource>,
    pub(super) removals: Vec<ResourceKey>,
    /// Connections that a person deleted.
    pub(super) deleted_connections: Vec<String>,
}

/// What a change came to.
pub(super) struct Changed {
    pub(super) ledger: Ledger,
    /// All that is parked now.
    pub(super) refused: Vec<Refusal>,
}

/// Why a change does not fit what is held. Nothing of it was applied.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Misfit {
    #[error("revision {offered} is older than revision {held}")]
    Older { offered: u64, held: u64 },
    #[error("the change builds on revision {base} of epoch {epoch}, which is not held")]
    Base { base: u64, epoch: String },
    #[error("the digest after the change differs from the control plane's")]
    Digest,
}

impl Ledger {
    /// From the copy on disk; what this release cannot use is parked.
    pub(super) fn restore(generation: Generation) -> Self {
        let Generation {
            held,
            applied,
            parked,
            deleted_connections,
        } = generation;
        let change = Change {
            held,
            base: None,
            upserts: applied,
            removals: Vec::new(),
            deleted_connections,
        };
        let mut restored = Self::default().replace(change).ledger;
        for resource in parked {
            if let Some(key) = resource.key.as_ref().and_then(Key::from_wire) {
                restored.parked.entry(key).or_insert(Arc::new(resource));
            }
        }
        restored
    }

    pub(super) fn generation(&self) -> Generation {
        let copy = |held: &BTreeMap<Key, Arc<Resource>>| {
            held.values()
                .map(|resource| Resource::clone(resource))
                .collect()
        };
        Generation {
            held: self.held(),
            applied: copy(&self.applied),
            parked: copy(&self.parked),
            deleted_connections: self
                .configuration
                .deleted_connections
                .iter()
                .cloned()
                .collect(),
        }
    }

    /// Epoch, revision and the digest of what is in force.
    pub(super) fn held(&self) -> Held {
        Held {
            epoch: self.configuration.epoch.clone(),
            revision: self.configuration.revision,
            digest: digest(&self.applied),
        }
    }

    /// False before the first configuration.
    pub(super) fn is_complete(&self) -> bool {
        !self.configuration.epoch.is_empty()
    }

    pub(super) fn refused_count(&self) -> u64 {
        self.parked.len() as u64
    }

    /// Whether this is what the control plane means by its newest revision.
    pub(super) fn agrees_with(&self, theirs: &Held) -> bool {
        let same = self.configuration.epoch == theirs.epoch
            && self.configuration.revision == theirs.revision;
        same && (!self.digests_agree || self.offered_digest() == theirs.digest)
    }

    pub(super) fn apply(&self, change: Change) -> Result<Changed, Misfit> {
        let held = self.configuration.revision;
        let same_epoch = self.configuration.epoch == change.held.epoch;
        let offered = change.held.revision;
        match change.base {
            None if same_epoch && offered < held => Err(Misfit::Older { offered, held }),
            None => Ok(self.replace(change)),
            Some(base) if !same_epoch || base != held || !self.is_complete() => Err(Misfit::Base {
                base,
                epoch: change.held.epoch,
            }),
            Some(_) if offered < held => Err(Misfit::Older { offered, held }),
            Some(_) => {
                let theirs = change.held.digest.clone();
                let changed = self.alter(change, self.clone());
                if self.digests_agree && changed.ledger.offered_digest() != theirs {
                    return Err(Misfit::Digest);
                }
                Ok(changed)
            }
        }
    }

    fn replace(&self, change: Change) -> Changed {
        let theirs = change.held.digest.clone();
        let mut changed = self.alter(change, Self::default());
        // A whole configuration is all there is to have, so a digest that differs (resources of
        // a kind that this release does not know, say) is no reason to ask for it again.
        let agree = changed.ledger.offered_digest() == theirs;
        changed.ledger.digests_agree = agree;
        if !agree && !theirs.is_empty() {
            tracing::warn!("the digest of the configuration differs from the control plane's");
        }
        changed
    }

    /// Puts the change on top of `next`; previous states come from `self`.
    fn alter(&self, change: Change, mut next: Self) -> Changed {
        let mut configuration = Configuration {
            epoch: change.held.epoch,
            revision: change.held.revision,
            sources: next.configuration.sources.clone(),
            destinations: next.configuration.destinations.clone(),
            ..Configuration::default()
        };
        let mut refused = Vec::new();
        // What was retained goes now, unless something still needs it.
        let retained = std::mem::take(&mut next.retained);
        let removals = change.removals.iter().filter_map(Key::from_wire);
        for key in removals.chain(retained) {
            next.applied.remove(&key);
            next.parked.remove(&key);
            match key.kind {
                Kind::Source => drop(configuration.sources.remove(&key.id)),
                Kind::Destination => drop(configuration.destinations.remove(&key.id)),
            }
        }
        let mut candidates = std::mem::take(&mut next.parked);
        for resource in change.upserts {
            match resource.key.as_ref().and_then(Key::from_wire) {
                Some(key) => drop(candidates.insert(key, Arc::new(resource))),
                None => refused.push(Refusal {
                    version: resource.version,
                    key: resource.key,
                    reason: "unsupported".to_owned(),
                    message: "the kind of the resource is not known to this release".to_owned(),
                }),
            }
        }
        // Keys sort destinations first, so sources find theirs.
        for (key, resource) in candidates {
            let has = |id: &str| configuration.destinations.contains_key(id);
            match prepare(&key, &resource, has) {
                Ok(prepared) => {
                    put(&mut configuration, prepared);
                    next.applied.insert(key, resource);
                }
                Err(unfit) => {
                    self.keep_previous(&key, &mut next, &mut configuration);
                    refused.push(refusal(&key, resource.version, unfit));
                    next.parked.insert(key, resource);
                }
            }
        }
        refused.extend(self.retain(&mut next, &mut configuration));
        configuration.deleted_connections =
            self.deleted_with(change.deleted_connections, &configuration);
        next.configuration = Arc::new(configuration);
        Changed {
            ledger: next,
            refused,
        }
    }

    /// What is known to be deleted: as before, and what the change tells; not what is there.
    fn deleted_with(&self, told: Vec<String>, next: &Configuration) -> HashSet<String> {
        let mut deleted = self.configuration.deleted_connections.clone();
        deleted.extend(told);
        if deleted.len() > MAX_DELETED {
            // Ids sort by their time: the oldest connections are the likeliest to be done with.
            let mut sorted: Vec<String> = deleted.into_iter().collect();
            sorted.sort_unstable();
            deleted = sorted
                .split_off(sorted.len() - MAX_DELETED)
                .into_iter()
                .collect();
        }
        if !deleted.is_empty() {
            for id in connection_ids(next) {
                deleted.remove(&id);
            }
        }
        deleted
    }

    fn keep_previous(&self, key: &Key, next: &mut Self, configuration: &mut Configuration) {
        let Some(resource) = self.applied.get(key) else {
            return;
        };
        next.applied.insert(key.clone(), Arc::clone(resource));
        let (before, id) = (&self.configuration, key.id.clone());
        match key.kind {
            Kind::Source => {
                if let Some(source) = before.sources.get(&id) {
                    configuration.sources.insert(id, Arc::clone(source));
                }
            }
            Kind::Destination => {
                if let Some(destination) = before.destinations.get(&id) {
                    configuration
                        .destinations
                        .insert(id, Arc::clone(destination));
                }
            }
        }
    }

    /// Keeps the removed destinations to which sources in force still deliver: their
    /// events would have nowhere to go.
    fn retain(&self, next: &mut Self, configuration: &mut Configuration) -> Vec<Refusal> {
        let sources = configuration.sources.values();
        let branches = sources.flat_map(|source| source.connections.iter());
        let lacking: BTreeSet<String> = branches
            .map(|branch| &branch.destination_id)
            .filter(|id| !configuration.destinations.contains_key(*id))
            .cloned()
            .collect();
        let mut refused = Vec::new();
        for id in lacking {
            let key = Key {
                kind: Kind::Destination,
                id,
            };
            self.keep_previous(&key, next, configuration);
            if let Some(resource) = next.applied.get(&key) {
                refused.push(Refusal {
                    key: Some(key.to_wire()),
                    version: resource.version,
                    reason: "in_use".to_owned(),
                    message: "a source that stays as it was delivers to it".to_owned(),
                });
                next.retained.insert(key);
            }
        }
        refused
    }

    /// Of what the control plane sent, parked versions instead of those in force.
    fn offered_digest(&self) -> String {
        let mut offered = self.applied.clone();
        offered.retain(|key, _| !self.retained.contains(key));
        offered.extend(self.parked.clone());
        digest(&offered)
    }
}

fn connection_ids(configuration: &Configuration) -> impl Iterator<Item = String> {
    let sources = configuration.sources.values();
    sources.flat_map(|source| source.connections.iter().map(|branch| branch.id.clone()))
}

fn put(configuration: &mut Configuration, prepared: Prepared) {
    match prepared {
        Prepared::Source(source) => {
            let source = Arc::new(*source);
            configuration.sources.insert(source.id.clone(), source);
        }
        Prepared::Destination(destination) => {
            let destination = Arc::new(*destination);
            configuration
                .destinations
                .insert(destination.id.clone(), destination);
        }
    }
}

fn refusal(key: &Key, version: u64, unfit: Unfit) -> Refusal {
    Refusal {
        key: Some(key.to_wire()),
        version,
        reason: unfit.reason,
        message: unfit.message,
    }
}

fn digest(held: &BTreeMap<Key, Arc<Resource>>) -> String {
    let mut lines = String::new();
    for (key, resource) in held {
        writeln!(lines, "{} {} {}", key.kind, key.id, resource.version)
            .expect("a String takes every write");
    }
    hex::encode(Sha256::digest(lines))
}

#[cfg(test)]
mod tests;
