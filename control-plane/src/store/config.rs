//! Configuration: reads for the API, whole pools for the agents, changes with their revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hookplane_entity::{
    connection, deleted_connection, deletion, destination, installation, source, team,
};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _,
};
use tokio::sync::watch;

use super::change::Change;
pub use super::connections::ConnectionFilter;
use super::database::INSTALLATION;
pub use super::filters::FilterUse;
use super::{
    Database, Page, PageRequest, Sealer, StoreError, answers, broken, connections, destinations,
    filters, sources, unsigned,
};
use crate::domain::{Connection, Destination, Filter, Millis, Source};

/// Longer than any retry policy lasts.
const DELETIONS_KEPT_MILLIS: Millis = 60 * 86_400_000;

/// A handle; clones share the database.
#[derive(Clone)]
pub struct ConfigStore {
    database: Database,
    sealer: Arc<Sealer>,
    head: watch::Sender<u64>,
}

/// Lineage and newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub epoch: String,
    pub revision: u64,
}

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
    pub source: Source,
    /// Sorted by id.
    pub connections: Vec<Connection>,
    /// Newest revision of the source and its connections, deleted ones included.
    pub version: u64,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigCounts {
    pub sources: u64,
    pub connections: u64,
    pub destinations: u64,
}

impl ConfigStore {
    /// # Errors
    /// [`StoreError`] when the head cannot be read.
    pub async fn new(database: Database, sealer: Sealer) -> Result<Self, StoreError> {
        let store = Self {
            database,
            sealer: Arc::new(sealer),
            head: watch::Sender::new(0),
        };
        store.refresh().await?;
        Ok(store)
    }

    /// Tells every change by its revision. Always has a value; skips to the newest.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Looks for changes that another replica made. Call it every now and then.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn refresh(&self) -> Result<Head, StoreError> {
        let head = self.head().await?;
        self.head.send_if_modified(|known| {
            let newer = head.revision > *known;
            if newer {
                *known = head.revision;
            }
            newer
        });
        Ok(head)
    }

    pub async fn head(&self) -> Result<Head, StoreError> {
        head(self.database.read()).await
    }

    /// The oldest team: the one that a new installation has.
    pub async fn first_team(&self) -> Result<String, StoreError> {
        let oldest = team::Entity::find().order_by_asc(team::Column::CreatedAt);
        let found = oldest.one(self.database.read()).await?;
        found
            .map(|team| team.id)
            .ok_or_else(|| broken("teams", "", "an installation has a team"))
    }

    /// Starts a change; the next one waits until this one is committed or dropped.
    pub async fn change(&self) -> Result<Change, StoreError> {
        let tx = self.database.write().await?;
        Change::begin(tx, Arc::clone(&self.sealer), self.head.clone()).await
    }

    pub async fn source(&self, team_id: &str, id: &str) -> Result<Option<Source>, StoreError> {
        sources::get(self.database.read(), &self.sealer, team_id, id).await
    }

    pub async fn sources(
        &self,
        team_id: &str,
        name: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Source>, StoreError> {
        sources::list(self.database.read(), &self.sealer, team_id, name, page).await
    }

    /// Several by id; unknown ids are left out.
    pub async fn sources_by_id(
        &self,
        team_id: &str,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Source>, StoreError> {
        let found = sources::some(self.database.read(), &self.sealer, team_id, ids).await?;
        Ok(found
            .into_iter()
            .map(|source| (source.id.clone(), source))
            .collect())
    }

    pub async fn destination(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<Destination>, StoreError> {
        destinations::get(self.database.read(), &self.sealer, team_id, id).await
    }

    pub async fn destinations(
        &self,
        team_id: &str,
        name: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Destination>, StoreError> {
        destinations::list(self.database.read(), &self.sealer, team_id, name, page).await
    }

    /// Several by id; unknown ids are left out.
    pub async fn destinations_by_id(
        &self,
        team_id: &str,
        ids: Vec<String>,
    ) -> Result<HashMap<String, Destination>, StoreError> {
        let found = destinations::some(self.database.read(), &self.sealer, team_id, ids).await?;
        Ok(found.into_iter().map(|to| (to.id.clone(), to)).collect())
    }

    pub async fn connection(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<Connection>, StoreError> {
        connections::get(self.database.read(), team_id, id).await
    }

    pub async fn connections(
        &self,
        team_id: &str,
        filter: &ConnectionFilter,
        page: &PageRequest,
    ) -> Result<Page<Connection>, StoreError> {
        connections::list(self.database.read(), team_id, filter, page).await
    }

    pub async fn filter(&self, team_id: &str, id: &str) -> Result<Option<Filter>, StoreError> {
        filters::get(self.database.read(), team_id, id).await
    }

    pub async fn filters(
        &self,
        team_id: &str,
        name: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Filter>, StoreError> {
        filters::list(self.database.read(), team_id, name, page).await
    }

    /// How filters are used; those that nothing uses are left out.
    pub async fn filter_uses(
        &self,
        ids: Vec<String>,
    ) -> Result<HashMap<String, FilterUse>, StoreError> {
        filters::uses(self.database.read(), ids).await
    }

    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub async fn counts(&self, team_id: &str) -> Result<ConfigCounts, StoreError> {
        let db = self.database.read();
        let sources = source::Entity::find().filter(source::Column::TeamId.eq(team_id));
        let connections = connection::Entity::find().filter(connection::Column::TeamId.eq(team_id));
        let destinations =
            destination::Entity::find().filter(destination::Column::TeamId.eq(team_id));
        Ok(ConfigCounts {
            sources: sources.count(db).await?,
            connections: connections.count(db).await?,
            destinations: destinations.count(db).await?,
        })
    }

    /// Everything one pool needs, secrets included, of all teams.
    pub async fn pool(&self, name: &str) -> Result<PoolConfiguration, StoreError> {
        let view = self.database.snapshot().await?;
        let head = head(&view).await?;
        let rows = source::Entity::find()
            .filter(source::Column::Pool.eq(name))
            .order_by_asc(source::Column::Id)
            .all(&view)
            .await?;
        let of_pool = connection::Entity::find()
            .filter(connection::Column::SourceId.in_subquery(sources_of_pool(name)))
            .order_by_asc(connection::Column::Id)
            .all(&view)
            .await?;
        let mut branches: BTreeMap<String, Vec<Connection>> = BTreeMap::new();
        for row in of_pool {
            let connection = connections::domain(row)?;
            branches
                .entry(connection.source_id.clone())
                .or_default()
                .push(connection);
        }
        let receivers = destination::Entity::find()
            .filter(destination::Column::Id.in_subquery(receivers_of_pool(name)))
            .order_by_asc(destination::Column::Id)
            .all(&view)
            .await?;
        let stored = filters::of_sources(&view, sources_of_pool(name)).await?;
        for connection in branches.values_mut().flatten() {
            let find = |id: &str| Some(stored.get(id)?.spec.conditions.clone());
            connection.spec.resolve(find).map_err(|filter| {
                broken("connections", &connection.id, format!("no filter {filter}"))
            })?;
        }
        let deleted = deleted_connection::Entity::find()
            .filter(deleted_connection::Column::Pool.eq(name))
            .order_by_asc(deleted_connection::Column::Revision)
            .all(&view)
            .await?;
        // Only read: nothing to keep.
        view.rollback().await?;
        let sources = rows
            .into_iter()
            .map(|row| {
                let version = unsigned(row.group_revision);
                let source = sources::domain(row, &self.sealer)?;
                let connections = branches.remove(&source.id).unwrap_or_default();
                Ok(SourceGroup {
                    source,
                    connections,
                    version,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let destinations = receivers
            .into_iter()
            .map(|row| destinations::domain(row, &self.sealer))
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(PoolConfiguration {
            head,
            sources,
            destinations,
            deleted: deleted
                .into_iter()
                .map(|row| DeletedConnection {
                    id: row.id,
                    revision: unsigned(row.revision),
                })
                .collect(),
        })
    }

    /// Begins another lineage: the database was restored, so agents may hold revisions
    /// of the old one that it does not know. Gives whether this call did it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn begin_epoch(&self, ends: &str, begins: &str) -> Result<bool, StoreError> {
        let change = self.change().await?;
        let begun = change.begin_epoch(ends, begins).await?;
        if begun {
            change.commit().await?;
        }
        Ok(begun)
    }

    /// Forgets deletions that every agent has learnt of or that nobody waits for any
    /// more, and answers that nobody asks for again.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn forget_deletions(&self, now: Millis) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        deleted_connection::Entity::delete_many()
            .filter(deleted_connection::Column::DeletedAt.lt(now - DELETIONS_KEPT_MILLIS))
            .exec(&tx)
            .await?;
        let old = deletion::Column::DeletedAt.lt(now - DELETIONS_KEPT_MILLIS);
        let newest = deletion::Entity::find()
            .filter(old.clone())
            .order_by_desc(deletion::Column::Revision)
            .one(&tx)
            .await?;
        if let Some(newest) = newest {
            installation::Entity::update_many()
                .col_expr(
                    installation::Column::DeletionsFloor,
                    Expr::value(newest.revision),
                )
                .filter(installation::Column::Id.eq(INSTALLATION))
                .exec(&tx)
                .await?;
            deletion::Entity::delete_many()
                .filter(old)
                .exec(&tx)
                .await?;
        }
        answers::forget(&tx, now).await?;
        Ok(tx.commit().await?)
    }
}

async fn head(db: &impl ConnectionTrait) -> Result<Head, StoreError> {
    let row = installation::Entity::find_by_id(INSTALLATION)
        .one(db)
        .await?;
    let row = row.ok_or_else(|| broken("installation", "1", "it is missing"))?;
    Ok(Head {
        epoch: row.epoch,
        revision: unsigned(row.revision),
    })
}

fn sources_of_pool(pool: &str) -> sea_orm::sea_query::SelectStatement {
    use sea_orm::{QuerySelect as _, QueryTrait as _};
    source::Entity::find()
        .select_only()
        .column(source::Column::Id)
        .filter(source::Column::Pool.eq(pool))
        .into_query()
}

fn receivers_of_pool(pool: &str) -> sea_orm::sea_query::SelectStatement {
    use sea_orm::{QuerySelect as _, QueryTrait as _};
    connection::Entity::find()
        .select_only()
        .column(connection::Column::DestinationId)
        .filter(connection::Column::SourceId.in_subquery(sources_of_pool(pool)))
        .into_query()
}
