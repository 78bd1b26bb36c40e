//! One change of the configuration: reads, writes and the revision they cause, in
//! one transaction. Dropped without `commit`, nothing happened and no revision is used.

use std::sync::Arc;

use hookplane_entity::{connection, deleted_connection, destination, installation, source};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _,
    QueryFilter as _, Set,
};
use tokio::sync::watch;

use super::database::INSTALLATION;
use super::{Sealer, StoreError, connections, destinations, signed, sources, unsigned};
use crate::domain::{Connection, Destination, Millis, Source};

/// A change under way. Changes of one database run one after the other.
pub struct Change {
    tx: DatabaseTransaction,
    sealer: Arc<Sealer>,
    head: watch::Sender<u64>,
    revision: u64,
}

impl Change {
    /// Takes the next revision, and with it the turn.
    pub(super) async fn begin(
        tx: DatabaseTransaction,
        sealer: Arc<Sealer>,
        head: watch::Sender<u64>,
    ) -> Result<Self, StoreError> {
        // The row stays locked until the end, so that revisions commit in their order.
        installation::Entity::update_many()
            .col_expr(
                installation::Column::Revision,
                Expr::col(installation::Column::Revision).add(1),
            )
            .filter(installation::Column::Id.eq(INSTALLATION))
            .exec(&tx)
            .await?;
        let row = installation::Entity::find_by_id(INSTALLATION)
            .one(&tx)
            .await?;
        let revision = row.map_or(0, |row| unsigned(row.revision));
        Ok(Self {
            tx,
            sealer,
            head,
            revision,
        })
    }

    /// The revision that everything written here belongs to.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes it all happen.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: then nothing happened.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        self.head.send_if_modified(|head| {
            let newer = self.revision > *head;
            if newer {
                *head = self.revision;
            }
            newer
        });
        Ok(())
    }

    /// Begins another lineage of revisions, unless the one it is to end has ended already.
    pub(super) async fn begin_epoch(&self, ends: &str, begins: &str) -> Result<bool, StoreError> {
        let changed = installation::Entity::update_many()
            .col_expr(installation::Column::Epoch, Expr::value(begins))
            .filter(installation::Column::Id.eq(INSTALLATION))
            .filter(installation::Column::Epoch.eq(ends))
            .exec(&self.tx)
            .await?;
        Ok(changed.rows_affected > 0)
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
        sources::row(source, &self.sealer)?.insert(&self.tx).await?;
        Ok(())
    }

    pub async fn update_source(&self, source: &Source) -> Result<(), StoreError> {
        sources::row(source, &self.sealer)?.update(&self.tx).await?;
        Ok(())
    }

    pub async fn delete_source(&self, id: &str) -> Result<(), StoreError> {
        source::Entity::delete_by_id(id).exec(&self.tx).await?;
        Ok(())
    }

    /// How many connections refer to a source.
    pub async fn connections_of_source(&self, id: &str) -> Result<u64, StoreError> {
        connections::of_source(&self.tx, id).await
    }

    /// Bytes that the settings of a source's connections have, but for one of them.
    pub async fn connection_bytes_of_source(
        &self,
        id: &str,
        except: &str,
    ) -> Result<u64, StoreError> {
        connections::bytes_of_source(&self.tx, id, except).await
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
        destinations::row(destination, &self.sealer)?
            .insert(&self.tx)
            .await?;
        Ok(())
    }

    pub async fn update_destination(&self, destination: &Destination) -> Result<(), StoreError> {
        destinations::row(destination, &self.sealer)?
            .update(&self.tx)
            .await?;
        Ok(())
    }

    pub async fn delete_destination(&self, id: &str) -> Result<(), StoreError> {
        destination::Entity::delete_by_id(id).exec(&self.tx).await?;
        Ok(())
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
        connections::row(connection)?.insert(&self.tx).await?;
        self.touch(&connection.source_id).await
    }

    /// Also marks the source's group as changed.
    pub async fn update_connection(&self, connection: &Connection) -> Result<(), StoreError> {
        connections::row(connection)?.update(&self.tx).await?;
        self.touch(&connection.source_id).await
    }

    /// Also marks the source's group as changed, and notes the deletion for the agents.
    pub async fn delete_connection(
        &self,
        connection: &Connection,
        now: Millis,
    ) -> Result<(), StoreError> {
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
        connection::Entity::delete_by_id(&connection.id)
            .exec(&self.tx)
            .await?;
        self.touch(&connection.source_id).await
    }

    async fn touch(&self, source_id: &str) -> Result<(), StoreError> {
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
