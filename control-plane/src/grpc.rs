//! The gRPC services: one file each, thin. Request in, one call of `service` or
//! `fleet`, reply out.
//!
//! Owns the wire's side of the control plane. Refuses to know SQL.

pub mod connections;
pub mod convert;
pub mod destinations;
pub mod keys;
pub mod sources;
pub mod status;

use tonic::{Request, Status};

use crate::auth::Caller;

/// Who calls. The authentication layer put it there for every method of the API.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| Status::internal("a method is served without authentication"))
}

/// The message inside a request, which has to be there.
pub(crate) fn required<T>(field: &str, message: Option<T>) -> Result<T, Status> {
    message
        .ok_or_else(|| status::invalid(&[crate::domain::Violation::new(field, "this is needed")]))
}
