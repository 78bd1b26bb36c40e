//! Sums over a window: counters in the database, histograms merged here.

use std::collections::HashMap;

use hookplane_entity::{destination_minute, source_minute};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, SimpleExpr};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, FromQueryResult, IdenStatic as _, Order,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::super::{StoreError, unsigned};
use super::rows::{histogram, told};
use super::{KEEP, MINUTE};
use crate::domain::{Histogram, Millis};

/// Minutes whose histograms are read at once.
const STEP: Millis = 60 * MINUTE;

/// Everything of a team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub repeats: u64,
    pub attempts: u64,
    pub successful: u64,
    pub failed: u64,
}

/// Of one source and event type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSum {
    pub source_id: String,
    pub event_type: String,
    pub received: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub repeats: u64,
    /// Microseconds.
    pub latency: Histogram,
}

/// Of one destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationSum {
    pub destination_id: String,
    pub attempts: u64,
    pub successful: u64,
    pub failed: u64,
    pub times: Times,
}

/// How long deliveries take, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Of each attempt.
    pub latency: Histogram,
    /// From being due to the start of an attempt.
    pub start_delay: Histogram,
    /// From accepted to delivered.
    pub delivered_after: Histogram,
}

/// The histograms of one row.
type Parts = (String, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

#[derive(Debug, FromQueryResult)]
struct SourceRow {
    source_id: String,
    event_type: String,
    received: Option<i64>,
    accepted: Option<i64>,
    rejected: Option<i64>,
    repeats: Option<i64>,
}

#[derive(Debug, FromQueryResult)]
struct DestinationRow {
    destination_id: String,
    attempts: Option<i64>,
    successful: Option<i64>,
    failed: Option<i64>,
}

/// A sum as 64 bits: PostgreSQL would make a decimal of it.
fn total(column: impl sea_orm::ColumnTrait) -> SimpleExpr {
    Expr::col(Alias::new(column.as_str()))
        .sum()
        .cast_as(Alias::new("bigint"))
}

fn number(value: Option<i64>) -> u64 {
    value.map_or(0, unsigned)
}

pub(super) async fn totals(
    db: &impl ConnectionTrait,
    team_id: &str,
    from: Millis,
) -> Result<Totals, StoreError> {
    use destination_minute::Column as To;
    use source_minute::Column as In;
    type Four = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let arrived: Option<Four> = source_minute::Entity::find()
        .select_only()
        .expr_as(total(In::Received), "received")
        .expr_as(total(In::Accepted), "accepted")
        .expr_as(total(In::Rejected), "rejected")
        .expr_as(total(In::Repeats), "repeats")
        .filter(In::TeamId.eq(team_id))
        .filter(In::Minute.gte(from))
        .into_tuple()
        .one(db)
        .await?;
    let sent: Option<(Option<i64>, Option<i64>, Option<i64>)> = destination_minute::Entity::find()
        .select_only()
        .expr_as(total(To::Attempts), "attempts")
        .expr_as(total(To::Successful), "successful")
        .expr_as(total(To::Failed), "failed")
        .filter(To::TeamId.eq(team_id))
        .filter(To::Minute.gte(from))
        .into_tuple()
        .one(db)
        .await?;
    let (received, accepted, rejected, repeats) = arrived.unwrap_or_default();
    let (attempts, successful, failed) = sent.unwrap_or_default();
    Ok(Totals {
        received: number(received),
        accepted: number(accepted),
        rejected: number(rejected),
        repeats: number(repeats),
        attempts: number(attempts),
        successful: number(successful),
        failed: number(failed),
    })
}

pub(super) async fn by_source(
    db: &impl ConnectionTrait,
    team_id: &str,
    from: Millis,
    limit: u64,
) -> Result<Vec<SourceSum>, StoreError> {
    use source_minute::{Column, Entity};
    let rows: Vec<SourceRow> = Entity::find()
        .select_only()
        .column(Column::SourceId)
        .column(Column::EventType)
        .expr_as(total(Column::Received), "received")
        .expr_as(total(Column::Accepted), "accepted")
        .expr_as(total(Column::Rejected), "rejected")
        .expr_as(total(Column::Repeats), "repeats")
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::Minute.gte(from))
        .group_by(Column::SourceId)
        .group_by(Column::EventType)
        .order_by(total(Column::Received), Order::Desc)
        .order_by_asc(Column::SourceId)
        .order_by_asc(Column::EventType)
        .limit(limit)
        .into_model()
        .all(db)
        .await?;
    let ids: Vec<String> = rows.iter().map(|row| row.source_id.clone()).collect();
    let mut latencies: HashMap<(String, String), Histogram> = HashMap::new();
    let newest = newest(
        db,
        Entity::find().filter(Column::TeamId.eq(team_id)),
        Column::Minute,
    );
    for step in steps(from, newest.await?) {
        let parts: Vec<(String, String, Vec<u8>)> = Entity::find()
            .select_only()
            .column(Column::SourceId)
            .column(Column::EventType)
            .column(Column::Latency)
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Minute.gte(step))
            .filter(Column::Minute.lt(step + STEP))
            .filter(Column::SourceId.is_in(ids.iter()))
            .into_tuple()
            .all(db)
            .await?;
        for (source, kind, bytes) in parts {
            let part = histogram("source_minutes", &source, &bytes)?;
            latencies.entry((source, kind)).or_default().merge(&part);
        }
    }
    let sum = |row: SourceRow| {
        let key = (row.source_id, row.event_type);
        let latency = latencies.remove(&key).unwrap_or_default();
        let (source_id, event_type) = key;
        SourceSum {
            source_id,
            event_type,
            received: number(row.received),
            accepted: number(row.accepted),
            rejected: number(row.rejected),
            repeats: number(row.repeats),
            latency,
        }
    };
    Ok(rows.into_iter().map(sum).collect())
}

pub(super) async fn by_destination(
    db: &impl ConnectionTrait,
    team_id: &str,
    from: Millis,
    limit: u64,
) -> Result<Vec<DestinationSum>, StoreError> {
    use destination_minute::{Column, Entity};
    let rows: Vec<DestinationRow> = Entity::find()
        .select_only()
        .column(Column::DestinationId)
        .expr_as(total(Column::Attempts), "attempts")
        .expr_as(total(Column::Successful), "successful")
        .expr_as(total(Column::Failed), "failed")
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::Minute.gte(from))
        .group_by(Column::DestinationId)
        .order_by(total(Column::Attempts), Order::Desc)
        .order_by_asc(Column::DestinationId)
        .limit(limit)
        .into_model()
        .all(db)
        .await?;
    let ids: Vec<String> = rows.iter().map(|row| row.destination_id.clone()).collect();
    let mut times: HashMap<String, Times> = HashMap::new();
    let newest = newest(
        db,
        Entity::find().filter(Column::TeamId.eq(team_id)),
        Column::Minute,
    );
    for step in steps(from, newest.await?) {
        let parts: Vec<Parts> = Entity::find()
            .select_only()
            .column(Column::DestinationId)
            .column(Column::Latency)
            .column(Column::StartDelay)
            .column(Column::DeliveredAfter)
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Minute.gte(step))
            .filter(Column::Minute.lt(step + STEP))
            .filter(Column::DestinationId.is_in(ids.iter()))
            .into_tuple()
            .all(db)
            .await?;
        for (id, latency, start_delay, delivered_after) in parts {
            const TABLE: &str = "destination_minutes";
            let latency = histogram(TABLE, &id, &latency)?;
            let start_delay = told(TABLE, &id, &start_delay)?;
            let delivered_after = told(TABLE, &id, &delivered_after)?;
            let sum = times.entry(id).or_default();
            sum.latency.merge(&latency);
            sum.start_delay.merge(&start_delay);
            sum.delivered_after.merge(&delivered_after);
        }
    }
    let sum = |row: DestinationRow| DestinationSum {
        times: times.remove(&row.destination_id).unwrap_or_default(),
        destination_id: row.destination_id,
        attempts: number(row.attempts),
        successful: number(row.successful),
        failed: number(row.failed),
    };
    Ok(rows.into_iter().map(sum).collect())
}

async fn newest<E: sea_orm::EntityTrait>(
    db: &impl ConnectionTrait,
    of: sea_orm::Select<E>,
    minute: E::Column,
) -> Result<Option<Millis>, StoreError> {
    let newest: Option<Option<Millis>> = of
        .select_only()
        .expr_as(Expr::col(Alias::new(minute.as_str())).max(), "newest")
        .into_tuple()
        .one(db)
        .await?;
    Ok(newest.flatten())
}

/// Starts of the parts of a window, bounded by what is kept at all.
fn steps(from: Millis, newest: Option<Millis>) -> impl Iterator<Item = Millis> {
    let last = newest.unwrap_or(from - 1);
    let first = Ord::max(from, last - KEEP);
    (0..)
        .map(move |part| first + part * STEP)
        .take_while(move |step| *step <= last)
}
