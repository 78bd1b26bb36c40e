//! Rows of sources.

use hookplane_entity::source::Column;
use hookplane_entity::source::{ActiveModel, Entity, Model};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, Set};

use super::page::Place;
use super::{Page, PageRequest, Sealer, StoreError, broken, can_be_stored, signed, unsigned};
use crate::domain::{Source, SourceAuth};

const TABLE: &str = "sources";

pub(super) fn domain(row: Model, sealer: &Sealer) -> Result<Source, StoreError> {
    let spec =
        serde_json::from_str(&row.settings).map_err(|fault| broken(TABLE, &row.id, fault))?;
    let auth: SourceAuth = sealer.open(TABLE, &row.id, &row.auth)?;
    Ok(Source {
        id: row.id,
        team_id: row.team_id,
        spec,
        auth: auth.filled(),
        disabled_at: row.disabled_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: unsigned(row.revision),
    })
}

/// The whole row, for an insert or an update.
pub(super) fn row(source: &Source, sealer: &Sealer) -> Result<ActiveModel, StoreError> {
    let settings =
        serde_json::to_string(&source.spec).map_err(|fault| broken(TABLE, &source.id, fault))?;
    Ok(ActiveModel {
        id: Set(source.id.clone()),
        team_id: Set(source.team_id.clone()),
        name: Set(source.spec.name.clone()),
        settings: Set(settings),
        auth: Set(sealer.seal(TABLE, &source.id, &source.auth)?),
        pool: Set(source.spec.pool.clone()),
        disabled_at: Set(source.disabled_at),
        created_at: Set(source.created_at),
        updated_at: Set(source.updated_at),
        revision: Set(signed(source.revision)),
        group_revision: Set(signed(source.revision)),
    })
}

pub(super) async fn get(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    team_id: &str,
    id: &str,
) -> Result<Option<Source>, StoreError> {
    if !can_be_stored(id) {
        return Ok(None);
    }
    let found = Entity::find_by_id(id)
        .filter(Column::TeamId.eq(team_id))
        .one(db)
        .await?;
    found.map(|row| domain(row, sealer)).transpose()
}

pub(super) async fn by_name(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    team_id: &str,
    name: &str,
) -> Result<Option<Source>, StoreError> {
    if !can_be_stored(name) {
        return Ok(None);
    }
    let named = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::Name.eq(name));
    named
        .one(db)
        .await?
        .map(|row| domain(row, sealer))
        .transpose()
}

pub(super) async fn list(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    team_id: &str,
    name: Option<&str>,
    page: &PageRequest,
) -> Result<Page<Source>, StoreError> {
    let mut select = Entity::find().filter(Column::TeamId.eq(team_id));
    if let Some(name) = name {
        select = select.filter(Column::Name.eq(name));
    }
    let rows = page.cut(select).all(db).await?;
    let sources = rows
        .into_iter()
        .map(|row| domain(row, sealer))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page.page(sources, |source| Place {
        id: &source.id,
        name: &source.spec.name,
        created_at: source.created_at,
        updated_at: source.updated_at,
    }))
}

/// Several of one team by id; unknown ids are left out.
pub(super) async fn some(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    team_id: &str,
    ids: Vec<String>,
) -> Result<Vec<Source>, StoreError> {
    let select = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::Id.is_in(ids));
    select
        .all(db)
        .await?
        .into_iter()
        .map(|row| domain(row, sealer))
        .collect()
}
