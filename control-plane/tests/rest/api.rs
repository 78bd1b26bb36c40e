//! The router under test, and a caller.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hookplane_control_plane::rest::{Limits, router};
use hookplane_proto::descriptor_pool;
use hookplane_proto::v1::connection_service_server::ConnectionServiceServer;
use hookplane_proto::v1::request_service_server::RequestServiceServer;
use hookplane_proto::v1::source_service_server::SourceServiceServer;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tonic::service::Routes;
use tower::ServiceExt as _;

use crate::services::{Echo, GOOD_KEY, Judge, judge};

/// REST in front of [`Echo`].
pub(crate) struct Api {
    pub(crate) echo: Echo,
    pub(crate) router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self::with(Echo::default(), Limits::default())
    }

    pub(crate) fn with(echo: Echo, limits: Limits) -> Self {
        let grpc = Routes::new(SourceServiceServer::new(echo.clone()))
            .add_service(ConnectionServiceServer::new(echo.clone()))
            .add_service(RequestServiceServer::new(echo.clone()))
            .into_axum_router()
            .layer(axum::middleware::from_fn(judge));
        let router = router(grpc, descriptor_pool(), Judge, limits).expect("our own rules");
        Self { echo, router }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, "").await
    }

    /// With the good key and this body.
    pub(crate) async fn call(&self, verb: &str, path: &str, body: impl Into<Body>) -> Reply {
        let request = request(verb, path).header("authorization", GOOD_KEY);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Reply {
    /// The body, of an answer with this status.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.text).expect("JSON")
    }
}

pub(crate) fn request(verb: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(verb)
        .uri(path)
        .header("content-type", "application/json")
}

/// Bounds that a test can reach.
pub(crate) fn short_limits() -> Limits {
    Limits {
        body: 4 * 1024,
        bodies: 6 * 1024,
        call: Duration::from_millis(200),
        keep_alive: Duration::from_millis(10),
    }
}
