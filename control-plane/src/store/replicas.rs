//! Control planes that share a database: who is there, where, and who does the work of all.
//!
//! Nobody compares clocks. Each replica's `beat` grows while it lives; who sees
//! it stand still for long enough, by its own clock, takes it for gone. A
//! lease works the same way: whoever sees its term stand still may take it, and only
//! one that names the term it saw does.

use std::sync::Arc;

use hookplane_entity::{agent, lease, replica};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set, TryInsertResult,
};

use super::{ConfigStore, Database, Sealer, StoreError};
use crate::domain::Millis;

const TABLE: &str = "replicas";
/// Most replicas that are looked at.
const MOST: u64 = 64;

/// A handle; clones share the database.
#[derive(Clone)]
pub struct ReplicaStore {
    database: Database,
    sealer: Arc<Sealer>,
}

/// A replica as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: String,
    /// Where the others reach its API; empty when they do not.
    pub url: String,
    /// What the others show to it.
    pub token: String,
    /// Grows while it lives.
    pub beat: i64,
}

/// Who does some work, and for how long already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: String,
    /// Grows while the holder lives.
    pub term: i64,
}

impl ReplicaStore {
    #[must_use]
    pub fn new(config: &ConfigStore) -> Self {
        Self {
            database: config.database.clone(),
            sealer: Arc::clone(&config.sealer),
        }
    }

    /// Whether nobody else can share the database: then every other replica in it is
    /// one that this process follows.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        !self.database.is_shared()
    }

    /// Says that a replica lives.
    pub async fn beat(&self, replica: &Replica, now: Millis) -> Result<(), StoreError> {
        use replica::{ActiveModel, Column, Entity};
        let tx = self.database.write().await?;
        let row = ActiveModel {
            id: Set(replica.id.clone()),
            url: Set(replica.url.clone()),
            token: Set(self.sealer.seal(TABLE, &replica.id, &replica.token)?),
            beat: Set(replica.beat),
            started_at: Set(now),
        };
        let replacing = OnConflict::column(Column::Id)
            .update_columns([Column::Beat])
            .to_owned();
        Entity::insert(row).on_conflict(replacing).exec(&tx).await?;
        Ok(tx.commit().await?)
    }

    /// Every replica that has not said it leaves. One whose token cannot be read (sealed
    /// with another key, say) has none: it cannot be asked, and stops nobody.
    pub async fn all(&self) -> Result<Vec<Replica>, StoreError> {
        let rows = replica::Entity::find()
            .order_by_asc(replica::Column::StartedAt)
            .limit(MOST)
            .all(self.database.read())
            .await?;
        let one = |row: replica::Model| {
            let token = self.sealer.open(TABLE, &row.id, &row.token);
            Replica {
                token: token.unwrap_or_else(|error| {
                    tracing::warn!(replica = %row.id, error = %error, "a replica cannot be asked");
                    String::new()
                }),
                id: row.id,
                url: row.url,
                beat: row.beat,
            }
        };
        Ok(rows.into_iter().map(one).collect())
    }

    /// Forgets a replica; agents that were connected to it are not any more.
    pub async fn forget(&self, id: &str) -> Result<(), StoreError> {
        use agent::{Column, Entity};
        let tx = self.database.write().await?;
        for stream in [Column::StreamReplica, Column::CommandsReplica] {
            Entity::update_many()
                .col_expr(stream, Expr::value(None::<String>))
                .filter(stream.eq(id))
                .exec(&tx)
                .await?;
        }
        replica::Entity::delete_by_id(id).exec(&tx).await?;
        Ok(tx.commit().await?)
    }

    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        let row = lease::Entity::find_by_id(name)
            .one(self.database.read())
            .await?;
        Ok(row.map(|row| Lease {
            holder: row.holder,
            term: row.term,
        }))
    }

    /// Takes or keeps a lease that is as it was `seen`. Gives whether that worked.
    pub async fn take(
        &self,
        name: &str,
        holder: &str,
        seen: Option<&Lease>,
    ) -> Result<bool, StoreError> {
        use lease::{ActiveModel, Column, Entity};
        let tx = self.database.write().await?;
        let taken = match seen {
            Some(seen) => {
                let changed = Entity::update_many()
                    .col_expr(Column::Holder, Expr::value(holder))
                    .col_expr(Column::Term, Expr::col(Column::Term).add(1))
                    .filter(Column::Name.eq(name))
                    .filter(Column::Term.eq(seen.term))
                    .exec(&tx)
                    .await?;
                changed.rows_affected > 0
            }
            None => {
                let row = ActiveModel {
                    name: Set(name.to_owned()),
                    holder: Set(holder.to_owned()),
                    term: Set(1),
                };
                let first = Entity::insert(row)
                    .on_conflict_do_nothing_on([Column::Name])
                    .exec_without_returning(&tx)
                    .await?;
                matches!(first, TryInsertResult::Inserted(1))
            }
        };
        tx.commit().await?;
        Ok(taken)
    }

    /// Lets the next one take a lease at once.
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        lease::Entity::delete_many()
            .filter(lease::Column::Name.eq(name))
            .filter(lease::Column::Holder.eq(holder))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
