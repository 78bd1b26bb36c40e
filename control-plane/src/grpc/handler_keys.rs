//! `hookplane.v1.HandlerKeyService`.

use hookplane_proto::v1;
use hookplane_proto::v1::handler_key_service_server::HandlerKeyService;
use tonic::{Request, Response, Status};

use super::caller;
use crate::service::{HandlerKeys, ServiceError};
use crate::store::PageRequest;
use crate::wire::{handler_key, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct HandlerKeyApi {
    keys: HandlerKeys,
}

impl HandlerKeyApi {
    #[must_use]
    pub const fn new(keys: HandlerKeys) -> Self {
        Self { keys }
    }
}

#[tonic::async_trait]
impl HandlerKeyService for HandlerKeyApi {
    async fn create_handler_key(
        &self,
        request: Request<v1::CreateHandlerKeyRequest>,
    ) -> Reply<v1::HandlerKey> {
        let caller = caller(&request)?;
        let draft = handler_key::draft(request.into_inner());
        let made = self.keys.create(&caller, draft).await?;
        // The only answer that carries a secret.
        Ok(Response::new(v1::HandlerKey {
            key: made.secret,
            ..handler_key::message(&made.key)
        }))
    }

    async fn list_handler_keys(
        &self,
        request: Request<v1::ListHandlerKeysRequest>,
    ) -> Reply<v1::ListHandlerKeysResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse("", "", asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let found = self.keys.list(&team, &page).await?;
        let models: Vec<_> = found.rows.iter().map(handler_key::message).collect();
        Ok(Response::new(v1::ListHandlerKeysResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_handler_key(
        &self,
        request: Request<v1::GetHandlerKeyRequest>,
    ) -> Reply<v1::HandlerKey> {
        let team = caller(&request)?.team_id;
        let key = self.keys.get(&team, &request.into_inner().id).await?;
        Ok(Response::new(handler_key::message(&key)))
    }

    async fn revoke_handler_key(
        &self,
        request: Request<v1::RevokeHandlerKeyRequest>,
    ) -> Reply<v1::HandlerKey> {
        let caller = caller(&request)?;
        let key = self.keys.revoke(&caller, &request.into_inner().id).await?;
        Ok(Response::new(handler_key::message(&key)))
    }
}
