//! `tail`: requests and attempts as they happen, one line each, across reconnects.

use std::time::Duration;

use hookplane_client::v1::tail_requests_response::Item;
use hookplane_client::v1::{
    AttemptEnded, AttemptStatus, RequestStatus, RequestStored, TailRequestsRequest,
    TailRequestsResponse,
};
use hookplane_client::{Client, Code};
use rand::Rng as _;
use tokio_stream::StreamExt as _;

use super::names::Names;
use super::words::{RequestStatusArg, answer, attempt_status, event_status, request_status};
use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Tone, bytes, clock_time, millis};
use crate::resources::{Sources, resolve};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Flags of `tail`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Only of this source, by name or id
    #[arg(long)]
    source: Option<String>,
    /// Only requests of this status
    #[arg(long, value_enum)]
    status: Option<RequestStatusArg>,
    /// End after so many lines
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

/// Runs until the limit or Ctrl-C.
pub(crate) async fn tail(
    args: TailArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let source_id = match &args.source {
        Some(text) => resolve::<Sources>(client, text).await?.id,
        None => String::new(),
    };
    let request = TailRequestsRequest {
        source_id,
        status: args
            .status
            .map(RequestStatus::from)
            .unwrap_or_default()
            .into(),
        ..TailRequestsRequest::default()
    };
    let mut following = Following {
        names: Names::fetch(client).await,
        left: args.limit.unwrap_or(u64::MAX),
        output,
    };
    tokio::select! {
        ended = following.across_reconnects(client, request) => ended,
        stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| {
            Failure::new("SIGNAL", format!("cannot wait for Ctrl-C: {error}"))
        }),
    }
}

struct Following<'a> {
    names: Names,
    /// Lines still wanted.
    left: u64,
    output: &'a mut Output,
}

impl Following<'_> {
    async fn across_reconnects(
        &mut self,
        client: &Client,
        request: TailRequestsRequest,
    ) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        while self.left > 0 {
            let before = self.left;
            let status = match client.requests().tail_requests(request.clone()).await {
                Ok(answer) => {
                    self.output.note("tail: connected, waiting for requests");
                    self.follow(answer.into_inner()).await?
                }
                Err(status) => Some(status),
            };
            if self.left == 0 {
                break;
            }
            if let Some(status) = status.filter(|status| is_final(status.code())) {
                return Err(status.into());
            }
            if self.left < before {
                pause = FIRST_PAUSE;
            }
            let share = rand::rng().random_range(0.5..1.0);
            let wait = pause.mul_f64(share);
            self.output.note(&format!(
                "tail: connection lost, next try in {:.1} s; what happens meanwhile is in `hookplane requests list`",
                wait.as_secs_f64()
            ));
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// One stream, to its end; its error, when it ended with one.
    async fn follow(
        &mut self,
        mut stream: tonic::Streaming<TailRequestsResponse>,
    ) -> Result<Option<tonic::Status>, Failure> {
        while self.left > 0 {
            match stream.next().await {
                Some(Ok(item)) => self.show(&item)?,
                Some(Err(status)) => return Ok(Some(status)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn show(&mut self, response: &TailRequestsResponse) -> Result<(), Failure> {
        let line = match &response.item {
            Some(Item::Stored(stored)) => self.stored(stored),
            Some(Item::Attempt(ended)) => self.ended(ended),
            Some(Item::Gap(gap)) => {
                self.output.warning(&format!(
                    "{} lines were left out: too slow a reader",
                    gap.skipped
                ));
                return Ok(());
            }
            None => return Ok(()),
        };
        self.left -= 1;
        if self.output.is_json() {
            self.output.json_line(&to_json(response))
        } else {
            self.output.untrusted(&line)
        }
    }

    fn stored(&self, stored: &RequestStored) -> String {
        let request = stored.request.clone().unwrap_or_default();
        let tone = match request.status() {
            RequestStatus::Rejected => Tone::Bad,
            _ => Tone::Good,
        };
        let branches: Vec<String> = stored
            .events
            .iter()
            .map(|event| {
                let name = self.names.of(&event.connection_id);
                format!("{name}:{}", event_status(event.status()).to_lowercase())
            })
            .collect();
        format!(
            "{}  request  {}  {}  {}  {}  {}  {}",
            clock_time(request.ingested_at.as_ref()),
            request.id,
            self.names.of(&request.source_id),
            if request.event_type.is_empty() {
                "-"
            } else {
                &request.event_type
            },
            self.output.paint(tone, &request_status(&request)),
            bytes(request.body_size),
            branches.join(" "),
        )
    }

    fn ended(&self, ended: &AttemptEnded) -> String {
        let attempt = ended.attempt.clone().unwrap_or_default();
        let tone = match attempt.status() {
            AttemptStatus::Successful => Tone::Good,
            _ => Tone::Bad,
        };
        format!(
            "{}  attempt  {}  {}  #{}  {} {}  {}  {}",
            clock_time(
                attempt
                    .responded_at
                    .as_ref()
                    .or(attempt.started_at.as_ref())
            ),
            attempt.request_id,
            self.names.of(&attempt.destination_id),
            attempt.attempt_number,
            self.output.paint(tone, attempt_status(attempt.status())),
            answer(attempt.response_status, &attempt.error_code),
            millis(attempt.delivery_latency),
            attempt.decision,
        )
    }
}

/// Codes that another try will not change.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::NotFound
            | Code::Unimplemented
    )
}
