//! What an agent is sent: nothing, what changed, or everything in parts.

use std::sync::Arc;

use futures::Stream;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
use hookplane_proto::agent::v1::{
    ConfigurationStreamRequest, Current, Delta, Held, Resource, SnapshotChunk,
};
use tokio::time::Instant;
use tonic::Status;

use super::session::Session;
use crate::fleet::Ending;
use crate::fleet::held::{Step, Versions};
use crate::fleet::view::{PoolView, wire_key};

/// Resources of one message, in bytes; the frame around them is small.
const CHUNK: usize = 960 * 1_024;

/// What was sent and is not answered yet.
pub(super) struct Sent {
    pub(super) nonce: u64,
    pub(super) view: Arc<PoolView>,
    /// What the agent then holds, when parked resources stay as they are.
    pub(super) result: Versions,
    pub(super) deadline: Instant,
}

impl<I> Session<'_, I>
where
    I: Stream<Item = Result<ConfigurationStreamRequest, Status>> + Unpin,
{
    pub(super) fn step(&self, held: &Versions, view: &PoolView) -> Step {
        Step::between(held, &view.versions, &self.parked())
    }

    pub(super) async fn say_current(&mut self, view: &PoolView) -> Result<(), Ending> {
        let held = Some(held(view));
        self.say(Told::Current(Current { held })).await
    }

    /// Sends what changed, or everything when that is too much for one message.
    pub(super) async fn say_delta(&mut self, view: Arc<PoolView>) -> Result<(), Ending> {
        let step = match &self.held {
            Some(held) => self.step(held, &view),
            None => return self.say_snapshot(view).await,
        };
        let changed = || step.upserts.iter().filter_map(|key| view.resource(key));
        if changed().map(|one| one.size).sum::<usize>() > CHUNK {
            return self.say_snapshot(view).await;
        }
        self.nonce += 1;
        let delta = Delta {
            nonce: self.nonce,
            held: Some(held(&view)),
            base_revision: self.observed.revision,
            upserts: changed().map(|one| one.resource.clone()).collect(),
            removals: step.removals.iter().map(wire_key).collect(),
            deleted_connections: view.deleted_since(self.observed.revision),
        };
        self.say(Told::Delta(delta)).await?;
        self.await_answer(view, step.result);
        Ok(())
    }

    /// Sends everything. A reader that does not keep up is cut off.
    pub(super) async fn say_snapshot(&mut self, view: Arc<PoolView>) -> Result<(), Ending> {
        let mut index = 0;
        let mut bytes = 0;
        let mut part: Vec<Resource> = Vec::new();
        for prepared in view.resources() {
            if bytes + prepared.size > CHUNK && !part.is_empty() {
                let resources = std::mem::take(&mut part);
                self.say_chunk(&view, index, false, resources).await?;
                index += 1;
                bytes = 0;
            }
            bytes += prepared.size;
            part.push(prepared.resource.clone());
        }
        self.say_chunk(&view, index, true, part).await?;
        let result = Versions::clone(&view.versions);
        self.await_answer(view, result);
        Ok(())
    }

    async fn say_chunk(
        &mut self,
        view: &PoolView,
        index: u32,
        last: bool,
        resources: Vec<Resource>,
    ) -> Result<(), Ending> {
        self.nonce += 1;
        let chunk = SnapshotChunk {
            nonce: self.nonce,
            held: Some(held(view)),
            index,
            last,
            resources,
            deleted_connections: if last {
                view.deleted_since(0)
            } else {
                Vec::new()
            },
        };
        self.say(Told::Snapshot(chunk)).await
    }

    fn await_answer(&mut self, view: Arc<PoolView>, result: Versions) {
        self.awaited = Some(Sent {
            nonce: self.nonce,
            view,
            result,
            deadline: Instant::now() + self.streams.timings.answer,
        });
    }
}

/// What a view makes an agent hold that refuses nothing.
fn held(view: &PoolView) -> Held {
    Held {
        epoch: view.head.epoch.clone(),
        revision: view.head.revision,
        digest: view.digest.clone(),
    }
}
