//! What an agent holds: versions by key, their digest, and the way from one set to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Kinds of resources, in the order of their words: the digest sorts by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Destination,
    Source,
}

impl Kind {
    /// The word in digests and refusals.
    #[must_use]
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Source => "source",
        }
    }
}

/// What a resource is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// Shared: the same keys stand in many sets.
    pub(super) id: Arc<str>,
}

impl Key {
    #[must_use]
    pub(super) fn new(kind: Kind, id: &str) -> Self {
        let id = id.into();
        Self { kind, id }
    }
}

/// Versions by key.
pub(super) type Versions = BTreeMap<Key, u64>;

/// A held set with its digest, which takes a while to compute.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) versions: Versions,
    pub(super) digest: String,
}

impl Set {
    #[must_use]
    pub(super) fn new(versions: Versions) -> Arc<Self> {
        let digest = digest(&versions);
        Arc::new(Self { versions, digest })
    }
}

/// SHA-256, hex, over the lines `<kind> <id> <version>`.
#[must_use]
pub(super) fn digest(versions: &Versions) -> String {
    let mut hash = Sha256::new();
    let mut line = String::new();
    for (key, version) in versions {
        line.clear();
        // Writing into a text cannot fail.
        writeln!(line, "{} {} {version}", key.kind.word(), key.id).unwrap_or_default();
        hash.update(line.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// What leads from one held set to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) upserts: Vec<Key>,
    pub(super) removals: Vec<Key>,
    /// The set after the step.
    pub(super) result: Versions,
}

impl Step {
    /// From `held` towards `wanted`, leaving out the versions that were refused:
    /// of those the agent keeps what it has.
    #[must_use]
    pub(super) fn between(
        held: &Versions,
        wanted: &Versions,
        parked: &BTreeSet<(Key, u64)>,
    ) -> Self {
        let mut step = Self::default();
        for (key, version) in wanted {
            let has = held.get(key).copied();
            let is_parked = || parked.contains(&(key.clone(), *version));
            if has == Some(*version) {
                step.result.insert(key.clone(), *version);
            } else if is_parked() {
                step.result.extend(has.map(|has| (key.clone(), has)));
            } else {
                step.upserts.push(key.clone());
                step.result.insert(key.clone(), *version);
            }
        }
        step.removals = held
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .cloned()
            .collect();
        step
    }

    /// Whether nothing changes.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

/// The set after an agent refused some of what would have made it `wanted`.
#[must_use]
pub(super) fn without(
    wanted: &Versions,
    before: Option<&Versions>,
    refused: &BTreeSet<Key>,
) -> Versions {
    let mut held = wanted.clone();
    for key in refused {
        match before.and_then(|before| before.get(key)) {
            Some(version) => held.insert(key.clone(), *version),
            None => held.remove(key),
        };
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, id: &str) -> Key {
        Key::new(kind, id)
    }

    fn set(rows: &[(Kind, &str, u64)]) -> Versions {
        let row = |(kind, id, version): &(Kind, &str, u64)| (key(*kind, id), *version);
        rows.iter().map(row).collect()
    }

    #[test]
    fn the_digest_is_taken_over_sorted_lines() {
        let held = set(&[(Kind::Source, "src_a", 7), (Kind::Destination, "des_b", 3)]);
        let lines = "destination des_b 3\nsource src_a 7\n";
        assert_eq!(digest(&held), hex::encode(Sha256::digest(lines)));
    }

    #[test]
    fn a_step_brings_exactly_what_differs() {
        let held = set(&[(Kind::Source, "a", 1), (Kind::Source, "b", 1)]);
        let wanted = set(&[(Kind::Source, "a", 2), (Kind::Destination, "c", 2)]);
        let step = Step::between(&held, &wanted, &BTreeSet::new());
        let new = vec![key(Kind::Destination, "c"), key(Kind::Source, "a")];
        assert_eq!(step.upserts, new);
        assert_eq!(step.removals, vec![key(Kind::Source, "b")]);
        assert_eq!(step.result, wanted);
    }

    #[test]
    fn a_parked_version_stays_away_until_it_changes() {
        let held = set(&[(Kind::Source, "a", 1)]);
        let refused = set(&[(Kind::Source, "a", 2), (Kind::Source, "b", 2)]);
        let parked = refused.clone().into_iter().collect();
        let step = Step::between(&held, &refused, &parked);
        assert!(step.is_empty(), "{step:?}");
        assert_eq!(step.result, held, "the previous version stays");
        let changed = set(&[(Kind::Source, "a", 3), (Kind::Source, "b", 2)]);
        let step = Step::between(&held, &changed, &parked);
        assert_eq!(step.upserts, vec![key(Kind::Source, "a")]);
    }
}
