//! Watching configuration: the state, then every change of it.
//!
//! One item waits for a watcher, no more: what follows is read from the
//! database when it takes that one, by pages and outside of transactions, so a slow
//! one holds nothing and misses nothing but versions that were replaced meanwhile.
//! One item waits for the client, and not for long (`feed`).

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{BoxStream, once};
use hookplane_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::status::refused;
use crate::auth::Caller;
use crate::store::config::Head;
use crate::store::watch::{Cursor, Watched};
use crate::store::{ConfigStore, StoreError};

mod feed;
mod seat;

use feed::Feed;
use seat::Seats;

/// Watches at once, of all callers together.
const MOST_WATCHES: usize = 512;

/// What every watch needs. Cheap to clone.
#[derive(Clone)]
pub struct Watches {
    store: ConfigStore,
    seats: Seats,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// One thing that a watcher is told.
pub(super) enum Told<R> {
    Changed(Box<R>),
    Deleted(String),
    Mark(v1::WatchMark),
}

/// Where a watcher goes on.
pub(super) struct Resume {
    pub(super) caller: Caller,
    pub(super) epoch: String,
    pub(super) revision: u64,
}

impl Watches {
    #[must_use]
    pub fn new(store: ConfigStore, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self {
            store,
            seats: Seats::default(),
            room: Arc::new(Semaphore::new(MOST_WATCHES)),
            tasks,
            shutdown,
        }
    }

    /// Follows one kind of a team.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many watch, or too many with this key.
    pub(super) fn follow<R: Watched + 'static, M: Send + 'static>(
        &self,
        from: Resume,
        message: impl Fn(Told<R>) -> M + Send + 'static,
    ) -> Result<BoxStream<'static, Result<M, Status>>, Status> {
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| {
            let hint = "end watches that are not needed, or read the lists every now and then";
            let text = format!("{MOST_WATCHES} watches are open already");
            refused(Code::ResourceExhausted, "TOO_MANY_WATCHES", text, hint)
        })?;
        let seat = self.seats.take(&from.caller.key_id)?;
        let watcher = Watcher::<R> {
            store: self.store.clone(),
            changes: self.store.changes(),
            team_id: from.caller.team_id,
            epoch: from.epoch,
            told: from.revision,
            marked: false,
            phase: Phase::Look,
            ready: VecDeque::new(),
            _room: room,
        };
        let (out, items) = mpsc::channel(1);
        let (ending, ended) = oneshot::channel();
        let feed = Feed {
            _seat: seat,
            out,
            shutdown: self.shutdown.clone(),
        };
        self.tasks.spawn(async move {
            if let Some(status) = feed.run(watcher, message).await {
                // Who left is told nothing.
                drop(ending.send(status));
            }
        });
        let last = once(ended).filter_map(|ended| async { ended.ok().map(Err) });
        let items = ReceiverStream::new(items).map(Ok);
        Ok(items.chain(last).boxed())
    }
}

struct Watcher<R> {
    store: ConfigStore,
    changes: watch::Receiver<Head>,
    team_id: String,
    epoch: String,
    /// Everything up to this revision was told.
    told: u64,
    /// A mark was told: the watcher knows what it has.
    marked: bool,
    phase: Phase,
    ready: VecDeque<Told<R>>,
    _room: OwnedSemaphorePermit,
}

enum Phase {
    /// At what there is.
    Look,
    Changed(Round, Cursor),
    Deleted(Round, Cursor),
    /// Until there is something new.
    Wait,
}

/// From one look to the mark that ends it.
struct Round {
    head: Head,
    /// The whole state is told.
    reset: bool,
    said_something: bool,
}

impl<R: Watched> Watcher<R> {
    async fn next(&mut self) -> Result<Told<R>, StoreError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Wait) {
                Phase::Look => self.look().await?,
                Phase::Changed(round, cursor) => self.changed(round, cursor).await?,
                Phase::Deleted(round, cursor) => self.deleted(round, cursor).await?,
                Phase::Wait => {
                    let (told, epoch) = (self.told, self.epoch.as_str());
                    let news = |head: &Head| head.revision > told || head.epoch != epoch;
                    if self.changes.wait_for(news).await.is_err() {
                        // Its sender lives in the store, which is here.
                        std::future::pending::<()>().await;
                    }
                    Phase::Look
                }
            };
        }
    }

    async fn look(&mut self) -> Result<Phase, StoreError> {
        let (head, floor) = self.store.watch_floor().await?;
        self.store.seen(&head);
        let first = self.epoch.is_empty() || self.told == 0;
        let lost = self.epoch != head.epoch || self.told > head.revision || self.told < floor;
        let reset = first || lost;
        if reset {
            self.told = 0;
            self.ready.push_back(Told::Mark(v1::WatchMark {
                epoch: head.epoch.clone(),
                revision: 0,
                reset: true,
            }));
        }
        let cursor = Cursor::behind(self.told);
        let round = Round {
            head,
            reset,
            said_something: reset,
        };
        Ok(Phase::Changed(round, cursor))
    }

    async fn changed(&mut self, mut round: Round, cursor: Cursor) -> Result<Phase, StoreError> {
        let page = self.store.changed::<R>(&self.team_id, &cursor).await?;
        round.said_something |= !page.rows.is_empty();
        let rows = page.rows.into_iter();
        self.ready
            .extend(rows.map(|row| Told::Changed(Box::new(row))));
        Ok(match page.next {
            Some(next) => Phase::Changed(round, next),
            // Who was told the whole state knows of nothing that is gone.
            None if round.reset => self.mark(round),
            None => Phase::Deleted(round, Cursor::behind(self.told)),
        })
    }

    async fn deleted(&mut self, mut round: Round, cursor: Cursor) -> Result<Phase, StoreError> {
        let page = self.store.deleted(R::KIND, &self.team_id, &cursor).await?;
        round.said_something |= !page.rows.is_empty();
        self.ready.extend(page.rows.into_iter().map(Told::Deleted));
        Ok(match page.next {
            Some(next) => Phase::Deleted(round, next),
            None => self.mark(round),
        })
    }

    fn mark(&mut self, round: Round) -> Phase {
        self.told = round.head.revision;
        self.epoch.clone_from(&round.head.epoch);
        if round.said_something || !self.marked {
            self.marked = true;
            self.ready.push_back(Told::Mark(v1::WatchMark {
                epoch: round.head.epoch,
                revision: round.head.revision,
                reset: false,
            }));
        }
        Phase::Wait
    }
}
