//! `hookplane.agent.v1.CommandService`: hands the stream to the fleet.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::command_service_server::CommandService;
use hookplane_proto::agent::v1::{CommandStreamRequest, CommandStreamResponse};
use tonic::{Request, Response, Status, Streaming};

use super::agent;
use crate::fleet::Fleet;

pub struct CommandStreams {
    fleet: Fleet,
}

impl CommandStreams {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

#[tonic::async_trait]
impl CommandService for CommandStreams {
    type StreamStream = BoxStream<'static, Result<CommandStreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<CommandStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let agent = agent(&request)?;
        let outgoing = self.fleet.serve_commands(agent, request.into_inner());
        let outgoing = outgoing.map(|item| item.map_err(Status::from));
        Ok(Response::new(outgoing.boxed()))
    }
}
