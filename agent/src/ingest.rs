//! Stage one: from the wire to a request within limits, raw bytes intact.
//!
//! Checks in this order: the source exists and is enabled, the method is
//! allowed, the path can only go down, the body fits. Refuses to know signatures, rules and the store.
//! Header values and repeats are exact and names keep their order; hyper gives
//! names in lower case.

pub mod client;
mod path;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::config::{Configuration, Source};
use crate::store::Headers;

pub use client::Client;

/// Bytes of a refused body that are kept as evidence.
pub const REFUSED_BODY_KEPT: usize = 64 * 1_024;

/// Proof that a request is within its source's limits.
#[derive(Debug)]
pub struct Received {
    source: Arc<Source>,
    call: Call,
}

/// What one call said, as it said it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// Below the source's URL, with its leading slash.
    pub path: String,
    pub query: String,
    pub headers: Headers,
    pub body: Bytes,
    /// Bytes received, or announced when nothing was read.
    pub body_size: u64,
    pub client_ip: IpAddr,
    /// Unix milliseconds.
    pub received_at: u64,
    pub config_revision: u64,
}

/// Why a call goes no further.
#[derive(Debug)]
pub enum Refused {
    /// No such source: there is nobody to show it to.
    UnknownSource,
    Disabled(Arc<Source>, Call),
    MethodNotAllowed(Arc<Source>, Call),
    /// With why, in words.
    PathInvalid(Arc<Source>, Call, &'static str),
    TooLarge(Arc<Source>, Call),
    /// The body did not arrive in time, or broke off.
    Incomplete(Arc<Source>, Call, &'static str),
}

impl Received {
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    pub(crate) fn into_parts(self) -> (Arc<Source>, Call) {
        (self.source, self.call)
    }
}

/// Reads one call.
///
/// # Errors
/// [`Refused`] with the source and what was read, except for an unknown source.
pub async fn receive(
    request: hyper::Request<Incoming>,
    configuration: &Configuration,
    client_ip: IpAddr,
    received_at: u64,
    body_deadline: Duration,
) -> Result<Received, Refused> {
    let (head, body) = request.into_parts();
    let (id, path) = split_path(head.uri.path());
    let source = Arc::clone(
        configuration
            .sources
            .get(id)
            .ok_or(Refused::UnknownSource)?,
    );
    let announced = body.size_hint().lower();
    let mut call = describe(&head, path, client_ip, received_at, configuration.revision);
    call.body_size = announced;
    if !source.enabled {
        return Err(Refused::Disabled(source, call));
    }
    if !source.methods.contains(&head.method) {
        return Err(Refused::MethodNotAllowed(source, call));
    }
    if let Some(fault) = path::fault(&call.path) {
        return Err(Refused::PathInvalid(source, call, fault));
    }
    if announced > source.max_body_bytes as u64 {
        return Err(Refused::TooLarge(source, call));
    }
    let mut read = BytesMut::new();
    let outcome = tokio::time::timeout(
        body_deadline,
        collect(body, &mut read, source.max_body_bytes),
    )
    .await;
    call.body_size = read.len() as u64;
    call.body = read.freeze();
    match outcome {
        Ok(End::Whole) => Ok(Received { source, call }),
        Ok(End::TooLarge) => Err(Refused::TooLarge(source, cut(call))),
        Ok(End::Broken) => Err(Refused::Incomplete(source, cut(call), "the body broke off")),
        Err(_) => Err(Refused::Incomplete(
            source,
            cut(call),
            "the body took too long",
        )),
    }
}

enum End {
    Whole,
    TooLarge,
    Broken,
}

async fn collect(mut body: Incoming, into: &mut BytesMut, cap: usize) -> End {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return End::Broken };
        if let Some(data) = frame.data_ref() {
            let room = cap.saturating_sub(into.len());
            into.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return End::TooLarge;
            }
        }
    }
    End::Whole
}

fn describe(head: &Parts, path: &str, client_ip: IpAddr, received_at: u64, revision: u64) -> Call {
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        })
        .collect();
    Call {
        method: head.method.clone(),
        path: path.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
        body_size: 0,
        client_ip,
        received_at,
        config_revision: revision,
    }
}

fn cut(mut call: Call) -> Call {
    call.body.truncate(REFUSED_BODY_KEPT);
    call
}

/// `/src_x/a/b` is source `src_x` and path `/a/b`; without more, the path is `/`.
fn split_path(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    }
}
