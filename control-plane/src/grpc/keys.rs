//! `hookplane.v1.ApiKeyService`.

use hookplane_proto::v1;
use hookplane_proto::v1::api_key_service_server::ApiKeyService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::service::{Keys, ServiceError};
use crate::store::PageRequest;
use crate::wire::{api_key, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct KeyApi {
    keys: Keys,
}

impl KeyApi {
    #[must_use]
    pub const fn new(keys: Keys) -> Self {
        Self { keys }
    }
}

#[tonic::async_trait]
impl ApiKeyService for KeyApi {
    async fn create_api_key(&self, request: Request<v1::CreateApiKeyRequest>) -> Reply<v1::ApiKey> {
        let team = caller(&request)?.team_id;
        let made = self.keys.create(&team, &request.into_inner().name).await?;
        Ok(Response::new(v1::ApiKey {
            key: made.secret,
            ..api_key::message(&made.key)
        }))
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
        let models: Vec<_> = found.rows.iter().map(api_key::message).collect();
        Ok(Response::new(v1::ListApiKeysResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_api_key(&self, request: Request<v1::GetApiKeyRequest>) -> Reply<v1::ApiKey> {
        let team = caller(&request)?.team_id;
        let found = self.keys.get(&team, &request.into_inner().id).await?;
        Ok(Response::new(api_key::message(&found)))
    }

    async fn revoke_api_key(&self, request: Request<v1::RevokeApiKeyRequest>) -> Reply<v1::ApiKey> {
        let team = caller(&request)?.team_id;
        let revoked = self.keys.revoke(&team, &request.into_inner().id).await?;
        Ok(Response::new(api_key::message(&revoked)))
    }
}
