//! Staged rollouts: which pools have a policy, what is on its way, how it ends.
//!
//! The newest configuration is what the tables hold. While a rollout holds, the
//! rows as they were before it are kept beside them (`images`): what the
//! agents outside the share go on with, and what a return puts back. Invariant:
//! a rollout begins, grows and ends with a revision, in its transaction.

mod ending;
mod images;
mod putting_back;
mod record;
mod staging;

use std::collections::BTreeSet;

use hookplane_entity::{rollout, rollout_image, rollout_policy};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
    sea_query::{Expr, OnConflict},
};
use serde_json::{Value, json};

use super::{ConfigStore, Database, StoreError, broken, can_be_stored, signed, unsigned};
use crate::domain::audit::{Act, Action, Actor};
use crate::domain::rollout::{Rollout, RolloutPolicy, RolloutResource, RolloutState};
use crate::domain::{Millis, RefusedResource};
pub use ending::Judged;
pub(super) use images::{Images, images};
use images::{SPARE_DESTINATION, SPARE_FILTER};
pub(super) use staging::Staging;

const TABLE: &str = "rollouts";
/// Most policies there can be, and most resources that are shown of one rollout.
const MOST: u64 = 1_000;

/// A rollout as the streams need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    pub id: String,
    /// What everybody else keeps.
    pub base_revision: u64,
    /// Who has it.
    pub agents: BTreeSet<String>,
}

/// A handle; clones share the database.
#[derive(Clone)]
pub struct RolloutStore {
    config: ConfigStore,
}

/// How an agent of a share stands.
#[derive(Clone, Debug)]
pub struct ShareMember {
    pub id: String,
    pub name: String,
    pub epoch: String,
    pub revision: u64,
    pub refused: Vec<RefusedResource>,
    pub stream_replica: Option<String>,
}

impl RolloutStore {
    #[must_use]
    pub const fn new(config: ConfigStore) -> Self {
        Self { config }
    }

    fn database(&self) -> &Database {
        &self.config.database
    }

    /// All policies, by pool.
    pub async fn policies(&self) -> Result<Vec<RolloutPolicy>, StoreError> {
        policies(self.database().read()).await
    }

    pub async fn set_policy(&self, policy: &RolloutPolicy, by: &Actor) -> Result<(), StoreError> {
        use rollout_policy::{ActiveModel, Column, Entity};
        let tx = self.database().write().await?;
        let before = Entity::find_by_id(&policy.pool).one(&tx).await?;
        let action = before.as_ref().map_or(Action::Create, |_| Action::Update);
        let states = (before.map(shown_row), Some(shown(policy)));
        let act = policy_act(action, &policy.pool, states);
        let chain = self.config.ledger().chain();
        chain.append(&tx, by, act, policy.updated_at).await?;
        let row = ActiveModel {
            pool: Set(policy.pool.clone()),
            share_percent: Set(policy.share_percent.into()),
            hold_seconds: Set(policy.hold_seconds.into()),
            max_failure_percent: Set(policy.max_failure_percent.into()),
            updated_at: Set(policy.updated_at),
        };
        let replacing = OnConflict::column(Column::Pool)
            .update_columns([
                Column::SharePercent,
                Column::HoldSeconds,
                Column::MaxFailurePercent,
                Column::UpdatedAt,
            ])
            .to_owned();
        Entity::insert(row).on_conflict(replacing).exec(&tx).await?;
        Ok(tx.commit().await?)
    }

    /// Gives whether there was one. A rollout under way goes on.
    pub async fn delete_policy(
        &self,
        pool: &str,
        by: &Actor,
        now: Millis,
    ) -> Result<bool, StoreError> {
        if !can_be_stored(pool) {
            return Ok(false);
        }
        let tx = self.database().write().await?;
        let Some(gone) = rollout_policy::Entity::find_by_id(pool).one(&tx).await? else {
            return Ok(false);
        };
        rollout_policy::Entity::delete_by_id(pool).exec(&tx).await?;
        let act = policy_act(Action::Delete, pool, (Some(shown_row(gone)), None));
        self.config
            .ledger()
            .chain()
            .append(&tx, by, act, now)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Newest first, those after `before` if that is given.
    pub async fn list(
        &self,
        pool: Option<&str>,
        before: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Rollout>, StoreError> {
        let mut select = rollout::Entity::find().order_by_desc(rollout::Column::Id);
        if let Some(pool) = pool {
            select = select.filter(rollout::Column::Pool.eq(pool));
        }
        if let Some(before) = before {
            select = select.filter(rollout::Column::Id.lt(before));
        }
        let rows = select.limit(limit).all(self.database().read()).await?;
        rows.into_iter().map(domain).collect()
    }

    /// Those that hold, which is at most one per pool.
    pub async fn holding(&self) -> Result<Vec<Rollout>, StoreError> {
        let rows = rollout::Entity::find()
            .filter(rollout::Column::State.eq(RolloutState::Holding.word()))
            .all(self.database().read())
            .await?;
        rows.into_iter().map(domain).collect()
    }

    pub async fn get(&self, id: &str) -> Result<Option<Rollout>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let found = rollout::Entity::find_by_id(id)
            .one(self.database().read())
            .await?;
        found.map(domain).transpose()
    }

    /// What a rollout changes, as long as it holds.
    pub async fn resources(&self, id: &str) -> Result<Vec<RolloutResource>, StoreError> {
        let rows = rollout_image::Entity::find()
            .filter(rollout_image::Column::RolloutId.eq(id))
            .filter(rollout_image::Column::Kind.is_not_in([SPARE_DESTINATION, SPARE_FILTER]))
            .order_by_asc(rollout_image::Column::Kind)
            .order_by_asc(rollout_image::Column::Id)
            .limit(MOST)
            .all(self.database().read())
            .await?;
        let resource = |row: rollout_image::Model| RolloutResource {
            kind: row.kind,
            id: row.id,
        };
        Ok(rows.into_iter().map(resource).collect())
    }

    /// The agents of a share that still exist.
    pub async fn members(&self, ids: &[String]) -> Result<Vec<ShareMember>, StoreError> {
        use hookplane_entity::agent;
        let rows = agent::Entity::find()
            .filter(agent::Column::Id.is_in(ids.to_vec()))
            .all(self.database().read())
            .await?;
        let member = |row: agent::Model| {
            let refused = serde_json::from_str(&row.refused)
                .map_err(|fault| broken("agents", &row.id, fault))?;
            Ok(ShareMember {
                id: row.id,
                name: row.name,
                epoch: row.epoch,
                revision: unsigned(row.revision),
                refused,
                stream_replica: row.stream_replica,
            })
        };
        rows.into_iter().map(member).collect()
    }

    /// Whether one of these replicas has a stream of an agent outside a share.
    pub async fn others_connected(
        &self,
        share: &[String],
        replicas: Vec<String>,
    ) -> Result<bool, StoreError> {
        use hookplane_entity::agent::{Column, Entity};
        let found = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::StreamReplica.is_in(replicas))
            .filter(Column::Id.is_not_in(share.to_vec()))
            .into_tuple::<String>()
            .one(self.database().read())
            .await?;
        Ok(found.is_some())
    }

    /// Notes when a rollout was first seen, when its newest change was, and what it waits
    /// for; nothing when it is another revision by now or has ended.
    pub async fn note(
        &self,
        judged: Judged<'_>,
        started_at: Millis,
        changed_at: Millis,
    ) -> Result<(), StoreError> {
        use rollout::Column;
        let tx = self.database().write().await?;
        rollout::Entity::update_many()
            .col_expr(Column::StartedAt, Expr::value(started_at))
            .col_expr(Column::ChangedAt, Expr::value(changed_at))
            .col_expr(Column::Reason, Expr::value(judged.reason))
            .filter(Column::Id.eq(judged.id))
            .filter(Column::State.eq(RolloutState::Holding.word()))
            .filter(Column::Revision.eq(signed(judged.revision)))
            .exec(&tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

async fn policies(db: &impl ConnectionTrait) -> Result<Vec<RolloutPolicy>, StoreError> {
    let rows = rollout_policy::Entity::find()
        .order_by_asc(rollout_policy::Column::Pool)
        .limit(MOST)
        .all(db)
        .await?;
    let policy = |row: rollout_policy::Model| RolloutPolicy {
        pool: row.pool,
        share_percent: small(row.share_percent),
        hold_seconds: small(row.hold_seconds),
        max_failure_percent: small(row.max_failure_percent),
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(policy).collect())
}

/// The rollout that holds a pool, if one does.
pub(super) async fn staged(
    db: &impl ConnectionTrait,
    pool: &str,
) -> Result<Option<Staged>, StoreError> {
    let row = rollout::Entity::find()
        .filter(rollout::Column::Pool.eq(pool))
        .filter(rollout::Column::State.eq(RolloutState::Holding.word()))
        .one(db)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let agents = agents(&row)?.into_iter().collect();
    Ok(Some(Staged {
        id: row.id,
        base_revision: unsigned(row.base_revision),
        agents,
    }))
}

fn agents(row: &rollout::Model) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(&row.agents).map_err(|fault| broken(TABLE, &row.id, fault))
}

fn domain(row: rollout::Model) -> Result<Rollout, StoreError> {
    let agents = agents(&row)?;
    let state = RolloutState::read(&row.state).map_err(|fault| broken(TABLE, &row.id, fault))?;
    Ok(Rollout {
        state,
        base_revision: unsigned(row.base_revision),
        revision: unsigned(row.revision),
        ended_revision: row.ended_revision.map(unsigned),
        policy: RolloutPolicy {
            pool: row.pool.clone(),
            share_percent: small(row.share_percent),
            hold_seconds: small(row.hold_seconds),
            max_failure_percent: small(row.max_failure_percent),
            updated_at: row.started_at,
        },
        id: row.id,
        pool: row.pool,
        agents,
        started_at: row.started_at,
        changed_at: row.changed_at,
        ended_at: row.ended_at,
        reason: row.reason,
    })
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn policy_act(action: Action, pool: &str, (before, after): (Option<Value>, Option<Value>)) -> Act {
    Act {
        action,
        kind: "rollout_policy",
        id: pool.to_owned(),
        name: pool.to_owned(),
        revision: None,
        before,
        after,
        secrets_changed: false,
    }
}

fn shown(policy: &RolloutPolicy) -> Value {
    json!({
        "share_percent": policy.share_percent,
        "hold_seconds": policy.hold_seconds,
        "max_failure_percent": policy.max_failure_percent,
    })
}

fn shown_row(row: rollout_policy::Model) -> Value {
    json!({
        "share_percent": row.share_percent,
        "hold_seconds": row.hold_seconds,
        "max_failure_percent": row.max_failure_percent,
    })
}
