//! API keys: looked up by their hash, never deleted, revoked for good.
//!
//! Every change of a key but the note of its last use is recorded.

use hookplane_entity::api_key::{ActiveModel, Column, Entity, Model};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, DatabaseTransaction, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _, Set,
};

use super::page::Place;
use super::{Database, Ledger, Page, PageRequest, StoreError, can_be_stored};
use crate::domain::api_key::Grant;
use crate::domain::audit::{Act, Actor};
use crate::domain::{ApiKey, Millis, Scopes};

/// A handle; clones share the database.
#[derive(Clone)]
pub struct KeyStore {
    database: Database,
    ledger: Ledger,
}

/// Hashes of the secrets that open something as a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    pub current: String,
    /// Of the secret before, as long as the key says.
    pub previous: Option<String>,
}

/// A change of one key under way. Changes of one team's keys take turns.
pub struct KeyChange {
    tx: DatabaseTransaction,
    ledger: Ledger,
    row: Model,
    others: Vec<ApiKey>,
}

impl KeyStore {
    #[must_use]
    pub const fn new(database: Database, ledger: Ledger) -> Self {
        Self { database, ledger }
    }

    /// The key that a secret with this hash opens, revoked and expired ones
    /// included, but for secrets that were rotated out.
    pub async fn by_hash(&self, hash: &str, now: Millis) -> Result<Option<ApiKey>, StoreError> {
        let previous = Condition::all()
            .add(Column::PreviousHash.eq(hash))
            .add(Column::PreviousUntil.gt(now));
        let any = Condition::any().add(Column::Hash.eq(hash)).add(previous);
        let found = Entity::find().filter(any).one(self.database.read()).await?;
        Ok(found.map(domain))
    }

    /// Whether there is a key at all.
    pub async fn any(&self) -> Result<bool, StoreError> {
        Ok(Entity::find().count(self.database.read()).await? > 0)
    }

    pub async fn insert(
        &self,
        actor: &Actor,
        key: &ApiKey,
        hash: &str,
        act: Act,
    ) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        let hashes = Hashes {
            current: hash.to_owned(),
            previous: None,
        };
        active(key, hashes).insert(&tx).await?;
        self.ledger
            .chain()
            .append(&tx, actor, act, key.created_at)
            .await?;
        Ok(tx.commit().await?)
    }

    pub async fn get(&self, team_id: &str, id: &str) -> Result<Option<ApiKey>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let found = Entity::find_by_id(id)
            .filter(Column::TeamId.eq(team_id))
            .one(self.database.read())
            .await?;
        Ok(found.map(domain))
    }

    pub async fn list(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, StoreError> {
        let select = Entity::find().filter(Column::TeamId.eq(team_id));
        let rows = page.cut(select).all(self.database.read()).await?;
        let keys = rows.into_iter().map(domain).collect();
        Ok(page.page(keys, |key: &ApiKey| Place {
            id: &key.id,
            name: &key.name,
            created_at: key.created_at,
            updated_at: key.created_at,
        }))
    }

    /// Begins a change of a key; None if the team has no such key.
    pub async fn change(&self, team_id: &str, id: &str) -> Result<Option<KeyChange>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let tx = self.database.write().await?;
        // On PostgreSQL this lock makes changes take turns, so that two of
        // them cannot take each other for the key that is left.
        hookplane_entity::team::Entity::find_by_id(team_id)
            .lock_exclusive()
            .one(&tx)
            .await?;
        let found = Entity::find_by_id(id)
            .filter(Column::TeamId.eq(team_id))
            .one(&tx)
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        let others = Entity::find()
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::RevokedAt.is_null())
            .filter(Column::Id.ne(id));
        let others = others.all(&tx).await?.into_iter().map(domain).collect();
        Ok(Some(KeyChange {
            tx,
            ledger: self.ledger.clone(),
            row,
            others,
        }))
    }

    /// Notes when keys were used. Later notes win.
    pub async fn note_uses(&self, uses: Vec<(String, Millis)>) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        for (id, at) in uses {
            let earlier = Condition::any()
                .add(Column::LastUsedAt.is_null())
                .add(Column::LastUsedAt.lt(at));
            Entity::update_many()
                .col_expr(Column::LastUsedAt, Expr::value(at))
                .filter(Column::Id.eq(id))
                .filter(earlier)
                .exec(&tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

impl KeyChange {
    #[must_use]
    pub fn key(&self) -> ApiKey {
        domain(self.row.clone())
    }

    #[must_use]
    pub fn hash(&self) -> &str {
        &self.row.hash
    }

    /// The team's other keys that are not revoked.
    #[must_use]
    pub fn others(&self) -> &[ApiKey] {
        &self.others
    }

    /// Writes the key as it is now, and who did it. `hashes` only when they change.
    pub async fn save(
        self,
        actor: &Actor,
        key: &ApiKey,
        hashes: Option<Hashes>,
        act: Act,
        now: Millis,
    ) -> Result<(), StoreError> {
        let hashes = hashes.unwrap_or(Hashes {
            current: self.row.hash,
            previous: self.row.previous_hash,
        });
        active(key, hashes).update(&self.tx).await?;
        self.ledger
            .chain()
            .append(&self.tx, actor, act, now)
            .await?;
        Ok(self.tx.commit().await?)
    }
}

fn active(key: &ApiKey, hashes: Hashes) -> ActiveModel {
    let limit = |limit: u32| (limit > 0).then(|| i64::from(limit));
    // Whole, so that no column is forgotten; the last use is noted elsewhere.
    let model = Model {
        id: key.id.clone(),
        team_id: key.team_id.clone(),
        name: key.name.clone(),
        masked: key.masked.clone(),
        hash: hashes.current,
        created_at: key.created_at,
        revoked_at: key.revoked_at,
        scopes: Some(key.grant.scopes.to_string()),
        expires_at: key.grant.expires_at,
        last_used_at: key.last_used_at,
        rate_per_minute: limit(key.grant.rate_per_minute),
        max_body_bytes: limit(key.grant.max_body_bytes),
        rotated_at: key.rotated_at,
        previous_hash: hashes.previous,
        previous_until: key.previous_until,
    };
    let mut model = model.into_active_model().reset_all();
    model.last_used_at = if key.last_used_at.is_none() {
        Set(None)
    } else {
        sea_orm::NotSet
    };
    model
}

fn domain(row: Model) -> ApiKey {
    let limit =
        |limit: Option<i64>| limit.map_or(0, |limit| u32::try_from(limit).unwrap_or(u32::MAX));
    ApiKey {
        id: row.id,
        team_id: row.team_id,
        name: row.name,
        masked: row.masked,
        grant: Grant {
            // Made before there were scopes: it keeps everything it could do.
            scopes: row
                .scopes
                .map_or_else(Scopes::all, |text| Scopes::stored(&text)),
            expires_at: row.expires_at,
            rate_per_minute: limit(row.rate_per_minute),
            max_body_bytes: limit(row.max_body_bytes),
        },
        created_at: row.created_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
        rotated_at: row.rotated_at,
        previous_until: row.previous_until,
    }
}
