//! Who may be an agent: tokens for enrolment, and revocation, each recorded.
//!
//! Invariant: a token is used in the transaction that makes its agent, and
//! enrolments take turns, so that two agents cannot both spend it.

use hookplane_entity::agent_token::{Column, Entity, Model};
use hookplane_entity::{agent, team};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QuerySelect as _, Set,
};

use super::agents::{self, Applicant, EnrolError, TokenFault};
use super::page::Place;
use super::{ConfigStore, Database, Ledger, Page, PageRequest, StoreError, can_be_stored};
use crate::domain::agent_token::{REMEMBERED, Standing};
use crate::domain::audit::{Act, Actor};
use crate::domain::{Agent, AgentToken, Millis};

/// A handle; clones share the database.
#[derive(Clone)]
pub struct AccessStore {
    database: Database,
    ledger: Ledger,
}

impl AccessStore {
    #[must_use]
    pub fn of(config: &ConfigStore) -> Self {
        Self {
            database: config.database().clone(),
            ledger: config.ledger().clone(),
        }
    }

    /// Keeps a token, and forgets those that ended long ago.
    pub async fn insert(
        &self,
        actor: &Actor,
        token: &AgentToken,
        hash: &str,
        act: Act,
    ) -> Result<(), StoreError> {
        let tx = self.database.write().await?;
        let row = Model {
            id: token.id.clone(),
            team_id: token.team_id.clone(),
            name: token.name.clone(),
            pool: token.pool.clone(),
            hash: hash.to_owned(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            used_at: token.used_at,
            used_by: token.used_by.clone(),
            revoked_at: token.revoked_at,
        };
        row.into_active_model().reset_all().insert(&tx).await?;
        let now = token.created_at;
        Entity::delete_many()
            .filter(Column::ExpiresAt.lt(now - REMEMBERED))
            .exec(&tx)
            .await?;
        self.ledger.chain().append(&tx, actor, act, now).await?;
        Ok(tx.commit().await?)
    }

    pub async fn list(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<AgentToken>, StoreError> {
        let select = Entity::find().filter(Column::TeamId.eq(team_id));
        let rows = page.cut(select).all(self.database.read()).await?;
        let tokens = rows.into_iter().map(domain).collect();
        Ok(page.page(tokens, |token: &AgentToken| Place {
            id: &token.id,
            name: &token.name,
            created_at: token.created_at,
            updated_at: token.created_at,
        }))
    }

    /// Ends a token nobody used yet; another one stays as it is. None if the team has no such token.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        id: &str,
        act: impl FnOnce(&AgentToken) -> Act,
        now: Millis,
    ) -> Result<Option<AgentToken>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let tx = self.database.write().await?;
        let found = Entity::find_by_id(id)
            .filter(Column::TeamId.eq(&actor.team_id))
            .lock_exclusive()
            .one(&tx)
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        let before = domain(row.clone());
        if before.standing(now) != Standing::Open {
            return Ok(Some(before));
        }
        let mut row = row.into_active_model();
        row.revoked_at = Set(Some(now));
        let token = domain(row.update(&tx).await?);
        let act = act(&token);
        self.ledger.chain().append(&tx, actor, act, now).await?;
        tx.commit().await?;
        Ok(Some(token))
    }

    /// Revokes an agent for good. None if there is no such agent.
    pub async fn revoke_agent(
        &self,
        actor: &Actor,
        id: &str,
        act: impl FnOnce(&Agent) -> Act,
        now: Millis,
    ) -> Result<Option<Agent>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        let tx = self.database.write().await?;
        let found = agent::Entity::find_by_id(id)
            .lock_exclusive()
            .one(&tx)
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        if row.revoked_at.is_some() {
            return agents::domain(row).map(Some);
        }
        let mut row = row.into_active_model();
        row.revoked_at = Set(Some(now));
        let revoked = agents::domain(row.update(&tx).await?)?;
        let act = act(&revoked);
        self.ledger.chain().append(&tx, actor, act, now).await?;
        tx.commit().await?;
        Ok(Some(revoked))
    }

    /// Enrols the one agent that the token with this hash is for. Who used it may ask again,
    /// because the answer may have been lost.
    ///
    /// # Errors
    /// [`EnrolError`] says whether the token or what the agent says is at fault.
    pub async fn enrol(
        &self,
        applicant: &Applicant,
        hash: &str,
        act: impl FnOnce(&Agent) -> Act,
        now: Millis,
    ) -> Result<Agent, EnrolError> {
        let fault = |fault| Err(EnrolError::Token(fault));
        let tx = self.database.write().await?;
        agents::take_turns(&tx).await?;
        let found = Entity::find()
            .filter(Column::Hash.eq(hash))
            .lock_exclusive()
            .one(&tx)
            .await?;
        let Some(row) = found else {
            return fault(TokenFault::Unknown);
        };
        let token = domain(row.clone());
        match token.standing(now) {
            Standing::Open => {}
            Standing::Revoked => return fault(TokenFault::Revoked),
            Standing::Expired => return fault(TokenFault::Expired),
            Standing::Used => {
                let holder = agent::Column::CredentialHash.eq(&applicant.credential_hash);
                let holder = agent::Entity::find().filter(holder).one(&tx).await?;
                let user = holder.filter(|one| Some(&one.id) == token.used_by.as_ref());
                if user.is_none() {
                    return fault(TokenFault::Used);
                }
                return agents::enrol(&tx, applicant, now).await;
            }
        }
        if token.pool != applicant.pool {
            return fault(TokenFault::Pool(token.pool));
        }
        let agent = agents::enrol(&tx, applicant, now).await?;
        let mut row = row.into_active_model();
        row.used_at = Set(Some(now));
        row.used_by = Set(Some(agent.id.clone()));
        row.update(&tx).await?;
        let there = team::Entity::find_by_id(&token.team_id).one(&tx).await?;
        if there.is_some() {
            let actor = Actor {
                team_id: token.team_id,
                key_id: token.id,
                key_name: token.name,
            };
            let act = act(&agent);
            self.ledger.chain().append(&tx, &actor, act, now).await?;
        }
        tx.commit().await?;
        Ok(agent)
    }
}

fn domain(row: Model) -> AgentToken {
    AgentToken {
        id: row.id,
        team_id: row.team_id,
        name: row.name,
        pool: row.pool,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        used_by: row.used_by,
        revoked_at: row.revoked_at,
    }
}
