//! Everything on the API's port: gRPC services behind metrics and authentication,
//! REST in front of them, health beside them.

use std::sync::Arc;

use hookplane_proto::{DESCRIPTORS, agent, replica, v1};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::ControlPlane;
use super::calls::{self, Calls};
use super::door::Door;
use super::health::Health;
use crate::auth::{self, Authenticator};
use crate::fleet::Fleet;
use crate::fleet::relay::MAX_MESSAGE;
use crate::grpc;
use crate::grpc::watch::Watches;
use crate::metrics::{self, Metrics};
use crate::rest::{self, InvalidRules};
use crate::service::{
    Certificates, Configuration, Connections, Destinations, Filters, HandlerKeys, Keys, Secrets,
    Sources, Teams,
};
use crate::store::TeamStore;

/// Largest message of a method that needs no key.
const OPEN_MESSAGE: usize = 16 * 1_024;

pub(super) fn assemble(
    plane: &ControlPlane,
    (fleet, certificates): (Fleet, Certificates),
    authenticator: Authenticator,
    shutdown: &CancellationToken,
) -> Result<axum::Router, InvalidRules> {
    let pool = hookplane_proto::descriptor_pool();
    let metrics = Metrics::new(&pool, |registry| {
        metrics::fleet::register(registry, fleet.clone());
    });
    let watches = Watches::new(
        plane.config.clone(),
        fleet.tasks().clone(),
        shutdown.clone(),
    );
    let routes = with_configuration(plane, (fleet.clone(), watches), Routes::default());
    let routes = with_standard_services(with_fleet(fleet, certificates, routes));
    let grpc = routes
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(
            authenticator.clone(),
            auth::authenticate,
        ))
        .layer(axum::middleware::from_fn_with_state(
            metrics.clone(),
            metrics::count,
        ));
    let door = Door {
        authenticator,
        metrics: metrics.clone(),
    };
    let health = Health {
        database: plane.database.clone(),
        metrics,
        shutdown: shutdown.clone(),
    };
    let within = calls::deadline(plane.settings.drain);
    let calls = Calls::new(&pool, within, shutdown.clone());
    let limits = rest::Limits {
        call: within,
        ..rest::Limits::default()
    };
    let described = rest::openapi::router(&pool)?;
    let served = rest::router(grpc, pool, door, limits)?
        .merge(health.router())
        .merge(described);
    Ok(served.layer(axum::middleware::from_fn_with_state(calls, calls::bound)))
}

/// What people and programs configure.
fn with_configuration(
    plane: &ControlPlane,
    (fleet, watches): (Fleet, Watches),
    routes: Routes,
) -> Routes {
    use v1::api_key_service_server::ApiKeyServiceServer;
    use v1::configuration_service_server::ConfigurationServiceServer;
    use v1::connection_service_server::ConnectionServiceServer;
    use v1::destination_service_server::DestinationServiceServer;
    use v1::filter_service_server::FilterServiceServer;
    use v1::handler_key_service_server::HandlerKeyServiceServer;
    use v1::installation_service_server::InstallationServiceServer;
    use v1::source_service_server::SourceServiceServer;

    let (config, base) = (&plane.config, plane.ingest_base());
    let sources = Sources::new(config.clone(), Arc::clone(&plane.clock));
    let destinations = Destinations::new(config.clone(), Arc::clone(&plane.clock));
    let connections = Connections::new(config.clone(), Arc::clone(&plane.clock));
    let filters = Filters::new(config.clone(), Arc::clone(&plane.clock));
    let keys = Keys::new(plane.keys.clone(), Arc::clone(&plane.clock));
    let handler_keys = HandlerKeys::new(config.clone(), Arc::clone(&plane.clock));
    let handler_keys = grpc::handler_keys::HandlerKeyApi::new(handler_keys);
    let own = || (fleet.clone(), watches.clone());
    let (of, by) = own();
    let sources = grpc::sources::SourceApi::new(sources, base.clone(), of, by);
    let (of, by) = own();
    let destinations = grpc::destinations::DestinationApi::new(destinations, of, by);
    let (of, by) = own();
    let filters = grpc::filters::FilterApi::new(filters, of, by);
    let whole = Configuration::new(config.clone(), Arc::clone(&plane.clock));
    let within = calls::deadline(plane.settings.drain);
    let whole = grpc::apply::ConfigurationApi::new(whole, fleet.clone(), within);
    let connections = grpc::connections::ConnectionApi::new(connections, base, fleet, watches);
    let store = TeamStore::new(plane.database.clone(), plane.config.ledger().clone());
    let teams = Teams::new(store, keys.clone(), Arc::clone(&plane.clock));
    let secrets = Secrets::new(config.clone(), Arc::clone(&plane.clock));
    let clock = Arc::clone(&plane.clock);
    let installation = grpc::installation::InstallationApi::new(teams, secrets, clock);
    let keys = grpc::keys::KeyApi::new(keys, Arc::clone(&plane.clock));
    routes
        .add_service(SourceServiceServer::new(sources))
        .add_service(DestinationServiceServer::new(destinations))
        .add_service(ConnectionServiceServer::new(connections))
        .add_service(FilterServiceServer::new(filters))
        .add_service(ConfigurationServiceServer::new(whole))
        .add_service(ApiKeyServiceServer::new(keys))
        .add_service(HandlerKeyServiceServer::new(handler_keys))
        .add_service(InstallationServiceServer::new(installation))
}

/// What agents open, and what people ask about them and of them.
fn with_fleet(fleet: Fleet, certificates: Certificates, routes: Routes) -> Routes {
    use agent::v1::certificate_service_server::CertificateServiceServer;
    use agent::v1::command_service_server::CommandServiceServer;
    use agent::v1::enrolment_service_server::EnrolmentServiceServer;
    use agent::v1::report_service_server::ReportServiceServer;
    use replica::v1::relay_service_server::RelayServiceServer;
    use v1::agent_access_service_server::AgentAccessServiceServer;
    use v1::attempt_service_server::AttemptServiceServer;
    use v1::audit_service_server::AuditServiceServer;
    use v1::bulk_operation_service_server::BulkOperationServiceServer;
    use v1::event_service_server::EventServiceServer;
    use v1::fleet_service_server::FleetServiceServer;
    use v1::metrics_service_server::MetricsServiceServer;
    use v1::request_service_server::RequestServiceServer;
    use v1::rollout_service_server::RolloutServiceServer;

    let enrolment = grpc::enrolment::Enrolment::new(fleet.clone());
    let configuration = grpc::configuration::ConfigurationStreams::new(fleet.clone());
    let commands = grpc::commands::CommandStreams::new(fleet.clone());
    let reports = grpc::reports::ReportStreams::new(fleet.clone());
    let requests = grpc::requests::RequestApi::new(fleet.clone());
    let events = grpc::events::EventApi::new(fleet.clone());
    let attempts = grpc::attempts::AttemptApi::new(fleet.clone());
    let metrics = grpc::metrics::MetricsApi::new(fleet.clone());
    let audit = grpc::audit::AuditApi::new(fleet.clone());
    routes
        .add_service(EnrolmentServiceServer::new(enrolment).max_decoding_message_size(OPEN_MESSAGE))
        .add_service(
            CertificateServiceServer::new(grpc::certificates::CertificateApi::new(
                certificates.clone(),
            ))
            .max_decoding_message_size(OPEN_MESSAGE),
        )
        .add_service(configuration)
        .add_service(CommandServiceServer::new(commands))
        .add_service(ReportServiceServer::new(reports))
        .add_service(RequestServiceServer::new(requests))
        .add_service(EventServiceServer::new(events))
        .add_service(AttemptServiceServer::new(attempts))
        .add_service(BulkOperationServiceServer::new(grpc::bulk::BulkApi::new(
            fleet.clone(),
        )))
        .add_service(
            RelayServiceServer::new(grpc::relay::RelayApi::new(fleet.clone()))
                // Questions are small, and read before it is known who asks.
                .max_decoding_message_size(4 * OPEN_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        )
        .add_service(RolloutServiceServer::new(grpc::rollouts::RolloutApi::new(
            fleet.clone(),
        )))
        .add_service(MetricsServiceServer::new(metrics))
        .add_service(AuditServiceServer::new(audit))
        .add_service(AgentAccessServiceServer::new(grpc::access::AccessApi::new(
            fleet.clone(),
            certificates,
        )))
        .add_service(FleetServiceServer::new(grpc::fleet::FleetApi::new(fleet)))
}

/// What gRPC tools expect everywhere.
fn with_standard_services(routes: Routes) -> Routes {
    let (_, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("descriptors compiled by our own build script");
    routes
        .add_service(health.max_decoding_message_size(OPEN_MESSAGE))
        .add_service(reflection.max_decoding_message_size(OPEN_MESSAGE))
}
