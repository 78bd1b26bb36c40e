//! Stage one: from the wire to a request within limits, raw bytes intact.
//!
//! Checks in this order: the source exists and is enabled, the headers are
//! few and short enough, the method is allowed, the path can only go down, the
//! body fits. Refuses to know signatures, rules and the store.
//! Header values and repeats are exact and names keep their order; hyper gives
//! names in lower case.

mod body;
pub mod budget;
pub mod client;
mod path;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hookplane_signature::Verifier;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use hyper::body::{Body as _, Incoming};

use crate::config::{Configuration, Source};
use crate::store::Headers;

use body::End;

pub use body::Pace;
pub use budget::{Budget, BudgetLimits, NoRoom, Place, Share};
pub use client::Client;

/// Bytes of a refused body that are kept as evidence.
pub const REFUSED_BODY_KEPT: usize = 64 * 1_024;

/// Header pairs, and the bytes of a request's head.
pub const MAX_HEADERS: usize = 128;
pub const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// What stands in place of a credential that a source demands of its senders: neither
/// kept nor passed on.
pub const HIDDEN: &[u8] = b"[redacted]";

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

impl Call {
    /// Takes out what the source's senders authenticate with. Whoever may see a request, and
    /// whoever receives it, must not be able to send one.
    pub(crate) fn hide_credentials(&mut self, verifier: &Verifier) {
        for secret in verifier.credential_headers() {
            for (name, value) in &mut self.headers {
                if name.eq_ignore_ascii_case(secret) {
                    *value = Bytes::from_static(HIDDEN);
                }
            }
        }
    }
}

/// Why a call goes no further.
#[derive(Debug)]
pub enum Refused {
    /// No such source: there is nobody to show it to.
    UnknownSource,
    Disabled(Arc<Source>, Call),
    /// With why, in words.
    HeadersTooLarge(Arc<Source>, Call, String),
    MethodNotAllowed(Arc<Source>, Call),
    /// With why, in words.
    PathInvalid(Arc<Source>, Call, &'static str),
    TooLarge(Arc<Source>, Call),
    /// The body did not arrive in time, or broke off.
    Incomplete(Arc<Source>, Call, &'static str),
    /// Too much is under way; nothing is kept of it.
    NoRoom(NoRoom),
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

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum Unread {
    TooLarge,
    /// With why, in words.
    Incomplete(&'static str),
    NoRoom(NoRoom),
}

/// Reads one call.
///
/// # Errors
/// [`Refused`] with the source and what was read, except for an unknown source and when
/// there is no room.
pub async fn receive(
    request: hyper::Request<Incoming>,
    configuration: &Configuration,
    client_ip: IpAddr,
    received_at: u64,
    pace: Pace,
    place: &mut Place,
) -> Result<Received, Refused> {
    let (head, body) = request.into_parts();
    let (id, path) = split_path(head.uri.path());
    let source = Arc::clone(
        configuration
            .sources
            .get(id)
            .ok_or(Refused::UnknownSource)?,
    );
    place.for_source(&source.id).map_err(Refused::NoRoom)?;
    let announced = body.size_hint().lower();
    let mut call = describe(&head, path, client_ip, received_at, configuration.revision);
    call.body_size = announced;
    let Received { source, mut call } = admit(source, call).map_err(|why| *why)?;
    let cap = source.max_body_bytes;
    let (bytes, end) = body::read(body, cap, pace, place).await;
    call.body_size = bytes.len() as u64;
    call.body = bytes;
    match end {
        End::Whole => Ok(Received { source, call }),
        End::TooLarge => Err(Refused::TooLarge(source, cut(call))),
        End::Incomplete(why) => Err(Refused::Incomplete(source, cut(call), why)),
        End::NoRoom(full) => Err(Refused::NoRoom(full)),
    }
}

/// Reads a body that is no source's: of a handler, say.
///
/// # Errors
/// [`Unread`] when it is too large, does not arrive in time, or there is no room.
pub(crate) async fn read_body(
    body: Incoming,
    cap: usize,
    pace: Pace,
    place: &mut Place,
) -> Result<Bytes, Unread> {
    match body::read(body, cap, pace, place).await {
        (bytes, End::Whole) => Ok(bytes),
        (_, End::TooLarge) => Err(Unread::TooLarge),
        (_, End::Incomplete(why)) => Err(Unread::Incomplete(why)),
        (_, End::NoRoom(full)) => Err(Unread::NoRoom(full)),
    }
}

/// A call that was kept, as if it came now.
///
/// # Errors
/// [`Refused`] as for any other; whatever is under way, there is room.
pub fn again(source: Arc<Source>, call: Call) -> Result<Received, Box<Refused>> {
    admit(source, call)
}

/// Whether the source takes such a call, by what is known before its body.
fn admit(source: Arc<Source>, mut call: Call) -> Result<Received, Box<Refused>> {
    if !source.enabled {
        return Err(Box::new(Refused::Disabled(source, call)));
    }
    if let Some(fault) = too_many_headers(&call.headers) {
        call.headers.truncate(MAX_HEADERS);
        return Err(Box::new(Refused::HeadersTooLarge(source, call, fault)));
    }
    if !source.methods.contains(&call.method) {
        return Err(Box::new(Refused::MethodNotAllowed(source, call)));
    }
    if let Some(fault) = path::fault(&call.path) {
        return Err(Box::new(Refused::PathInvalid(source, call, fault)));
    }
    if call.body_size > source.max_body_bytes as u64 {
        return Err(Box::new(Refused::TooLarge(source, call)));
    }
    Ok(Received { source, call })
}

/// Both protocols alike: HTTP/1 stops at the same bounds while it reads, HTTP/2 has no
/// bound on the number.
fn too_many_headers(headers: &Headers) -> Option<String> {
    if headers.len() > MAX_HEADERS {
        return Some(format!(
            "{} headers; {MAX_HEADERS} are allowed",
            headers.len()
        ));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    (bytes > MAX_HEAD_BYTES)
        .then(|| format!("{bytes} bytes of headers; {MAX_HEAD_BYTES} are allowed"))
}

fn describe(head: &Parts, path: &str, client_ip: IpAddr, received_at: u64, revision: u64) -> Call {
    let headers = copied(&head.headers);
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

/// Names and values as they came. The values share one piece of memory: a request has a dozen
/// of them and keeps or drops them together.
fn copied(headers: &HeaderMap) -> Headers {
    let size = headers.values().map(HeaderValue::len).sum();
    let mut values = Vec::with_capacity(size);
    for value in headers.values() {
        values.extend_from_slice(value.as_bytes());
    }
    let mut rest = Bytes::from(values);
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), rest.split_to(value.len())))
        .collect()
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
