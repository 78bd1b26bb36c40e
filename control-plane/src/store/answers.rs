//! Answers that are kept, so that a call sent again is made once.

use hookplane_entity::remembered_answer::{ActiveModel, Column, Entity};
use sea_orm::{ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _};
use sea_orm::{QueryFilter as _, Set};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Sealer, StoreError};
use crate::domain::Millis;

pub(super) const TABLE: &str = "remembered_answers";
/// A caller that tries again later than this makes another call.
const KEPT_MILLIS: Millis = 86_400_000;

/// Which call was answered, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered<A> {
    /// Hash of the method and all that was asked.
    pub fingerprint: String,
    pub answer: A,
}

pub(super) fn place(team_id: &str, request_id: &str) -> String {
    format!("{team_id}/{request_id}")
}

pub(super) async fn recall<A: DeserializeOwned>(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    (team_id, request_id): (&str, &str),
    now: Millis,
) -> Result<Option<Remembered<A>>, StoreError> {
    let found = Entity::find_by_id((team_id.to_owned(), request_id.to_owned()))
        .one(db)
        .await?;
    match found {
        Some(row) if row.created_at > now - KEPT_MILLIS => sealer
            .open(TABLE, &place(team_id, request_id), &row.answer)
            .map(Some),
        Some(_) => {
            Entity::delete_by_id((team_id.to_owned(), request_id.to_owned()))
                .exec(db)
                .await?;
            Ok(None)
        }
        None => Ok(None),
    }
}

pub(super) async fn remember<A: Serialize>(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    (team_id, request_id): (&str, &str),
    remembered: &Remembered<A>,
    now: Millis,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        team_id: Set(team_id.to_owned()),
        request_id: Set(request_id.to_owned()),
        answer: Set(sealer.seal(TABLE, &place(team_id, request_id), remembered)?),
        created_at: Set(now),
    };
    row.insert(db).await?;
    Ok(())
}

pub(super) async fn forget(db: &impl ConnectionTrait, now: Millis) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::CreatedAt.lt(now - KEPT_MILLIS))
        .exec(db)
        .await?;
    Ok(())
}
