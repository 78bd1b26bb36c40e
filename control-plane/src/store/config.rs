//! Configuration: reads for the API, whole pools for the agents, changes with their revision.

use std::collections::HashMap;
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
    Database, Ledger, Page, PageRequest, Sealer, StoreError, answers, broken, connections,
    destinations, filters, rekey, secret_uses, sources, unsigned,
};
use crate::domain::{Connection, Destination, Filter, Millis, SecretUse, Source};

/// Longer than any retry policy lasts.
const DELETIONS_KEPT_MILLIS: Millis = 60 * 86_400_000;

/// A handle; clones share the database.
#[derive(Clone)]
pub struct ConfigStore {
    pub(super) database: Database,
    pub(super) sealer: Arc<Sealer>,
    ledger: Ledger,
    /// The newest head that is known here.
    head: watch::Sender<Head>,
    /// The newest revision that this process made.
    own: watch::Sender<u64>,
}

/// Lineage and newest revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub epoch: String,
    pub revision: u64,
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
    /// [`StoreError`] when the database cannot be read, or another key sealed it.
    pub async fn new(database: Database, sealer: Sealer) -> Result<Self, StoreError> {
        rekey::check(database.read(), &sealer).await?;
        let ledger = Ledger::open(database.clone(), &sealer).await?;
        let store = Self {
            database,
            ledger,
            sealer: Arc::new(sealer),
            head: watch::Sender::default(),
            own: watch::Sender::new(0),
        };
        store.refresh().await?;
        Ok(store)
    }

    /// Tells every change by its epoch and revision. Always has a value; skips to the newest.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Takes note of a head that was read.
    pub(crate) fn seen(&self, head: &Head) {
        publish(&self.head, head);
    }

    /// Looks for changes that another replica made. Call it every now and then. When
    /// the database went back (to a standby that was behind, say), its revisions
    /// would come to mean two things, so another epoch begins.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn refresh(&self) -> Result<Head, StoreError> {
        // Known before the read: what is committed meanwhile proves nothing.
        let known = self.head.borrow().clone();
        let mut head = self.head().await?;
        if head.epoch == known.epoch && head.revision < known.revision {
            self.change().await?.keep_lineage().await?;
            head = self.head().await?;
        }
        self.seen(&head);
        Ok(head)
    }

    /// Tells other replicas of the changes made here, for as long as it is polled. After
    /// they are committed, so that no change waits for it; several together when they come fast.
    pub(crate) async fn announce(&self) {
        let mut own = self.own.subscribe();
        while own.changed().await.is_ok() {
            let newest = *own.borrow_and_update();
            if let Err(error) = self.database.announce(newest).await {
                tracing::debug!(error = %error, "the other replicas find the change by themselves");
            }
        }
    }

    /// Hears of changes that other replicas commit.
    pub(crate) fn notices(&self) -> super::notices::Notices {
        self.database.notices()
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
        let (tx, turn) = self.database.change().await?;
        let heads = (self.head.clone(), self.own.clone());
        let (sealer, chain) = (Arc::clone(&self.sealer), self.ledger.chain());
        Change::begin((tx, turn), sealer, chain, heads).await
    }

    /// The audit record of what is changed here.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
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

    /// How many requests each secret of a source verified.
    pub async fn secret_uses(
        &self,
        team_id: &str,
        source_id: &str,
    ) -> Result<Vec<SecretUse>, StoreError> {
        secret_uses::of_source(self.database.read(), team_id, source_id).await
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

    /// Begins another lineage: the database was restored, so agents may hold revisions
    /// of the old one that it does not know. Gives whether this call did it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn begin_epoch(&self, ends: &str) -> Result<bool, StoreError> {
        let mut change = self.change().await?;
        let begun = change.begin_epoch(ends).await?;
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

/// Wakes everybody when a head is newer, or of another lineage.
pub(super) fn publish(to: &watch::Sender<Head>, head: &Head) {
    to.send_if_modified(|known| {
        let news = head.epoch != known.epoch || head.revision > known.revision;
        if news {
            known.clone_from(head);
        }
        news
    });
}

/// The name of a lineage, unlike any other's.
pub(super) fn new_epoch() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

pub(super) async fn head(db: &impl ConnectionTrait) -> Result<Head, StoreError> {
    let row = installation::Entity::find_by_id(INSTALLATION)
        .one(db)
        .await?;
    let row = row.ok_or_else(|| broken("installation", "1", "it is missing"))?;
    Ok(Head {
        epoch: row.epoch,
        revision: unsigned(row.revision),
    })
}
