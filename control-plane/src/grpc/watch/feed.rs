//! From a watcher to its client, for as long as the client reads.
//!
//! On a task of its own: the body of an answer is not polled while its reader has no
//! room, and a read begun there would hold its connection as long. Owns the ends of a
//! watch but the one of its key: the client left, it does not take what it is told, the
//! process stops. Invariant: a client that reads nothing holds its
//! place for no longer than it may take for one item.

use std::future::Future;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{Told, Watched, Watcher};
use crate::grpc::status::{refused, unavailable};

/// How long one item may wait for the client.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Feed<M> {
    pub(super) _seat: OwnedSemaphorePermit,
    pub(super) out: Sender<M>,
    pub(super) shutdown: CancellationToken,
}

/// What the client is told last; nothing when it left.
type Ending = Option<Status>;

impl<M> Feed<M> {
    pub(super) async fn run<R: Watched>(
        self,
        mut watcher: Watcher<R>,
        message: impl Fn(Told<R>) -> M,
    ) -> Ending {
        loop {
            let item = match self.during(watcher.next()).await {
                Ok(Ok(item)) => item,
                Ok(Err(error)) => return Some(error.into()),
                Err(ending) => return ending,
            };
            let room = timeout(TAKEN_WITHIN, self.out.reserve());
            match self.during(room).await {
                Ok(Ok(Ok(room))) => room.send(message(item)),
                Ok(Ok(Err(_))) => return None,
                Ok(Err(_)) => return Some(too_slow()),
                Err(ending) => return ending,
            }
        }
    }

    /// Does a piece of work, unless the watch ends meanwhile.
    async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Ending> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Some(stopping())),
            () = self.out.closed() => Err(None),
            done = work => Ok(done),
        }
    }
}

fn too_slow() -> Status {
    refused(
        Code::Aborted,
        "WATCH_TOO_SLOW",
        format!("nothing was read for {} seconds", TAKEN_WITHIN.as_secs()),
        "watch again from the last mark, and read all the time",
    )
}

fn stopping() -> Status {
    unavailable(
        "SHUTTING_DOWN",
        "the control plane is stopping",
        "watch again from the last mark when it is back",
    )
}
