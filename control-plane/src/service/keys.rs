//! API keys: made, listed, revoked. A key is shown once, to whoever made it.

use hookplane_proto::id::Kind;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::{ApiKey, ResourceKind, Violation, api_key};
use crate::store::{KeyStore, Page, PageRequest};

const MAX_NAME: usize = 155;

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
        let length = name.chars().count();
        if length == 0 || length > MAX_NAME {
            let fault = format!("a name of 1 to {MAX_NAME} characters is needed");
            return Err(vec![Violation::new("name", fault)].into());
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
        self.store.insert(&key, &api_key::hash(&secret)).await?;
        Ok(NewKey { key, secret })
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

    /// From the next call on the key is refused. Cannot be undone.
    pub async fn revoke(&self, team_id: &str, id: &str) -> Result<ApiKey, ServiceError> {
        let revoked = self
            .store
            .revoke(team_id, id, self.clock.now_millis())
            .await?;
        revoked.ok_or_else(|| not_found(id))
    }
}

fn not_found(id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind: ResourceKind::ApiKey,
        id: id.chars().take(64).collect(),
    }
}
