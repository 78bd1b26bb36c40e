//! Minutes summed to intervals: series of a team, of sources, of destinations.

use hookplane_entity::{destination_minute, source_minute};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, SimpleExpr};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::super::{StoreError, unsigned};
use super::ReportStore;
use crate::domain::Millis;

/// What is asked for: `[from, to)` in intervals of so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Millis,
    pub to: Millis,
    pub step: Millis,
}

/// One interval of arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    pub accepted: u64,
    pub rejected: u64,
    pub repeats: u64,
}

/// One interval of deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    pub attempts: u64,
    pub failed: u64,
}

/// Start, id and numbers of one interval that has any.
pub type Point<T> = (Millis, String, T);

/// Grouped by its name: PostgreSQL cannot see that two expressions with parameters
/// are the same.
const AT: &str = "interval_start";

fn interval(column: impl sea_orm::ColumnTrait, span: Span) -> SimpleExpr {
    let minute = || Expr::col(Alias::new(column.as_str()));
    // The intervals start where the span does.
    minute().sub(minute().sub(span.from).modulo(span.step))
}

fn sum(column: impl sea_orm::ColumnTrait) -> SimpleExpr {
    Expr::col(Alias::new(column.as_str()))
        .sum()
        .cast_as(Alias::new("bigint"))
}

impl ReportStore {
    /// What some sources took in, by interval and source.
    pub async fn arrivals(
        &self,
        team_id: &str,
        ids: &[String],
        span: Span,
    ) -> Result<Vec<Point<Arrivals>>, StoreError> {
        use source_minute::Column;
        let rows: Vec<(i64, String, i64, i64, i64)> = source_minute::Entity::find()
            .select_only()
            .expr_as(interval(Column::Minute, span), AT)
            .column(Column::SourceId)
            .expr_as(sum(Column::Accepted), "accepted")
            .expr_as(sum(Column::Rejected), "rejected")
            .expr_as(sum(Column::Repeats), "repeats")
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Minute.gte(span.from))
            .filter(Column::Minute.lt(span.to))
            .filter(Column::SourceId.is_in(ids))
            .group_by(Expr::col(Alias::new(AT)))
            .group_by(Column::SourceId)
            .into_tuple()
            .all(self.database.read())
            .await?;
        let point = |(at, id, accepted, rejected, repeats)| {
            let numbers = Arrivals {
                accepted: unsigned(accepted),
                rejected: unsigned(rejected),
                repeats: unsigned(repeats),
            };
            (at, id, numbers)
        };
        Ok(rows.into_iter().map(point).collect())
    }

    /// What all sources of a team took in, by interval.
    pub async fn arrivals_of_team(
        &self,
        team_id: &str,
        span: Span,
    ) -> Result<Vec<(Millis, Arrivals)>, StoreError> {
        use source_minute::Column;
        let rows: Vec<(i64, i64, i64, i64)> = source_minute::Entity::find()
            .select_only()
            .expr_as(interval(Column::Minute, span), AT)
            .expr_as(sum(Column::Accepted), "accepted")
            .expr_as(sum(Column::Rejected), "rejected")
            .expr_as(sum(Column::Repeats), "repeats")
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Minute.gte(span.from))
            .filter(Column::Minute.lt(span.to))
            .group_by(Expr::col(Alias::new(AT)))
            .into_tuple()
            .all(self.database.read())
            .await?;
        let point = |(at, accepted, rejected, repeats)| {
            let numbers = Arrivals {
                accepted: unsigned(accepted),
                rejected: unsigned(rejected),
                repeats: unsigned(repeats),
            };
            (at, numbers)
        };
        Ok(rows.into_iter().map(point).collect())
    }

    /// What was delivered to some destinations, by interval.
    pub async fn deliveries(
        &self,
        team_id: &str,
        ids: &[String],
        span: Span,
    ) -> Result<Vec<Point<Deliveries>>, StoreError> {
        use destination_minute::Column;
        let rows: Vec<(i64, String, i64, i64)> = destination_minute::Entity::find()
            .select_only()
            .expr_as(interval(Column::Minute, span), AT)
            .column(Column::DestinationId)
            .expr_as(sum(Column::Attempts), "attempts")
            .expr_as(sum(Column::Failed), "failed")
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Minute.gte(span.from))
            .filter(Column::Minute.lt(span.to))
            .filter(Column::DestinationId.is_in(ids))
            .group_by(Expr::col(Alias::new(AT)))
            .group_by(Column::DestinationId)
            .into_tuple()
            .all(self.database.read())
            .await?;
        let point = |(at, id, attempts, failed)| {
            let numbers = Deliveries {
                attempts: unsigned(attempts),
                failed: unsigned(failed),
            };
            (at, id, numbers)
        };
        Ok(rows.into_iter().map(point).collect())
    }
}
