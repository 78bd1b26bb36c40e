//! One agent's command stream: its queue, and the questions that wait for an answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CancelCommand, CommandStreamRequest, CommandStreamResponse};
use hookplane_proto::v1::{TailGap, TailRequestsResponse, tail_requests_response};
use tokio::sync::{mpsc, oneshot};

use super::AskError;
use crate::domain::Agent;

/// Items of one tail that wait for its reader.
const TAIL: usize = 64;

/// An open command stream.
pub(in crate::fleet) struct Link {
    pub(in crate::fleet) agent: Agent,
    queue: mpsc::Sender<CommandStreamResponse>,
    /// `None` once the stream is closed.
    waiting: Mutex<Option<HashMap<u64, Waiter>>>,
    newest: AtomicU64,
}

enum Waiter {
    /// For one answer.
    One(oneshot::Sender<Answer>),
    /// For many, until taken back. Counts what did not fit.
    Many(mpsc::Sender<Answer>, Arc<AtomicU64>),
}

/// A question under way. Dropped, it is taken back.
pub(in crate::fleet) struct Waiting<T> {
    question: Question,
    answers: T,
}

struct Question {
    link: Arc<Link>,
    id: u64,
}

/// The answers of a tail.
pub(in crate::fleet) struct Items {
    items: mpsc::Receiver<Answer>,
    skipped: Arc<AtomicU64>,
    /// Taken off the queue while the gap before it is told.
    held_back: Option<Answer>,
}

impl Link {
    pub(super) fn new(agent: Agent, queue: mpsc::Sender<CommandStreamResponse>) -> Arc<Self> {
        Arc::new(Self {
            agent,
            queue,
            waiting: Mutex::new(Some(HashMap::new())),
            newest: AtomicU64::new(0),
        })
    }

    /// Sends a question that has one answer.
    pub(super) fn ask(
        self: &Arc<Self>,
        team_id: &str,
        command: Command,
        patience: Duration,
    ) -> Result<Waiting<oneshot::Receiver<Answer>>, AskError> {
        let (sender, answers) = oneshot::channel();
        let deadline = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let question = self.send(team_id, command, deadline, Waiter::One(sender))?;
        Ok(Waiting { question, answers })
    }

    /// Starts a tail.
    pub(in crate::fleet) fn tail(
        self: &Arc<Self>,
        team_id: &str,
        command: Command,
    ) -> Result<Waiting<Items>, AskError> {
        let (sender, items) = mpsc::channel(TAIL);
        let skipped = Arc::new(AtomicU64::new(0));
        let waiter = Waiter::Many(sender, Arc::clone(&skipped));
        let question = self.send(team_id, command, 0, waiter)?;
        let answers = Items {
            items,
            skipped,
            held_back: None,
        };
        Ok(Waiting { question, answers })
    }

    fn send(
        self: &Arc<Self>,
        team_id: &str,
        command: Command,
        deadline_ms: u32,
        waiter: Waiter,
    ) -> Result<Question, AskError> {
        let id = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let mut waiting = self.waiting();
        let open = waiting.as_mut().ok_or(AskError::Away)?;
        let message = CommandStreamResponse {
            id,
            team_id: team_id.to_owned(),
            deadline_ms,
            command: Some(command),
        };
        match self.queue.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(AskError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(AskError::Away),
        }
        open.insert(id, waiter);
        let link = Arc::clone(self);
        Ok(Question { link, id })
    }

    /// Brings an answer to whoever waits for it. Never waits itself: one slow
    /// reader must not hold up the others.
    pub(super) fn deliver(&self, message: CommandStreamRequest) {
        let Some(answer) = message.result else { return };
        let mut waiting = self.waiting();
        let Some(open) = waiting.as_mut() else { return };
        match open.remove(&message.id) {
            None => tracing::trace!(command = message.id, "an answer that nobody waits for"),
            // Refused by who stopped waiting just now.
            Some(Waiter::One(sender)) => drop(sender.send(answer)),
            Some(Waiter::Many(sender, skipped)) => {
                let last = matches!(answer, Answer::Error(_));
                if sender.try_send(answer).is_err() {
                    skipped.fetch_add(1, Ordering::Relaxed);
                }
                if !last {
                    open.insert(message.id, Waiter::Many(sender, skipped));
                }
            }
        }
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().as_ref().is_none_or(HashMap::is_empty)
    }

    /// Lets everyone who waits know that no answer comes.
    pub(super) fn close(&self) {
        drop(self.waiting().take());
    }

    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, Waiter>>> {
        // Nothing panics under this lock, and the map stays whole if it did.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<oneshot::Receiver<Answer>> {
    pub(super) async fn answer(self) -> Result<Answer, AskError> {
        let answer = self.answers.await.map_err(|_| AskError::Lost);
        drop(self.question);
        answer
    }
}

impl Waiting<Items> {
    /// The next item, or what was left out before it; `None` when the tail ended.
    pub(in crate::fleet) async fn next(&mut self) -> Option<Answer> {
        let answers = &mut self.answers;
        let next = match answers.held_back.take() {
            Some(next) => next,
            None => answers.items.recv().await?,
        };
        let skipped = answers.skipped.swap(0, Ordering::Relaxed);
        if skipped == 0 {
            return Some(next);
        }
        answers.held_back = Some(next);
        let item = tail_requests_response::Item::Gap(TailGap { skipped });
        Some(Answer::TailRequests(TailRequestsResponse {
            item: Some(item),
        }))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let open = self
            .link
            .waiting()
            .as_mut()
            .map(|open| open.remove(&self.id));
        // Not answered yet: the agent need not go on. A full queue drops this, and the deadline ends it.
        if let Some(Some(_)) = open {
            let cancel = CommandStreamResponse {
                id: self.id,
                team_id: String::new(),
                deadline_ms: 0,
                command: Some(Command::Cancel(CancelCommand {})),
            };
            if self.link.queue.try_send(cancel).is_err() {
                tracing::debug!(agent.id = %self.link.agent.id, "a command could not be taken back");
            }
        }
    }
}
