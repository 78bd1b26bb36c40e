//! One connection and a typed client for each service, with the key attached.
//!
//! Refuses to know what the calls mean. Invariant: connecting costs nothing
//! until the first call, and a lost connection is made anew by the next one.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::key::BearerKey;
use crate::settings::{InvalidSettings, Settings};
use crate::v1::agent_access_service_client::AgentAccessServiceClient;
use crate::v1::api_key_service_client::ApiKeyServiceClient;
use crate::v1::attempt_service_client::AttemptServiceClient;
use crate::v1::audit_service_client::AuditServiceClient;
use crate::v1::bulk_operation_service_client::BulkOperationServiceClient;
use crate::v1::configuration_service_client::ConfigurationServiceClient;
use crate::v1::connection_service_client::ConnectionServiceClient;
use crate::v1::destination_service_client::DestinationServiceClient;
use crate::v1::event_service_client::EventServiceClient;
use crate::v1::filter_service_client::FilterServiceClient;
use crate::v1::fleet_service_client::FleetServiceClient;
use crate::v1::handler_key_service_client::HandlerKeyServiceClient;
use crate::v1::installation_service_client::InstallationServiceClient;
use crate::v1::request_service_client::RequestServiceClient;
use crate::v1::rollout_service_client::RolloutServiceClient;
use crate::v1::source_service_client::SourceServiceClient;

/// Largest answer read: a request of 16 MiB comes as bytes and as text.
const MAX_ANSWER: usize = 40 * 1024 * 1024;

/// The connection with the key on every call.
pub type Authorised = InterceptedService<Channel, BearerKey>;

/// A client of one control plane. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Authorised,
    api_url: String,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $service:ident),+ $(,)?) => {
        impl Client {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> $service<Authorised> {
                $service::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
            })+
        }
    };
}

services! {
    /// Where webhooks come from.
    sources: SourceServiceClient,
    /// Where events are delivered to.
    destinations: DestinationServiceClient,
    /// Which source feeds which destination, and by what rules.
    connections: ConnectionServiceClient,
    /// Stored conditions that connections refer to.
    filters: FilterServiceClient,
    /// The configuration as a whole: applied, awaited.
    configuration: ConfigurationServiceClient,
    /// Inbound calls, their traces, the live tail.
    requests: RequestServiceClient,
    /// Requests on one connection, and their retries.
    events: EventServiceClient,
    /// Many events retried, or many requests replayed.
    bulk_operations: BulkOperationServiceClient,
    /// Single outbound tries.
    attempts: AttemptServiceClient,
    /// Agents and the state of the whole.
    fleet: FleetServiceClient,
    /// Who may be an agent.
    agent_access: AgentAccessServiceClient,
    /// Changes that reach a share of a pool first.
    rollouts: RolloutServiceClient,
    /// Keys of people and programs.
    api_keys: ApiKeyServiceClient,
    /// Keys of handlers.
    handler_keys: HandlerKeyServiceClient,
    /// Who changed what.
    audit: AuditServiceClient,
    /// Teams, and what else stands above them.
    installation: InstallationServiceClient,
}

impl Client {
    /// Checks the settings and prepares a connection that is made by the first call.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`InvalidSettings`] says which setting is wrong and what would be right.
    pub fn connect(settings: Settings) -> Result<Self, InvalidSettings> {
        let endpoint = settings.endpoint()?;
        let key = BearerKey::new(&settings.api_key)?;
        Ok(Self {
            channel: InterceptedService::new(endpoint.connect_lazy(), key),
            api_url: settings.api_url,
        })
    }

    /// Where the control plane is.
    #[must_use]
    pub fn api_url(&self) -> &str {
        &self.api_url
    }
}
