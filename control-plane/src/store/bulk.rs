//! Bulk operations: what was asked for, and how far each came on each agent.
//!
//! Invariants: a client's id names one operation of its team; what an agent told is kept whatever
//! the operation's status became meanwhile; a status is only changed by who read it as it is.

use std::collections::HashMap;

use hookplane_entity::{bulk_operation, bulk_share};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};
use serde_json::{Value, json};

use super::{ConfigStore, Database, StoreError, broken, can_be_stored, signed, storable, unsigned};
use crate::domain::Millis;
use crate::domain::audit::{Act, Action, Actor};
use crate::domain::bulk::{
    BulkCounts, BulkKind, BulkOperation, BulkShare, BulkStatus, Canary, MOST_ONGOING,
};

const TABLE: &str = "bulk_operations";
/// Those that run at the same time, over all teams; others wait for their turn.
const MOST_AT_ONCE: u64 = 32;
/// Ended ones are kept so long.
const KEPT: Millis = 90 * 24 * 60 * 60_000;
/// Ended ones that one step of pruning drops.
const PRUNED: u64 = 500;

/// A handle; clones share the database.
#[derive(Clone)]
pub struct BulkStore {
    config: ConfigStore,
}

/// What came of asking for an operation.
#[derive(Debug)]
pub enum Asked {
    New,
    /// The same was asked for before.
    Before(Box<BulkOperation>),
    /// Something else was asked for with this request id.
    Other,
    /// The team has as many under way as it may.
    TooMany,
}

/// What makes a call sent again the same one.
pub struct Once<'a> {
    pub request_id: &'a str,
    pub fingerprint: &'a str,
}

impl BulkStore {
    #[must_use]
    pub const fn new(config: ConfigStore) -> Self {
        Self { config }
    }

    fn database(&self) -> &Database {
        &self.config.database
    }

    /// Keeps a new one.
    pub async fn begin(
        &self,
        operation: &BulkOperation,
        once: Option<Once<'_>>,
        by: &Actor,
    ) -> Result<Asked, StoreError> {
        use bulk_operation::{Column, Entity};
        let tx = self.database().write().await?;
        // Makes the callers of one team take turns, also on PostgreSQL.
        hookplane_entity::team::Entity::find_by_id(&operation.team_id)
            .lock_exclusive()
            .one(&tx)
            .await?;
        if let Some(once) = &once {
            let before = Entity::find()
                .filter(Column::TeamId.eq(&operation.team_id))
                .filter(Column::RequestId.eq(once.request_id))
                .one(&tx)
                .await?;
            if let Some(row) = before {
                if row.fingerprint.as_deref() != Some(once.fingerprint) {
                    return Ok(Asked::Other);
                }
                let found = with_counts(&tx, vec![row]).await?;
                return Ok(found
                    .into_iter()
                    .next()
                    .map_or(Asked::Other, |before| Asked::Before(Box::new(before))));
            }
        }
        let ongoing = Entity::find()
            .filter(Column::TeamId.eq(&operation.team_id))
            .filter(Column::FinishedAt.is_null())
            .count(&tx)
            .await?;
        if ongoing >= MOST_ONGOING {
            return Ok(Asked::TooMany);
        }
        let row = bulk_operation::ActiveModel {
            id: Set(operation.id.clone()),
            team_id: Set(operation.team_id.clone()),
            kind: Set(operation.kind.word().to_owned()),
            selection: Set(operation.selection.clone()),
            rate: Set(operation.rate.into()),
            canary: Set(operation.canary.word().to_owned()),
            status: Set(operation.status.word().to_owned()),
            status_reason: Set(operation.status_reason.clone()),
            requested_by: Set(operation.requested_by.clone()),
            request_id: Set(once.as_ref().map(|once| once.request_id.to_owned())),
            fingerprint: Set(once.as_ref().map(|once| once.fingerprint.to_owned())),
            total: Set(signed(operation.total)),
            skipped_reason: Set(String::new()),
            created_at: Set(operation.created_at),
            updated_at: Set(operation.updated_at),
            finished_at: Set(None),
        };
        row.insert(&tx).await?;
        let act = act(Action::Create, operation, None, Some(shown(operation)));
        let chain = self.config.ledger().chain();
        chain.append(&tx, by, act, operation.created_at).await?;
        tx.commit().await?;
        Ok(Asked::New)
    }

    pub async fn get(&self, team_id: &str, id: &str) -> Result<Option<BulkOperation>, StoreError> {
        use bulk_operation::{Column, Entity};
        if !can_be_stored(id) {
            return Ok(None);
        }
        let db = self.database().read();
        let found = Entity::find_by_id(id)
            .filter(Column::TeamId.eq(team_id))
            .one(db)
            .await?;
        let found = with_counts(db, found.into_iter().collect()).await?;
        Ok(found.into_iter().next())
    }

    /// Newest first. `ongoing`: only those, or only the others.
    pub async fn list(
        &self,
        team_id: &str,
        (kind, ongoing): (BulkKind, Option<bool>),
        before: Option<&str>,
        limit: u64,
    ) -> Result<Vec<BulkOperation>, StoreError> {
        use bulk_operation::{Column, Entity};
        let mut select = Entity::find()
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Kind.eq(kind.word()))
            .order_by_desc(Column::Id);
        match ongoing {
            Some(true) => select = select.filter(Column::FinishedAt.is_null()),
            Some(false) => select = select.filter(Column::FinishedAt.is_not_null()),
            None => {}
        }
        if let Some(before) = before {
            select = select.filter(Column::Id.lt(before));
        }
        let db = self.database().read();
        let rows = select.limit(limit).all(db).await?;
        with_counts(db, rows).await
    }

    /// Those that run, the oldest first.
    pub async fn running(&self) -> Result<Vec<BulkOperation>, StoreError> {
        use bulk_operation::{Column, Entity};
        let db = self.database().read();
        let rows = Entity::find()
            .filter(Column::FinishedAt.is_null())
            .filter(Column::Status.eq(BulkStatus::Running.word()))
            .order_by_asc(Column::Id)
            .limit(MOST_AT_ONCE)
            .all(db)
            .await?;
        with_counts(db, rows).await
    }

    pub async fn shares(&self, id: &str) -> Result<Vec<BulkShare>, StoreError> {
        use bulk_share::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::OperationId.eq(id))
            .all(self.database().read())
            .await?;
        Ok(rows.into_iter().map(share).collect())
    }

    /// Keeps what agents told, whatever the operation's status is by now.
    pub async fn note(
        &self,
        id: &str,
        shares: &[BulkShare],
        skipped_reason: Option<&str>,
        now: Millis,
    ) -> Result<(), StoreError> {
        use bulk_share::{Column, Entity};
        let tx = self.database().write().await?;
        for share in shares {
            let counts = share.counts;
            let row = bulk_share::ActiveModel {
                operation_id: Set(id.to_owned()),
                agent_id: Set(share.agent_id.clone()),
                after_id: Set(share.after_id.clone()),
                exhausted: Set(share.exhausted),
                made: Set(signed(counts.made)),
                skipped: Set(signed(counts.skipped)),
                queued: Set(signed(counts.queued)),
                scheduled: Set(signed(counts.scheduled)),
                done: Set(signed(counts.done)),
                failed: Set(signed(counts.failed)),
                cancelled: Set(signed(counts.cancelled)),
            };
            let replacing = OnConflict::columns([Column::OperationId, Column::AgentId])
                .update_columns([
                    Column::AfterId,
                    Column::Exhausted,
                    Column::Made,
                    Column::Skipped,
                    Column::Queued,
                    Column::Scheduled,
                    Column::Done,
                    Column::Failed,
                    Column::Cancelled,
                ])
                .to_owned();
            Entity::insert(row).on_conflict(replacing).exec(&tx).await?;
        }
        let mut touch = bulk_operation::Entity::update_many()
            .col_expr(bulk_operation::Column::UpdatedAt, Expr::value(now))
            .filter(bulk_operation::Column::Id.eq(id));
        if let Some(reason) = skipped_reason {
            let reason = storable(reason).into_owned();
            touch = touch.col_expr(bulk_operation::Column::SkippedReason, Expr::value(reason));
        }
        touch.exec(&tx).await?;
        Ok(tx.commit().await?)
    }

    /// Says why a running one stands as it does.
    pub async fn explain(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        use bulk_operation::{Column, Entity};
        let tx = self.database().write().await?;
        Entity::update_many()
            .col_expr(
                Column::StatusReason,
                Expr::value(storable(reason).into_owned()),
            )
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(BulkStatus::Running.word()))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Changes how it stands if it still stands as it was read. `by` a person, it is recorded.
    pub async fn turn(
        &self,
        was: &BulkOperation,
        becomes: &BulkOperation,
        by: Option<&Actor>,
    ) -> Result<bool, StoreError> {
        use bulk_operation::{Column, Entity};
        let tx = self.database().write().await?;
        let reason = storable(&becomes.status_reason).into_owned();
        let changed = Entity::update_many()
            .col_expr(Column::Status, Expr::value(becomes.status.word()))
            .col_expr(Column::Canary, Expr::value(becomes.canary.word()))
            .col_expr(Column::StatusReason, Expr::value(reason))
            .col_expr(Column::UpdatedAt, Expr::value(becomes.updated_at))
            .col_expr(Column::FinishedAt, Expr::value(becomes.finished_at))
            .filter(Column::Id.eq(&was.id))
            .filter(Column::Status.eq(was.status.word()))
            .filter(Column::Canary.eq(was.canary.word()))
            .exec(&tx)
            .await?;
        if changed.rows_affected == 0 {
            return Ok(false);
        }
        if let Some(by) = by {
            let states = (Some(shown(was)), Some(shown(becomes)));
            let act = act(Action::Update, becomes, states.0, states.1);
            let chain = self.config.ledger().chain();
            chain.append(&tx, by, act, becomes.updated_at).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Drops some that ended long ago. Gives whether there may be more.
    pub async fn prune(&self, now: Millis) -> Result<bool, StoreError> {
        use bulk_operation::{Column, Entity};
        let tx = self.database().write().await?;
        let old: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::FinishedAt.lt(now.saturating_sub(KEPT)))
            .limit(PRUNED)
            .into_tuple()
            .all(&tx)
            .await?;
        if old.is_empty() {
            return Ok(false);
        }
        let more = old.len() as u64 == PRUNED;
        bulk_share::Entity::delete_many()
            .filter(bulk_share::Column::OperationId.is_in(old.clone()))
            .exec(&tx)
            .await?;
        Entity::delete_many()
            .filter(Column::Id.is_in(old))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(more)
    }
}

async fn with_counts(
    db: &impl ConnectionTrait,
    rows: Vec<bulk_operation::Model>,
) -> Result<Vec<BulkOperation>, StoreError> {
    let ids: Vec<&String> = rows.iter().map(|row| &row.id).collect();
    let shares = bulk_share::Entity::find()
        .filter(bulk_share::Column::OperationId.is_in(ids))
        .all(db)
        .await?;
    let mut sums: HashMap<String, BulkCounts> = HashMap::new();
    for row in shares {
        let sum = sums.entry(row.operation_id.clone()).or_default();
        *sum = sum.and(share(row).counts);
    }
    let whole = |row: bulk_operation::Model| {
        let counts = sums.get(&row.id).copied().unwrap_or_default();
        domain(row, counts)
    };
    rows.into_iter().map(whole).collect()
}

fn domain(row: bulk_operation::Model, counts: BulkCounts) -> Result<BulkOperation, StoreError> {
    let fault = |fault| broken(TABLE, &row.id, fault);
    Ok(BulkOperation {
        kind: BulkKind::read(&row.kind).map_err(fault)?,
        canary: Canary::read(&row.canary).map_err(fault)?,
        status: BulkStatus::read(&row.status).map_err(fault)?,
        id: row.id,
        team_id: row.team_id,
        selection: row.selection,
        rate: u32::try_from(row.rate).unwrap_or(1),
        status_reason: row.status_reason,
        requested_by: row.requested_by,
        total: unsigned(row.total),
        counts,
        skipped_reason: row.skipped_reason,
        created_at: row.created_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
    })
}

fn share(row: bulk_share::Model) -> BulkShare {
    BulkShare {
        agent_id: row.agent_id,
        after_id: row.after_id,
        exhausted: row.exhausted,
        counts: BulkCounts {
            made: unsigned(row.made),
            skipped: unsigned(row.skipped),
            queued: unsigned(row.queued),
            scheduled: unsigned(row.scheduled),
            done: unsigned(row.done),
            failed: unsigned(row.failed),
            cancelled: unsigned(row.cancelled),
        },
    }
}

fn act(
    action: Action,
    operation: &BulkOperation,
    before: Option<Value>,
    after: Option<Value>,
) -> Act {
    Act {
        action,
        kind: "bulk_operation",
        id: operation.id.clone(),
        name: operation.kind.word().to_owned(),
        revision: None,
        before,
        after,
        secrets_changed: false,
    }
}

fn shown(operation: &BulkOperation) -> Value {
    json!({
        "type": operation.kind.word(),
        "status": operation.status.word(),
        "canary": operation.canary.word(),
        "rate": operation.rate,
        "total": operation.total,
    })
}
