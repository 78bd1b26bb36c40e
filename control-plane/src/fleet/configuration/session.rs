//! One agent's conversation: what it holds, what it is sent, what it says to that.
//!
//! One message is under way at a time. While its answer is awaited the revision
//! may move on; the next message then leads to the newest one at once.
//! Every revision is sent, also one that changes nothing for this pool (as an
//! empty delta), so "acknowledged the newest revision" means the same everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use hookplane_proto::agent::v1::configuration_stream_request::Message as Said;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
use hookplane_proto::agent::v1::{
    Ack, AgentHeartbeat, ConfigurationStreamRequest, ConfigurationStreamResponse, ControlHeartbeat,
    Held, Nack,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::aim::Aim;
use super::deliver::Sent;
use super::refusals::{parked_key, refusal, shortened};
use super::{Apart, Presence, Streams};
use crate::domain::{Agent, RefusedResource};
use crate::fleet::Ending;
use crate::fleet::frame::Frame;
use crate::fleet::held::{self, Key, Set};
use crate::fleet::outbound::Outbound;
use crate::fleet::recorder::Urgency;
use crate::fleet::view::read_key;
use crate::store::agents::Observed;
use crate::wire::timestamp;

/// A heartbeat alone is written this often at most.
const WRITE_EVERY_MILLIS: i64 = 5_000;
/// Refusals that are kept of one answer.
const MAX_REFUSALS: usize = 1_000;
/// Capabilities that are kept of one hello.
const MAX_CAPABILITIES: usize = 256;
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Session<'a, I> {
    pub(super) streams: &'a Streams,
    presence: &'a Presence,
    pub(super) agent: Agent,
    inbound: I,
    out: &'a Outbound<Frame>,
    pub(super) changes: watch::Receiver<u64>,
    /// What the agent has; `None` when that is not known, so that only a snapshot helps.
    pub(super) held: Option<Arc<Set>>,
    pub(super) observed: Observed,
    /// What the agent refused itself.
    pub(super) nacked: Vec<RefusedResource>,
    pub(super) awaited: Option<Sent>,
    pub(super) nonce: u64,
    heard: Instant,
    /// When the agent was last written down.
    written_at: i64,
    /// When to look for changes again after the database failed.
    again: Option<Instant>,
    /// When the stream has lasted long enough.
    aged: Instant,
    /// Cancelled when another replica has the agent.
    elsewhere: CancellationToken,
}

impl<'a, I> Session<'a, I>
where
    I: Stream<Item = Result<ConfigurationStreamRequest, Status>> + Unpin,
{
    /// Hears the hello and answers it.
    pub(super) async fn greet(
        streams: &'a Streams,
        presence: &'a Presence,
        agent: Agent,
        mut inbound: I,
        out: &'a Outbound<Frame>,
    ) -> Result<Self, Ending> {
        let first = timeout(streams.timings.hello, inbound.next()).await;
        let hello = match first.map_err(|_| Ending::Silent)? {
            Some(Ok(ConfigurationStreamRequest {
                message: Some(Said::Hello(hello)),
            })) => hello,
            Some(Ok(_)) => return Err(Ending::Protocol("the first message has to be a hello")),
            Some(Err(_)) | None => return Err(Ending::Gone),
        };
        let now = streams.clock.now_millis();
        let capabilities = hello.capabilities.iter().take(MAX_CAPABILITIES);
        let observed = Observed {
            version: shortened(&hello.version),
            capabilities: capabilities.map(|one| shortened(one)).collect(),
            refused: agent.refused.clone(),
            drifted_at: agent.drifted_at,
            connected_at: now,
            last_seen_at: now,
            ..Observed::default()
        };
        let mut session = Self {
            changes: streams.pulse.subscribe(),
            streams,
            presence,
            nacked: nacked(&agent),
            agent,
            inbound,
            out,
            held: None,
            observed,
            awaited: None,
            nonce: 0,
            heard: Instant::now(),
            written_at: now,
            again: None,
            aged: Instant::now() + streams.age(),
            elsewhere: CancellationToken::new(),
        };
        session.answer_hello(hello.held.unwrap_or_default()).await?;
        Ok(session)
    }

    /// Talks until the stream has a reason to end.
    pub(super) async fn run(&mut self) -> Ending {
        match self.talk().await {
            Ok(never) => match never {},
            Err(ending) => {
                if matches!(ending, Ending::Drift) {
                    self.drifted();
                }
                ending
            }
        }
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, Ending> {
        let timings = self.streams.timings;
        let mut beat = interval_at(Instant::now() + timings.heartbeat, timings.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let elsewhere = self.elsewhere.clone();
        loop {
            let silent = sleep_until(self.heard + timings.silence);
            let deadline = self.awaited.as_ref().map(|sent| sent.deadline);
            let again = self.again;
            let free = deadline.is_none();
            tokio::select! {
                message = self.inbound.next() => match message {
                    Some(Ok(message)) => self.receive(message)?,
                    Some(Err(_)) | None => return Err(Ending::Gone),
                },
                changed = self.changes.changed(), if free => {
                    changed.map_err(|_| Ending::Shutdown)?;
                    self.advance().await?;
                }
                () = at(again), if free && again.is_some() => self.advance().await?,
                () = at(deadline) => return Err(Ending::Slow),
                _ = beat.tick() => self.say_heartbeat().await?,
                () = silent => return Err(Ending::Silent),
                () = elsewhere.cancelled() => return Err(Ending::Replaced),
                () = sleep_until(self.aged), if free => return Err(Ending::Aged),
            }
        }
    }

    /// Leads the agent to the newest revision, whatever lies between.
    async fn advance(&mut self) -> Result<(), Ending> {
        self.again = None;
        self.changes.mark_unchanged();
        let aim = match self.aim().await {
            Ok(aim) => aim,
            Err(error) => {
                // The agent has what it needs to work; ending its stream would help nobody.
                tracing::warn!(agent.id = %self.agent.id, error = %error, "the configuration cannot be read");
                self.again = Some(Instant::now() + READ_AGAIN);
                return Ok(());
            }
        };
        let same_lineage = self.observed.epoch == aim.view.head.epoch;
        if same_lineage && self.observed.revision >= aim.view.head.revision {
            return Ok(());
        }
        if same_lineage && self.held.is_some() {
            self.say_delta(aim).await
        } else {
            self.say_snapshot(aim).await
        }
    }

    /// What the agent shall hold now.
    pub(super) async fn aim(&mut self) -> Result<Aim, crate::store::StoreError> {
        let (pool, id) = (&self.agent.pool, &self.agent.id);
        let newest = self.streams.views.newest(pool).await?;
        let same_lineage = self.observed.epoch == newest.head.epoch;
        let has = if same_lineage {
            self.observed.revision
        } else {
            0
        };
        let view = self.streams.views.for_agent(pool, id, has).await?;
        Ok(self.aim_at(view, self.held.as_deref()))
    }

    pub(super) fn aim_at(
        &self,
        view: Arc<crate::fleet::view::PoolView>,
        held: Option<&Set>,
    ) -> Aim {
        let observed = &self.observed;
        Aim::new(view, &observed.capabilities, &observed.version, held)
    }

    fn receive(&mut self, message: ConfigurationStreamRequest) -> Result<(), Ending> {
        self.heard = Instant::now();
        match message.message {
            Some(Said::Ack(ack)) => self.acknowledged(ack),
            Some(Said::Nack(nack)) => self.refused(nack),
            Some(Said::Heartbeat(heartbeat)) => self.heartbeat(&heartbeat),
            Some(Said::Hello(_)) => Err(Ending::Protocol("a stream has one hello")),
            // Of a later release.
            None => Ok(()),
        }
    }

    fn acknowledged(&mut self, ack: Ack) -> Result<(), Ending> {
        let Some(sent) = self.answered(ack.nonce) else {
            return Ok(());
        };
        let held = ack
            .held
            .ok_or(Ending::Protocol("an ack says what is held"))?;
        if held.digest == sent.aim.set.digest {
            self.nacked.clear();
            self.held = Some(Arc::clone(&sent.aim.set));
        } else if held.digest == sent.result.digest {
            // Parked resources are still as they were before.
            self.nacked.retain(|refused| {
                let parked = parked_key(refused);
                parked
                    .is_some_and(|(key, version)| sent.aim.set.versions.get(&key) == Some(&version))
            });
            self.held = Some(Arc::clone(&sent.result));
        } else {
            return Err(Ending::Drift);
        }
        self.observed.drifted_at = None;
        self.accept(held, &sent.aim);
        Ok(())
    }

    fn refused(&mut self, nack: Nack) -> Result<(), Ending> {
        let Some(sent) = self.answered(nack.nonce) else {
            return Ok(());
        };
        let held = nack
            .held
            .ok_or(Ending::Protocol("a nack says what is held"))?;
        let keys: BTreeSet<Key> = nack
            .refused
            .iter()
            .filter_map(|refusal| refusal.key.as_ref().and_then(read_key))
            .collect();
        let refused = nack.refused.into_iter().take(MAX_REFUSALS);
        self.nacked = refused.filter_map(refusal).collect();
        tracing::warn!(
            agent.id = %self.agent.id,
            config.revision = held.revision,
            refused = keys.len(),
            "an agent refused resources"
        );
        let before = self.held.as_ref().map(|held| &held.versions);
        let left = Set::new(held::without(&sent.aim.set.versions, before, &keys));
        let understood = left.digest == held.digest;
        if understood {
            self.observed.drifted_at = None;
        }
        self.held = understood.then_some(left);
        self.accept(held, &sent.aim);
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: &AgentHeartbeat) -> Result<(), Ending> {
        if let (Some(held), None) = (&heartbeat.held, &self.awaited) {
            let same = held.epoch == self.observed.epoch && held.revision == self.observed.revision;
            let whole = self.nacked.is_empty();
            if !same || (whole && held.digest != self.observed.digest) {
                return Err(Ending::Drift);
            }
        }
        let now = self.streams.clock.now_millis();
        self.observed.last_seen_at = now;
        if now - self.written_at >= WRITE_EVERY_MILLIS {
            self.note(Urgency::Lazy, false);
        }
        Ok(())
    }

    fn drifted(&mut self) {
        tracing::warn!(
            agent.id = %self.agent.id,
            config.revision = self.observed.revision,
            "an agent does not hold what it acknowledged"
        );
        self.streams.count_drift();
        let now = self.streams.clock.now_millis();
        self.observed.drifted_at.get_or_insert(now);
        self.note(Urgency::Soon, false);
    }

    /// What an answer is about; `None` for one that nothing waits for.
    fn answered(&mut self, nonce: u64) -> Option<Sent> {
        let awaited = self.awaited.take_if(|sent| sent.nonce == nonce);
        if awaited.is_none() {
            tracing::debug!(agent.id = %self.agent.id, nonce, "an answer that nothing waits for");
        }
        awaited
    }

    fn accept(&mut self, held: Held, aim: &Aim) {
        let own = self.held.as_ref().filter(|held| {
            // No view has that set.
            !Arc::ptr_eq(held, &aim.view.set)
        });
        let apart = own.map(|set| Apart {
            epoch: held.epoch.clone(),
            set: Arc::clone(set),
        });
        self.streams.set_apart(&self.agent.id, apart);
        self.observe(held);
        self.observed.last_seen_at = self.streams.clock.now_millis();
        self.now_at(aim);
    }

    pub(super) fn observe(&mut self, held: Held) {
        self.presence.acknowledge(held.revision);
        self.observed.epoch = held.epoch;
        self.observed.revision = held.revision;
        self.observed.digest = held.digest;
    }

    /// The agent is where it shall be, but for what it refused or cannot use.
    pub(super) fn now_at(&mut self, aim: &Aim) {
        self.observed.refused.clone_from(&self.nacked);
        let kept_from_it = aim.unsupported.iter().cloned();
        self.observed.refused.extend(kept_from_it);
        self.note(Urgency::Soon, false);
    }

    pub(super) fn note(&mut self, urgency: Urgency, claims: bool) {
        self.written_at = self.observed.last_seen_at;
        let elsewhere = &self.elsewhere;
        let (id, observed) = (&self.agent.id, &self.observed);
        self.streams
            .recorder
            .note(id, observed, claims, elsewhere, urgency);
    }

    async fn say_heartbeat(&mut self) -> Result<(), Ending> {
        let heartbeat = ControlHeartbeat {
            revision: self.streams.config.changes().borrow().revision,
            at: Some(timestamp(self.streams.clock.now_millis())),
        };
        self.say(Told::Heartbeat(heartbeat)).await
    }

    pub(super) async fn say(&mut self, message: Told) -> Result<(), Ending> {
        let message = Some(message);
        let frame = Frame::whole(&ConfigurationStreamResponse { message });
        self.send(frame).await
    }

    pub(super) async fn send(&mut self, frame: Frame) -> Result<(), Ending> {
        self.out.send(frame, self.streams.timings.answer).await
    }

    /// Versions that the agent refused, and that are not sent again.
    pub(super) fn parked(&self) -> BTreeSet<(Key, u64)> {
        self.nacked.iter().filter_map(parked_key).collect()
    }
}

/// What an agent refused itself, as it was kept.
fn nacked(agent: &Agent) -> Vec<RefusedResource> {
    let own = agent.refused.iter().filter(|one| !one.unsent);
    own.cloned().collect()
}

/// Waits for a moment, or for ever without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
