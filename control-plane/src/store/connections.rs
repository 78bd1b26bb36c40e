//! Rows of connections.

use hookplane_entity::connection::{ActiveModel, Column, Entity, Model};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QuerySelect as _, Set,
};

use super::page::Place;
use super::{Page, PageRequest, StoreError, broken, can_be_stored, signed, unsigned};
use crate::domain::connection::Drain;
use crate::domain::{Connection, Millis};

const TABLE: &str = "connections";

/// Which connections to list. `None` means any.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    pub name: Option<String>,
    pub source_id: Option<String>,
    pub destination_id: Option<String>,
}

pub(super) fn domain(row: Model) -> Result<Connection, StoreError> {
    let spec =
        serde_json::from_str(&row.settings).map_err(|fault| broken(TABLE, &row.id, fault))?;
    Ok(Connection {
        id: row.id,
        team_id: row.team_id,
        source_id: row.source_id,
        destination_id: row.destination_id,
        spec,
        disabled_at: row.disabled_at,
        paused_at: row.paused_at,
        drain: row.resumed_at.zip(row.drain_rate).map(drain),
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: unsigned(row.revision),
    })
}

fn drain((resumed_at, rate): (Millis, i64)) -> Drain {
    Drain {
        resumed_at,
        rate: u32::try_from(rate).unwrap_or(u32::MAX),
    }
}

/// The whole row, for an insert or an update.
pub(super) fn row(connection: &Connection) -> Result<ActiveModel, StoreError> {
    let id = &connection.id;
    let settings =
        serde_json::to_string(&connection.spec).map_err(|fault| broken(TABLE, id, fault))?;
    Ok(ActiveModel {
        id: Set(id.clone()),
        team_id: Set(connection.team_id.clone()),
        name: Set(connection.spec.name.clone()),
        settings: Set(settings),
        source_id: Set(connection.source_id.clone()),
        destination_id: Set(connection.destination_id.clone()),
        disabled_at: Set(connection.disabled_at),
        paused_at: Set(connection.paused_at),
        resumed_at: Set(connection.drain.map(|drain| drain.resumed_at)),
        drain_rate: Set(connection.drain.map(|drain| drain.rate.into())),
        created_at: Set(connection.created_at),
        updated_at: Set(connection.updated_at),
        revision: Set(signed(connection.revision)),
    })
}

pub(super) async fn get(
    db: &impl ConnectionTrait,
    team_id: &str,
    id: &str,
) -> Result<Option<Connection>, StoreError> {
    if !can_be_stored(id) {
        return Ok(None);
    }
    let found = Entity::find_by_id(id)
        .filter(Column::TeamId.eq(team_id))
        .one(db)
        .await?;
    found.map(domain).transpose()
}

pub(super) async fn by_name(
    db: &impl ConnectionTrait,
    team_id: &str,
    source_id: &str,
    name: &str,
) -> Result<Option<Connection>, StoreError> {
    if !can_be_stored(name) || !can_be_stored(source_id) {
        return Ok(None);
    }
    let named = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::SourceId.eq(source_id))
        .filter(Column::Name.eq(name));
    named.one(db).await?.map(domain).transpose()
}

pub(super) async fn list(
    db: &impl ConnectionTrait,
    team_id: &str,
    filter: &ConnectionFilter,
    page: &PageRequest,
) -> Result<Page<Connection>, StoreError> {
    let mut select = Entity::find().filter(Column::TeamId.eq(team_id));
    if let Some(name) = &filter.name {
        select = select.filter(Column::Name.eq(name));
    }
    if let Some(id) = &filter.source_id {
        select = select.filter(Column::SourceId.eq(id));
    }
    if let Some(id) = &filter.destination_id {
        select = select.filter(Column::DestinationId.eq(id));
    }
    let rows = page.cut(select).all(db).await?;
    let connections = rows
        .into_iter()
        .map(domain)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page.page(connections, |connection| Place {
        id: &connection.id,
        name: &connection.spec.name,
        created_at: connection.created_at,
        updated_at: connection.updated_at,
    }))
}

pub(super) async fn of_source(
    db: &impl ConnectionTrait,
    source_id: &str,
) -> Result<u64, StoreError> {
    Ok(Entity::find()
        .filter(Column::SourceId.eq(source_id))
        .count(db)
        .await?)
}

/// Bytes that the settings of a source's connections have, but for one of them.
pub(super) async fn bytes_of_source(
    db: &impl ConnectionTrait,
    source_id: &str,
    except: &str,
) -> Result<u64, StoreError> {
    if !can_be_stored(source_id) {
        return Ok(0);
    }
    let length = Func::cust("OCTET_LENGTH").arg(Expr::col(Column::Settings));
    let sum = Entity::find()
        .select_only()
        // On PostgreSQL a sum of whole numbers has a type of its own.
        .expr(Func::cast_as(Expr::expr(length).sum(), "BIGINT"))
        .filter(Column::SourceId.eq(source_id))
        .filter(Column::Id.ne(except))
        .into_tuple::<Option<i64>>()
        .one(db)
        .await?;
    Ok(unsigned(sum.flatten().unwrap_or(0)))
}

pub(super) async fn of_destination(
    db: &impl ConnectionTrait,
    destination_id: &str,
) -> Result<u64, StoreError> {
    Ok(Entity::find()
        .filter(Column::DestinationId.eq(destination_id))
        .count(db)
        .await?)
}
