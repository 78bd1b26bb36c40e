//! Teams: made with a first key, so that somebody can enter.

use hookplane_proto::id::Kind;
use serde_json::json;

use super::keys::NewKey;
use super::resource::mint;
use super::{Keys, ServiceError};
use crate::clock::SharedClock;
use crate::domain::api_key::{Grant, KeyDraft};
use crate::domain::audit::{Act, Action, Actor};
use crate::domain::{Caller, ResourceKind, Team, team};
use crate::store::{Page, PageRequest, TeamStore};

const FIRST_KEY_NAME: &str = "first key";

/// Operations on teams. Cheap to clone.
#[derive(Clone)]
pub struct Teams {
    store: TeamStore,
    keys: Keys,
    clock: SharedClock,
}

impl Teams {
    #[must_use]
    pub fn new(store: TeamStore, keys: Keys, clock: SharedClock) -> Self {
        Self { store, keys, clock }
    }

    pub async fn create(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(Team, NewKey), ServiceError> {
        let faults = team::faults(name);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let now = self.clock.now_millis();
        let team = Team {
            id: mint(Kind::Team, now),
            name: name.to_owned(),
            created_at: now,
        };
        let act = Act {
            action: Action::Create,
            kind: ResourceKind::Team.slug(),
            id: team.id.clone(),
            name: team.name.clone(),
            revision: None,
            before: None,
            after: Some(json!({ "name": team.name })),
            secrets_changed: false,
        };
        let actor = Actor {
            team_id: team.id.clone(),
            ..Actor::from(caller)
        };
        if let Some(taken) = self.store.insert(&actor, &team, act).await? {
            return Err(ServiceError::Exists {
                kind: ResourceKind::Team,
                id: taken.id,
                name: taken.name,
            });
        }
        let key = self
            .keys
            .compose(&team.id, FIRST_KEY_NAME, Grant::whole_team())?;
        self.keys.keep(caller, &key).await?;
        Ok((team, key))
    }

    pub async fn list(&self, page: &PageRequest) -> Result<Page<Team>, ServiceError> {
        Ok(self.store.list(page).await?)
    }

    /// A key for any team. What the draft does not say is everything within the team.
    pub async fn create_key(
        &self,
        caller: &Caller,
        team_id: &str,
        draft: KeyDraft,
    ) -> Result<NewKey, ServiceError> {
        let team = self.store.get(team_id).await?;
        let team = team.ok_or_else(|| ServiceError::NotFound {
            kind: ResourceKind::Team,
            id: team_id.chars().take(64).collect(),
        })?;
        let inside = Caller {
            team_id: team.id,
            ..caller.clone()
        };
        self.keys.create(&inside, draft).await
    }
}
