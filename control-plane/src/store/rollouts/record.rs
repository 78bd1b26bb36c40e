//! Ends of rollouts in the audit records of the teams whose resources they hold.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_entity::{connection, destination, filter, source};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait, QueryFilter as _, QuerySelect as _};
use serde_json::json;

use super::Images;
use crate::domain::Millis;
use crate::domain::audit::{Act, Action, Actor};
use crate::store::{Change, StoreError};

/// What an end is recorded with.
pub(super) struct End<'a> {
    pub(super) id: &'a str,
    pub(super) by: &'a Actor,
    pub(super) action: Action,
    pub(super) reason: &'a str,
    pub(super) now: Millis,
}

impl End<'_> {
    /// One entry for each team.
    pub(super) async fn record(
        &self,
        change: &Change,
        teams: &BTreeSet<String>,
    ) -> Result<(), StoreError> {
        for team in teams {
            let act = Act {
                action: self.action,
                kind: "rollout",
                id: self.id.to_owned(),
                name: String::new(),
                revision: Some(change.revision()),
                before: None,
                after: Some(json!({ "reason": self.reason })),
                secrets_changed: false,
            };
            change.record(&self.by.in_team(team), act, self.now).await?;
        }
        Ok(())
    }
}

impl Images {
    /// The teams of everything that the rollout changed, made or deleted.
    pub(super) async fn teams(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut teams = BTreeSet::new();
        teams.extend(
            self.sources
                .values()
                .flatten()
                .map(|row| row.team_id.clone()),
        );
        teams.extend(
            self.destinations
                .values()
                .flatten()
                .map(|row| row.team_id.clone()),
        );
        teams.extend(
            self.connections
                .values()
                .flatten()
                .map(|row| row.team_id.clone()),
        );
        teams.extend(
            self.filters
                .values()
                .flatten()
                .map(|row| row.team_id.clone()),
        );
        // What the rollout made stands in the tables only.
        let made = |ids: &mut dyn Iterator<Item = &String>| ids.cloned().collect::<Vec<_>>();
        {
            use source::{Column, Entity};
            let ids = made(&mut none(&self.sources));
            teams.extend(of::<Entity>(db, (Column::Id, Column::TeamId), ids).await?);
        }
        {
            use destination::{Column, Entity};
            let ids = made(&mut none(&self.destinations));
            teams.extend(of::<Entity>(db, (Column::Id, Column::TeamId), ids).await?);
        }
        {
            use connection::{Column, Entity};
            let ids = made(&mut none(&self.connections));
            teams.extend(of::<Entity>(db, (Column::Id, Column::TeamId), ids).await?);
        }
        {
            use filter::{Column, Entity};
            let ids = made(&mut none(&self.filters));
            teams.extend(of::<Entity>(db, (Column::Id, Column::TeamId), ids).await?);
        }
        Ok(teams)
    }
}

fn none<R>(rows: &BTreeMap<String, Option<R>>) -> impl Iterator<Item = &String> {
    rows.iter()
        .filter(|(_, row)| row.is_none())
        .map(|(id, _)| id)
}

async fn of<E: EntityTrait>(
    db: &impl ConnectionTrait,
    (id, team): (E::Column, E::Column),
    ids: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let teams = E::find()
        .select_only()
        .column(team)
        .distinct()
        .filter(id.is_in(ids))
        .into_tuple::<String>()
        .all(db)
        .await?;
    Ok(teams)
}
