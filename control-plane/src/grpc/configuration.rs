//! `hookplane.agent.v1.ConfigurationService`: hands the stream to the fleet.
//!
//! Served by hand rather than by the generated server, because its answers are
//! encoded already: large parts of them are the same for a thousand agents.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::ConfigurationStreamRequest;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::agent;
use crate::fleet::{Fleet, Frame};

const STREAM: &str = "/hookplane.agent.v1.ConfigurationService/Stream";

/// A handle; clones share the fleet.
#[derive(Clone)]
pub struct ConfigurationStreams {
    fleet: Fleet,
}

impl ConfigurationStreams {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

impl NamedService for ConfigurationStreams {
    const NAME: &'static str = "hookplane.agent.v1.ConfigurationService";
}

impl<B> Service<http::Request<B>> for ConfigurationStreams
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            if request.uri().path() != STREAM {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.streaming(method, request).await)
        })
    }
}

impl StreamingService<ConfigurationStreamRequest> for ConfigurationStreams {
    type Response = Frame;
    type ResponseStream = BoxStream<'static, Result<Frame, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ConfigurationStreamRequest>>) -> Self::Future {
        let fleet = self.fleet.clone();
        Box::pin(async move {
            let agent = agent(&request)?;
            let outgoing = fleet.serve_configuration(agent, request.into_inner());
            let outgoing = outgoing.map(|item| item.map_err(Status::from));
            Ok(Response::new(outgoing.boxed()))
        })
    }
}
