//! How many requests each secret of a source verified, summed over all agents.

use std::collections::BTreeMap;

use hookplane_entity::secret_use::{ActiveModel, Column, Entity};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};

use super::{StoreError, can_be_stored, signed, unsigned};
use crate::domain::{Millis, SecretNumbers, SecretUse};

/// Rows of one statement.
const BATCH: usize = 200;
/// Numbers of secrets that are told of one source, newest first.
const TOLD: u64 = 100;

/// Adds what a report says.
pub(super) async fn add(
    tx: &impl ConnectionTrait,
    numbers: &[SecretNumbers],
    now: Millis,
) -> Result<(), StoreError> {
    // One row of a statement for each secret: a conflict within it is an error.
    let mut sums: BTreeMap<(&str, u32), (&str, u64)> = BTreeMap::new();
    for one in numbers {
        if can_be_stored(&one.source_id) && can_be_stored(&one.team_id) {
            let key = (one.source_id.as_str(), one.version);
            let sum = sums.entry(key).or_insert((&one.team_id, 0));
            sum.1 = sum.1.saturating_add(one.verified);
        }
    }
    let row = |((source, version), (team, verified)): ((&str, u32), (&str, u64))| ActiveModel {
        source_id: Set(source.to_owned()),
        version: Set(i64::from(version)),
        team_id: Set(team.to_owned()),
        verified: Set(signed(verified)),
        last_verified_at: Set(now),
    };
    let rows: Vec<ActiveModel> = sums.into_iter().map(row).collect();
    for batch in rows.chunks(BATCH) {
        let excluded = |column: &str| Expr::cust(format!("excluded.{column}"));
        let sum = Expr::col((Entity, Column::Verified)).add(excluded("verified"));
        let add = OnConflict::columns([Column::SourceId, Column::Version])
            .value(Column::Verified, sum)
            .value(Column::LastVerifiedAt, excluded("last_verified_at"))
            .to_owned();
        Entity::insert_many(batch.iter().cloned())
            .on_conflict(add)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

/// Of one source of a team.
pub(super) async fn of_source(
    db: &impl ConnectionTrait,
    team_id: &str,
    source_id: &str,
) -> Result<Vec<SecretUse>, StoreError> {
    let rows = Entity::find()
        .filter(Column::TeamId.eq(team_id))
        .filter(Column::SourceId.eq(source_id))
        .order_by_desc(Column::Version)
        .limit(TOLD)
        .all(db)
        .await?;
    let told = rows.into_iter().map(|row| SecretUse {
        version: u32::try_from(row.version).unwrap_or(0),
        verified: unsigned(row.verified),
        last_verified_at: row.last_verified_at,
    });
    Ok(told.collect())
}
