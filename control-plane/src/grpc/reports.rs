//! `hookplane.agent.v1.ReportService`: hands the stream to the fleet.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::report_service_server::ReportService;
use hookplane_proto::agent::v1::{ReportStreamRequest, ReportStreamResponse};
use tonic::{Request, Response, Status, Streaming};

use super::agent;
use crate::fleet::Fleet;

pub struct ReportStreams {
    fleet: Fleet,
}

impl ReportStreams {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }
}

#[tonic::async_trait]
impl ReportService for ReportStreams {
    type StreamStream = BoxStream<'static, Result<ReportStreamResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<ReportStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let agent = agent(&request)?;
        let outgoing = self.fleet.serve_reports(agent, request.into_inner());
        let outgoing = outgoing.map(|item| item.map_err(Status::from));
        Ok(Response::new(outgoing.boxed()))
    }
}
