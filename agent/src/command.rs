//! The command stream: the control plane asks for evidence, the agent answers from its store.
//!
//! Owns the conversation and its bounds: commands under way, live tails, a
//! deadline for each. Every question is scoped to the team that the command
//! names. Refuses to know how the store finds things.

mod answer;
mod bulk;
mod diagnose;
mod fault;
mod held;
mod query;
mod render;
mod replay;
mod search;
mod shadow;
mod tail;
#[cfg(test)]
mod testing;
mod trace;
mod when;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookplane_proto::agent::v1::command_service_client::CommandServiceClient;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CommandStreamRequest, CommandStreamResponse, SourceGroup};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::config::{CurrentConfiguration, Source};
use crate::deliver::Gates;
use crate::ids::StoreIds;
use crate::link::{Link, Pass, SessionEnd, Stream};
use crate::meter::Meter;
use crate::store::Store;
pub(crate) use bulk::Bulks;
pub(crate) use diagnose::Diagnoses;
use fault::Fault;

/// Commands at once, tails not counted.
const UNDER_WAY: usize = 64;
const TAILS: usize = 16;
/// Searches at once; others wait for their turn until their deadline.
const SEARCHES: usize = 2;
const OUTGOING: usize = 64;
/// A gRPC message may have 4 MiB, and a larger one would end the stream for all commands;
/// the rest is room for what the control plane puts around an answer.
const LARGEST_ANSWER: usize = 4 * 1_024 * 1_024 - 64 * 1_024;
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// Answers commands over all sessions of the stream.
pub(crate) struct CommandStream {
    link: Link,
    desk: Arc<Desk>,
    tasks: TaskTracker,
}

/// What answers are made from.
pub(crate) struct Desk {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) ids: StoreIds,
    pub(crate) agent_id: String,
    pub(crate) searches: Searches,
    pub(crate) config: CurrentConfiguration,
    pub(crate) meter: Arc<Meter>,
    pub(crate) bulks: Bulks,
    /// A source that is not in force, as the stages use it, or why this agent could not apply it.
    pub(crate) prepare: fn(&SourceGroup) -> Result<Source, String>,
    pub(crate) diagnoses: Arc<Diagnoses>,
    pub(crate) gates: Arc<Gates>,
    /// What goes on when nobody waits for it any more.
    pub(crate) tasks: TaskTracker,
}

/// Turns of those that search: more of them at once would only hold more in memory.
pub(crate) struct Searches(Semaphore);

impl Default for Searches {
    fn default() -> Self {
        Self(Semaphore::new(SEARCHES))
    }
}

/// One session's commands.
struct Session {
    desk: Arc<Desk>,
    out: Outgoing,
    commands: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    /// Ends with the session.
    over: CancellationToken,
    under_way: Arc<Mutex<HashMap<u64, CancellationToken>>>,
    tasks: TaskTracker,
}

type Outgoing = mpsc::Sender<CommandStreamRequest>;

impl Stream for CommandStream {
    fn name(&self) -> &'static str {
        "commands"
    }

    async fn session(&mut self, pass: &Pass) -> SessionEnd {
        let channel = match self.link.dial().await {
            Ok(channel) => channel,
            Err(why) => return SessionEnd::lost(false, why),
        };
        let (out, rest) = mpsc::channel(OUTGOING);
        let mut client = CommandServiceClient::new(channel);
        let call = client.stream(pass.request(ReceiverStream::new(rest)));
        let mut heard = match tokio::time::timeout(self.link.pace.call, call).await {
            Err(_) => return SessionEnd::lost(false, "no answer to the stream in time"),
            Ok(Err(status)) => return SessionEnd::status(false, &status),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        let over = CancellationToken::new();
        let session = Session {
            desk: Arc::clone(&self.desk),
            out,
            commands: Arc::new(Semaphore::new(UNDER_WAY)),
            tails: Arc::new(Semaphore::new(TAILS)),
            over: over.clone(),
            under_way: Arc::default(),
            tasks: self.tasks.clone(),
        };
        // Also when this future is dropped: no task outlives its session for long.
        let _over = over.drop_guard();
        loop {
            match heard.message().await {
                Err(status) => return SessionEnd::status(true, &status),
                Ok(None) => return SessionEnd::closed(),
                Ok(Some(command)) => {
                    if session.take(command).await.is_err() {
                        return SessionEnd::closed();
                    }
                }
            }
        }
    }
}

impl CommandStream {
    pub(crate) fn new(link: Link, desk: Desk, tasks: TaskTracker) -> Self {
        Self {
            link,
            desk: Arc::new(desk),
            tasks,
        }
    }
}

impl Session {
    /// Starts a command, or ends the one that is to be cancelled.
    async fn take(&self, wire: CommandStreamResponse) -> Result<(), ()> {
        let CommandStreamResponse {
            id,
            team_id,
            deadline_ms,
            command,
        } = wire;
        let command = match command {
            None => return self.answer(id, Err(Fault::unknown_command())).await,
            Some(Command::Cancel(_)) => {
                if let Some(token) = self.lock().remove(&id) {
                    token.cancel();
                }
                return Ok(());
            }
            Some(command) => command,
        };
        if team_id.is_empty() {
            let fault = Fault::invalid("the command names no team", "give team_id");
            return self.answer(id, Err(fault)).await;
        }
        let is_tail = matches!(command, Command::TailRequests(_));
        let places = if is_tail { &self.tails } else { &self.commands };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            return self.answer(id, Err(Fault::busy())).await;
        };
        let token = self.over.child_token();
        self.lock().insert(id, token.clone());
        match command {
            Command::TailRequests(wanted) => self.start_tail(id, team_id, wanted, token, place),
            command => {
                let deadline = deadline(deadline_ms);
                self.start(id, team_id, command, deadline, token, place);
            }
        }
        Ok(())
    }

    fn start(
        &self,
        id: u64,
        team_id: String,
        command: Command,
        deadline: Duration,
        token: CancellationToken,
        place: OwnedSemaphorePermit,
    ) {
        let (desk, out) = (Arc::clone(&self.desk), self.out.clone());
        let under_way = Arc::clone(&self.under_way);
        self.tasks.spawn(async move {
            let work = tokio::time::timeout(deadline, answer::answer(&desk, &team_id, command));
            let outcome = tokio::select! {
                biased;
                () = token.cancelled() => None,
                outcome = work => Some(outcome.unwrap_or_else(|_| Err(Fault::too_late()))),
            };
            forget(&under_way, id);
            drop(place);
            if let Some(outcome) = outcome {
                // Nobody waits for an answer whose stream is gone.
                send(&out, id, outcome).await.ok();
            }
        });
    }

    fn start_tail(
        &self,
        id: u64,
        team_id: String,
        wanted: hookplane_proto::v1::TailRequestsRequest,
        token: CancellationToken,
        place: OwnedSemaphorePermit,
    ) {
        let (desk, out) = (Arc::clone(&self.desk), self.out.clone());
        let under_way = Arc::clone(&self.under_way);
        // Subscribed here, so that nothing stored after the command was taken is missed.
        let tail = tail::Tail::new(&desk, team_id, &wanted);
        self.tasks.spawn(async move {
            let outcome = match tail {
                Err(fault) => Err(fault),
                Ok(mut tail) => loop {
                    let item = tokio::select! {
                        biased;
                        () = token.cancelled() => break Ok(()),
                        item = tail.next() => item,
                    };
                    let Some(item) = item else {
                        break Err(Fault::unavailable("the store is closing"));
                    };
                    let told = tokio::select! {
                        biased;
                        () = token.cancelled() => break Ok(()),
                        told = send(&out, id, Ok(Answer::TailRequests(item))) => told,
                    };
                    if told.is_err() {
                        break Ok(());
                    }
                },
            };
            forget(&under_way, id);
            drop(place);
            if let Err(fault) = outcome {
                send(&out, id, Err(fault)).await.ok();
            }
        });
    }

    async fn answer(&self, id: u64, outcome: Result<Answer, Fault>) -> Result<(), ()> {
        send(&self.out, id, outcome).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, CancellationToken>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(under_way: &Mutex<HashMap<u64, CancellationToken>>, id: u64) {
    under_way
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&id);
}

/// Every answer goes out here, so that none outgrows a message.
async fn send(out: &Outgoing, id: u64, outcome: Result<Answer, Fault>) -> Result<(), ()> {
    let message = |result| CommandStreamRequest {
        id,
        result: Some(result),
    };
    let mut message = message(outcome.unwrap_or_else(|fault| Answer::Error(fault.into())));
    let size = message.encoded_len();
    if size > LARGEST_ANSWER {
        tracing::warn!(bytes = size, "an answer is too large to be sent");
        message.result = Some(Answer::Error(Fault::too_large(size).into()));
    }
    out.send(message).await.map_err(drop)
}

fn deadline(millis: u32) -> Duration {
    match millis {
        0 => DEFAULT_DEADLINE,
        millis => Duration::from_millis(u64::from(millis)).min(LONGEST_DEADLINE),
    }
}
