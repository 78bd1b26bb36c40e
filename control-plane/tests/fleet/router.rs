//! The services that these tests call, behind authentication.

use std::sync::Arc;

use hookplane_control_plane::auth::{self, Authenticator};
use hookplane_control_plane::fleet::Fleet;
use hookplane_control_plane::grpc::{
    access, apply, attempts, audit, certificates as certificates_api, commands, configuration,
    enrolment,
};
use hookplane_control_plane::grpc::{events, fleet, relay, reports, requests, rollouts};
use hookplane_control_plane::service::{Certificates, Configuration};
use hookplane_proto::{agent::v1 as agent_v1, replica::v1 as replica_v1, v1};

use crate::plane::PATIENCE;

pub(crate) fn router(
    fleet: &Fleet,
    certificates: Certificates,
    authenticator: Authenticator,
) -> axum::Router {
    let handle = || fleet.clone();
    let mut routes = tonic::service::Routes::builder();
    routes
        .add_service(
            agent_v1::enrolment_service_server::EnrolmentServiceServer::new(
                enrolment::Enrolment::new(handle()),
            ),
        )
        .add_service(
            agent_v1::certificate_service_server::CertificateServiceServer::new(
                certificates_api::CertificateApi::new(certificates.clone()),
            ),
        )
        .add_service(configuration::ConfigurationStreams::new(handle()))
        .add_service(replica_v1::relay_service_server::RelayServiceServer::new(
            relay::RelayApi::new(handle()),
        ))
        .add_service(v1::rollout_service_server::RolloutServiceServer::new(
            rollouts::RolloutApi::new(handle()),
        ))
        .add_service(agent_v1::command_service_server::CommandServiceServer::new(
            commands::CommandStreams::new(handle()),
        ))
        .add_service(agent_v1::report_service_server::ReportServiceServer::new(
            reports::ReportStreams::new(handle()),
        ))
        .add_service(v1::request_service_server::RequestServiceServer::new(
            requests::RequestApi::new(handle()),
        ))
        .add_service(v1::event_service_server::EventServiceServer::new(
            events::EventApi::new(handle()),
        ))
        .add_service(v1::audit_service_server::AuditServiceServer::new(
            audit::AuditApi::new(handle()),
        ))
        .add_service(v1::attempt_service_server::AttemptServiceServer::new(
            attempts::AttemptApi::new(handle()),
        ))
        .add_service(
            v1::configuration_service_server::ConfigurationServiceServer::new(
                apply::ConfigurationApi::new(
                    Configuration::new(fleet.config().clone(), Arc::clone(fleet.clock())),
                    handle(),
                    PATIENCE,
                ),
            ),
        )
        .add_service(
            v1::agent_access_service_server::AgentAccessServiceServer::new(access::AccessApi::new(
                handle(),
                certificates.clone(),
            )),
        )
        .add_service(v1::fleet_service_server::FleetServiceServer::new(
            fleet::FleetApi::new(handle()),
        ));
    let layer = axum::middleware::from_fn_with_state(authenticator, auth::authenticate);
    routes.routes().into_axum_router().layer(layer)
}
