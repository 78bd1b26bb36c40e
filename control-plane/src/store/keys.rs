//! API keys: looked up by their hash, never deleted, revoked for good.

use hookplane_entity::api_key::{ActiveModel, Column, Entity, Model};
use hookplane_entity::installation;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, QuerySelect as _, Set,
};

use super::database::INSTALLATION;
use super::page::Place;
use super::{Database, Page, PageRequest, StoreError, can_be_stored};
use crate::domain::{ApiKey, Millis};

/// A handle; clones share the database.
#[derive(Clone, Debug)]
pub struct KeyStore {
    database: Database,
}

/// What a revocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    Done(ApiKey),
    Unknown,
    /// It is the team's last one that is not revoked.
    Last,
}

impl KeyStore {
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// The key with this hash, revoked ones included.
    pub async fn by_hash(&self, hash: &str) -> Result<Option<ApiKey>, StoreError> {
        let found = Entity::find()
            .filter(Column::Hash.eq(hash))
            .one(self.database.read())
            .await?;
        Ok(found.map(domain))
    }

    /// Whether there is a key at all.
    pub async fn any(&self) -> Result<bool, StoreError> {
        Ok(Entity::find().count(self.database.read()).await? > 0)
    }

    pub async fn insert(&self, key: &ApiKey, hash: &str) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        let row = ActiveModel {
            id: Set(key.id.clone()),
            team_id: Set(key.team_id.clone()),
            name: Set(key.name.clone()),
            masked: Set(key.masked.clone()),
            hash: Set(hash.to_owned()),
            created_at: Set(key.created_at),
            revoked_at: Set(key.revoked_at),
        };
        row.insert(&tx).await?;
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

    /// Revokes a key; one that is revoked already stays as it was.
    pub async fn revoke(
        &self,
        team_id: &str,
        id: &str,
        now: Millis,
    ) -> Result<Revoked, StoreError> {
        if !can_be_stored(id) {
            return Ok(Revoked::Unknown);
        }
        let tx = self.database.write().await?;
        // On PostgreSQL this lock makes revocations take turns, so that two of
        // them cannot take each other for the key that is left.
        installation::Entity::find_by_id(INSTALLATION)
            .lock_exclusive()
            .one(&tx)
            .await?;
        let found = Entity::find_by_id(id)
            .filter(Column::TeamId.eq(team_id))
            .one(&tx)
            .await?;
        let Some(row) = found else {
            return Ok(Revoked::Unknown);
        };
        if row.revoked_at.is_some() {
            return Ok(Revoked::Done(domain(row)));
        }
        let others = Entity::find()
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::RevokedAt.is_null())
            .filter(Column::Id.ne(id));
        if others.count(&tx).await? == 0 {
            return Ok(Revoked::Last);
        }
        let mut row = row.into_active_model();
        row.revoked_at = Set(Some(now));
        let row = row.update(&tx).await?;
        tx.commit().await?;
        Ok(Revoked::Done(domain(row)))
    }
}

fn domain(row: Model) -> ApiKey {
    ApiKey {
        id: row.id,
        team_id: row.team_id,
        name: row.name,
        masked: row.masked,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
    }
}
