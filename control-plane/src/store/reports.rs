//! Reports: each counted exactly once, kept by the minute, summed over a window.

mod rows;
pub mod series;
mod signals;
mod standings;
mod sums;

use std::collections::BTreeMap;

use hookplane_entity::{agent, destination_minute, report_cursor, source_minute};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};

use super::{Database, StoreError, can_be_stored, secret_uses, signed, storable, unsigned};
use crate::domain::{Millis, Report};

pub use signals::{Signals, next_minute};
pub use standings::Standing;
pub use sums::{DestinationSum, SourceSum, Totals};

/// One minute in milliseconds.
pub const MINUTE: Millis = 60_000;
/// How long minutes are kept.
pub const KEEP: Millis = 7 * 24 * 60 * MINUTE;
/// Minutes that one step of pruning deletes at most.
const PRUNE_MINUTES: u64 = 30;

/// A handle; clones share the database.
#[derive(Clone, Debug)]
pub struct ReportStore {
    database: Database,
}

/// What counting a report came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The numbers are stored; `missing` reports before it never came.
    New { missing: u64 },
    /// They were stored before, and nothing changed.
    Repeated,
}

impl ReportStore {
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Counts a report of an agent unless its sequence number was counted
    /// already. The numbers and the cursor commit together.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing was counted, and the report may come again.
    pub async fn count(
        &self,
        agent_id: &str,
        report: &Report,
        now: Millis,
    ) -> Result<Counted, StoreError> {
        let tx = self.database.write().await?;
        let before = cursor(&tx, agent_id).await?;
        if report.sequence <= before {
            tx.rollback().await?;
            return Ok(Counted::Repeated);
        }
        report_cursor::Entity::update_many()
            .col_expr(
                report_cursor::Column::Sequence,
                Expr::value(signed(report.sequence)),
            )
            .filter(report_cursor::Column::AgentId.eq(agent_id))
            .exec(&tx)
            .await?;
        // An agent with a fast clock must not put numbers into minutes that no window ends.
        let minute = start_of_minute(report.minute.clamp(0, now));
        // Types of events are chosen by whoever sends them.
        let mut sources = report.sources.clone();
        for one in &mut sources {
            for text in [&mut one.team_id, &mut one.source_id, &mut one.event_type] {
                keep_storable(text);
            }
        }
        let mut destinations = report.destinations.clone();
        for one in &mut destinations {
            keep_storable(&mut one.team_id);
            keep_storable(&mut one.destination_id);
        }
        rows::add_sources(&tx, agent_id, minute, &sources).await?;
        rows::add_destinations(&tx, agent_id, minute, &destinations).await?;
        secret_uses::add(&tx, &report.secrets, now).await?;
        if let Some(backlog) = report.backlog {
            agent::Entity::update_many()
                .col_expr(agent::Column::Backlog, Expr::value(signed(backlog)))
                .filter(agent::Column::Id.eq(agent_id))
                .exec(&tx)
                .await?;
        }
        if let Some(states) = &report.states {
            standings::replace(&tx, agent_id, states, now).await?;
        }
        tx.commit().await?;
        Ok(Counted::New {
            missing: report.sequence - before - 1,
        })
    }

    /// Sums of a team from a minute on.
    pub async fn totals(&self, team_id: &str, from: Millis) -> Result<Totals, StoreError> {
        sums::totals(self.database.read(), team_id, start_of_minute(from)).await
    }

    /// Sums per source and event type, busiest first.
    pub async fn by_source(
        &self,
        team_id: &str,
        from: Millis,
        limit: u64,
    ) -> Result<Vec<SourceSum>, StoreError> {
        sums::by_source(self.database.read(), team_id, start_of_minute(from), limit).await
    }

    /// Sums per destination, busiest first.
    pub async fn by_destination(
        &self,
        team_id: &str,
        from: Millis,
        limit: u64,
    ) -> Result<Vec<DestinationSum>, StoreError> {
        sums::by_destination(self.database.read(), team_id, start_of_minute(from), limit).await
    }

    /// How the agents stand to the destinations of a team, as each reported last.
    pub async fn standings(&self, team_id: &str) -> Result<Vec<Standing>, StoreError> {
        standings::of_team(self.database.read(), team_id).await
    }

    /// Deletes a bounded number of minutes that are older than [`KEEP`]. True
    /// when there may be more: call it again.
    pub async fn prune(&self, now: Millis) -> Result<bool, StoreError> {
        let oldest = now - KEEP;
        let tx = self.database.write().await?;
        let sources = source_minute::Entity::find()
            .select_only()
            .column(source_minute::Column::Minute)
            .distinct()
            .filter(source_minute::Column::Minute.lt(oldest))
            .order_by_asc(source_minute::Column::Minute)
            .limit(PRUNE_MINUTES);
        let minutes: Vec<Millis> = sources.into_tuple().all(&tx).await?;
        let more = delete_to(&tx, minutes.last(), Side::Sources).await?;
        let destinations = destination_minute::Entity::find()
            .select_only()
            .column(destination_minute::Column::Minute)
            .distinct()
            .filter(destination_minute::Column::Minute.lt(oldest))
            .order_by_asc(destination_minute::Column::Minute)
            .limit(PRUNE_MINUTES);
        let minutes: Vec<Millis> = destinations.into_tuple().all(&tx).await?;
        let again = delete_to(&tx, minutes.last(), Side::Destinations).await?;
        tx.commit().await?;
        Ok(more || again)
    }
}

#[derive(Clone, Copy)]
enum Side {
    Sources,
    Destinations,
}

/// Deletes the minutes up to the last of a batch; false without one.
async fn delete_to(
    tx: &DatabaseTransaction,
    last: Option<&Millis>,
    side: Side,
) -> Result<bool, StoreError> {
    let Some(last) = last.copied() else {
        return Ok(false);
    };
    match side {
        Side::Sources => {
            source_minute::Entity::delete_many()
                .filter(source_minute::Column::Minute.lte(last))
                .exec(tx)
                .await?;
        }
        Side::Destinations => {
            destination_minute::Entity::delete_many()
                .filter(destination_minute::Column::Minute.lte(last))
                .exec(tx)
                .await?;
        }
    }
    Ok(true)
}

/// The newest sequence counted, locked until the transaction ends.
async fn cursor(tx: &impl ConnectionTrait, agent_id: &str) -> Result<u64, StoreError> {
    // Made first, so that on PostgreSQL there is a row to lock.
    let row = report_cursor::ActiveModel {
        agent_id: Set(agent_id.to_owned()),
        sequence: Set(0),
    };
    report_cursor::Entity::insert(row)
        .on_conflict(
            OnConflict::column(report_cursor::Column::AgentId)
                .do_nothing()
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    let found = report_cursor::Entity::find_by_id(agent_id)
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(found.map_or(0, |row| unsigned(row.sequence)))
}

fn keep_storable(text: &mut String) {
    if !can_be_stored(text) {
        *text = storable(text).into_owned();
    }
}

const fn start_of_minute(at: Millis) -> Millis {
    at - at.rem_euclid(MINUTE)
}

/// Groups numbers by their key, so that one row is written per key.
fn grouped<K: Ord, V: Clone>(
    all: &[V],
    key: impl Fn(&V) -> K,
    add: impl Fn(&mut V, &V),
) -> BTreeMap<K, V> {
    let mut groups: BTreeMap<K, V> = BTreeMap::new();
    for one in all {
        groups
            .entry(key(one))
            .and_modify(|into| add(into, one))
            .or_insert_with(|| one.clone());
    }
    groups
}
