//! `hookplane.agent.v1.ConfigurationService`: hands the stream to the fleet.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::configuration_service_server::ConfigurationService;
use hookplane_proto::agent::v1::{ConfigurationStreamRequest, ConfigurationStreamResponse};
use tonic::{Request, Response, Status, Streaming};

use super::agent;
use crate::fleet::Fleet;

pub struct ConfigurationStreams {
    fleet: Fleet,
}

impl ConfigurationStreams {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

#[tonic::async_trait]
impl ConfigurationService for ConfigurationStreams {
    type StreamStream = BoxStream<'static, Result<ConfigurationStreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<ConfigurationStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let agent = agent(&request)?;
        let outgoing = self.fleet.serve_configuration(agent, request.into_inner());
        let outgoing = outgoing.map(|item| item.map_err(Status::from));
        Ok(Response::new(outgoing.boxed()))
    }
}
