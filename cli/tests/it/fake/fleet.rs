//! One agent, and keys.

use hookplane_client::v1::api_key_service_server::ApiKeyService;
use hookplane_client::v1::fleet_service_server::FleetService;
use hookplane_client::v1::{
    Agent, AgentState, ApiKey, ApiKeyStatus, ConfigState, CreateApiKeyRequest,
    DestinationThroughput, GetAgentRequest, GetApiKeyRequest, GetStatusRequest, ListAgentsRequest,
    ListAgentsResponse, ListApiKeysRequest, ListApiKeysResponse, RefusedResource,
    RevokeApiKeyRequest, RotateApiKeyRequest, SourceThroughput, Status as Whole, Throughput,
    UpdateApiKeyRequest,
};
use tonic::{Request, Response, Status};

use super::Fake;

fn agent() -> Agent {
    Agent {
        id: "agt_1".into(),
        name: "berlin-1".into(),
        pool: "default".into(),
        version: "0.1.0".into(),
        state: AgentState::Connected.into(),
        config_state: ConfigState::Refused.into(),
        revision: 4,
        backlog: 12,
        refused: vec![RefusedResource {
            kind: "source".into(),
            id: "src_1".into(),
            version: 4,
            reason: "secret_invalid".into(),
            message: "the secret cannot be opened".into(),
        }],
        ..Agent::default()
    }
}

#[tonic::async_trait]
impl FleetService for Fake {
    async fn list_agents(
        &self,
        _: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        Ok(Response::new(ListAgentsResponse {
            count: 1,
            models: vec![agent()],
            ..ListAgentsResponse::default()
        }))
    }

    async fn get_agent(&self, _: Request<GetAgentRequest>) -> Result<Response<Agent>, Status> {
        Ok(Response::new(agent()))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<Whole>, Status> {
        let throughput = Throughput {
            window_minutes: request.into_inner().window_minutes,
            received: 12_000,
            accepted: 11_990,
            rejected: 10,
            ..Throughput::default()
        };
        let source = SourceThroughput {
            source_name: "clerk".into(),
            event_type: "user.created".into(),
            received: 12_000,
            accept_p50_ms: 1.5,
            ..SourceThroughput::default()
        };
        let destination = DestinationThroughput {
            destination_name: "user-service".into(),
            attempts: 12_001,
            ..DestinationThroughput::default()
        };
        Ok(Response::new(Whole {
            version: "0.1.0".into(),
            revision: 5,
            agents: vec![agent()],
            throughput: Some(throughput),
            by_source: vec![source],
            by_destination: vec![destination],
            backlog: 12,
            unserved_pools: vec!["paris".into()],
            ..Whole::default()
        }))
    }
}

fn key(status: ApiKeyStatus) -> ApiKey {
    ApiKey {
        id: "pak_1".into(),
        name: "ci".into(),
        masked_key: "hpk_ab\u{2022}\u{2022}yz".into(),
        status: status.into(),
        ..ApiKey::default()
    }
}

#[tonic::async_trait]
impl ApiKeyService for Fake {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let mut made = key(ApiKeyStatus::Active);
        made.name = request.into_inner().name;
        made.key = "hpk_abcdefyz".into();
        Ok(Response::new(made))
    }

    async fn list_api_keys(
        &self,
        _: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let models = vec![key(ApiKeyStatus::Active)];
        Ok(Response::new(ListApiKeysResponse {
            count: 1,
            models,
            ..ListApiKeysResponse::default()
        }))
    }

    async fn get_api_key(&self, _: Request<GetApiKeyRequest>) -> Result<Response<ApiKey>, Status> {
        Ok(Response::new(key(ApiKeyStatus::Active)))
    }

    async fn update_api_key(
        &self,
        request: Request<UpdateApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let mut changed = key(ApiKeyStatus::Active);
        changed.scopes = request.into_inner().scopes;
        Ok(Response::new(changed))
    }

    async fn rotate_api_key(
        &self,
        request: Request<RotateApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let mut rotated = key(ApiKeyStatus::Active);
        rotated.key = "hpk_ghijklyz".into();
        rotated.previous_valid_until = request.into_inner().previous_valid_until;
        Ok(Response::new(rotated))
    }

    async fn revoke_api_key(
        &self,
        _: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        Ok(Response::new(key(ApiKeyStatus::Revoked)))
    }
}
