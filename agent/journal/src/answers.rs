//! The way of an outcome back to its caller: both ends of it, and who is woken how often.
//!
//! Refuses to know what was stored. Invariants: every caller that still waits is answered, whatever
//! becomes of its runtime; the answers of one group wake each runtime once.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::position::Position;
use crate::queue::{AppendError, Outcome};

/// How the caller is answered.
pub(crate) struct Reply {
    sender: oneshot::Sender<Outcome>,
    /// The runtime on which the batch was handed in, where its caller waits most likely.
    home: Option<Handle>,
}

impl Reply {
    pub(crate) fn new() -> (Self, Appending) {
        let (sender, answer) = oneshot::channel();
        let home = Handle::try_current().ok();
        (Self { sender, home }, Appending(answer))
    }

    pub(crate) fn send(self, outcome: Outcome) {
        // The caller may have gone away; what is stored stays stored.
        drop(self.sender.send(outcome));
    }
}

/// Answers of one group. To wake a task from outside its runtime costs a call of the kernel each
/// time, so those of one runtime are sent there together and wake their tasks from inside.
#[derive(Default)]
pub(crate) struct Answers(Vec<(Option<Handle>, Post)>);

impl Answers {
    pub(crate) fn add(&mut self, reply: Reply, outcome: Outcome) {
        let Reply { sender, home } = reply;
        let id = home.as_ref().map(Handle::id);
        let of_home =
            |(other, _): &&mut (Option<Handle>, Post)| other.as_ref().map(Handle::id) == id;
        match self.0.iter_mut().find(of_home) {
            Some((_, post)) => post.0.push((sender, outcome)),
            None => self.0.push((home, Post(vec![(sender, outcome)]))),
        }
    }

    pub(crate) fn send(self) {
        for (home, post) in self.0 {
            match home {
                // It ends at once, and a runtime that ends before drops it, which answers too.
                Some(home) if post.0.len() > 1 => drop(home.spawn(async move { drop(post) })),
                _ => drop(post),
            }
        }
    }
}

/// Answers that are given when it is dropped, wherever that happens: none is ever lost.
struct Post(Vec<(oneshot::Sender<Outcome>, Outcome)>);

impl Drop for Post {
    fn drop(&mut self) {
        for (sender, outcome) in self.0.drain(..) {
            // The caller may have gone away; what is stored stays stored.
            drop(sender.send(outcome));
        }
    }
}

/// The answer to come. Dropping it does not take the batch back.
#[derive(Debug)]
pub struct Appending(pub(crate) oneshot::Receiver<Outcome>);

impl Appending {
    /// Waits on this thread. Not for asynchronous code, which awaits instead.
    ///
    /// # Errors
    /// As awaiting.
    pub fn wait(self) -> Result<Vec<Position>, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Future for Appending {
    /// The positions of the records, in their order, all on stable storage.
    type Output = Result<Vec<Position>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}
