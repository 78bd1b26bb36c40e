//! The sending half of a stream: a bounded queue, and an end that overtakes it.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, oneshot};

use super::Ending;

/// Makes both halves.
pub(super) fn channel<T>(capacity: usize) -> (Outbound<T>, Outgoing<T>) {
    let (queue, waiting) = mpsc::channel(capacity);
    let (end, ended) = oneshot::channel();
    let outbound = Outbound { queue, end };
    let outgoing = Outgoing {
        waiting,
        ended: Some(ended),
        done: false,
    };
    (outbound, outgoing)
}

/// Where a session puts what it has to say.
pub(super) struct Outbound<T> {
    queue: mpsc::Sender<T>,
    end: oneshot::Sender<Ending>,
}

impl<T> Outbound<T> {
    /// Waits for room, but not longer than `patience`: a reader that is too slow
    /// is cut off and must not hold memory.
    pub(super) async fn send(&self, item: T, patience: Duration) -> Result<(), Ending> {
        match self.queue.send_timeout(item, patience).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Ending::Slow),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Ending::Gone),
        }
    }

    /// Waits for room as long as the reader is there.
    pub(super) async fn wait_send(&self, item: T) -> Result<(), Ending> {
        self.queue.send(item).await.map_err(|_| Ending::Gone)
    }

    /// A way into the queue for others.
    pub(super) fn queue(&self) -> mpsc::Sender<T> {
        self.queue.clone()
    }

    /// Resolves when the reader is gone.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Ends the stream now. What is still queued is dropped.
    pub(super) fn end(self, ending: Ending) {
        if self.end.send(ending).is_err() {
            tracing::trace!("the reader left before the stream ended");
        }
    }
}

/// The stream that goes to the other side.
pub struct Outgoing<T> {
    waiting: mpsc::Receiver<T>,
    ended: Option<oneshot::Receiver<Ending>>,
    done: bool,
}

impl<T> Stream for Outgoing<T> {
    type Item = Result<T, Ending>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        if let Some(ended) = &mut self.ended {
            match Pin::new(ended).poll(cx) {
                Poll::Ready(Ok(ending)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(ending)));
                }
                Poll::Ready(Err(_)) => self.ended = None,
                Poll::Pending => {}
            }
        }
        self.waiting.poll_recv(cx).map(|item| item.map(Ok))
    }
}
