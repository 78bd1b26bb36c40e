//! Keys of handlers: made and revoked. A secret is shown once, to whoever made it.
//!
//! Invariants: a key names sources of its own team only; what is done to a key has a revision, so
//! that one can wait until agents have it.

use hookplane_proto::id::Kind;
use serde_json::json;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::audit::{Act, Action};
use crate::domain::handler_key::{self, HandlerKeyDraft, MAX_PER_SOURCE, MAX_PER_TEAM};
use crate::domain::{Caller, HandlerKey, ResourceKind, Violation};
use crate::store::{Change, ConfigStore, Page, PageRequest};

/// Operations on keys of handlers. Cheap to clone.
#[derive(Clone)]
pub struct HandlerKeys {
    store: ConfigStore,
    clock: SharedClock,
}

/// A new key, with the secret that is shown this once. Prints no secret.
pub struct NewHandlerKey {
    pub key: HandlerKey,
    pub secret: String,
}

impl HandlerKeys {
    #[must_use]
    pub const fn new(store: ConfigStore, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    pub async fn create(
        &self,
        caller: &Caller,
        mut draft: HandlerKeyDraft,
    ) -> Result<NewHandlerKey, ServiceError> {
        draft.source_ids.sort();
        draft.source_ids.dedup();
        let faults = draft.faults();
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let now = self.clock.now_millis();
        let change = self.store.change().await?;
        let faults = refused(&change, &caller.team_id, &draft).await?;
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let secret = handler_key::compose(rand::random());
        let key = HandlerKey {
            id: mint(Kind::HandlerKey, now),
            team_id: caller.team_id.clone(),
            name: draft.name,
            masked: handler_key::masked(&secret),
            source_ids: draft.source_ids,
            created_at: now,
            revoked_at: None,
            revision: change.revision(),
        };
        let hash = handler_key::hash(&secret);
        change.insert_handler_key(&key, &hash).await?;
        let act = act(Action::Create, None, &key);
        change.record(&caller.into(), act, now).await?;
        change.commit().await?;
        Ok(NewHandlerKey { key, secret })
    }

    pub async fn get(&self, team_id: &str, id: &str) -> Result<HandlerKey, ServiceError> {
        let found = self.store.handler_key(team_id, id).await?;
        found.ok_or_else(|| not_found(id))
    }

    pub async fn list(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<HandlerKey>, ServiceError> {
        Ok(self.store.handler_keys(team_id, page).await?)
    }

    /// Doing it again changes nothing.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<HandlerKey, ServiceError> {
        let now = self.clock.now_millis();
        let change = self.store.change().await?;
        let found = change.handler_key(&caller.team_id, id).await?;
        let before = found.ok_or_else(|| not_found(id))?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let key = HandlerKey {
            revoked_at: Some(now),
            revision: change.revision(),
            ..before.clone()
        };
        change.revoke_handler_key(&key, now).await?;
        let act = act(Action::Revoke, Some(&before), &key);
        change.record(&caller.into(), act, now).await?;
        change.commit().await?;
        Ok(key)
    }
}

/// What speaks against a key, as things stand.
async fn refused(
    change: &Change,
    team_id: &str,
    draft: &HandlerKeyDraft,
) -> Result<Vec<Violation>, ServiceError> {
    let mut faults = Vec::new();
    if change.handler_keys_of_team(team_id).await? >= MAX_PER_TEAM {
        let message =
            format!("a team has at most {MAX_PER_TEAM} handler keys, revoked ones included");
        faults.push(Violation::new("name", message));
    }
    let there = change.sources_there(team_id, &draft.source_ids).await?;
    for id in &draft.source_ids {
        if !there.contains(id) {
            let shown: String = id.chars().take(64).collect();
            let message = format!("there is no source `{shown}`");
            faults.push(Violation::new("source_ids", message));
        } else if change.handler_keys_of_source(id).await? >= MAX_PER_SOURCE {
            let message = format!(
                "source `{id}` has {MAX_PER_SOURCE} keys in force, which is the most; revoke one first"
            );
            faults.push(Violation::new("source_ids", message));
        }
    }
    Ok(faults)
}

fn act(action: Action, before: Option<&HandlerKey>, key: &HandlerKey) -> Act {
    Act {
        action,
        kind: ResourceKind::HandlerKey.slug(),
        id: key.id.clone(),
        name: key.name.clone(),
        revision: Some(key.revision),
        before: before.map(shown),
        after: Some(shown(key)),
        secrets_changed: false,
    }
}

fn shown(key: &HandlerKey) -> serde_json::Value {
    json!({
        "name": key.name,
        "masked_key": key.masked,
        "source_ids": key.source_ids,
        "revoked_at": key.revoked_at,
    })
}

fn not_found(id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind: ResourceKind::HandlerKey,
        id: id.chars().take(64).collect(),
    }
}
