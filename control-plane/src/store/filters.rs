//! Rows of filters, and of the connections that refer to them.

use std::collections::{BTreeMap, HashMap};

use hookplane_entity::filter::{ActiveModel, Column, Entity, Model};
use hookplane_entity::{connection, connection_filter, source};
use sea_orm::sea_query::{Expr, Func, SelectStatement};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, JoinType,
    QueryFilter as _, QuerySelect as _, QueryTrait as _, Set,
};

use super::page::Place;
use super::{Page, PageRequest, StoreError, broken, can_be_stored, signed, unsigned};
use crate::domain::{Connection, Filter};

const TABLE: &str = "filters";

pub(super) fn domain(row: Model) -> Result<Filter, StoreError> {
    let spec =
        serde_json::from_str(&row.settings).map_err(|fault| broken(TABLE, &row.id, fault))?;
    Ok(Filter {
        id: row.id,
        team_id: row.team_id,
        spec,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: unsigned(row.revision),
    })
}

/// The whole row, for an insert or an update.
pub(super) fn row(filter: &Filter) -> Result<ActiveModel, StoreError> {
    let id = &filter.id;
    let settings = serde_json::to_string(&filter.spec).map_err(|fault| broken(TABLE, id, fault))?;
    Ok(ActiveModel {
        id: Set(id.clone()),
        team_id: Set(filter.team_id.clone()),
        name: Set(filter.spec.name.clone()),
        settings: Set(settings),
        created_at: Set(filter.created_at),
        updated_at: Set(filter.updated_at),
        revision: Set(signed(filter.revision)),
    })
}

pub(super) async fn get(
    db: &impl ConnectionTrait,
    team_id: &str,
    id: &str,
) -> Result<Option<Filter>, StoreError> {
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
    name: &str,
) -> Result<Option<Filter>, StoreError> {
    if !can_be_stored(name) {
        return Ok(None);
    }
    let named = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::Name.eq(name));
    named.one(db).await?.map(domain).transpose()
}

pub(super) async fn list(
    db: &impl ConnectionTrait,
    team_id: &str,
    name: Option<&str>,
    page: &PageRequest,
) -> Result<Page<Filter>, StoreError> {
    let mut select = Entity::find().filter(Column::TeamId.eq(team_id));
    if let Some(name) = name {
        select = select.filter(Column::Name.eq(name));
    }
    let rows = page.cut(select).all(db).await?;
    let filters = rows
        .into_iter()
        .map(domain)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page.page(filters, |filter| Place {
        id: &filter.id,
        name: &filter.spec.name,
        created_at: filter.created_at,
        updated_at: filter.updated_at,
    }))
}

/// How many connections refer to a filter, and one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterUse {
    pub connections: u64,
    pub sample: Option<String>,
}

/// The uses of several filters; those without any are left out.
pub(super) async fn uses(
    db: &impl ConnectionTrait,
    ids: Vec<String>,
) -> Result<HashMap<String, FilterUse>, StoreError> {
    use connection_filter::Column as Link;
    let rows: Vec<(String, i64, Option<String>)> = connection_filter::Entity::find()
        .select_only()
        .column(Link::FilterId)
        .expr(Link::ConnectionId.count())
        .expr(Link::ConnectionId.min())
        .filter(Link::FilterId.is_in(ids))
        .group_by(Link::FilterId)
        .into_tuple()
        .all(db)
        .await?;
    let entry = |(id, connections, sample)| {
        let connections = unsigned(connections);
        (
            id,
            FilterUse {
                connections,
                sample,
            },
        )
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// Notes which filters a connection refers to; nothing may be noted yet.
pub(super) async fn note_uses(
    db: &impl ConnectionTrait,
    connection: &Connection,
) -> Result<(), StoreError> {
    let links: Vec<_> = connection
        .spec
        .filter_ids()
        .map(|(_, filter_id)| connection_filter::ActiveModel {
            connection_id: Set(connection.id.clone()),
            filter_id: Set(filter_id.to_owned()),
            source_id: Set(connection.source_id.clone()),
        })
        .collect();
    if !links.is_empty() {
        connection_filter::Entity::insert_many(links)
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

pub(super) async fn forget_uses(
    db: &impl ConnectionTrait,
    connection_id: &str,
) -> Result<(), StoreError> {
    connection_filter::Entity::delete_many()
        .filter(connection_filter::Column::ConnectionId.eq(connection_id))
        .exec(db)
        .await?;
    Ok(())
}

/// Marks the connections that use a filter, and their sources' groups, as changed.
pub(super) async fn touch_users(
    db: &impl ConnectionTrait,
    filter_id: &str,
    revision: u64,
) -> Result<(), StoreError> {
    use connection_filter::Column as Link;
    let revision = signed(revision);
    connection::Entity::update_many()
        .col_expr(connection::Column::Revision, Expr::value(revision))
        .filter(connection::Column::Id.in_subquery(users(filter_id, Link::ConnectionId)))
        .exec(db)
        .await?;
    source::Entity::update_many()
        .col_expr(source::Column::GroupRevision, Expr::value(revision))
        .filter(source::Column::Id.in_subquery(users(filter_id, Link::SourceId)))
        .exec(db)
        .await?;
    Ok(())
}

fn users(filter_id: &str, column: connection_filter::Column) -> SelectStatement {
    connection_filter::Entity::find()
        .select_only()
        .column(column)
        .filter(connection_filter::Column::FilterId.eq(filter_id))
        .into_query()
}

/// Filters that connections of a pool's sources refer to, by id.
pub(super) async fn of_sources(
    db: &impl ConnectionTrait,
    sources: SelectStatement,
) -> Result<BTreeMap<String, Filter>, StoreError> {
    let named = connection_filter::Entity::find()
        .select_only()
        .column(connection_filter::Column::FilterId)
        .filter(connection_filter::Column::SourceId.in_subquery(sources))
        .into_query();
    let rows = Entity::find()
        .filter(Column::Id.in_subquery(named))
        .all(db)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id.clone(), domain(row)?)))
        .collect()
}

/// Bytes of the filters that the connections of a source refer to, but for one
/// of them: as often as they are referred to, for so often they travel.
pub(super) async fn bytes_of_source(
    db: &impl ConnectionTrait,
    source_id: &str,
    except: &str,
) -> Result<u64, StoreError> {
    use connection_filter::Column as Link;
    if !can_be_stored(source_id) {
        return Ok(0);
    }
    let sum = linked()
        .select_only()
        .expr(bytes())
        .filter(Link::SourceId.eq(source_id))
        .filter(Link::ConnectionId.ne(except))
        .into_tuple::<Option<i64>>()
        .one(db)
        .await?;
    Ok(unsigned(sum.flatten().unwrap_or(0)))
}

/// The most that connections and filters of one source come to, over the sources
/// that use a filter, if that grows by so many bytes.
pub(super) async fn largest_group(
    db: &impl ConnectionTrait,
    filter_id: &str,
    growth: u64,
) -> Result<u64, StoreError> {
    use connection_filter::Column as Link;
    let of_users = || users(filter_id, Link::SourceId);
    let filters: Vec<(String, Option<i64>)> = linked()
        .select_only()
        .column(Link::SourceId)
        .expr(bytes())
        .filter(Link::SourceId.in_subquery(of_users()))
        .group_by(Link::SourceId)
        .into_tuple()
        .all(db)
        .await?;
    let mut totals: HashMap<String, u64> = filters
        .into_iter()
        .map(|(id, sum)| (id, unsigned(sum.unwrap_or(0))))
        .collect();
    let uses: Vec<(String, i64)> = connection_filter::Entity::find()
        .select_only()
        .column(Link::SourceId)
        .expr(Link::ConnectionId.count())
        .filter(Link::FilterId.eq(filter_id))
        .group_by(Link::SourceId)
        .into_tuple()
        .all(db)
        .await?;
    for (id, uses) in uses {
        *totals.entry(id).or_default() += growth.saturating_mul(unsigned(uses));
    }
    let length = Func::cust("OCTET_LENGTH").arg(Expr::col(connection::Column::Settings));
    let own: Vec<(String, Option<i64>)> = connection::Entity::find()
        .select_only()
        .column(connection::Column::SourceId)
        .expr(Func::cast_as(Expr::expr(length).sum(), "BIGINT"))
        .filter(connection::Column::SourceId.in_subquery(of_users()))
        .group_by(connection::Column::SourceId)
        .into_tuple()
        .all(db)
        .await?;
    for (id, sum) in own {
        *totals.entry(id).or_default() += unsigned(sum.unwrap_or(0));
    }
    Ok(totals.into_values().max().unwrap_or(0))
}

fn linked() -> sea_orm::Select<connection_filter::Entity> {
    let relation = connection_filter::Entity::belongs_to(Entity)
        .from(connection_filter::Column::FilterId)
        .to(Column::Id)
        .into();
    connection_filter::Entity::find().join(JoinType::InnerJoin, relation)
}

fn bytes() -> sea_orm::sea_query::SimpleExpr {
    let length = Func::cust("OCTET_LENGTH").arg(Expr::col((Entity, Column::Settings)));
    // On PostgreSQL a sum of whole numbers has a type of its own.
    Func::cast_as(Expr::expr(length).sum(), "BIGINT").into()
}
