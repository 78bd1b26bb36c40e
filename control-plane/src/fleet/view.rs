//! What the agents of a pool shall hold, built once per revision for all of them.
//!
//! Owns the newest view of every pool, what a rollout keeps most agents at, and
//! the way back to older sets, so that a returning agent gets a delta. Refuses to
//! know streams. Invariants: a view holds its pool's resources only; at most one
//! build per pool is under way; a build costs by what changed.

mod moves;
mod past;
mod resource;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use super::held::{Key, Kind, Set, Versions};
use crate::store::config::Head;
use crate::store::pool::{DeletedConnection, Known, PoolChanges};
use crate::store::rollouts::Staged;
use crate::store::{ConfigStore, PoolConfiguration, StoreError};
pub(super) use moves::{Chunk, Move};
use past::Past;
use resource::Prepared;
pub(super) use resource::{read_key, wire_key};

/// Everything the agents of one pool shall hold, at one revision.
pub(super) struct PoolView {
    pub(super) head: Head,
    pub(super) set: Arc<Set>,
    resources: BTreeMap<Key, Arc<Prepared>>,
    /// Resources that not every agent can use.
    pub(super) demanding: Vec<Key>,
    deleted: Vec<DeletedConnection>,
    staged: Option<Arc<Staged>>,
    chunks: OnceLock<Arc<[Chunk]>>,
    moves: moves::Moves,
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
    known: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    newest: Option<Arc<PoolView>>,
    /// What the agents outside a rollout's share keep, by the rollout's id.
    held_back: Option<(String, Arc<PoolView>)>,
    past: Past,
}

impl Views {
    pub(super) fn new(config: ConfigStore, ingest_base: String) -> Self {
        Self {
            config,
            ingest_base,
            pools: Mutex::new(HashMap::new()),
        }
    }

    /// What one agent shall hold: the newest view of its pool, or what was before
    /// the rollout that leaves it out. Who has more than that already keeps it.
    pub(super) async fn for_agent(
        &self,
        pool_name: &str,
        agent_id: &str,
        has: u64,
    ) -> Result<Arc<PoolView>, StoreError> {
        let newest = self.newest(pool_name).await?;
        let Some(staged) = newest.staged.clone() else {
            return Ok(newest);
        };
        if !newest.keeps_from(agent_id, has) {
            return Ok(newest);
        }
        let pool = self.pool(pool_name);
        let _turn = pool.build.lock().await;
        if let Some(view) = pool.held_back(&staged.id, &newest.head.epoch) {
            return Ok(view);
        }
        match self.config.pool_before(pool_name, &staged.id).await? {
            Some(read) => {
                let view = Arc::new(PoolView::build(read, Some(&newest), &self.ingest_base));
                locked(&pool.known).held_back = Some((staged.id.clone(), Arc::clone(&view)));
                Ok(view)
            }
            // It ended just now; the revision that ended it is on its way here.
            None => Ok(newest),
        }
    }

    /// The view of a pool at the newest revision that is known here.
    pub(super) async fn newest(&self, pool_name: &str) -> Result<Arc<PoolView>, StoreError> {
        let pool = self.pool(pool_name);
        let wanted = self.config.changes().borrow().clone();
        let fresh = |view: &Arc<PoolView>| {
            view.head.epoch == wanted.epoch && view.head.revision >= wanted.revision
        };
        if let Some(view) = pool.newest().filter(fresh) {
            return Ok(view);
        }
        let _turn = pool.build.lock().await;
        let before = pool.newest();
        if let Some(view) = before.clone().filter(fresh) {
            return Ok(view);
        }
        let mut view = self.read(pool_name, before.as_deref()).await?;
        if view.head.epoch == wanted.epoch && view.head.revision < wanted.revision {
            // The database went back: this begins another epoch.
            self.config.refresh().await?;
            view = self.read(pool_name, None).await?;
        }
        self.config.seen(&view.head);
        let view = Arc::new(view);
        pool.keep(&view);
        Ok(view)
    }

    async fn read(&self, pool: &str, before: Option<&PoolView>) -> Result<PoolView, StoreError> {
        if let Some(before) = before {
            let known = Known {
                head: &before.head,
                sources: &|| before.source_ids(),
                has_destination: &|id| before.has_destination(id),
            };
            if let Some(changes) = self.config.pool_since(pool, known).await? {
                return Ok(PoolView::advance(changes, before, &self.ingest_base));
            }
        }
        let read = self.config.pool(pool).await?;
        let before = before.filter(|before| before.head.revision <= read.head.revision);
        Ok(PoolView::build(read, before, &self.ingest_base))
    }

    /// The newest view that was built, without asking the database.
    pub(super) fn built(&self, pool_name: &str) -> Option<Arc<PoolView>> {
        let pools = locked(&self.pools);
        pools.get(pool_name).and_then(|pool| pool.newest())
    }

    /// A set that this pool had in this lineage, by its digest.
    pub(super) fn remembered(&self, pool: &str, epoch: &str, digest: &str) -> Option<Arc<Set>> {
        let pool = self.pool(pool);
        let known = locked(&pool.known);
        let newest = known.newest.as_ref()?;
        if newest.head.epoch != epoch {
            return None;
        }
        let held_back = known.held_back.as_ref().map(|(_, view)| &view.set);
        if let Some(set) = held_back.filter(|set| set.digest == digest) {
            return Some(Arc::clone(set));
        }
        known.past.find(&newest.set, digest)
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

    /// Rollouts of two lineages may have one id.
    fn held_back(&self, rollout: &str, epoch: &str) -> Option<Arc<PoolView>> {
        let known = locked(&self.known);
        let (id, view) = known.held_back.as_ref()?;
        (id == rollout && view.head.epoch == epoch).then(|| Arc::clone(view))
    }

    fn keep(&self, view: &Arc<PoolView>) {
        let mut known = locked(&self.known);
        let before = known.newest.replace(Arc::clone(view));
        match before {
            Some(before) if before.head.epoch == view.head.epoch => {
                known.past.add(&before.set, &view.set);
            }
            Some(_) => {
                known.past.clear();
                known.held_back = None;
            }
            None => {}
        }
        // Its end is a step from what it kept back; agents may still say that they hold it.
        if view.staged.is_none()
            && let Some((_, kept)) = known.held_back.take()
        {
            known.past.also(&kept.set, &view.set);
        }
    }
}

impl PoolView {
    fn build(read: PoolConfiguration, before: Option<&Self>, ingest_base: &str) -> Self {
        let mut resources = BTreeMap::new();
        // A version means one thing within one lineage only.
        let before = before.filter(|before| before.head.epoch == read.head.epoch);
        let known = |key: &Key, version: u64| {
            let same = before?.resources.get(key)?;
            (same.version == version).then(|| Arc::clone(same))
        };
        for to in &read.destinations {
            let key = Key::new(Kind::Destination, &to.id);
            let one = known(&key, to.revision).unwrap_or_else(|| Prepared::destination(&key, to));
            resources.insert(key, one);
        }
        for group in &read.sources {
            let key = Key::new(Kind::Source, &group.source.id);
            let one = known(&key, group.version)
                .unwrap_or_else(|| Prepared::source(&key, group, ingest_base));
            resources.insert(key, one);
        }
        Self::new(read.head, resources, read.deleted, read.staged)
    }

    /// The view after a few changes. Shares all that is as it was.
    fn advance(changes: PoolChanges, before: &Self, ingest_base: &str) -> Self {
        let mut resources = before.resources.clone();
        let mut moved = !changes.gone.is_empty();
        for id in &changes.gone {
            resources.remove(&Key::new(Kind::Source, id));
        }
        for group in &changes.sources {
            let key = Key::new(Kind::Source, &group.source.id);
            let one = Prepared::source(&key, group, ingest_base);
            resources.insert(key, one);
            moved = true;
        }
        let mut candidates: BTreeMap<Key, Arc<Prepared>> = BTreeMap::new();
        for to in &changes.destinations {
            let key = Key::new(Kind::Destination, &to.id);
            let one = Prepared::destination(&key, to);
            match resources.get_mut(&key) {
                Some(known) => *known = one,
                None => drop(candidates.insert(key, one)),
            }
        }
        if moved {
            let wanted: HashSet<Arc<str>> = resources
                .values()
                .flat_map(|one| one.refers.iter().cloned())
                .collect();
            candidates.retain(|key, _| wanted.contains(&key.id));
            resources.append(&mut candidates);
            resources.retain(|key, _| key.kind == Kind::Source || wanted.contains(&key.id));
        }
        let mut deleted = before.deleted.clone();
        deleted.extend(changes.deleted);
        Self::new(changes.head, resources, deleted, changes.staged)
    }

    fn new(
        head: Head,
        resources: BTreeMap<Key, Arc<Prepared>>,
        deleted: Vec<DeletedConnection>,
        staged: Option<Staged>,
    ) -> Self {
        let version = |(key, one): (&Key, &Arc<Prepared>)| (key.clone(), one.version);
        let versions: Versions = resources.iter().map(version).collect();
        let demanding = resources
            .iter()
            .filter(|(_, one)| !one.needs.is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        Self {
            head,
            set: Set::new(versions),
            resources,
            demanding,
            deleted,
            staged: staged.map(Arc::new),
            chunks: OnceLock::new(),
            moves: moves::Moves::default(),
        }
    }

    /// What of a resource's needs an agent with these capabilities lacks.
    pub(super) fn lacking(&self, key: &Key, capabilities: &[String]) -> Option<&'static str> {
        let one = self.resources.get(key)?;
        let lacks = |need: &&&'static str| !capabilities.iter().any(|has| has == **need);
        one.needs.iter().find(lacks).copied()
    }

    /// Connections that a person deleted after a revision; 0 for all that are remembered.
    fn deleted_since(&self, revision: u64) -> Vec<String> {
        let since = self.deleted.iter().filter(|one| one.revision > revision);
        since.map(|one| one.id.clone()).collect()
    }

    /// Whether a rollout keeps this view from an agent that has so much already.
    pub(super) fn keeps_from(&self, agent_id: &str, has: u64) -> bool {
        let staged = self.staged.as_ref();
        staged
            .is_some_and(|staged| !staged.agents.contains(agent_id) && has <= staged.base_revision)
    }

    fn source_ids(&self) -> HashSet<String> {
        let sources = self.resources.keys().filter(|key| key.kind == Kind::Source);
        sources.map(|key| key.id.to_string()).collect()
    }

    fn has_destination(&self, id: &str) -> bool {
        self.resources
            .contains_key(&Key::new(Kind::Destination, id))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks, and what they guard stays whole if it did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
