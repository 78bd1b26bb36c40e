//! The ways to a view, encoded: in parts from nothing, or what differs from an older set.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hookplane_proto::agent::v1::{Delta, Held, SnapshotChunk};

use super::{PoolView, Prepared, locked, wire_key};
use crate::fleet::frame;
use crate::fleet::held::{Key, Set, Step};

/// Resources of one message, in bytes; the frame around them is small.
const CHUNK: usize = 960 * 1_024;
/// Ways from older sets that are kept; agents that answer late come from a few of them.
const KEPT: usize = 64;

/// A part of a snapshot, without its nonce.
pub(in crate::fleet) type Chunk = Bytes;

/// What leads from one set to this view.
pub(in crate::fleet) struct Move {
    /// A delta without its nonce; `None` when it would be too large for one message.
    pub(in crate::fleet) delta: Option<Bytes>,
    /// Nothing changes.
    pub(in crate::fleet) is_empty: bool,
    /// The set after it.
    pub(in crate::fleet) result: Arc<Set>,
}

#[derive(Default)]
pub(super) struct Moves(Mutex<HashMap<(String, u64), Arc<Move>>>);

impl PoolView {
    /// What makes an agent that refuses nothing hold this view.
    pub(in crate::fleet) fn held(&self, set: &Set) -> Held {
        Held {
            epoch: self.head.epoch.clone(),
            revision: self.head.revision,
            digest: set.digest.clone(),
        }
    }

    /// The way from a set that many agents hold; made once for all of them.
    pub(in crate::fleet) fn shared_move(&self, from: &Set, base_revision: u64) -> Arc<Move> {
        let name = (from.digest.clone(), base_revision);
        let known = locked(&self.moves.0).get(&name).cloned();
        if let Some(known) = known {
            return known;
        }
        let made = Arc::new(self.own_move(from, &self.set, &BTreeSet::new(), base_revision));
        let mut moves = locked(&self.moves.0);
        if moves.len() >= KEPT {
            moves.clear();
        }
        moves.insert(name, Arc::clone(&made));
        made
    }

    /// The way of one agent, which shall come to `wanted` and leaves out what is parked.
    pub(in crate::fleet) fn own_move(
        &self,
        from: &Set,
        wanted: &Arc<Set>,
        parked: &BTreeSet<(Key, u64)>,
        base_revision: u64,
    ) -> Move {
        let step = Step::between(&from.versions, &wanted.versions, parked);
        let changed = || {
            step.upserts
                .iter()
                .filter_map(|key| self.resources.get(key))
        };
        let bytes: usize = changed().map(|one| one.encoded.len()).sum();
        let delta = (bytes <= CHUNK).then(|| {
            let delta = Delta {
                nonce: 0,
                held: Some(self.held(wanted)),
                base_revision,
                upserts: Vec::new(),
                removals: step.removals.iter().map(wire_key).collect(),
                deleted_connections: self.deleted_since(base_revision),
            };
            frame::delta_body(&delta, changed().map(|one| &one.encoded))
        });
        let is_empty = step.is_empty();
        let result = if step.result == wanted.versions {
            Arc::clone(wanted)
        } else {
            Set::new(step.result)
        };
        Move {
            delta,
            is_empty,
            result,
        }
    }

    /// Everything, in parts that are made once for all agents.
    pub(in crate::fleet) fn shared_chunks(&self) -> Arc<[Chunk]> {
        let all = || self.chunks_of(&self.set, self.resources.values());
        Arc::clone(self.chunks.get_or_init(all))
    }

    /// What one agent shall hold, in parts.
    pub(in crate::fleet) fn own_chunks(&self, wanted: &Set) -> Arc<[Chunk]> {
        let usable = self.resources.iter().filter(|(key, one)| {
            let version = wanted.versions.get(*key);
            version == Some(&one.version)
        });
        self.chunks_of(wanted, usable.map(|(_, one)| one))
    }

    fn chunks_of<'a>(
        &self,
        set: &Set,
        resources: impl Iterator<Item = &'a Arc<Prepared>>,
    ) -> Arc<[Chunk]> {
        let mut parts: Vec<Vec<&Bytes>> = vec![Vec::new()];
        let mut bytes = 0;
        for one in resources {
            let size = one.encoded.len();
            if bytes + size > CHUNK && bytes > 0 {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            if let Some(part) = parts.last_mut() {
                part.push(&one.encoded);
            }
        }
        let count = parts.len();
        let chunk = |(index, part): (usize, Vec<&Bytes>)| {
            let last = index + 1 == count;
            let chunk = SnapshotChunk {
                nonce: 0,
                held: Some(self.held(set)),
                index: u32::try_from(index).unwrap_or(u32::MAX),
                last,
                resources: Vec::new(),
                deleted_connections: if last {
                    self.deleted_since(0)
                } else {
                    Vec::new()
                },
            };
            frame::snapshot_body(&chunk, part.into_iter())
        };
        parts.into_iter().enumerate().map(chunk).collect()
    }
}
