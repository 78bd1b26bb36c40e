//! How a rollout ends: everyone gets what the share has, or everyone goes back.
//!
//! Both are revisions like any other, and both are for the revision that somebody
//! judged: when another change has joined since, nothing happens.

use hookplane_entity::{rollout, rollout_image};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, Set,
};

use super::record::End;
use super::{RolloutState, RolloutStore, images};
use crate::domain::Millis;
use crate::domain::audit::{Action, Actor};
use crate::store::{StoreError, signed};

/// What somebody decided of a rollout.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    pub id: &'a str,
    /// The rollout's revision that was looked at.
    pub revision: u64,
    pub reason: &'a str,
}

impl RolloutStore {
    /// Gives everyone what the share has. `false` when it had ended already or
    /// has another revision by now.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer; then nothing happened.
    pub async fn promote(
        &self,
        judged: Judged<'_>,
        by: &Actor,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let change = self.config.change().await?;
        let (tx, revision) = (change.tx(), change.revision());
        let Some(holding) = holding(tx, judged).await? else {
            return Ok(false);
        };
        let end_of = End {
            id: judged.id,
            by,
            action: Action::Promote,
            reason: judged.reason,
            now,
        };
        let teams = images(tx, judged.id).await?.teams(tx).await?;
        end_of.record(&change, &teams).await?;
        let (state, reason) = (RolloutState::Promoted, judged.reason.to_owned());
        end(tx, holding, (state, reason), revision, now).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Takes the changes back from everyone. `false` when it had ended already or
    /// has another revision by now.
    ///
    /// # Errors
    /// [`StoreError`] when the rows cannot be put back; then nothing happened.
    pub async fn give_back(
        &self,
        judged: Judged<'_>,
        by: &Actor,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let change = self.config.change().await?;
        let (tx, revision) = (change.tx(), change.revision());
        let Some(holding) = holding(tx, judged).await? else {
            return Ok(false);
        };
        let before = images(tx, judged.id).await?;
        let teams = before.teams(tx).await?;
        let mut reason = judged.reason.to_owned();
        for note in before.write(tx, &holding.pool, revision, now).await? {
            reason.push_str("; ");
            reason.push_str(&note);
        }
        let end_of = End {
            id: judged.id,
            by,
            action: Action::Return,
            reason: &reason,
            now,
        };
        end_of.record(&change, &teams).await?;
        end(tx, holding, (RolloutState::Returned, reason), revision, now).await?;
        change.commit().await?;
        Ok(true)
    }
}

/// The rollout, if it is still what was judged.
async fn holding(
    tx: &DatabaseTransaction,
    judged: Judged<'_>,
) -> Result<Option<rollout::Model>, StoreError> {
    let holding = rollout::Entity::find_by_id(judged.id)
        .filter(rollout::Column::State.eq(RolloutState::Holding.word()))
        .filter(rollout::Column::Revision.eq(signed(judged.revision)));
    Ok(holding.one(tx).await?)
}

async fn end(
    tx: &DatabaseTransaction,
    row: rollout::Model,
    (state, reason): (RolloutState, String),
    revision: u64,
    now: Millis,
) -> Result<(), StoreError> {
    rollout_image::Entity::delete_many()
        .filter(rollout_image::Column::RolloutId.eq(&row.id))
        .exec(tx)
        .await?;
    let mut row = row.into_active_model();
    row.state = Set(state.word().to_owned());
    row.ended_revision = Set(Some(signed(revision)));
    row.ended_at = Set(Some(now));
    row.reason = Set(reason);
    row.update(tx).await?;
    Ok(())
}
