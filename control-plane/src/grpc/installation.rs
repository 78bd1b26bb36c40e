//! `hookplane.v1.InstallationService`.

use hookplane_proto::v1;
use hookplane_proto::v1::installation_service_server::InstallationService;
use tonic::{Request, Response, Status};

use super::{caller, required};
use crate::clock::SharedClock;
use crate::domain::Team;
use crate::service::keys::NewKey;
use crate::service::secrets::token;
use crate::service::{Secrets, ServiceError, Teams};
use crate::store::PageRequest;
use crate::store::rekey::{KeyUses, Layer};
use crate::store::seal::KeyId;
use crate::wire::{api_key, pagination, timestamp};

type Reply<T> = Result<Response<T>, Status>;

pub struct InstallationApi {
    teams: Teams,
    secrets: Secrets,
    clock: SharedClock,
}

impl InstallationApi {
    #[must_use]
    pub const fn new(teams: Teams, secrets: Secrets, clock: SharedClock) -> Self {
        Self {
            teams,
            secrets,
            clock,
        }
    }

    fn revealed(&self, made: NewKey) -> v1::ApiKey {
        v1::ApiKey {
            key: made.secret,
            ..api_key::message(&made.key, self.clock.now_millis())
        }
    }
}

fn message(team: &Team) -> v1::Team {
    v1::Team {
        id: team.id.clone(),
        name: team.name.clone(),
        created_at: Some(timestamp(team.created_at)),
    }
}

#[tonic::async_trait]
impl InstallationService for InstallationApi {
    async fn create_team(
        &self,
        request: Request<v1::CreateTeamRequest>,
    ) -> Reply<v1::CreateTeamResponse> {
        let caller = caller(&request)?;
        let name = request.into_inner().name;
        let (team, key) = self.teams.create(&caller, &name).await?;
        Ok(Response::new(v1::CreateTeamResponse {
            team: Some(message(&team)),
            api_key: Some(self.revealed(key)),
        }))
    }

    async fn list_teams(
        &self,
        request: Request<v1::ListTeamsRequest>,
    ) -> Reply<v1::ListTeamsResponse> {
        let asked = request.into_inner();
        let page = PageRequest::parse("", "", asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let found = self.teams.list(&page).await?;
        let models: Vec<_> = found.rows.iter().map(message).collect();
        Ok(Response::new(v1::ListTeamsResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn create_team_api_key(
        &self,
        request: Request<v1::CreateTeamApiKeyRequest>,
    ) -> Reply<v1::ApiKey> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let key = required("key", asked.key)?;
        let draft = api_key::draft(key).map_err(ServiceError::Invalid)?;
        let made = self
            .teams
            .create_key(&caller, &asked.team_id, draft)
            .await?;
        Ok(Response::new(self.revealed(made)))
    }
    async fn get_secret_keys(
        &self,
        _: Request<v1::GetSecretKeysRequest>,
    ) -> Reply<v1::GetSecretKeysResponse> {
        let (given, uses) = self.secrets.uses().await?;
        Ok(Response::new(v1::GetSecretKeysResponse {
            values_without_own_key: uses.direct,
            keys: keys(&given, &uses),
        }))
    }

    async fn rewrap_secrets(
        &self,
        request: Request<v1::RewrapSecretsRequest>,
    ) -> Reply<v1::RewrapSecretsResponse> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let layer = match asked.reencrypt {
            true => Layer::Data,
            false => Layer::Wrapping,
        };
        let step = self
            .secrets
            .rekey(&caller, layer, &asked.page_token)
            .await?;
        Ok(Response::new(v1::RewrapSecretsResponse {
            changed: step.changed,
            next: step.next.as_ref().map(token).unwrap_or_default(),
        }))
    }
}

/// The given keys first, then those that values need and nobody gave.
fn keys(given: &[KeyId], uses: &KeyUses) -> Vec<v1::SecretKey> {
    let missing = uses.wrapped.keys().filter(|id| !given.contains(id));
    let key = |id: &KeyId| v1::SecretKey {
        id: hex::encode(id),
        given: given.contains(id),
        current: given.first() == Some(id),
        values: uses.wrapped.get(id).copied().unwrap_or(0),
    };
    given.iter().chain(missing).map(key).collect()
}
