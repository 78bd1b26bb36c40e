//! How a rollout ends: everyone gets what the share has, or everyone goes back.
//!
//! Both are revisions like any other. A return writes the kept rows again, each
//! with the new revision, so that agents of the share see a newer version of the
//! old content and never an older revision.

use std::collections::BTreeMap;

use hookplane_entity::{
    connection, deleted_connection, deletion, destination, filter, rollout, rollout_image, source,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait as _,
    IntoActiveModel as _, ModelTrait as _, QueryFilter as _, Set,
};

use super::record::End;
use super::{Images, RolloutState, RolloutStore, images};
use crate::domain::Millis;
use crate::domain::audit::{Action, Actor};
use crate::store::{StoreError, connections, filters, signed};

impl RolloutStore {
    /// Gives everyone what the share has. `false` when it had ended already.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer; then nothing happened.
    pub async fn promote(
        &self,
        id: &str,
        by: &Actor,
        reason: &str,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let change = self.config.change().await?;
        let teams = images(change.tx(), id).await?.teams(change.tx()).await?;
        let ended = end(
            change.tx(),
            id,
            RolloutState::Promoted,
            change.revision(),
            reason,
            now,
        );
        if !ended.await? {
            return Ok(false);
        }
        let action = Action::Promote;
        let end = End {
            id,
            by,
            action,
            reason,
            now,
        };
        end.record(&change, &teams).await?;
        change.commit().await?;
        Ok(true)
    }

    /// Takes the changes back from everyone. `false` when it had ended already.
    ///
    /// # Errors
    /// [`StoreError`] when the rows cannot be put back; then nothing happened.
    pub async fn give_back(
        &self,
        id: &str,
        by: &Actor,
        reason: &str,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let change = self.config.change().await?;
        let (tx, revision) = (change.tx(), change.revision());
        let before = images(tx, id).await?;
        if !end(tx, id, RolloutState::Returned, revision, reason, now).await? {
            return Ok(false);
        }
        let action = Action::Return;
        let end = End {
            id,
            by,
            action,
            reason,
            now,
        };
        end.record(&change, &before.teams(tx).await?).await?;
        before.write(tx, revision, now).await?;
        change.commit().await?;
        Ok(true)
    }
}

async fn end(
    tx: &DatabaseTransaction,
    id: &str,
    state: RolloutState,
    revision: u64,
    reason: &str,
    now: Millis,
) -> Result<bool, StoreError> {
    let holding = rollout::Entity::find_by_id(id)
        .filter(rollout::Column::State.eq(RolloutState::Holding.word()));
    let Some(row) = holding.one(tx).await? else {
        return Ok(false);
    };
    let mut row = row.into_active_model();
    row.state = Set(state.word().to_owned());
    row.ended_revision = Set(Some(signed(revision)));
    row.ended_at = Set(Some(now));
    row.reason = Set(reason.to_owned());
    row.update(tx).await?;
    rollout_image::Entity::delete_many()
        .filter(rollout_image::Column::RolloutId.eq(id))
        .exec(tx)
        .await?;
    Ok(true)
}

impl Images {
    async fn write(
        &self,
        tx: &DatabaseTransaction,
        revision: u64,
        now: Millis,
    ) -> Result<(), StoreError> {
        let revision = signed(revision);
        self.free_names(tx).await?;
        for row in self.destinations.values().flatten() {
            let mut row = row.clone();
            (row.revision, row.updated_at) = (revision, now);
            forget_deletion(tx, &row.id).await?;
            write_destination(tx, row).await?;
        }
        for row in self.filters.values().flatten() {
            let mut row = row.clone();
            (row.revision, row.updated_at) = (revision, now);
            forget_deletion(tx, &row.id).await?;
            write_filter(tx, row).await?;
        }
        for row in self.sources.values().flatten() {
            let mut row = row.clone();
            (row.revision, row.group_revision, row.updated_at) = (revision, revision, now);
            forget_deletion(tx, &row.id).await?;
            write_source(tx, row).await?;
        }
        self.write_connections(tx, revision, now).await?;
        for id in gone(&self.sources) {
            if let Some(row) = source::Entity::find_by_id(id).one(tx).await? {
                note_deletion(tx, ("source", &row.team_id, id), revision, now).await?;
                row.delete(tx).await?;
            }
        }
        for id in gone(&self.destinations) {
            if let Some(row) = destination::Entity::find_by_id(id).one(tx).await? {
                note_deletion(tx, ("destination", &row.team_id, id), revision, now).await?;
                row.delete(tx).await?;
            }
        }
        Ok(())
    }

    /// Names are unique, and rows may have exchanged theirs: for a moment none is taken.
    async fn free_names(&self, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        use sea_orm::sea_query::Expr;
        let ids: Vec<&String> = self.sources.keys().collect();
        source::Entity::update_many()
            .col_expr(source::Column::Name, Expr::col(source::Column::Id))
            .filter(source::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let ids: Vec<&String> = self.destinations.keys().collect();
        destination::Entity::update_many()
            .col_expr(
                destination::Column::Name,
                Expr::col(destination::Column::Id),
            )
            .filter(destination::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let ids: Vec<&String> = self.filters.keys().collect();
        filter::Entity::update_many()
            .col_expr(filter::Column::Name, Expr::col(filter::Column::Id))
            .filter(filter::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let ids: Vec<&String> = self.connections.keys().collect();
        connection::Entity::update_many()
            .col_expr(connection::Column::Name, Expr::col(connection::Column::Id))
            .filter(connection::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        Ok(())
    }

    async fn write_connections(
        &self,
        tx: &DatabaseTransaction,
        revision: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        for row in self.connections.values().flatten() {
            let mut row = row.clone();
            (row.revision, row.updated_at) = (revision, now);
            // Agents may have heard of its deletion; it is none any more.
            deleted_connection::Entity::delete_by_id(&row.id)
                .exec(tx)
                .await?;
            forget_deletion(tx, &row.id).await?;
            write_connection(tx, row).await?;
        }
        for id in gone(&self.connections) {
            let Some(row) = connection::Entity::find_by_id(id).one(tx).await? else {
                continue;
            };
            let from = source::Entity::find_by_id(&row.source_id).one(tx).await?;
            // The share may have events for it, which nobody would ever end.
            let note = deleted_connection::ActiveModel {
                id: Set(id.clone()),
                pool: Set(from.map(|source| source.pool).unwrap_or_default()),
                revision: Set(revision),
                deleted_at: Set(now),
            };
            note.insert(tx).await?;
            note_deletion(tx, ("connection", &row.team_id, id), revision, now).await?;
            filters::forget_uses(tx, id).await?;
            row.delete(tx).await?;
        }
        Ok(())
    }
}

fn gone<T>(images: &BTreeMap<String, Option<T>>) -> impl Iterator<Item = &String> {
    let missing = images.iter().filter(|(_, before)| before.is_none());
    missing.map(|(id, _)| id)
}

async fn write_source(tx: &DatabaseTransaction, row: source::Model) -> Result<(), StoreError> {
    let exists = source::Entity::find_by_id(&row.id).one(tx).await?.is_some();
    let row = row.into_active_model().reset_all();
    if exists {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    Ok(())
}

async fn write_connection(
    tx: &DatabaseTransaction,
    row: connection::Model,
) -> Result<(), StoreError> {
    let exists = connection::Entity::find_by_id(&row.id).one(tx).await?;
    let meant = connections::domain(row.clone())?;
    let row = row.into_active_model().reset_all();
    if exists.is_some() {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    filters::forget_uses(tx, &meant.id).await?;
    filters::note_uses(tx, &meant).await
}

async fn write_filter(tx: &DatabaseTransaction, row: filter::Model) -> Result<(), StoreError> {
    let exists = filter::Entity::find_by_id(&row.id).one(tx).await?;
    let row = row.into_active_model().reset_all();
    if exists.is_some() {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    Ok(())
}

/// Watchers are told that it is there again by its new revision.
async fn forget_deletion(tx: &DatabaseTransaction, id: &str) -> Result<(), StoreError> {
    deletion::Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

async fn note_deletion(
    tx: &DatabaseTransaction,
    (kind, team_id, id): (&str, &str, &str),
    revision: i64,
    now: Millis,
) -> Result<(), StoreError> {
    let note = deletion::ActiveModel {
        id: Set(id.to_owned()),
        team_id: Set(team_id.to_owned()),
        kind: Set(kind.to_owned()),
        revision: Set(revision),
        deleted_at: Set(now),
    };
    note.insert(tx).await?;
    Ok(())
}

async fn write_destination(
    tx: &DatabaseTransaction,
    row: destination::Model,
) -> Result<(), StoreError> {
    let exists = destination::Entity::find_by_id(&row.id).one(tx).await?;
    let row = row.into_active_model().reset_all();
    if exists.is_some() {
        row.update(tx).await?;
    } else {
        row.insert(tx).await?;
    }
    Ok(())
}
