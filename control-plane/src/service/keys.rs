//! API keys: made, changed, rotated, revoked. A secret is shown once, to whoever made it.
//!
//! Invariants: nobody grants more than he has, and nobody lays hands on a key
//! that can do more; a team keeps a key with which others can be made.

use hookplane_proto::id::Kind;
use serde_json::json;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::api_key::{self, DEFAULT_OVERLAP, Grant, KeyDraft, MAX_OVERLAP, Standing};
use crate::domain::audit::{Act, Action};
use crate::domain::{ApiKey, Caller, Millis, ResourceKind, Scope, Scopes, Violation};
use crate::store::keys::{Hashes, KeyChange};
use crate::store::{KeyStore, Page, PageRequest};

/// Operations on keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: KeyStore,
    clock: SharedClock,
}

/// A new key, with the secret that is shown this once. Prints no secret.
pub struct NewKey {
    pub key: ApiKey,
    pub secret: String,
}

impl Keys {
    #[must_use]
    pub fn new(store: KeyStore, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// A key for the caller's team. What the draft does not say is as the caller
    /// has it; the rights over the installation have to be asked for.
    pub async fn create(&self, caller: &Caller, draft: KeyDraft) -> Result<NewKey, ServiceError> {
        let own = &caller.grant;
        let usual = Grant {
            scopes: own.scopes.and(Scopes::of_team()),
            ..own.clone()
        };
        let grant = usual.with(&draft);
        let name = draft.name.unwrap_or_default();
        let mut faults = api_key::faults(&name);
        faults.extend(grant.faults(own, self.clock.now_millis()));
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let new = self.compose(&caller.team_id, &name, grant)?;
        self.keep(caller, &new).await?;
        Ok(new)
    }

    /// A key that opens nothing until it is kept, so that whoever needs it can
    /// put it in a safe place first.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a name that cannot be one.
    pub fn compose(&self, team_id: &str, name: &str, grant: Grant) -> Result<NewKey, ServiceError> {
        let faults = api_key::faults(name);
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let now = self.clock.now_millis();
        let secret = api_key::compose(rand::random());
        let key = ApiKey {
            id: mint(Kind::ApiKey, now),
            team_id: team_id.to_owned(),
            name: name.to_owned(),
            masked: api_key::masked(&secret),
            grant,
            created_at: now,
            revoked_at: None,
            last_used_at: None,
            rotated_at: None,
            previous_until: None,
        };
        Ok(NewKey { key, secret })
    }

    /// Puts a composed key in force; the record of the key's team tells who did.
    pub async fn keep(&self, caller: &Caller, new: &NewKey) -> Result<(), ServiceError> {
        let actor = Caller {
            team_id: new.key.team_id.clone(),
            ..caller.clone()
        };
        let act = act(Action::Create, None, &new.key);
        let hash = api_key::hash(&new.secret);
        let (store, actor) = (&self.store, (&actor).into());
        Ok(store.insert(&actor, &new.key, &hash, act).await?)
    }

    pub async fn get(&self, team_id: &str, id: &str) -> Result<ApiKey, ServiceError> {
        let found = self.store.get(team_id, id).await?;
        found.ok_or_else(|| not_found(id))
    }

    pub async fn list(
        &self,
        team_id: &str,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, ServiceError> {
        Ok(self.store.list(team_id, page).await?)
    }

    /// Changes name, scopes and limits. Takes effect with the next call.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        draft: KeyDraft,
    ) -> Result<ApiKey, ServiceError> {
        let now = self.clock.now_millis();
        let change = self.own(caller, id, now).await?;
        let before = change.key();
        let key = ApiKey {
            name: draft.name.clone().unwrap_or_else(|| before.name.clone()),
            grant: before.grant.with(&draft),
            ..before.clone()
        };
        let mut faults = api_key::faults(&key.name);
        faults.extend(key.grant.faults(&caller.grant, now));
        if !faults.is_empty() {
            return Err(faults.into());
        }
        if key == before {
            return Ok(before);
        }
        leaves_one(&change, &key, now)?;
        let act = act(Action::Update, Some(&before), &key);
        change.save(&caller.into(), &key, None, act, now).await?;
        Ok(key)
    }

    /// A new secret for the same key. The old one stays valid until the given
    /// time, a day if none is given; a still older one ends at once.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: &str,
        until: Option<Millis>,
    ) -> Result<NewKey, ServiceError> {
        let now = self.clock.now_millis();
        let until = until.unwrap_or(now.saturating_add(DEFAULT_OVERLAP));
        if until > now.saturating_add(MAX_OVERLAP) {
            let fault = "an old secret can stay valid for 30 days at most";
            return Err(vec![Violation::new("previous_valid_until", fault)].into());
        }
        let change = self.own(caller, id, now).await?;
        let before = change.key();
        let secret = api_key::compose(rand::random());
        let overlaps = until > now;
        let key = ApiKey {
            masked: api_key::masked(&secret),
            rotated_at: Some(now),
            previous_until: overlaps.then_some(until),
            ..before.clone()
        };
        let hashes = Hashes {
            current: api_key::hash(&secret),
            previous: overlaps.then(|| change.hash().to_owned()),
        };
        let act = act(Action::Rotate, Some(&before), &key);
        let actor = caller.into();
        change.save(&actor, &key, Some(hashes), act, now).await?;
        Ok(NewKey { key, secret })
    }

    /// From the next call on the key is refused. Cannot be undone, so a team
    /// keeps one with which others can be made.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<ApiKey, ServiceError> {
        let now = self.clock.now_millis();
        let change = self.store.change(&caller.team_id, id).await?;
        let change = change.ok_or_else(|| not_found(id))?;
        let before = change.key();
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let key = ApiKey {
            revoked_at: Some(now),
            ..before.clone()
        };
        leaves_one(&change, &key, now)?;
        let act = act(Action::Revoke, Some(&before), &key);
        change.save(&caller.into(), &key, None, act, now).await?;
        Ok(key)
    }

    /// Begins a change of a key in force that can do no more than the caller.
    async fn own(&self, caller: &Caller, id: &str, now: Millis) -> Result<KeyChange, ServiceError> {
        let change = self.store.change(&caller.team_id, id).await?;
        let change = change.ok_or_else(|| not_found(id))?;
        let key = change.key();
        if key.standing(now) == Standing::Revoked {
            return Err(ServiceError::KeyRevoked { id: key.id });
        }
        let more = key.grant.scopes.without(caller.grant.scopes);
        if !more.is_empty() {
            let scopes = more.to_string();
            return Err(ServiceError::BeyondOwnScopes { id: key.id, scopes });
        }
        Ok(change)
    }
}

/// Refuses a change after which nobody could make keys for the team.
fn leaves_one(change: &KeyChange, after: &ApiKey, now: Millis) -> Result<(), ServiceError> {
    let could = change.key().administers(now);
    let can = |key: &ApiKey| key.administers(now) && key.grant.expires_at.is_none();
    let lasting = can(after) || change.others().iter().any(can);
    let at_all = |key: &ApiKey| key.administers(now);
    // Keys that end do not count, unless there are no others anyway.
    let had_lasting = can(&change.key()) || change.others().iter().any(can);
    let left = if had_lasting {
        lasting
    } else {
        at_all(after) || change.others().iter().any(at_all)
    };
    if could && !left {
        return Err(ServiceError::LastKey {
            id: after.id.clone(),
        });
    }
    Ok(())
}

fn act(action: Action, before: Option<&ApiKey>, key: &ApiKey) -> Act {
    Act {
        action,
        kind: ResourceKind::ApiKey.slug(),
        id: key.id.clone(),
        name: key.name.clone(),
        revision: None,
        before: before.map(shown),
        after: Some(shown(key)),
        secrets_changed: action == Action::Rotate,
    }
}

fn shown(key: &ApiKey) -> serde_json::Value {
    json!({
        "name": key.name,
        "masked_key": key.masked,
        "scopes": key.grant.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "expires_at": key.grant.expires_at,
        "rate_limit_per_minute": key.grant.rate_per_minute,
        "max_body_bytes": key.grant.max_body_bytes,
        "revoked_at": key.revoked_at,
        "previous_valid_until": key.previous_until,
    })
}

fn not_found(id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind: ResourceKind::ApiKey,
        id: id.chars().take(64).collect(),
    }
}
