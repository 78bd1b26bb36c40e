//! Teams. The only queries that name no team: they are the installation's.

use hookplane_entity::installation;
use hookplane_entity::team::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QuerySelect as _,
};

use super::database::INSTALLATION;
use super::page::Place;
use super::{Database, Ledger, Page, PageRequest, StoreError, can_be_stored};
use crate::domain::Team;
use crate::domain::audit::{Act, Actor};

/// A handle; clones share the database.
#[derive(Clone)]
pub struct TeamStore {
    database: Database,
    ledger: Ledger,
}

impl TeamStore {
    #[must_use]
    pub const fn new(database: Database, ledger: Ledger) -> Self {
        Self { database, ledger }
    }

    /// Makes a team, unless another one has its name: then that one is given.
    pub async fn insert(
        &self,
        actor: &Actor,
        team: &Team,
        act: Act,
    ) -> Result<Option<Team>, StoreError> {
        let tx = self.database.write().await?;
        // On PostgreSQL this lock makes creations take turns.
        installation::Entity::find_by_id(INSTALLATION)
            .lock_exclusive()
            .one(&tx)
            .await?;
        let namesake = Entity::find().filter(Column::Name.eq(&team.name));
        if let Some(taken) = namesake.one(&tx).await? {
            return Ok(Some(domain(taken)));
        }
        let row = Model {
            id: team.id.clone(),
            name: team.name.clone(),
            created_at: team.created_at,
            audit_sequence: None,
            audit_hash: None,
        };
        row.into_active_model().insert(&tx).await?;
        let chain = self.ledger.chain();
        chain.append(&tx, actor, act, team.created_at).await?;
        tx.commit().await?;
        Ok(None)
    }

    pub async fn get(&self, id: &str) -> Result<Option<Team>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let found = Entity::find_by_id(id).one(self.database.read()).await?;
        Ok(found.map(domain))
    }

    pub async fn list(&self, page: &PageRequest) -> Result<Page<Team>, StoreError> {
        let rows = page.cut(Entity::find()).all(self.database.read()).await?;
        let teams = rows.into_iter().map(domain).collect();
        Ok(page.page(teams, |team: &Team| Place {
            id: &team.id,
            name: &team.name,
            created_at: team.created_at,
            updated_at: team.created_at,
        }))
    }
}

fn domain(row: Model) -> Team {
    Team {
        id: row.id,
        name: row.name,
        created_at: row.created_at,
    }
}
