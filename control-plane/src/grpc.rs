//! The gRPC services: one file each, thin. Request in, one call of `service` or
//! `fleet`, reply out.
//!
//! Owns the wire's side of the control plane. Refuses to know SQL.

pub mod access;
pub mod apply;
pub mod attempts;
pub mod audit;
pub mod bulk;
pub mod certificates;
mod changing;
pub mod commands;
mod conditions;
pub mod configuration;
pub mod connections;
pub mod destinations;
pub mod enrolment;
pub mod events;
mod evidence;
pub mod filters;
pub mod fleet;
pub mod handler_keys;
pub mod installation;
pub mod keys;
pub mod metrics;
pub mod relay;
pub mod reports;
pub mod requests;
pub mod rollouts;
pub mod sources;
pub mod status;
pub mod watch;

use tonic::{Request, Status};

use crate::auth::AgentIdentity;
use crate::domain::{Agent, Caller};

/// Who calls. The authentication layer put it there for every method of the API.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| Status::internal("a method is served without authentication"))
}

/// Which agent calls. The authentication layer put it there.
pub(crate) fn agent<T>(request: &Request<T>) -> Result<Agent, Status> {
    let identity = request.extensions().get::<AgentIdentity>();
    identity
        .map(|identity| identity.0.clone())
        .ok_or_else(|| Status::internal("a method is served without authentication"))
}

/// The message inside a request, which has to be there.
pub(crate) fn required<T>(field: &str, message: Option<T>) -> Result<T, Status> {
    message
        .ok_or_else(|| status::invalid(&[crate::domain::Violation::new(field, "this is needed")]))
}

/// What a list shall be narrowed to; an empty text narrows nothing.
pub(crate) fn wanted(field: &str, text: String) -> Result<Option<String>, Status> {
    if text.chars().any(char::is_control) {
        let fault = "holds control characters, which nothing has";
        return Err(status::invalid(&[crate::domain::Violation::new(
            field, fault,
        )]));
    }
    Ok((!text.is_empty()).then_some(text))
}
