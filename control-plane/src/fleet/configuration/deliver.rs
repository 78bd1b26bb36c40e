//! What an agent is sent: nothing, what changed, or everything in parts.

use std::sync::Arc;

use futures::Stream;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
use hookplane_proto::agent::v1::{ConfigurationStreamRequest, Current};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::aim::Aim;
use super::session::Session;
use crate::fleet::Ending;
use crate::fleet::frame::Frame;
use crate::fleet::held::Set;
use crate::fleet::view::Move;

/// What was sent and is not answered yet.
pub(super) struct Sent {
    pub(super) nonce: u64,
    pub(super) aim: Aim,
    /// What the agent then holds, when parked resources stay as they are.
    pub(super) result: Arc<Set>,
    pub(super) deadline: Instant,
    /// Of a snapshot: held until it is answered, so that only so many are under way.
    _turn: Option<OwnedSemaphorePermit>,
}

impl<I> Session<'_, I>
where
    I: Stream<Item = Result<ConfigurationStreamRequest, Status>> + Unpin,
{
    /// The way from what the agent holds.
    pub(super) fn way(&self, from: &Set, aim: &Aim) -> Arc<Move> {
        let parked = self.parked();
        let base = self.observed.revision;
        if parked.is_empty() && aim.is_shared() {
            return aim.view.shared_move(from, base);
        }
        Arc::new(aim.view.own_move(from, &aim.set, &parked, base))
    }

    pub(super) async fn say_current(&mut self, aim: Aim) -> Result<(), Ending> {
        let held = Some(aim.view.held(&aim.set));
        self.now_at(&aim);
        self.say(Told::Current(Current { held })).await
    }

    /// Sends what changed, or everything when that is too much for one message.
    pub(super) async fn say_delta(&mut self, aim: Aim) -> Result<(), Ending> {
        let way = match &self.held {
            Some(held) => self.way(held, &aim),
            None => return self.say_snapshot(aim).await,
        };
        let Some(delta) = way.delta.clone() else {
            return self.say_snapshot(aim).await;
        };
        self.nonce += 1;
        self.send(Frame::delta(self.nonce, delta)).await?;
        self.await_answer(aim, Arc::clone(&way.result), None);
        Ok(())
    }

    /// Sends everything. A reader that does not keep up is cut off; while too
    /// many others are being sent everything, the agent is asked to come later. The
    /// whole has a deadline beside that of each part, because it takes one of few turns.
    pub(super) async fn say_snapshot(&mut self, aim: Aim) -> Result<(), Ending> {
        let turn = self.streams.turn().await?;
        let chunks = if aim.is_shared() {
            aim.view.shared_chunks()
        } else {
            aim.view.own_chunks(&aim.set)
        };
        let whole = self.streams.timings.snapshot;
        let sending = async {
            for chunk in chunks.iter() {
                self.nonce += 1;
                self.send(Frame::snapshot(self.nonce, chunk.clone()))
                    .await?;
            }
            Ok::<(), Ending>(())
        };
        timeout(whole, sending).await.map_err(|_| Ending::Slow)??;
        let result = Arc::clone(&aim.set);
        self.await_answer(aim, result, Some(turn));
        Ok(())
    }

    fn await_answer(&mut self, aim: Aim, result: Arc<Set>, turn: Option<OwnedSemaphorePermit>) {
        self.awaited = Some(Sent {
            nonce: self.nonce,
            aim,
            result,
            deadline: Instant::now() + self.streams.timings.answer,
            _turn: turn,
        });
    }
}

impl super::Streams {
    /// Waits for the turn to send a snapshot, but not for long.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Ending> {
        let turns = Arc::clone(&self.snapshots);
        match timeout(self.timings.admission, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(Ending::Shutdown),
            Err(_) => Err(Ending::Crowded),
        }
    }
}
