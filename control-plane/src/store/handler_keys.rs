//! Keys of handlers: never deleted, revoked for good, told to the agents with their sources.

use std::collections::BTreeMap;

use hookplane_entity::handler_key::{ActiveModel, Column, Entity, Model};
use hookplane_entity::{handler_key_source, source};
use sea_orm::sea_query::{Expr, SelectStatement};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, JoinType,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};

use super::page::Place;
use super::{Change, ConfigStore, Page, PageRequest, StoreError, can_be_stored, signed, unsigned};
use crate::domain::{HandlerKey, KnownHandlerKey, Millis};

impl ConfigStore {
    pub async fn handler_key(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<HandlerKey>, StoreError> {
        get(self.database.read(), team_id, id).await
    }

    pub async fn handler_keys(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<HandlerKey>, StoreError> {
        let select = Entity::find().filter(Column::TeamId.eq(team_id));
        let rows = page.cut(select).all(self.database.read()).await?;
        let keys = with_sources(self.database.read(), rows).await?;
        Ok(page.page(keys, |key: &HandlerKey| Place {
            id: &key.id,
            name: &key.name,
            created_at: key.created_at,
            updated_at: key.created_at,
        }))
    }
}

impl Change {
    pub async fn handler_key(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<HandlerKey>, StoreError> {
        get(self.tx(), team_id, id).await
    }

    /// How many keys a team has, revoked ones included.
    pub async fn handler_keys_of_team(&self, team_id: &str) -> Result<u64, StoreError> {
        let all = Entity::find().filter(Column::TeamId.eq(team_id));
        Ok(all.count(self.tx()).await?)
    }

    /// How many keys in force a source has.
    pub async fn handler_keys_of_source(&self, source_id: &str) -> Result<usize, StoreError> {
        let of_source = handler_key_source::Column::SourceId.eq(source_id);
        let links = linked().filter(of_source);
        let count = links.count(self.tx()).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Also marks its sources' groups as changed.
    pub async fn insert_handler_key(&self, key: &HandlerKey, hash: &str) -> Result<(), StoreError> {
        let row = ActiveModel {
            id: Set(key.id.clone()),
            team_id: Set(key.team_id.clone()),
            name: Set(key.name.clone()),
            masked: Set(key.masked.clone()),
            hash: Set(hash.to_owned()),
            created_at: Set(key.created_at),
            revoked_at: Set(key.revoked_at),
            revision: Set(signed(key.revision)),
        };
        row.insert(self.tx()).await?;
        let link = |id: &String| handler_key_source::ActiveModel {
            key_id: Set(key.id.clone()),
            source_id: Set(id.clone()),
        };
        handler_key_source::Entity::insert_many(key.source_ids.iter().map(link))
            .exec_without_returning(self.tx())
            .await?;
        self.touch_sources(key).await
    }

    /// Also marks its sources' groups as changed.
    pub async fn revoke_handler_key(
        &self,
        key: &HandlerKey,
        now: Millis,
    ) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(now))
            .col_expr(Column::Revision, Expr::value(signed(self.revision())))
            .filter(Column::Id.eq(&key.id))
            .filter(Column::TeamId.eq(&key.team_id))
            .exec(self.tx())
            .await?;
        self.touch_sources(key).await
    }

    /// Those of the ids that are sources of a team.
    pub async fn sources_there(
        &self,
        team_id: &str,
        ids: &[String],
    ) -> Result<Vec<String>, StoreError> {
        let fit = ids.iter().filter(|id| can_be_stored(id)).cloned();
        let found = source::Entity::find()
            .select_only()
            .column(source::Column::Id)
            .filter(source::Column::TeamId.eq(team_id))
            .filter(source::Column::Id.is_in(fit))
            .into_tuple()
            .all(self.tx())
            .await?;
        Ok(found)
    }

    async fn touch_sources(&self, key: &HandlerKey) -> Result<(), StoreError> {
        for id in &key.source_ids {
            if let Some(source) = self.source(&key.team_id, id).await? {
                self.before_source(&source).await?;
                self.touch(id).await?;
            }
        }
        Ok(())
    }
}

/// The keys in force of some sources, by source, sorted by key.
pub(super) async fn of_sources(
    db: &impl ConnectionTrait,
    sources: SelectStatement,
) -> Result<BTreeMap<String, Vec<KnownHandlerKey>>, StoreError> {
    let rows: Vec<(String, String, String)> = linked()
        .select_only()
        .column(handler_key_source::Column::SourceId)
        .column_as(Column::Id, "id")
        .column_as(Column::Hash, "hash")
        .filter(handler_key_source::Column::SourceId.in_subquery(sources))
        .order_by_asc(handler_key_source::Column::KeyId)
        .into_tuple()
        .all(db)
        .await?;
    let mut found: BTreeMap<String, Vec<KnownHandlerKey>> = BTreeMap::new();
    for (source, id, hash) in rows {
        let of_source = found.entry(source).or_default();
        of_source.push(KnownHandlerKey { id, hash });
    }
    Ok(found)
}

/// Forgets what named a source that is deleted.
pub(super) async fn forget_source(
    db: &impl ConnectionTrait,
    source_id: &str,
) -> Result<(), StoreError> {
    handler_key_source::Entity::delete_many()
        .filter(handler_key_source::Column::SourceId.eq(source_id))
        .exec(db)
        .await?;
    Ok(())
}

/// Which sources have which keys in force.
fn linked() -> sea_orm::Select<handler_key_source::Entity> {
    let relation = handler_key_source::Entity::belongs_to(Entity)
        .from(handler_key_source::Column::KeyId)
        .to(Column::Id)
        .into();
    handler_key_source::Entity::find()
        .join(JoinType::InnerJoin, relation)
        .filter(Column::RevokedAt.is_null())
}

async fn get(
    db: &impl ConnectionTrait,
    team_id: &str,
    id: &str,
) -> Result<Option<HandlerKey>, StoreError> {
    if !can_be_stored(id) {
        return Ok(None);
    }
    let found = Entity::find_by_id(id)
        .filter(Column::TeamId.eq(team_id))
        .one(db)
        .await?;
    let found = with_sources(db, found.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

async fn with_sources(
    db: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<Vec<HandlerKey>, StoreError> {
    use handler_key_source::Column as Link;
    let ids = rows.iter().map(|row| row.id.clone());
    let links = handler_key_source::Entity::find()
        .filter(Link::KeyId.is_in(ids))
        .order_by_asc(Link::SourceId)
        .all(db)
        .await?;
    let mut of_keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for link in links {
        of_keys.entry(link.key_id).or_default().push(link.source_id);
    }
    let key = |row: Model| HandlerKey {
        source_ids: of_keys.remove(&row.id).unwrap_or_default(),
        id: row.id,
        team_id: row.team_id,
        name: row.name,
        masked: row.masked,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
        revision: unsigned(row.revision),
    };
    Ok(rows.into_iter().map(key).collect())
}
