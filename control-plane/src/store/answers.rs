//! Answers that are kept, so that a call sent again is made once.

use hookplane_entity::remembered_answer::{ActiveModel, Column, Entity};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _};
use sea_orm::{ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _};
use sea_orm::{QueryFilter as _, QueryOrder as _, QuerySelect as _, Set};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Sealer, StoreError};
use crate::domain::Millis;

pub(super) const TABLE: &str = "remembered_answers";
/// A caller that tries again later than this makes another call.
const KEPT_MILLIS: Millis = 86_400_000;

/// Answers of one team, and their bytes; the oldest go.
const MOST_ROWS: usize = 20_000;
const MOST_BYTES: i64 = 64 * 1_024 * 1_024;
/// Longest answer that is kept; the call of a longer one is made again.
const LONGEST: usize = 4 * 1_024 * 1_024;
/// An answer that is larger than this is looked at for the bounds at once.
const LARGE: usize = 64 * 1_024;

/// What is known of a call that comes with a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled<A> {
    Nothing,
    /// The same call, with its answer.
    Answer(A),
    /// Another call had this id.
    Other,
}

/// Which call was answered.
#[derive(Deserialize)]
struct Mark {
    fingerprint: String,
}

/// Which call was answered, and with what.
#[derive(Serialize, Deserialize)]
struct Remembered<A> {
    /// Hash of the method and all that was asked.
    fingerprint: String,
    answer: A,
}

pub(super) fn place(team_id: &str, request_id: &str) -> String {
    format!("{team_id}/{request_id}")
}

/// The fingerprint is compared first: another call's answer has another form.
pub(super) async fn recall<A: DeserializeOwned>(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    (team_id, request_id): (&str, &str),
    fingerprint: &str,
    now: Millis,
) -> Result<Recalled<A>, StoreError> {
    let key = (team_id.to_owned(), request_id.to_owned());
    let Some(row) = Entity::find_by_id(key.clone()).one(db).await? else {
        return Ok(Recalled::Nothing);
    };
    if row.created_at <= now - KEPT_MILLIS {
        Entity::delete_by_id(key).exec(db).await?;
        return Ok(Recalled::Nothing);
    }
    let place = place(team_id, request_id);
    let mark: Mark = sealer.open(TABLE, &place, &row.answer)?;
    if mark.fingerprint != fingerprint {
        return Ok(Recalled::Other);
    }
    let known: Remembered<A> = sealer.open(TABLE, &place, &row.answer)?;
    Ok(Recalled::Answer(known.answer))
}

pub(super) async fn remember<A: Serialize>(
    db: &impl ConnectionTrait,
    sealer: &Sealer,
    (team_id, request_id): (&str, &str),
    (fingerprint, answer): (&str, &A),
    now: Millis,
) -> Result<(), StoreError> {
    let remembered = Remembered {
        fingerprint: fingerprint.to_owned(),
        answer,
    };
    let sealed = sealer.seal(TABLE, &place(team_id, request_id), &remembered)?;
    if sealed.len() > LONGEST {
        return Ok(());
    }
    let large = sealed.len() > LARGE;
    let row = ActiveModel {
        team_id: Set(team_id.to_owned()),
        request_id: Set(request_id.to_owned()),
        answer: Set(sealed),
        created_at: Set(now),
    };
    row.insert(db).await?;
    // A look at all of a team's is not for every call: about one in 256 takes it.
    if large || fingerprint.starts_with("00") {
        bound(db, team_id, request_id).await?;
    }
    Ok(())
}

/// Forgets the oldest answers of a team beyond the bounds, but not the newest one.
async fn bound(db: &impl ConnectionTrait, team_id: &str, newest: &str) -> Result<(), StoreError> {
    let size = Expr::cust("LENGTH(answer)").cast_as(Alias::new("bigint"));
    let sizes: Vec<(i64, i64)> = Entity::find()
        .select_only()
        .column(Column::CreatedAt)
        .expr_as(size, "size")
        .filter(Column::TeamId.eq(team_id))
        .order_by_desc(Column::CreatedAt)
        .limit(MOST_ROWS as u64 + 1)
        .into_tuple()
        .all(db)
        .await?;
    let Some(last) = first_beyond(&sizes) else {
        return Ok(());
    };
    Entity::delete_many()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::CreatedAt.lte(last))
        .filter(Column::RequestId.ne(newest))
        .exec(db)
        .await?;
    Ok(())
}

/// The time of the first one, newest first, that does not fit.
fn first_beyond(sizes: &[(i64, i64)]) -> Option<Millis> {
    let mut bytes = 0;
    let mut fits = |(place, (_, size)): &(usize, &(i64, i64))| {
        bytes += size;
        *place < MOST_ROWS && bytes <= MOST_BYTES
    };
    let beyond = sizes.iter().enumerate().find(|one| !fits(one));
    beyond.map(|(_, (at, _))| *at)
}

pub(super) async fn forget(db: &impl ConnectionTrait, now: Millis) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::CreatedAt.lt(now - KEPT_MILLIS))
        .exec(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answers_beyond_the_bounds_go() {
        let few = vec![(3, 10), (2, 10), (1, 10)];
        assert_eq!(first_beyond(&few), None);
        let large = vec![(3, MOST_BYTES - 10), (2, 10), (1, 10)];
        assert_eq!(first_beyond(&large), Some(1));
        let many: Vec<_> = (0..=20_000).rev().map(|at| (at, 1)).collect();
        assert_eq!(first_beyond(&many), Some(0));
    }
}
