//! Sets that a pool had before, kept as what differs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::fleet::held::{Key, Set};

/// Older sets that are remembered per pool.
const REMEMBERED: usize = 512;
/// Differences that are remembered per pool, over all sets.
const MOST_KEYS: usize = 100_000;

/// The way back, newest step last.
#[derive(Default)]
pub(super) struct Past {
    steps: VecDeque<Step>,
    keys: usize,
}

struct Step {
    /// Digest of the set it leads to.
    to: String,
    /// Digest of the set it starts from.
    from: String,
    undo: Vec<(Key, Option<u64>)>,
}

impl Past {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Remembers a set that another one follows.
    pub(super) fn add(&mut self, before: &Set, after: &Set) {
        self.also(before, after);
    }

    /// Remembers a set from which one gets to `after`, beside the one before it.
    pub(super) fn also(&mut self, other: &Set, after: &Set) {
        if other.digest == after.digest {
            return;
        }
        let undo = undo(other, after);
        self.keys += undo.len();
        self.steps.push_back(Step {
            to: other.digest.clone(),
            from: after.digest.clone(),
            undo,
        });
        while self.steps.len() > REMEMBERED || self.keys > MOST_KEYS {
            match self.steps.pop_front() {
                Some(step) => self.keys -= step.undo.len(),
                None => break,
            }
        }
    }

    /// A set by its digest, when one gets to it from the newest.
    pub(super) fn find(&self, newest: &Arc<Set>, digest: &str) -> Option<Arc<Set>> {
        if newest.digest == digest {
            return Some(Arc::clone(newest));
        }
        // From the newest step on, for a digest may come back.
        let last = self.steps.iter().rposition(|step| step.to == digest)?;
        let mut chain = vec![&self.steps[last]];
        let mut wanted = self.steps[last].from.as_str();
        for step in self.steps.iter().skip(last + 1) {
            if step.to == wanted {
                chain.push(step);
                wanted = &step.from;
            }
        }
        if wanted != newest.digest {
            return None;
        }
        let mut versions = newest.versions.clone();
        for step in chain.into_iter().rev() {
            for (key, version) in &step.undo {
                match version {
                    Some(version) => versions.insert(key.clone(), *version),
                    None => versions.remove(key),
                };
            }
        }
        let digest = digest.to_owned();
        Some(Arc::new(Set { versions, digest }))
    }
}

/// What makes `before` of `after`.
fn undo(before: &Set, after: &Set) -> Vec<(Key, Option<u64>)> {
    let mut undo = Vec::new();
    for (key, version) in &after.versions {
        let had = before.versions.get(key).copied();
        if had != Some(*version) {
            undo.push((key.clone(), had));
        }
    }
    for (key, version) in &before.versions {
        if !after.versions.contains_key(key) {
            undo.push((key.clone(), Some(*version)));
        }
    }
    undo
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::held::Kind;

    fn set(rows: &[(&str, u64)]) -> Arc<Set> {
        let row = |(id, version): &(&str, u64)| (Key::new(Kind::Source, id), *version);
        Set::new(rows.iter().map(row).collect())
    }

    #[test]
    fn every_remembered_set_is_found_again_whole() {
        let sets = [
            set(&[("a", 1)]),
            set(&[("a", 1), ("b", 2)]),
            set(&[("b", 2)]),
            set(&[("b", 4), ("c", 4)]),
        ];
        let mut past = Past::default();
        for pair in sets.windows(2) {
            past.add(&pair[0], &pair[1]);
        }
        let aside = set(&[("a", 1), ("c", 4)]);
        past.also(&aside, &sets[3]);
        for wanted in sets.iter().chain([&aside]) {
            let found = past.find(&sets[3], &wanted.digest).expect("remembered");
            assert_eq!(found.versions, wanted.versions);
        }
        assert!(past.find(&sets[3], "unknown").is_none());
        assert!(
            past.find(&aside, &sets[0].digest).is_none(),
            "not from there"
        );
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut past = Past::default();
        let first = set(&[("a", 0)]);
        let mut before = Arc::clone(&first);
        for version in 1..=REMEMBERED as u64 + 1 {
            let after = set(&[("a", version)]);
            past.add(&before, &after);
            before = after;
        }
        assert_eq!(past.steps.len(), REMEMBERED);
        assert!(past.find(&before, &first.digest).is_none());
    }
}
