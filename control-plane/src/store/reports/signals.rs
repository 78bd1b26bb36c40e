//! How many requests are rejected and how many attempts fail, for some agents.

use hookplane_entity::{destination_minute, source_minute};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, SimpleExpr};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::{MINUTE, ReportStore, start_of_minute};
use crate::domain::Millis;
use crate::store::{StoreError, unsigned};

/// Sums over all teams: an agent serves them all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    pub received: u64,
    pub rejected: u64,
    pub attempts: u64,
    pub failed: u64,
}

impl ReportStore {
    /// What agents counted from one minute on, up to another that does not count.
    pub async fn signals(
        &self,
        agents: &[String],
        from: Millis,
        until: Millis,
    ) -> Result<Signals, StoreError> {
        let db = self.database.read();
        let (from, until) = (start_of_minute(from), start_of_minute(until));
        let taken: Option<(Option<i64>, Option<i64>)> = source_minute::Entity::find()
            .select_only()
            .expr(sum(source_minute::Column::Received))
            .expr(sum(source_minute::Column::Rejected))
            .filter(source_minute::Column::AgentId.is_in(agents.to_vec()))
            .filter(source_minute::Column::Minute.gte(from))
            .filter(source_minute::Column::Minute.lt(until))
            .into_tuple()
            .one(db)
            .await?;
        let given: Option<(Option<i64>, Option<i64>)> = destination_minute::Entity::find()
            .select_only()
            .expr(sum(destination_minute::Column::Attempts))
            .expr(sum(destination_minute::Column::Failed))
            .filter(destination_minute::Column::AgentId.is_in(agents.to_vec()))
            .filter(destination_minute::Column::Minute.gte(from))
            .filter(destination_minute::Column::Minute.lt(until))
            .into_tuple()
            .one(db)
            .await?;
        let number = |sum: Option<i64>| unsigned(sum.unwrap_or(0));
        let (received, rejected) = taken.unwrap_or_default();
        let (attempts, failed) = given.unwrap_or_default();
        Ok(Signals {
            received: number(received),
            rejected: number(rejected),
            attempts: number(attempts),
            failed: number(failed),
        })
    }
}

/// The minute after a moment.
#[must_use]
pub const fn next_minute(at: Millis) -> Millis {
    start_of_minute(at) + MINUTE
}

/// On PostgreSQL a sum of whole numbers has a type of its own.
fn sum(column: impl sea_orm::ColumnTrait) -> SimpleExpr {
    Expr::col(Alias::new(column.as_str()))
        .sum()
        .cast_as(Alias::new("BIGINT"))
}
