//! What the agents of a pool shall hold, built once per revision for all of them.
//!
//! Owns the newest view of every pool and the sets of older ones, so that a
//! returning agent gets a delta. Refuses to know streams. Invariants: a view
//! holds its pool's resources only; at most one build per pool is under way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookplane_proto::agent::v1::{Resource, ResourceKey, ResourceKind, SourceGroup, resource};
use prost::Message as _;
use tokio::sync::Mutex as AsyncMutex;

use super::held::{self, Key, Kind, Versions};
use crate::store::config::{DeletedConnection, Head};
use crate::store::{self, ConfigStore, PoolConfiguration, StoreError};
use crate::wire::{Secrets, connection, destination, source};

/// Older sets that are remembered per pool.
const REMEMBERED: usize = 64;

/// Everything the agents of one pool shall hold, at one revision.
pub(super) struct PoolView {
    pub(super) head: Head,
    pub(super) digest: String,
    pub(super) versions: Arc<Versions>,
    resources: BTreeMap<Key, Arc<Prepared>>,
    deleted: Vec<DeletedConnection>,
}

/// A resource in its wire form, secrets revealed. Has no `Debug` on purpose.
pub(super) struct Prepared {
    pub(super) resource: Resource,
    /// Bytes on the wire.
    pub(super) size: usize,
}

/// The views of all pools.
pub(super) struct Views {
    config: ConfigStore,
    ingest_base: String,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

#[derive(Default)]
struct Pool {
    /// Held over the read of the database, so that agents that come at once share one build.
    build: AsyncMutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    newest: Option<Arc<PoolView>>,
    /// Newest last.
    older: VecDeque<(String, Arc<Versions>)>,
}

impl Views {
    pub(super) fn new(config: ConfigStore, ingest_base: String) -> Self {
        Self {
            config,
            ingest_base,
            pools: Mutex::new(HashMap::new()),
        }
    }

    /// The view of a pool at the newest revision that is known here.
    pub(super) async fn newest(&self, pool_name: &str) -> Result<Arc<PoolView>, StoreError> {
        let pool = self.pool(pool_name);
        let wanted = *self.config.changes().borrow();
        let fresh = |view: &Arc<PoolView>| view.head.revision >= wanted;
        if let Some(view) = pool.newest().filter(fresh) {
            return Ok(view);
        }
        let _turn = pool.build.lock().await;
        let before = pool.newest();
        if let Some(view) = before.clone().filter(fresh) {
            return Ok(view);
        }
        let read = self.config.pool(pool_name).await?;
        let view = Arc::new(PoolView::build(read, before.as_deref(), &self.ingest_base));
        pool.keep(&view);
        Ok(view)
    }

    /// The newest view that was built, without asking the database.
    pub(super) fn built(&self, pool_name: &str) -> Option<Arc<PoolView>> {
        let pools = locked(&self.pools);
        pools.get(pool_name).and_then(|pool| pool.newest())
    }

    /// A set that this pool had in this lineage, by its digest.
    pub(super) fn remembered(
        &self,
        pool: &str,
        epoch: &str,
        digest: &str,
    ) -> Option<Arc<Versions>> {
        let pool = self.pool(pool);
        let known = locked(&pool.known);
        let newest = known.newest.as_ref()?;
        if newest.head.epoch != epoch {
            return None;
        }
        if newest.digest == digest {
            return Some(Arc::clone(&newest.versions));
        }
        let found = known.older.iter().rev().find(|(older, _)| older == digest);
        found.map(|(_, versions)| Arc::clone(versions))
    }

    fn pool(&self, name: &str) -> Arc<Pool> {
        let mut pools = locked(&self.pools);
        Arc::clone(pools.entry(name.to_owned()).or_default())
    }
}

impl Pool {
    fn newest(&self) -> Option<Arc<PoolView>> {
        locked(&self.known).newest.clone()
    }

    fn keep(&self, view: &Arc<PoolView>) {
        let mut known = locked(&self.known);
        if let Some(before) = known.newest.replace(Arc::clone(view)) {
            if before.head.epoch != view.head.epoch {
                known.older.clear();
            } else if before.digest != view.digest {
                let set = (before.digest.clone(), Arc::clone(&before.versions));
                known.older.push_back(set);
            }
        }
        while known.older.len() > REMEMBERED {
            known.older.pop_front();
        }
    }
}

impl PoolView {
    fn build(read: PoolConfiguration, before: Option<&Self>, ingest_base: &str) -> Self {
        let mut resources = BTreeMap::new();
        let known = |key: &Key, version: u64| {
            let same = before?.resources.get(key)?;
            (same.resource.version == version).then(|| Arc::clone(same))
        };
        for to in &read.destinations {
            let key = key(Kind::Destination, &to.id);
            let prepared = known(&key, to.revision).unwrap_or_else(|| {
                let message = destination::message(to, Secrets::Revealed);
                Prepared::new(&key, to.revision, resource::Body::Destination(message))
            });
            resources.insert(key, prepared);
        }
        for group in &read.sources {
            let key = key(Kind::Source, &group.source.id);
            let prepared = known(&key, group.version).unwrap_or_else(|| {
                let body = resource::Body::Source(group_message(group, ingest_base));
                Prepared::new(&key, group.version, body)
            });
            resources.insert(key, prepared);
        }
        let version = |(key, one): (&Key, &Arc<Prepared>)| (key.clone(), one.resource.version);
        let versions: Versions = resources.iter().map(version).collect();
        Self {
            head: read.head,
            digest: held::digest(&versions),
            versions: Arc::new(versions),
            resources,
            deleted: read.deleted,
        }
    }

    /// Connections that a person deleted after a revision; 0 for all that are remembered.
    pub(super) fn deleted_since(&self, revision: u64) -> Vec<String> {
        let since = self.deleted.iter().filter(|one| one.revision > revision);
        since.map(|one| one.id.clone()).collect()
    }

    /// One resource by its key.
    pub(super) fn resource(&self, key: &Key) -> Option<&Prepared> {
        self.resources.get(key).map(AsRef::as_ref)
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = &Prepared> {
        self.resources.values().map(AsRef::as_ref)
    }
}

impl Prepared {
    fn new(key: &Key, version: u64, body: resource::Body) -> Arc<Self> {
        let resource = Resource {
            key: Some(wire_key(key)),
            version,
            body: Some(body),
        };
        let size = resource.encoded_len();
        Arc::new(Self { resource, size })
    }
}

fn group_message(group: &store::SourceGroup, ingest_base: &str) -> SourceGroup {
    SourceGroup {
        source: Some(source::message(
            &group.source,
            ingest_base,
            Secrets::Revealed,
        )),
        connections: group.connections.iter().map(connection::message).collect(),
    }
}

fn key(kind: Kind, id: &str) -> Key {
    let id = id.to_owned();
    Key { kind, id }
}

/// A key in its wire form.
pub(super) fn wire_key(key: &Key) -> ResourceKey {
    let kind = match key.kind {
        Kind::Destination => ResourceKind::Destination,
        Kind::Source => ResourceKind::Source,
    };
    ResourceKey {
        kind: kind.into(),
        id: key.id.clone(),
    }
}

/// A key from its wire form; `None` for a kind that is not known.
pub(super) fn read_key(wire: &ResourceKey) -> Option<Key> {
    let kind = match wire.kind() {
        ResourceKind::Destination => Kind::Destination,
        ResourceKind::Source => Kind::Source,
        ResourceKind::Unspecified => return None,
    };
    Some(key(kind, &wire.id))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks, and what they guard stays whole if it did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
