//! `hookplane.v1.ApiKeyService`.

use hookplane_proto::v1;
use hookplane_proto::v1::api_key_service_server::ApiKeyService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::clock::SharedClock;
use crate::domain::ApiKey;
use crate::service::keys::NewKey;
use crate::service::{Keys, ServiceError};
use crate::store::PageRequest;
use crate::wire::{api_key, millis, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct KeyApi {
    keys: Keys,
    clock: SharedClock,
}

impl KeyApi {
    #[must_use]
    pub const fn new(keys: Keys, clock: SharedClock) -> Self {
        Self { keys, clock }
    }

    fn message(&self, key: &ApiKey) -> v1::ApiKey {
        api_key::message(key, self.clock.now_millis())
    }

    fn reply(&self, key: &ApiKey) -> Reply<v1::ApiKey> {
        Ok(Response::new(self.message(key)))
    }

    /// The only answers that carry a secret.
    fn revealed(&self, made: NewKey) -> Reply<v1::ApiKey> {
        Ok(Response::new(v1::ApiKey {
            key: made.secret,
            ..self.message(&made.key)
        }))
    }
}

#[tonic::async_trait]
impl ApiKeyService for KeyApi {
    async fn create_api_key(&self, request: Request<v1::CreateApiKeyRequest>) -> Reply<v1::ApiKey> {
        let caller = caller(&request)?;
        let draft = api_key::draft(request.into_inner()).map_err(ServiceError::Invalid)?;
        self.revealed(self.keys.create(&caller, draft).await?)
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Reply<v1::ListApiKeysResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse("", "", asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let found = self.keys.list(&team, &page).await?;
        let models: Vec<_> = found.rows.iter().map(|key| self.message(key)).collect();
        Ok(Response::new(v1::ListApiKeysResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_api_key(&self, request: Request<v1::GetApiKeyRequest>) -> Reply<v1::ApiKey> {
        let team = caller(&request)?.team_id;
        self.reply(&self.keys.get(&team, &request.into_inner().id).await?)
    }

    async fn update_api_key(&self, request: Request<v1::UpdateApiKeyRequest>) -> Reply<v1::ApiKey> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let id = asked.id.clone();
        let edit = api_key::edit(asked).map_err(ServiceError::Invalid)?;
        self.reply(&self.keys.update(&caller, &id, edit).await?)
    }

    async fn rotate_api_key(&self, request: Request<v1::RotateApiKeyRequest>) -> Reply<v1::ApiKey> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let until = asked.previous_valid_until.map(millis);
        self.revealed(self.keys.rotate(&caller, &asked.id, until).await?)
    }

    async fn revoke_api_key(&self, request: Request<v1::RevokeApiKeyRequest>) -> Reply<v1::ApiKey> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        self.reply(&self.keys.revoke(&caller, &id).await?)
    }
}
