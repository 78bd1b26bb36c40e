//! What streams showed, gathered and written together.
//!
//! A session never waits for the database: it notes, newest wins, and one task
//! writes for all. Bounded by the number of agents. What cannot be written is
//! written later; an agent says at its next hello what it holds anyway.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::AgentStore;
use crate::store::agents::Observed;
use crate::store::observed::{Observation, Presences};

/// What matters to somebody who waits is written after this long.
const GATHER: Duration = Duration::from_millis(20);
/// What is only a sign of life is.
const LAZY: Duration = Duration::from_secs(1);

/// Shared by all streams.
pub(super) struct Recorder {
    store: AgentStore,
    replica: String,
    pending: Mutex<Pending>,
    urgent: Notify,
}

#[derive(Default)]
struct Pending {
    notes: HashMap<String, Note>,
    /// Agents whose command stream came or went.
    commands: HashSet<String>,
    streams: HashSet<String>,
}

struct Note {
    observed: Observed,
    claims: bool,
    replaced: CancellationToken,
}

/// Whether a note can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Soon,
    Lazy,
}

/// Says which streams are open here.
pub(super) trait OpenStreams: Send + Sync {
    fn has_configuration(&self, agent_id: &str) -> bool;
    fn has_commands(&self, agent_id: &str) -> bool;
}

impl Recorder {
    pub(super) fn new(store: AgentStore, replica: String) -> Arc<Self> {
        Arc::new(Self {
            store,
            replica,
            pending: Mutex::default(),
            urgent: Notify::new(),
        })
    }

    /// Notes what a stream showed. `claims` for a new one; `replaced` is cancelled
    /// when it turns out that another replica has the agent.
    pub(super) fn note(
        &self,
        agent_id: &str,
        observed: &Observed,
        claims: bool,
        replaced: &CancellationToken,
        urgency: Urgency,
    ) {
        let mut pending = self.pending();
        let before = pending.notes.get(agent_id).is_some_and(|note| note.claims);
        let note = Note {
            observed: observed.clone(),
            claims: claims || before,
            replaced: replaced.clone(),
        };
        pending.notes.insert(agent_id.to_owned(), note);
        drop(pending);
        if urgency == Urgency::Soon {
            self.urgent.notify_one();
        }
    }

    /// Notes that a command stream came or went.
    pub(super) fn commands_changed(&self, agent_id: &str) {
        self.pending().commands.insert(agent_id.to_owned());
        self.urgent.notify_one();
    }

    /// Notes that a configuration stream went.
    pub(super) fn stream_ended(&self, agent_id: &str) {
        self.pending().streams.insert(agent_id.to_owned());
        self.urgent.notify_one();
    }

    /// Writes until `shutdown`, and once more then.
    pub(super) async fn run(&self, open: &dyn OpenStreams, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.urgent.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(LAZY) => {}
            }
            self.write(open).await;
        }
        self.write(open).await;
    }

    async fn write(&self, open: &dyn OpenStreams) {
        let taken = std::mem::take(&mut *self.pending());
        self.write_notes(taken.notes).await;
        let (commands_here, commands_gone): (Vec<_>, Vec<_>) = taken
            .commands
            .into_iter()
            .partition(|id| open.has_commands(id));
        let gone = |id: &String| !open.has_configuration(id);
        let presences = Presences {
            commands_here,
            commands_gone,
            streams_gone: taken.streams.into_iter().filter(gone).collect(),
        };
        let some = !(presences.commands_here.is_empty()
            && presences.commands_gone.is_empty()
            && presences.streams_gone.is_empty());
        if some && let Err(error) = self.store.locate(&self.replica, &presences).await {
            tracing::warn!(error = %error, "where agents are connected was not written");
            let mut pending = self.pending();
            let (here, gone) = (presences.commands_here, presences.commands_gone);
            pending.commands.extend(here.into_iter().chain(gone));
            pending.streams.extend(presences.streams_gone);
        }
    }

    async fn write_notes(&self, notes: HashMap<String, Note>) {
        if notes.is_empty() {
            return;
        }
        let all: Vec<Observation> = notes
            .iter()
            .map(|(id, note)| Observation {
                agent_id: id.clone(),
                observed: note.observed.clone(),
                claims: note.claims,
            })
            .collect();
        match self.store.observe(&self.replica, &all).await {
            Ok(lost) => {
                for note in lost.iter().filter_map(|id| notes.get(id)) {
                    note.replaced.cancel();
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, agents = notes.len(), "what agents hold was not written");
                let mut pending = self.pending();
                for (id, note) in notes {
                    let claims = note.claims;
                    // What was noted meanwhile is newer.
                    pending.notes.entry(id).or_insert(note).claims |= claims;
                }
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics under this lock, and what it guards stays whole if it did.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
