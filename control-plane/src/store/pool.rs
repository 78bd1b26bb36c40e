//! What the agents of a pool need: all of it, or what changed since a revision.
//!
//! Of all teams, because an agent serves them all. A read of what changed costs
//! by the change, not by the pool: a change of one source in ten thousand has to
//! reach a thousand agents within a second.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hookplane_entity::{connection, deleted_connection, destination, source};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _,
};

use super::config::{Head, head};
use super::rollouts::{self, Staged};
use super::{
    ConfigStore, Sealer, StoreError, broken, connections, destinations, filters, handler_keys,
    signed, sources, unsigned,
};
use crate::domain::{Connection, Destination, Filter, KnownHandlerKey};

/// Changed sources up to which it is cheaper to read only those.
const FEW: usize = 2_000;
/// Values of one statement; SQLite takes 32,766.
const AT_ONCE: usize = 10_000;

/// Everything that the agents of one pool need, read at one revision.
#[derive(Clone, Debug)]
pub struct PoolConfiguration {
    pub head: Head,
    /// Sorted by id.
    pub sources: Vec<SourceGroup>,
    /// Those that a connection of the pool refers to, sorted by id.
    pub destinations: Vec<Destination>,
    /// Connections that a person deleted lately, oldest deletion first.
    pub deleted: Vec<DeletedConnection>,
    /// The rollout that holds the pool's newest changes back from most agents.
    pub staged: Option<Staged>,
}

/// A connection that a person deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedConnection {
    pub id: String,
    pub revision: u64,
}

/// A source with its connections.
#[derive(Clone, Debug)]
pub struct SourceGroup {
    pub source: crate::domain::Source,
    /// Sorted by id.
    pub connections: Vec<Connection>,
    /// Keys in force of its handlers, sorted by id.
    pub handler_keys: Vec<KnownHandlerKey>,
    /// Newest revision of the source and its connections, deleted ones included.
    pub version: u64,
}

/// What the reader has of a pool, so that only the rest is read.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub head: &'a Head,
    pub sources: &'a (dyn Fn() -> HashSet<String> + Sync),
    pub has_destination: &'a (dyn Fn(&str) -> bool + Sync),
}

/// What changed in a pool after a revision.
#[derive(Debug)]
pub struct PoolChanges {
    pub head: Head,
    pub sources: Vec<SourceGroup>,
    /// Sources that are not in the pool any more.
    pub gone: Vec<String>,
    /// Changed ones, and those that the reader lacked.
    pub destinations: Vec<Destination>,
    pub deleted: Vec<DeletedConnection>,
    pub staged: Option<Staged>,
}

impl ConfigStore {
    /// Everything that a pool needs.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn pool(&self, name: &str) -> Result<PoolConfiguration, StoreError> {
        let view = self.database.snapshot().await?;
        let pool = self.whole_pool(&view, name).await?;
        // Only read: nothing to keep.
        view.rollback().await?;
        Ok(pool)
    }

    /// What a pool needs beyond what is known; `None` when reading everything is
    /// the better way, or the only one.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn pool_since(
        &self,
        name: &str,
        known: Known<'_>,
    ) -> Result<Option<PoolChanges>, StoreError> {
        let view = self.database.snapshot().await?;
        let changes = self.changes_of_pool(&view, name, known).await?;
        view.rollback().await?;
        Ok(changes)
    }

    /// What the agents outside a rollout's share keep: the pool as it was before.
    /// `None` when the rollout has ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn pool_before(
        &self,
        name: &str,
        rollout_id: &str,
    ) -> Result<Option<PoolConfiguration>, StoreError> {
        let view = self.database.snapshot().await?;
        let mut pool = self.whole_pool(&view, name).await?;
        let Some(staged) = pool.staged.take().filter(|staged| staged.id == rollout_id) else {
            view.rollback().await?;
            return Ok(None);
        };
        let before = rollouts::images(&view, &staged.id).await?;
        before
            .put_back(&mut pool, name, &view, &self.sealer)
            .await?;
        pool.head.revision = staged.base_revision;
        pool.deleted
            .retain(|deleted| deleted.revision <= staged.base_revision);
        view.rollback().await?;
        Ok(Some(pool))
    }

    /// These sources of a team as agents get them; those that are not there are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn groups(
        &self,
        team_id: &str,
        ids: &[String],
    ) -> Result<Vec<SourceGroup>, StoreError> {
        let view = self.database.snapshot().await?;
        let found = groups_by_id(&view, &self.sealer, team_id, ids).await?;
        view.rollback().await?;
        Ok(found)
    }

    async fn whole_pool(
        &self,
        view: &DatabaseTransaction,
        name: &str,
    ) -> Result<PoolConfiguration, StoreError> {
        let head = head(view).await?;
        let rows = source::Entity::find()
            .filter(source::Column::Pool.eq(name))
            .order_by_asc(source::Column::Id)
            .all(view)
            .await?;
        let of_pool = connection::Entity::find()
            .filter(connection::Column::SourceId.in_subquery(sources_of_pool(name)))
            .order_by_asc(connection::Column::Id)
            .all(view)
            .await?;
        let receivers = destination::Entity::find()
            .filter(destination::Column::Id.in_subquery(receivers_of_pool(name)))
            .order_by_asc(destination::Column::Id)
            .all(view)
            .await?;
        let stored = filters::of_sources(view, sources_of_pool(name)).await?;
        let keys = handler_keys::of_sources(view, sources_of_pool(name)).await?;
        Ok(PoolConfiguration {
            head,
            sources: groups(&self.sealer, rows, of_pool, (&stored, keys))?,
            destinations: self.receivers(receivers)?,
            deleted: deletions(view, name, 0).await?,
            staged: rollouts::staged(view, name).await?,
        })
    }

    async fn changes_of_pool(
        &self,
        view: &DatabaseTransaction,
        name: &str,
        known: Known<'_>,
    ) -> Result<Option<PoolChanges>, StoreError> {
        let head = head(view).await?;
        let since = signed(known.head.revision);
        if head.epoch != known.head.epoch || head.revision < known.head.revision {
            return Ok(None);
        }
        let changed = source::Entity::find()
            .filter(source::Column::GroupRevision.gt(since))
            .order_by_asc(source::Column::Id)
            .limit(FEW as u64 + 1)
            .all(view)
            .await?;
        if changed.len() > FEW {
            return Ok(None);
        }
        let (ours, elsewhere): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|row| row.pool == name);
        let ids: Vec<String> = ours.iter().map(|row| row.id.clone()).collect();
        let of_groups = connection::Entity::find()
            .filter(connection::Column::SourceId.is_in(ids.clone()))
            .order_by_asc(connection::Column::Id)
            .all(view)
            .await?;
        let stored = filters::of_sources(view, these_sources(&ids)).await?;
        let keys = handler_keys::of_sources(view, these_sources(&ids)).await?;
        let elsewhere = elsewhere.into_iter().map(|row| row.id).collect();
        let gone = gone(view, name, (known.sources)(), &ids, elsewhere).await?;
        let referred: BTreeSet<&str> = of_groups
            .iter()
            .map(|row| row.destination_id.as_str())
            .collect();
        let lacking: Vec<String> = referred
            .into_iter()
            .filter(|id| !(known.has_destination)(id))
            .map(str::to_owned)
            .collect();
        let mut receivers = destination::Entity::find()
            .filter(destination::Column::Revision.gt(since))
            .limit(FEW as u64 + 1)
            .all(view)
            .await?;
        if receivers.len() > FEW {
            return Ok(None);
        }
        for some in lacking.chunks(AT_ONCE) {
            let some = destination::Entity::find()
                .filter(destination::Column::Id.is_in(some.to_vec()))
                .filter(destination::Column::Revision.lte(since));
            receivers.extend(some.all(view).await?);
        }
        Ok(Some(PoolChanges {
            head,
            sources: groups(&self.sealer, ours, of_groups, (&stored, keys))?,
            gone,
            destinations: self.receivers(receivers)?,
            deleted: deletions(view, name, since).await?,
            staged: rollouts::staged(view, name).await?,
        }))
    }

    fn receivers(&self, rows: Vec<destination::Model>) -> Result<Vec<Destination>, StoreError> {
        let one = |row| destinations::domain(row, &self.sealer);
        rows.into_iter().map(one).collect()
    }
}

/// These sources of a team as agents get them, sorted by id. Those that are not there are left out.
pub(super) async fn groups_by_id(
    view: &DatabaseTransaction,
    sealer: &Sealer,
    team_id: &str,
    ids: &[String],
) -> Result<Vec<SourceGroup>, StoreError> {
    let rows = source::Entity::find()
        .filter(source::Column::TeamId.eq(team_id))
        .filter(source::Column::Id.is_in(ids.to_vec()))
        .order_by_asc(source::Column::Id)
        .all(view)
        .await?;
    let of_rows = connection::Entity::find()
        .filter(connection::Column::SourceId.is_in(ids.to_vec()))
        .order_by_asc(connection::Column::Id)
        .all(view)
        .await?;
    let stored = filters::of_sources(view, these_sources(ids)).await?;
    let keys = handler_keys::of_sources(view, these_sources(ids)).await?;
    groups(sealer, rows, of_rows, (&stored, keys))
}

fn groups(
    sealer: &Sealer,
    rows: Vec<source::Model>,
    of_rows: Vec<connection::Model>,
    (stored, mut keys): (
        &BTreeMap<String, Filter>,
        BTreeMap<String, Vec<KnownHandlerKey>>,
    ),
) -> Result<Vec<SourceGroup>, StoreError> {
    let mut branches: BTreeMap<String, Vec<Connection>> = BTreeMap::new();
    for row in of_rows {
        let mut connection = connections::domain(row)?;
        resolve(&mut connection, stored)?;
        let of_source = branches.entry(connection.source_id.clone()).or_default();
        of_source.push(connection);
    }
    let group = |row: source::Model| {
        let version = unsigned(row.group_revision);
        let source = sources::domain(row, sealer)?;
        let connections = branches.remove(&source.id).unwrap_or_default();
        let handler_keys = keys.remove(&source.id).unwrap_or_default();
        Ok(SourceGroup {
            source,
            connections,
            handler_keys,
            version,
        })
    };
    rows.into_iter().map(group).collect()
}

/// Known sources that left the pool: moved, which their rows tell, or deleted,
/// which only their number does.
async fn gone(
    view: &DatabaseTransaction,
    pool: &str,
    known: HashSet<String>,
    changed: &[String],
    elsewhere: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    let mut gone: Vec<String> = elsewhere
        .into_iter()
        .filter(|id| known.contains(id))
        .collect();
    let new = changed.iter().filter(|id| !known.contains(*id)).count();
    let expected = known.len() + new - gone.len();
    let of_pool = source::Entity::find().filter(source::Column::Pool.eq(pool));
    if of_pool.clone().count(view).await? == expected as u64 {
        return Ok(gone);
    }
    let there: Vec<String> = of_pool
        .select_only()
        .column(source::Column::Id)
        .into_tuple()
        .all(view)
        .await?;
    let there: HashSet<String> = there.into_iter().collect();
    gone = known.difference(&there).cloned().collect();
    Ok(gone)
}

async fn deletions(
    view: &DatabaseTransaction,
    pool: &str,
    since: i64,
) -> Result<Vec<DeletedConnection>, StoreError> {
    let rows = deleted_connection::Entity::find()
        .filter(deleted_connection::Column::Pool.eq(pool))
        .filter(deleted_connection::Column::Revision.gt(since))
        .order_by_asc(deleted_connection::Column::Revision)
        .all(view)
        .await?;
    let deletion = |row: deleted_connection::Model| DeletedConnection {
        id: row.id,
        revision: unsigned(row.revision),
    };
    Ok(rows.into_iter().map(deletion).collect())
}

/// Puts the conditions of stored filters in the place of references.
pub(super) fn resolve(
    connection: &mut Connection,
    stored: &BTreeMap<String, Filter>,
) -> Result<(), StoreError> {
    let find = |id: &str| Some(stored.get(id)?.spec.conditions.clone());
    let resolved = connection.spec.resolve(find);
    resolved.map_err(|filter| broken("connections", &connection.id, format!("no filter {filter}")))
}

fn these_sources(ids: &[String]) -> SelectStatement {
    source::Entity::find()
        .select_only()
        .column(source::Column::Id)
        .filter(source::Column::Id.is_in(ids.to_vec()))
        .into_query()
}

fn sources_of_pool(pool: &str) -> SelectStatement {
    source::Entity::find()
        .select_only()
        .column(source::Column::Id)
        .filter(source::Column::Pool.eq(pool))
        .into_query()
}

fn receivers_of_pool(pool: &str) -> SelectStatement {
    connection::Entity::find()
        .select_only()
        .column(connection::Column::DestinationId)
        .filter(connection::Column::SourceId.in_subquery(sources_of_pool(pool)))
        .into_query()
}
