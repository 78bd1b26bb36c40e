//! Rows of minutes: a report's numbers added to what the minute already holds.

use std::collections::HashMap;

use hookplane_entity::{destination_minute, source_minute};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _, Set};

use super::super::{StoreError, broken, signed, unsigned};
use super::grouped;
use crate::domain::{DestinationNumbers, Histogram, Millis, SourceNumbers};

/// Rows of one statement, well below the bound on parameters of both databases.
const BATCH: usize = 200;

pub(super) async fn add_sources(
    tx: &DatabaseTransaction,
    agent_id: &str,
    minute: Millis,
    numbers: &[SourceNumbers],
) -> Result<(), StoreError> {
    use source_minute::Column;
    let key = |one: &SourceNumbers| (one.source_id.clone(), one.event_type.clone());
    let mut sums = grouped(numbers, key, SourceNumbers::add);
    if sums.is_empty() {
        return Ok(());
    }
    let held = source_minute::Entity::find()
        .filter(Column::Minute.eq(minute))
        .filter(Column::AgentId.eq(agent_id))
        .all(tx)
        .await?;
    for row in held {
        if let Some(sum) = sums.get_mut(&(row.source_id.clone(), row.event_type.clone())) {
            sum.add(&source(row)?);
        }
    }
    let rows = sums
        .into_values()
        .map(|sum| source_row(agent_id, minute, sum))
        .collect::<Result<Vec<_>, _>>()?;
    for batch in rows.chunks(BATCH) {
        let replace = OnConflict::columns([
            Column::Minute,
            Column::AgentId,
            Column::SourceId,
            Column::EventType,
        ])
        .update_columns([
            Column::Received,
            Column::Accepted,
            Column::Rejected,
            Column::Repeats,
            Column::Bytes,
            Column::Latency,
        ])
        .to_owned();
        source_minute::Entity::insert_many(batch.iter().cloned())
            .on_conflict(replace)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn add_destinations(
    tx: &DatabaseTransaction,
    agent_id: &str,
    minute: Millis,
    numbers: &[DestinationNumbers],
) -> Result<(), StoreError> {
    use destination_minute::Column;
    let key = |one: &DestinationNumbers| one.destination_id.clone();
    let mut sums = grouped(numbers, key, DestinationNumbers::add);
    if sums.is_empty() {
        return Ok(());
    }
    let held: HashMap<String, destination_minute::Model> = destination_minute::Entity::find()
        .filter(Column::Minute.eq(minute))
        .filter(Column::AgentId.eq(agent_id))
        .all(tx)
        .await?
        .into_iter()
        .map(|row| (row.destination_id.clone(), row))
        .collect();
    for (id, row) in held {
        if let Some(sum) = sums.get_mut(&id) {
            sum.add(&destination(row)?);
        }
    }
    let rows = sums
        .into_values()
        .map(|sum| destination_row(agent_id, minute, sum))
        .collect::<Result<Vec<_>, _>>()?;
    for batch in rows.chunks(BATCH) {
        let replace = OnConflict::columns([Column::Minute, Column::AgentId, Column::DestinationId])
            .update_columns([
                Column::Attempts,
                Column::Successful,
                Column::Failed,
                Column::Latency,
                Column::StartDelay,
                Column::DeliveredAfter,
            ])
            .to_owned();
        destination_minute::Entity::insert_many(batch.iter().cloned())
            .on_conflict(replace)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

fn source(row: source_minute::Model) -> Result<SourceNumbers, StoreError> {
    Ok(SourceNumbers {
        latency: histogram("source_minutes", &row.source_id, &row.latency)?,
        team_id: row.team_id,
        source_id: row.source_id,
        event_type: row.event_type,
        received: unsigned(row.received),
        accepted: unsigned(row.accepted),
        rejected: unsigned(row.rejected),
        repeats: unsigned(row.repeats),
        bytes: unsigned(row.bytes),
    })
}

fn source_row(
    agent_id: &str,
    minute: Millis,
    sum: SourceNumbers,
) -> Result<source_minute::ActiveModel, StoreError> {
    let latency = encoded("source_minutes", &sum.source_id, &sum.latency)?;
    Ok(source_minute::ActiveModel {
        minute: Set(minute),
        agent_id: Set(agent_id.to_owned()),
        source_id: Set(sum.source_id),
        event_type: Set(sum.event_type),
        team_id: Set(sum.team_id),
        received: Set(signed(sum.received)),
        accepted: Set(signed(sum.accepted)),
        rejected: Set(signed(sum.rejected)),
        repeats: Set(signed(sum.repeats)),
        bytes: Set(signed(sum.bytes)),
        latency: Set(latency),
    })
}

fn destination(row: destination_minute::Model) -> Result<DestinationNumbers, StoreError> {
    Ok(DestinationNumbers {
        latency: histogram("destination_minutes", &row.destination_id, &row.latency)?,
        start_delay: told("destination_minutes", &row.destination_id, &row.start_delay)?,
        delivered_after: told(
            "destination_minutes",
            &row.destination_id,
            &row.delivered_after,
        )?,
        team_id: row.team_id,
        destination_id: row.destination_id,
        attempts: unsigned(row.attempts),
        successful: unsigned(row.successful),
        failed: unsigned(row.failed),
    })
}

fn destination_row(
    agent_id: &str,
    minute: Millis,
    sum: DestinationNumbers,
) -> Result<destination_minute::ActiveModel, StoreError> {
    let part = |one| encoded("destination_minutes", &sum.destination_id, one);
    let latency = part(&sum.latency)?;
    let (start_delay, delivered_after) = (part(&sum.start_delay)?, part(&sum.delivered_after)?);
    Ok(destination_minute::ActiveModel {
        minute: Set(minute),
        agent_id: Set(agent_id.to_owned()),
        destination_id: Set(sum.destination_id),
        team_id: Set(sum.team_id),
        attempts: Set(signed(sum.attempts)),
        successful: Set(signed(sum.successful)),
        failed: Set(signed(sum.failed)),
        latency: Set(latency),
        start_delay: Set(Some(start_delay)),
        delivered_after: Set(Some(delivered_after)),
    })
}

fn encoded(table: &'static str, id: &str, latency: &Histogram) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(latency).map_err(|fault| broken(table, id, fault))
}

pub(super) fn histogram(
    table: &'static str,
    id: &str,
    bytes: &[u8],
) -> Result<Histogram, StoreError> {
    serde_json::from_slice(bytes).map_err(|fault| broken(table, id, fault))
}

/// Of a column that rows of the first release lack.
pub(super) fn told(
    table: &'static str,
    id: &str,
    bytes: &Option<Vec<u8>>,
) -> Result<Histogram, StoreError> {
    match bytes {
        Some(bytes) => histogram(table, id, bytes),
        None => Ok(Histogram::default()),
    }
}
