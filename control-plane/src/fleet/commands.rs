//! Commands: questions and orders to agents over the streams they opened.
//!
//! Owns who can be asked and which answer belongs to which question. Refuses to
//! know what is asked. Invariants: every question has a deadline; an agent's
//! queue is bounded; who stops waiting takes the question back.

mod link;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CommandError, CommandStreamRequest, CommandStreamResponse};
use hookplane_proto::{capability, v1};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::Ending;
use super::outbound::{self, Outgoing};
use super::recorder::Recorder;
use super::registry::Registry;
use crate::domain::Agent;
pub(super) use link::Link;

/// Commands that wait for one agent.
const QUEUE: usize = 64;
/// How long a stream that has lasted long enough is kept when questions are under way.
const WHILE_BUSY: Duration = Duration::from_secs(1);

/// Who can be asked. Shared by streams and questions.
pub(super) struct Commands {
    pub(super) open: Arc<Registry<Link>>,
    recorder: Arc<Recorder>,
    /// How long a stream lasts, about.
    age: Duration,
    timed_out: AtomicU64,
}

/// Why an agent did not answer.
#[derive(Clone, Debug, Error)]
pub enum AskError {
    #[error("it is not connected")]
    Away,
    #[error("too many questions wait for it")]
    Busy,
    #[error("it did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("its connection broke before it answered")]
    Lost,
    /// It was not asked: it would leave out a part of the question.
    #[error("its release does not have `{0}`")]
    Unable(&'static str),
    #[error("it answered something else")]
    Mismatch,
    /// It answered with an error.
    #[error("{}", .0.message)]
    Refused(CommandError),
}

/// The capability without which an agent would answer another question.
pub(super) fn needs(command: &Command) -> Option<&'static str> {
    match command {
        Command::ListRequests(asked) if !asked.q.is_empty() => Some(capability::SEARCH),
        Command::ListEvents(v1::ListEventsRequest {
            handler_outcome, ..
        })
        | Command::CountEvents(v1::CountEventsRequest {
            handler_outcome, ..
        }) if *handler_outcome != 0 => Some(capability::HANDLER_OUTCOMES),
        Command::PreviewBulk(_) | Command::BulkStep(_) => Some(capability::BULK),
        Command::ListEvents(asked) if !asked.batch_operation_id.is_empty() => {
            Some(capability::BULK)
        }
        _ => None,
    }
}

/// What several agents said to one question.
pub struct Gathered {
    pub answers: Vec<(Agent, Answer)>,
    pub silent: Vec<(Agent, AskError)>,
}

impl Commands {
    pub(super) fn new(recorder: Arc<Recorder>, age: Duration) -> Self {
        Self {
            open: Registry::new(),
            recorder,
            age,
            timed_out: AtomicU64::new(0),
        }
    }

    pub(super) fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
    }

    /// Asks one agent.
    ///
    /// # Errors
    /// [`AskError`] says why there is no answer. After `Late` and `Lost` an order
    /// may have been carried out.
    pub(super) async fn ask(
        &self,
        agent_id: &str,
        team_id: &str,
        command: Command,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let link = self.open.get(agent_id).ok_or(AskError::Away)?;
        let waiting = link.ask(team_id, command, patience)?;
        match tokio::time::timeout(patience, waiting.answer()).await {
            Ok(Ok(Answer::Error(error))) => Err(AskError::Refused(error)),
            Ok(outcome) => outcome,
            Err(_) => {
                self.timed_out.fetch_add(1, Ordering::Relaxed);
                Err(AskError::Late(patience))
            }
        }
    }

    /// Serves one agent's stream until either side ends it.
    pub(super) fn serve(
        self: &Arc<Self>,
        agent: Agent,
        mut inbound: impl Stream<Item = Result<CommandStreamRequest, Status>> + Send + Unpin + 'static,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Outgoing<CommandStreamResponse> {
        let (out, outgoing) = outbound::channel(QUEUE);
        let commands = Arc::clone(self);
        tasks.spawn(async move {
            let id = agent.id.clone();
            let link = Link::new(agent, out.queue());
            let place = commands.open.register(&id, Arc::clone(&link));
            commands.recorder.commands_changed(&id);
            let spread = 0.9 + 0.2 * rand::random::<f64>();
            let aged = tokio::time::sleep(commands.age.mul_f64(spread));
            tokio::pin!(aged);
            let ending = loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break Ending::Shutdown,
                    () = place.replaced.cancelled() => break Ending::Replaced,
                    () = out.closed() => break Ending::Gone,
                    () = &mut aged => {
                        if link.is_idle() {
                            break Ending::Aged;
                        }
                        // Whoever waits for an answer gets it first.
                        aged.as_mut().reset(tokio::time::Instant::now() + WHILE_BUSY);
                    }
                    message = inbound.next() => match message {
                        Some(Ok(message)) => link.deliver(message),
                        Some(Err(_)) | None => break Ending::Gone,
                    },
                }
            };
            tracing::debug!(agent.id = %id, reason = %ending, "a command stream ended");
            drop(place);
            commands.recorder.commands_changed(&id);
            link.close();
            out.end(ending);
        });
        outgoing
    }
}
