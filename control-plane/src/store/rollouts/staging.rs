//! While a change is written: which rollouts it begins or joins, and the rows as
//! they are before it.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_entity::{
    agent, connection, connection_filter, destination, filter, rollout, rollout_image, source,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Set,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::images::{SPARE_DESTINATION, SPARE_FILTER};
use super::{RolloutPolicy, RolloutState, policies};
use crate::domain::Connection;
use crate::store::{StoreError, broken, signed};

/// Agents that a share is taken of.
const MOST_AGENTS: u64 = 4_096;

/// What a change needs to know. Without policies and rollouts it does nothing.
#[derive(Default)]
pub(in crate::store) struct Staging {
    policies: BTreeMap<String, RolloutPolicy>,
    /// Pools that a rollout holds, by its id.
    holding: BTreeMap<String, String>,
}

impl Staging {
    pub(in crate::store) async fn read(tx: &DatabaseTransaction) -> Result<Self, StoreError> {
        let policies = policies(tx).await?;
        let holding = rollout::Entity::find()
            .select_only()
            .column(rollout::Column::Pool)
            .column(rollout::Column::Id)
            .filter(rollout::Column::State.eq(RolloutState::Holding.word()))
            .into_tuple()
            .all(tx)
            .await?;
        Ok(Self {
            policies: policies
                .into_iter()
                .map(|policy| (policy.pool.clone(), policy))
                .collect(),
            holding: holding.into_iter().collect(),
        })
    }

    fn is_idle(&self) -> bool {
        self.policies.is_empty() && self.holding.is_empty()
    }

    /// Before a source is written; `to` is the pool it will be in.
    pub(in crate::store) async fn before_source(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        id: &str,
        to: Option<&str>,
    ) -> Result<(), StoreError> {
        if self.is_idle() {
            return Ok(());
        }
        let row = source::Entity::find_by_id(id).one(tx).await?;
        let from = row.as_ref().map(|row| row.pool.as_str());
        let pools: BTreeSet<&str> = from.into_iter().chain(to).collect();
        for pool in pools {
            if let Some(rollout) = self.rollout(tx, revision, pool).await? {
                keep(tx, &rollout, "source", id, row.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// Before a connection is written. Its source's version changes with it.
    pub(in crate::store) async fn before_connection(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        connection: &Connection,
    ) -> Result<(), StoreError> {
        if self.is_idle() {
            return Ok(());
        }
        let id = connection.id.as_str();
        let row = connection::Entity::find_by_id(id).one(tx).await?;
        let before = row.as_ref().map(|row| row.source_id.as_str());
        let now = connection.source_id.as_str();
        let sources: BTreeSet<&str> = before.into_iter().chain([now]).collect();
        for source_id in sources {
            let Some(from) = source::Entity::find_by_id(source_id).one(tx).await? else {
                continue;
            };
            if let Some(rollout) = self.rollout(tx, revision, &from.pool).await? {
                keep(tx, &rollout, "connection", id, row.as_ref()).await?;
                keep(tx, &rollout, "source", source_id, Some(&from)).await?;
            }
        }
        Ok(())
    }

    /// Before a destination is written: it joins the rollouts of the pools that deliver
    /// to it. The others that are under way may have to put back a connection to it.
    pub(in crate::store) async fn before_destination(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        id: &str,
    ) -> Result<(), StoreError> {
        if self.is_idle() {
            return Ok(());
        }
        let row = destination::Entity::find_by_id(id).one(tx).await?;
        let of_connections = connection::Entity::find()
            .select_only()
            .column(connection::Column::SourceId)
            .filter(connection::Column::DestinationId.eq(id))
            .into_query();
        let pools: Vec<String> = source::Entity::find()
            .select_only()
            .column(source::Column::Pool)
            .distinct()
            .filter(source::Column::Id.in_subquery(of_connections))
            .into_tuple()
            .all(tx)
            .await?;
        let mut joined = BTreeSet::new();
        for pool in pools {
            if let Some(rollout) = self.rollout(tx, revision, &pool).await? {
                keep(tx, &rollout, "destination", id, row.as_ref()).await?;
                joined.insert(rollout);
            }
        }
        for rollout in self.others(&joined) {
            let kinds = ("destination", SPARE_DESTINATION);
            keep_spare(tx, rollout, kinds, id, row.as_ref()).await?;
        }
        Ok(())
    }

    /// Before a filter is written: its connections and their sources change with it.
    /// Other rollouts under way may have to put back a connection that uses it.
    pub(in crate::store) async fn before_filter(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        id: &str,
    ) -> Result<(), StoreError> {
        if self.is_idle() {
            return Ok(());
        }
        let row = filter::Entity::find_by_id(id).one(tx).await?;
        let uses = connection_filter::Entity::find()
            .filter(connection_filter::Column::FilterId.eq(id))
            .all(tx)
            .await?;
        let mut joined = BTreeSet::new();
        for link in uses {
            let user = connection::Entity::find_by_id(&link.connection_id)
                .one(tx)
                .await?;
            let from = source::Entity::find_by_id(&link.source_id).one(tx).await?;
            let (Some(user), Some(from)) = (user, from) else {
                continue;
            };
            if let Some(rollout) = self.rollout(tx, revision, &from.pool).await? {
                keep(tx, &rollout, "filter", id, row.as_ref()).await?;
                keep(tx, &rollout, "connection", &user.id, Some(&user)).await?;
                keep(tx, &rollout, "source", &from.id, Some(&from)).await?;
                joined.insert(rollout);
            }
        }
        for rollout in self.others(&joined) {
            let kinds = ("filter", SPARE_FILTER);
            keep_spare(tx, rollout, kinds, id, row.as_ref()).await?;
        }
        Ok(())
    }

    /// Rollouts under way that a change does not join.
    fn others<'a>(&'a self, joined: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
        let holding = self.holding.values().map(String::as_str);
        holding.filter(|id| !joined.contains(*id))
    }

    /// The rollout of a pool: the one under way, which the change joins, or a new one.
    async fn rollout(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        pool: &str,
    ) -> Result<Option<String>, StoreError> {
        let id = match self.holding.get(pool) {
            Some(id) => id.clone(),
            None => rollout_id(revision, pool),
        };
        if let Some(row) = rollout::Entity::find_by_id(&id).one(tx).await? {
            let mut row: rollout::ActiveModel = row.into();
            row.revision = Set(signed(revision));
            // Seen anew by whoever judges it.
            row.changed_at = Set(0);
            row.update(tx).await?;
            return Ok(Some(id));
        }
        let Some(policy) = self.policies.get(pool) else {
            return Ok(None);
        };
        let share = share(tx, policy, &id).await?;
        if share.is_empty() {
            return Ok(None);
        }
        let agents =
            serde_json::to_string(&share).map_err(|fault| broken("rollouts", &id, fault))?;
        let row = rollout::ActiveModel {
            id: Set(id.clone()),
            pool: Set(pool.to_owned()),
            state: Set(RolloutState::Holding.word().to_owned()),
            base_revision: Set(signed(revision) - 1),
            revision: Set(signed(revision)),
            ended_revision: Set(None),
            share_percent: Set(policy.share_percent.into()),
            hold_seconds: Set(policy.hold_seconds.into()),
            max_failure_percent: Set(policy.max_failure_percent.into()),
            agents: Set(agents),
            started_at: Set(0),
            changed_at: Set(0),
            ended_at: Set(None),
            reason: Set(String::new()),
        };
        row.insert(tx).await?;
        Ok(Some(id))
    }
}

/// Sorts by revision, and differs between the pools that one change touches.
fn rollout_id(revision: u64, pool: &str) -> String {
    let pool = hex::encode(Sha256::digest(pool));
    format!("rol_{revision:012}{}", &pool[..6])
}

/// Agents of the pool in an order that differs from rollout to rollout, so that
/// it is not always the same ones that try what is new. Connected ones first.
async fn share(
    tx: &DatabaseTransaction,
    policy: &RolloutPolicy,
    id: &str,
) -> Result<Vec<String>, StoreError> {
    let known: Vec<(String, Option<String>)> = agent::Entity::find()
        .select_only()
        .column(agent::Column::Id)
        .column(agent::Column::StreamReplica)
        .filter(agent::Column::Pool.eq(&policy.pool))
        .filter(agent::Column::ConnectedAt.is_not_null())
        .order_by_asc(agent::Column::Id)
        .limit(MOST_AGENTS)
        .into_tuple()
        .all(tx)
        .await?;
    let connected = known.iter().filter(|(_, replica)| replica.is_some());
    let mut candidates: Vec<&str> = connected.map(|(id, _)| id.as_str()).collect();
    if candidates.is_empty() {
        candidates = known.iter().map(|(id, _)| id.as_str()).collect();
    }
    candidates.sort_by_cached_key(|agent| Sha256::digest(format!("{id}/{agent}")).to_vec());
    let share = policy.share_of(candidates.len());
    Ok(candidates
        .into_iter()
        .take(share)
        .map(str::to_owned)
        .collect())
}

/// Keeps a row as it was when the rollout began, which is the first one that is given.
async fn keep(
    tx: &DatabaseTransaction,
    rollout: &str,
    kind: &str,
    id: &str,
    before: Option<&impl Serialize>,
) -> Result<(), StoreError> {
    if is_kept(tx, rollout, kind, id).await? {
        return Ok(());
    }
    let before = before.map(serde_json::to_string).transpose();
    let before = before.map_err(|fault| broken("rollout_images", id, fault))?;
    let image = rollout_image::ActiveModel {
        rollout_id: Set(rollout.to_owned()),
        kind: Set(kind.to_owned()),
        id: Set(id.to_owned()),
        before: Set(before),
    };
    image.insert(tx).await?;
    Ok(())
}

/// Keeps a shared row that changes without the rollout, unless it has joined already.
async fn keep_spare(
    tx: &DatabaseTransaction,
    rollout: &str,
    (kind, spare): (&str, &str),
    id: &str,
    before: Option<&impl Serialize>,
) -> Result<(), StoreError> {
    if is_kept(tx, rollout, kind, id).await? {
        return Ok(());
    }
    keep(tx, rollout, spare, id, before).await
}

async fn is_kept(
    tx: &DatabaseTransaction,
    rollout: &str,
    kind: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let key = (rollout.to_owned(), kind.to_owned(), id.to_owned());
    let found = rollout_image::Entity::find_by_id(key).one(tx).await?;
    Ok(found.is_some())
}
