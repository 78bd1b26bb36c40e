//! Who may be an agent: tokens made, listed and ended, agents enrolled and revoked.

use hookplane_proto::id::Kind;
use serde_json::json;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::agent_token::{self, USUAL};
use crate::domain::audit::{Act, Action};
use crate::domain::{Agent, AgentToken, Caller, Millis, ResourceKind, api_key};
use crate::store::agents::{Applicant, EnrolError};
use crate::store::{AccessStore, Page, PageRequest};

/// Operations on agents' access. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    store: AccessStore,
    clock: SharedClock,
}

/// A new token, with the secret that is shown this once. Prints no secret.
pub struct NewToken {
    pub token: AgentToken,
    pub secret: String,
}

impl Access {
    #[must_use]
    pub fn new(store: AccessStore, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// A token for one agent of a pool; valid for an hour if nothing is said.
    pub async fn create_token(
        &self,
        caller: &Caller,
        name: &str,
        pool: &str,
        valid_seconds: u32,
    ) -> Result<NewToken, ServiceError> {
        let life = match valid_seconds {
            0 => USUAL,
            seconds => Millis::from(seconds) * 1_000,
        };
        let faults = agent_token::faults(name, pool, life);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let now = self.clock.now_millis();
        let token = AgentToken {
            id: mint(Kind::AgentToken, now),
            team_id: caller.team_id.clone(),
            name: name.to_owned(),
            pool: pool.to_owned(),
            created_at: now,
            expires_at: now.saturating_add(life),
            used_at: None,
            used_by: None,
            revoked_at: None,
        };
        let secret = agent_token::compose(rand::random());
        let hash = api_key::hash(&secret);
        let act = of_token(Action::Create, &token);
        let actor = caller.into();
        self.store.insert(&actor, &token, &hash, act).await?;
        Ok(NewToken { token, secret })
    }

    pub async fn list_tokens(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<AgentToken>, ServiceError> {
        Ok(self.store.list(team_id, page).await?)
    }

    /// Nobody enrols with it any more.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<AgentToken, ServiceError> {
        let act = |token: &AgentToken| of_token(Action::Revoke, token);
        let (actor, now) = (caller.into(), self.clock.now_millis());
        let found = self.store.revoke_token(&actor, id, act, now).await?;
        found.ok_or_else(|| not_found(ResourceKind::AgentToken, id))
    }

    /// Refuses the agent's credential from now on. Cannot be undone.
    pub async fn revoke_agent(&self, caller: &Caller, id: &str) -> Result<Agent, ServiceError> {
        let act = |agent: &Agent| of_agent(Action::Revoke, agent);
        let (actor, now) = (caller.into(), self.clock.now_millis());
        let found = self.store.revoke_agent(&actor, id, act, now).await?;
        found.ok_or_else(|| not_found(ResourceKind::Agent, id))
    }

    /// Enrols an agent with a token that was made for one.
    ///
    /// # Errors
    /// [`EnrolError`] says whether the token or what the agent says is at fault.
    pub async fn enrol(&self, applicant: &Applicant, secret: &str) -> Result<Agent, EnrolError> {
        let act = |agent: &Agent| of_agent(Action::Create, agent);
        let (hash, now) = (api_key::hash(secret), self.clock.now_millis());
        self.store.enrol(applicant, &hash, act, now).await
    }
}

fn of_token(action: Action, token: &AgentToken) -> Act {
    Act {
        action,
        kind: ResourceKind::AgentToken.slug(),
        id: token.id.clone(),
        name: token.name.clone(),
        revision: None,
        before: None,
        after: Some(json!({
            "name": token.name,
            "pool": token.pool,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        })),
        secrets_changed: false,
    }
}

fn of_agent(action: Action, agent: &Agent) -> Act {
    Act {
        action,
        kind: ResourceKind::Agent.slug(),
        id: agent.id.clone(),
        name: agent.name.clone(),
        revision: None,
        before: None,
        after: Some(json!({
            "name": agent.name,
            "pool": agent.pool,
            "store": agent.store,
            "revoked_at": agent.revoked_at,
        })),
        secrets_changed: false,
    }
}

fn not_found(kind: ResourceKind, id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind,
        id: id.chars().take(64).collect(),
    }
}
