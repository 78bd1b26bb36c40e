//! API keys: made, listed, revoked. A key is shown once, to whoever made it.

use hookplane_proto::id::Kind;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::{ApiKey, ResourceKind, api_key};
use crate::store::keys::Revoked;
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

    pub async fn create(&self, team_id: &str, name: &str) -> Result<NewKey, ServiceError> {
        let new = self.compose(team_id, name)?;
        self.keep(&new).await?;
        Ok(new)
    }

    /// A key that opens nothing until it is kept, so that whoever needs it can
    /// put it in a safe place first.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for a name that cannot be one.
    pub fn compose(&self, team_id: &str, name: &str) -> Result<NewKey, ServiceError> {
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
            created_at: now,
            revoked_at: None,
        };
        Ok(NewKey { key, secret })
    }

    pub async fn keep(&self, new: &NewKey) -> Result<(), ServiceError> {
        Ok(self
            .store
            .insert(&new.key, &api_key::hash(&new.secret))
            .await?)
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

    /// From the next call on the key is refused. Cannot be undone, so the last
    /// key of a team stays: without one nobody could make another.
    pub async fn revoke(&self, team_id: &str, id: &str) -> Result<ApiKey, ServiceError> {
        let now = self.clock.now_millis();
        match self.store.revoke(team_id, id, now).await? {
            Revoked::Done(key) => Ok(key),
            Revoked::Unknown => Err(not_found(id)),
            Revoked::Last => Err(ServiceError::LastKey { id: id.to_owned() }),
        }
    }
}

fn not_found(id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind: ResourceKind::ApiKey,
        id: id.chars().take(64).collect(),
    }
}
