//! The call into the gRPC service, in process.
//!
//! Owns which headers of the HTTP request become metadata and back. The
//! request's extensions (peer, identity) go along, so that the layers in front
//! of the service judge a REST call as they judge any other.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, Request, StatusCode, Uri, Version, request};
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::frames::Frames;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// About this connection, this body or this protocol, not about the call.
const NOT_METADATA: [&str; 14] = [
    "accept",
    "connection",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
];
const NOT_METADATA_PREFIXES: [&str; 5] = ["accept-", "content-", "grpc-", "if-", "sec-"];

/// An answer that has begun and has not failed yet.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Metadata that may be shown to the caller.
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Frames,
}

/// The path of a method.
pub(crate) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Calls the method at a path with one frame.
pub(crate) async fn call(
    grpc: &Router,
    path: &str,
    parts: &request::Parts,
    frame: Bytes,
) -> Result<Answer, Status> {
    let request = request(path, parts, frame)?;
    let answer: Result<_, Infallible> = grpc.clone().oneshot(request).await;
    let (head, body) = match answer {
        Ok(response) => response.into_parts(),
        Err(never) => match never {},
    };
    let headers = metadata(&head.headers);
    let frames = match Status::from_header_map(&head.headers) {
        // A status in the head: there is nothing behind it.
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => Frames::none(),
        None if head.status != StatusCode::OK => return Err(without_status(head.status)),
        None => Frames::new(body),
    };
    Ok(Answer { headers, frames })
}

fn request(path: &str, parts: &request::Parts, frame: Bytes) -> Result<Request<Body>, Status> {
    let uri = Uri::try_from(path).map_err(|_| Status::internal("a method without a path"))?;
    let mut request = Request::new(Body::from(frame));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.extensions_mut() = parts.extensions.clone();
    let mut headers = metadata(&parts.headers);
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(TE, TRAILERS);
    *request.headers_mut() = headers;
    Ok(request)
}

fn metadata(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| is_metadata(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn is_metadata(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Binary metadata has a form of its own, which a caller could get wrong.
    !name.ends_with("-bin")
        && !NOT_METADATA.contains(&name)
        && !NOT_METADATA_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// A layer answered as HTTP servers do.
fn without_status(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        _ => Code::Unknown,
    };
    Status::new(code, status.canonical_reason().unwrap_or_default())
}
