//! Where attempts run: on one runtime or on several in turn, with a pool of connections
//! of its own on each.
//!
//! Refuses to know what an attempt does. Invariant: an attempt and the connections it
//! uses live on one runtime.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::send::Sender;
use crate::config::Configuration;

/// Who makes attempts, and where.
pub struct Crew {
    /// Makes them where the deliverer runs, when there is nobody elsewhere.
    here: Sender,
    elsewhere: Vec<(Handle, Sender)>,
    turn: AtomicUsize,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
pub(super) struct Turn(usize);

impl Crew {
    /// On these runtimes in turn, each with a sender of its own.
    #[must_use]
    pub fn elsewhere(mut self, places: Vec<(Handle, Sender)>) -> Self {
        self.elsewhere = places;
        self
    }

    pub(super) fn next(&self) -> Turn {
        let places = self.elsewhere.len().max(1);
        Turn(self.turn.fetch_add(1, Ordering::Relaxed) % places)
    }

    pub(super) fn sender(&self, turn: Turn) -> &Sender {
        let place = self.elsewhere.get(turn.0);
        place.map_or(&self.here, |(_, sender)| sender)
    }

    /// Starts an attempt with the sender of that turn.
    pub(super) fn spawn<F>(&self, turn: Turn, attempt: F, tasks: &TaskTracker)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match self.elsewhere.get(turn.0) {
            Some((runtime, _)) => drop(tasks.spawn_on(attempt, runtime)),
            None => drop(tasks.spawn(attempt)),
        }
    }

    pub(super) fn forget_missing(&self, configuration: &Configuration) {
        self.here.forget_missing(configuration);
        for (_, sender) in &self.elsewhere {
            sender.forget_missing(configuration);
        }
    }
}

impl From<Sender> for Crew {
    fn from(here: Sender) -> Self {
        Self {
            here,
            elsewhere: Vec::new(),
            turn: AtomicUsize::new(0),
        }
    }
}
