//! One change of the configuration: reads, writes and the revision they cause, in
//! one transaction. Dropped without `commit`, nothing happened and no revision is used.

use std::sync::Arc;

use hookplane_entity::{
    connection, deleted_connection, deletion, destination, filter, installation, source,
};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction,
    EntityTrait as _, ExprTrait as _, QueryFilter as _, Set, Statement,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::audit::Chain;
use super::config::{Head, new_epoch, publish};
use super::database::INSTALLATION;
use super::pool::{self, SourceGroup};
use super::rollouts::Staging;
use super::watch::{Cursor, Watched};
use super::{
    Recalled, Sealer, StoreError, answers, broken, connections, destinations, filters,
    handler_keys, signed, sources, unsigned,
};
use crate::domain::audit::{Act, Actor};
use crate::domain::{Connection, Destination, Filter, Millis, ResourceKind, Source};

/// A change under way. Changes of one database run one after the other.
pub struct Change {
    tx: DatabaseTransaction,
    sealer: Arc<Sealer>,
    chain: Arc<Chain>,
    known: watch::Sender<Head>,
    /// The newest revision that this process made.
    own: watch::Sender<u64>,
    epoch: String,
    revision: u64,
    /// Whether the database had gone back, so that this change begins a lineage.
    went_back: bool,
    staging: Staging,
    /// Last, so that the transaction is over before the next one has its turn.
    _turn: OwnedSemaphorePermit,
}

impl Change {
    /// Takes the next revision, and with it the turn.
    pub(super) async fn begin(
        (tx, turn): (DatabaseTransaction, OwnedSemaphorePermit),
        sealer: Arc<Sealer>,
        chain: Arc<Chain>,
        (known, own): (watch::Sender<Head>, watch::Sender<u64>),
    ) -> Result<Self, StoreError> {
        // The row stays locked until the end, so that revisions commit in their order.
        // One statement: everybody else waits behind it.
        let next = Statement::from_sql_and_values(
            tx.get_database_backend(),
            "UPDATE installation SET revision = revision + 1 WHERE id = $1 \
             RETURNING epoch, revision, \
             EXISTS (SELECT 1 FROM rollout_policies) \
             OR EXISTS (SELECT 1 FROM rollouts WHERE state = 'holding') AS staged",
            [INSTALLATION.into()],
        );
        let row = tx.query_one_raw(next).await?;
        let row = row.ok_or_else(|| broken("installation", "1", "it is missing"))?;
        let revision = unsigned(row.try_get("", "revision")?);
        let staging = if row.try_get("", "staged")? {
            Staging::read(&tx).await?
        } else {
            Staging::default()
        };
        let epoch: String = row.try_get("", "epoch")?;
        let went_back = {
            let known = known.borrow();
            known.epoch == epoch && known.revision >= revision
        };
        let mut change = Self {
            tx,
            sealer,
            chain,
            known,
            own,
            epoch,
            revision,
            went_back,
            staging,
            _turn: turn,
        };
        if went_back {
            let ends = change.epoch.clone();
            change.begin_epoch(&ends).await?;
        }
        Ok(change)
    }

    /// Only makes sure that no revision means two things: nothing else is written.
    pub(super) async fn keep_lineage(self) -> Result<(), StoreError> {
        if !self.went_back {
            return Ok(());
        }
        self.commit().await
    }

    pub(super) const fn tx(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// The revision that everything written here belongs to.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Writes who did what into the audit record of the team.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn record(&self, actor: &Actor, act: Act, now: Millis) -> Result<(), StoreError> {
        self.chain.append(&self.tx, actor, act, now).await
    }

    /// Makes it all happen.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: then nothing happened.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        if self.went_back {
            tracing::error!(
                config.epoch = %self.epoch,
                config.revision = self.revision,
                "the database went back to an older state; a new epoch begins"
            );
        }
        self.own.send_replace(self.revision);
        let head = Head {
            epoch: self.epoch,
            revision: self.revision,
        };
        publish(&self.known, &head);
        Ok(())
    }

    /// Keeps what was written without taking a revision: nothing that agents or
    /// watchers see has changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: then nothing happened.
    pub async fn commit_unrevised(self) -> Result<(), StoreError> {
        if self.went_back {
            return self.commit().await;
        }
        installation::Entity::update_many()
            .col_expr(
                installation::Column::Revision,
                Expr::col(installation::Column::Revision).sub(1),
            )
            .filter(installation::Column::Id.eq(INSTALLATION))
            .exec(&self.tx)
            .await?;
        Ok(self.tx.commit().await?)
    }

    /// What is known of a call of this team, if it was made lately.
    pub async fn recall<A: DeserializeOwned>(
        &self,
        (team_id, request_id): (&str, &str),
        fingerprint: &str,
        now: Millis,
    ) -> Result<Recalled<A>, StoreError> {
        let call = (team_id, request_id);
        answers::recall(&self.tx, &self.sealer, call, fingerprint, now).await
    }

    pub async fn remember<A: Serialize>(
        &self,
        call: (&str, &str),
        answered: (&str, &A),
        now: Millis,
    ) -> Result<(), StoreError> {
        answers::remember(&self.tx, &self.sealer, call, answered, now).await
    }

    /// Every resource of a team that is wanted, read by pages: for changes of a whole
    /// configuration.
    pub async fn all_where<R: Watched>(
        &self,
        team_id: &str,
        wanted: impl Fn(&R) -> bool + Send,
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        let mut cursor = Cursor::behind(0);
        loop {
            let page = R::after(&self.tx, &self.sealer, team_id, &cursor).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            cursor = last.cursor();
            found.extend(page.into_iter().filter(|one| wanted(one)));
        }
    }

    /// These sources as agents would get them.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn groups(
        &self,
        team_id: &str,
        ids: &[String],
    ) -> Result<Vec<SourceGroup>, StoreError> {
        pool::groups_by_id(&self.tx, &self.sealer, team_id, ids).await
    }

    /// Begins another lineage of revisions, unless the one it is to end has ended already.
    pub(super) async fn begin_epoch(&mut self, ends: &str) -> Result<bool, StoreError> {
        let begins = new_epoch();
        let changed = installation::Entity::update_many()
            .col_expr(installation::Column::Epoch, Expr::value(&begins))
            .filter(installation::Column::Id.eq(INSTALLATION))
            .filter(installation::Column::Epoch.eq(ends))
            .exec(&self.tx)
            .await?;
        let begun = changed.rows_affected > 0;
        if begun {
            self.epoch = begins;
        }
        Ok(begun)
    }

    pub async fn source(&self, team_id: &str, id: &str) -> Result<Option<Source>, StoreError> {
        sources::get(&self.tx, &self.sealer, team_id, id).await
    }

    pub async fn source_named(
        &self,
        team_id: &str,
        name: &str,
    ) -> Result<Option<Source>, StoreError> {
        sources::by_name(&self.tx, &self.sealer, team_id, name).await
    }

    pub async fn insert_source(&self, source: &Source) -> Result<(), StoreError> {
        self.before_source(source).await?;
        sources::row(source, &self.sealer)?.insert(&self.tx).await?;
        Ok(())
    }

    pub async fn update_source(&self, source: &Source) -> Result<(), StoreError> {
        self.before_source(source).await?;
        sources::row(source, &self.sealer)?.update(&self.tx).await?;
        Ok(())
    }

    pub async fn delete_source(&self, gone: &Source, now: Millis) -> Result<(), StoreError> {
        let revision = self.revision;
        self.staging
            .before_source(&self.tx, revision, &gone.id, None)
            .await?;
        source::Entity::delete_by_id(&gone.id)
            .exec(&self.tx)
            .await?;
        handler_keys::forget_source(&self.tx, &gone.id).await?;
        self.note_deletion(ResourceKind::Source, (&gone.team_id, &gone.id), now)
            .await
    }

    pub(super) async fn before_source(&self, source: &Source) -> Result<(), StoreError> {
        let (id, pool) = (&source.id, Some(source.spec.pool.as_str()));
        self.staging
            .before_source(&self.tx, self.revision, id, pool)
            .await
    }

    /// How many connections refer to a source.
    pub async fn connections_of_source(&self, id: &str) -> Result<u64, StoreError> {
        connections::of_source(&self.tx, id).await
    }

    /// Bytes that the settings of a source's connections have, but for one of them,
    /// stored filters included.
    pub async fn connection_bytes_of_source(
        &self,
        id: &str,
        except: &str,
    ) -> Result<u64, StoreError> {
        let own = connections::bytes_of_source(&self.tx, id, except).await?;
        let filters = filters::bytes_of_source(&self.tx, id, except).await?;
        Ok(own.saturating_add(filters))
    }

    pub async fn destination(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<Destination>, StoreError> {
        destinations::get(&self.tx, &self.sealer, team_id, id).await
    }

    pub async fn destination_named(
        &self,
        team_id: &str,
        name: &str,
    ) -> Result<Option<Destination>, StoreError> {
        destinations::by_name(&self.tx, &self.sealer, team_id, name).await
    }

    pub async fn insert_destination(&self, destination: &Destination) -> Result<(), StoreError> {
        self.before_destination(&destination.id).await?;
        destinations::row(destination, &self.sealer)?
            .insert(&self.tx)
            .await?;
        Ok(())
    }

    pub async fn update_destination(&self, destination: &Destination) -> Result<(), StoreError> {
        self.before_destination(&destination.id).await?;
        destinations::row(destination, &self.sealer)?
            .update(&self.tx)
            .await?;
        Ok(())
    }

    pub async fn delete_destination(
        &self,
        gone: &Destination,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.before_destination(&gone.id).await?;
        destination::Entity::delete_by_id(&gone.id)
            .exec(&self.tx)
            .await?;
        self.note_deletion(ResourceKind::Destination, (&gone.team_id, &gone.id), now)
            .await
    }

    pub async fn filter(&self, team_id: &str, id: &str) -> Result<Option<Filter>, StoreError> {
        filters::get(&self.tx, team_id, id).await
    }

    pub async fn filter_named(
        &self,
        team_id: &str,
        name: &str,
    ) -> Result<Option<Filter>, StoreError> {
        filters::by_name(&self.tx, team_id, name).await
    }

    pub async fn insert_filter(&self, filter: &Filter) -> Result<(), StoreError> {
        filters::row(filter)?.insert(&self.tx).await?;
        Ok(())
    }

    /// Also marks the connections that use it, and their sources' groups, as changed.
    pub async fn update_filter(&self, filter: &Filter) -> Result<(), StoreError> {
        self.before_filter(&filter.id).await?;
        filters::row(filter)?.update(&self.tx).await?;
        filters::touch_users(&self.tx, &filter.id, self.revision).await
    }

    pub async fn delete_filter(&self, gone: &Filter, now: Millis) -> Result<(), StoreError> {
        self.before_filter(&gone.id).await?;
        filter::Entity::delete_by_id(&gone.id)
            .exec(&self.tx)
            .await?;
        self.note_deletion(ResourceKind::Filter, (&gone.team_id, &gone.id), now)
            .await
    }

    /// How many connections refer to a filter.
    pub async fn connections_of_filter(&self, id: &str) -> Result<u64, StoreError> {
        let found = filters::uses(&self.tx, vec![id.to_owned()]).await?;
        Ok(found.get(id).map_or(0, |found| found.connections))
    }

    /// The most that connections and filters of one source come to, over the
    /// sources that use a filter, if that grows by so many bytes.
    pub async fn largest_group_with(&self, id: &str, growth: u64) -> Result<u64, StoreError> {
        filters::largest_group(&self.tx, id, growth).await
    }

    async fn before_destination(&self, id: &str) -> Result<(), StoreError> {
        let revision = self.revision;
        self.staging
            .before_destination(&self.tx, revision, id)
            .await
    }

    async fn before_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        self.staging
            .before_connection(&self.tx, self.revision, connection)
            .await
    }

    async fn before_filter(&self, id: &str) -> Result<(), StoreError> {
        let revision = self.revision;
        self.staging.before_filter(&self.tx, revision, id).await
    }

    /// How many connections refer to a destination.
    pub async fn connections_of_destination(&self, id: &str) -> Result<u64, StoreError> {
        connections::of_destination(&self.tx, id).await
    }

    pub async fn connection(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<Connection>, StoreError> {
        connections::get(&self.tx, team_id, id).await
    }

    pub async fn connection_named(
        &self,
        team_id: &str,
        source_id: &str,
        name: &str,
    ) -> Result<Option<Connection>, StoreError> {
        connections::by_name(&self.tx, team_id, source_id, name).await
    }

    /// Also marks the source's group as changed.
    pub async fn insert_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        self.before_connection(connection).await?;
        connections::row(connection)?.insert(&self.tx).await?;
        filters::note_uses(&self.tx, connection).await?;
        self.touch(&connection.source_id).await
    }

    /// Also marks the source's group as changed.
    pub async fn update_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        self.before_connection(connection).await?;
        connections::row(connection)?.update(&self.tx).await?;
        filters::forget_uses(&self.tx, &connection.id).await?;
        filters::note_uses(&self.tx, connection).await?;
        self.touch(&connection.source_id).await
    }

    /// Also marks the source's group as changed, and notes the deletion for the agents.
    pub async fn delete_connection(
        &self,
        connection: &Connection,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.before_connection(connection).await?;
        let from = source::Entity::find_by_id(&connection.source_id)
            .one(&self.tx)
            .await?;
        let note = deleted_connection::ActiveModel {
            id: Set(connection.id.clone()),
            pool: Set(from.map(|source| source.pool).unwrap_or_default()),
            revision: Set(signed(self.revision)),
            deleted_at: Set(now),
        };
        note.insert(&self.tx).await?;
        filters::forget_uses(&self.tx, &connection.id).await?;
        let gone = (connection.team_id.as_str(), connection.id.as_str());
        self.note_deletion(ResourceKind::Connection, gone, now)
            .await?;
        connection::Entity::delete_by_id(&connection.id)
            .exec(&self.tx)
            .await?;
        self.touch(&connection.source_id).await
    }

    async fn note_deletion(
        &self,
        kind: ResourceKind,
        (team_id, id): (&str, &str),
        now: Millis,
    ) -> Result<(), StoreError> {
        let note = deletion::ActiveModel {
            id: Set(id.to_owned()),
            team_id: Set(team_id.to_owned()),
            kind: Set(kind.noun().to_owned()),
            revision: Set(signed(self.revision)),
            deleted_at: Set(now),
        };
        note.insert(&self.tx).await?;
        Ok(())
    }

    /// Marks the source's group as changed.
    pub(super) async fn touch(&self, source_id: &str) -> Result<(), StoreError> {
        source::Entity::update_many()
            .col_expr(
                source::Column::GroupRevision,
                Expr::value(signed(self.revision)),
            )
            .filter(source::Column::Id.eq(source_id))
            .exec(&self.tx)
            .await?;
        Ok(())
    }
}
