//! `hookplane.replica.v1.RelayService`: questions that another replica passes on.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::CommandStreamRequest;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::replica::v1::relay_service_server::RelayService;
use hookplane_proto::replica::v1::{
    AskFault, AskRequest, AskResponse, TailRequest, TailResponse, ask_response::Outcome,
};
use subtle::ConstantTimeEq as _;
use tonic::{Code, Request, Response, Status};

use super::status::refused;
use crate::fleet::{AskError, Fleet};

pub struct RelayApi {
    fleet: Fleet,
}

impl RelayApi {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    /// Only who reads the sealed token in the database knows it.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let shown = request.metadata().get("authorization");
        let shown = shown.and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
        let own = self.fleet.relay_token().as_bytes();
        if shown.is_some_and(|shown| shown.as_bytes().ct_eq(own).into()) {
            return Ok(());
        }
        Err(refused(
            Code::Unauthenticated,
            "UNAUTHENTICATED",
            "this is for other replicas of the control plane",
            "call the API instead",
        ))
    }
}

#[tonic::async_trait]
impl RelayService for RelayApi {
    type TailStream = BoxStream<'static, Result<TailResponse, Status>>;

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        self.admit(&request)?;
        let AskRequest { agent_id, command } = request.into_inner();
        let asked = command.unwrap_or_default();
        let command = asked
            .command
            .ok_or_else(|| Status::invalid_argument("a question asks something"))?;
        let patience = Duration::from_millis(asked.deadline_ms.into());
        let answer = self
            .fleet
            .ask_here(&agent_id, &asked.team_id, command, patience)
            .await;
        let outcome = match answer {
            Ok(answer) => said(answer),
            Err(AskError::Refused(error)) => said(Answer::Error(error)),
            Err(AskError::Away) => Outcome::Fault(AskFault::Away.into()),
            Err(AskError::Busy) => Outcome::Fault(AskFault::Busy.into()),
            Err(AskError::Late(_)) => Outcome::Fault(AskFault::Late.into()),
            Err(AskError::Lost | AskError::Mismatch | AskError::Unable(_)) => {
                Outcome::Fault(AskFault::Lost.into())
            }
        };
        let outcome = Some(outcome);
        Ok(Response::new(AskResponse { outcome }))
    }

    async fn tail(
        &self,
        request: Request<TailRequest>,
    ) -> Result<Response<Self::TailStream>, Status> {
        self.admit(&request)?;
        let TailRequest { team_id, tail } = request.into_inner();
        let items = self.fleet.tail_here(team_id, tail.unwrap_or_default());
        let items = items.map(|item| match item {
            Ok(item) => Ok(TailResponse { item: Some(item) }),
            Err(ending) => Err(ending.into()),
        });
        Ok(Response::new(items.boxed()))
    }
}

fn said(answer: Answer) -> Outcome {
    Outcome::Answer(CommandStreamRequest {
        id: 0,
        result: Some(answer),
    })
}
