//! `hookplane.v1.AgentAccessService`.

use std::sync::Arc;

use hookplane_proto::v1;
use hookplane_proto::v1::agent_access_service_server::AgentAccessService;
use tonic::{Code, Request, Response, Status};

use super::caller;
use super::fleet::FleetApi;
use super::status::refused;
use crate::domain::DEFAULT_POOL;
use crate::fleet::Fleet;
use crate::service::certificates::RotateError;
use crate::service::{Access, Certificates, ServiceError};
use crate::store::{AccessStore, PageRequest};
use crate::wire::{agent_authority, agent_token, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct AccessApi {
    access: Access,
    certificates: Certificates,
    fleet: Fleet,
}

impl AccessApi {
    #[must_use]
    pub fn new(fleet: Fleet, certificates: Certificates) -> Self {
        Self {
            access: of(&fleet),
            certificates,
            fleet,
        }
    }
}

/// The access to this fleet.
pub(super) fn of(fleet: &Fleet) -> Access {
    Access::new(AccessStore::of(fleet.config()), Arc::clone(fleet.clock()))
}

#[tonic::async_trait]
impl AgentAccessService for AccessApi {
    /// The only answer that carries a secret.
    async fn create_agent_token(
        &self,
        request: Request<v1::CreateAgentTokenRequest>,
    ) -> Reply<v1::AgentToken> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let pool = match asked.pool.as_str() {
            "" => DEFAULT_POOL,
            pool => pool,
        };
        let made = self
            .access
            .create_token(&caller, &asked.name, pool, asked.valid_seconds)
            .await?;
        Ok(Response::new(v1::AgentToken {
            token: made.secret,
            ..agent_token::message(&made.token, self.fleet.clock().now_millis())
        }))
    }

    async fn list_agent_tokens(
        &self,
        request: Request<v1::ListAgentTokensRequest>,
    ) -> Reply<v1::ListAgentTokensResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse("", "", asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let found = self.access.list_tokens(&team, &page).await?;
        let now = self.fleet.clock().now_millis();
        let rows = found.rows.iter();
        let models: Vec<_> = rows.map(|one| agent_token::message(one, now)).collect();
        Ok(Response::new(v1::ListAgentTokensResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn revoke_agent_token(
        &self,
        request: Request<v1::RevokeAgentTokenRequest>,
    ) -> Reply<v1::AgentToken> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let token = self.access.revoke_token(&caller, &id).await?;
        let now = self.fleet.clock().now_millis();
        Ok(Response::new(agent_token::message(&token, now)))
    }

    async fn revoke_agent(&self, request: Request<v1::RevokeAgentRequest>) -> Reply<v1::Agent> {
        let caller = caller(&request)?;
        let id = request.into_inner().id;
        let mut agent = self.access.revoke_agent(&caller, &id).await?;
        // They may be another team's.
        agent.refused.clear();
        let head = self.fleet.config().head().await?;
        let shown = FleetApi::new(self.fleet.clone()).message(agent, &head);
        Ok(Response::new(shown))
    }

    async fn list_agent_authorities(
        &self,
        request: Request<v1::ListAgentAuthoritiesRequest>,
    ) -> Reply<v1::ListAgentAuthoritiesResponse> {
        let asked = request.into_inner();
        let page = PageRequest::parse("", "", asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let found = self.certificates.list(&page).await?;
        let now = self.fleet.clock().now_millis();
        let rows = found.rows.iter();
        let models: Vec<_> = rows.map(|one| agent_authority::message(one, now)).collect();
        Ok(Response::new(v1::ListAgentAuthoritiesResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn rotate_agent_authority(
        &self,
        request: Request<v1::RotateAgentAuthorityRequest>,
    ) -> Reply<v1::AgentAuthority> {
        let caller = caller(&request)?;
        let overlap = request.into_inner().overlap_seconds;
        let made = self.certificates.rotate(&caller, overlap).await?;
        let now = self.fleet.clock().now_millis();
        Ok(Response::new(agent_authority::message(&made, now)))
    }
}

impl From<RotateError> for Status {
    fn from(error: RotateError) -> Self {
        let message = error.to_string();
        match error {
            RotateError::TooMany => refused(
                Code::FailedPrecondition,
                "TOO_MANY_AUTHORITIES",
                message,
                "wait until the overlap of the oldest has passed, or end them all with an overlap of 0",
            ),
            RotateError::Sign(fault) => {
                tracing::error!(error = %fault, "no authority of agents could be made");
                refused(
                    Code::Internal,
                    "INTERNAL",
                    message,
                    "look into the control plane's log",
                )
            }
            RotateError::Service(error) => error.into(),
        }
    }
}
