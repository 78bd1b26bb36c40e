//! Keys of handlers: one, as it is made, listed and revoked.

use hookplane_client::v1::handler_key_service_server::HandlerKeyService;
use hookplane_client::v1::{
    CreateHandlerKeyRequest, GetHandlerKeyRequest, HandlerKey, HandlerKeyStatus,
    ListHandlerKeysRequest, ListHandlerKeysResponse, RevokeHandlerKeyRequest,
};
use tonic::{Request, Response, Status};

use super::Fake;

fn key(status: HandlerKeyStatus) -> HandlerKey {
    HandlerKey {
        id: "phk_1".into(),
        name: "users".into(),
        masked_key: "hph_\u{2026}yz".into(),
        status: status.into(),
        ..HandlerKey::default()
    }
}

#[tonic::async_trait]
impl HandlerKeyService for Fake {
    async fn create_handler_key(
        &self,
        request: Request<CreateHandlerKeyRequest>,
    ) -> Result<Response<HandlerKey>, Status> {
        let asked = request.into_inner();
        Ok(Response::new(HandlerKey {
            name: asked.name,
            source_ids: asked.source_ids,
            key: "hph_abcdefyz".into(),
            ..key(HandlerKeyStatus::Active)
        }))
    }

    async fn list_handler_keys(
        &self,
        _: Request<ListHandlerKeysRequest>,
    ) -> Result<Response<ListHandlerKeysResponse>, Status> {
        Ok(Response::new(ListHandlerKeysResponse {
            count: 1,
            models: vec![key(HandlerKeyStatus::Active)],
            ..ListHandlerKeysResponse::default()
        }))
    }

    async fn get_handler_key(
        &self,
        _: Request<GetHandlerKeyRequest>,
    ) -> Result<Response<HandlerKey>, Status> {
        Ok(Response::new(key(HandlerKeyStatus::Active)))
    }

    async fn revoke_handler_key(
        &self,
        _: Request<RevokeHandlerKeyRequest>,
    ) -> Result<Response<HandlerKey>, Status> {
        Ok(Response::new(key(HandlerKeyStatus::Revoked)))
    }
}
