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
    Held, Hello, Nack, Refusal,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tonic::Status;

use super::deliver::Sent;
use super::{Apart, Presence, Streams};
use crate::domain::{Agent, RefusedResource};
use crate::fleet::Ending;
use crate::fleet::held::{self, Key, Versions};
use crate::fleet::outbound::Outbound;
use crate::fleet::view::read_key;
use crate::store::agents::Observed;
use crate::wire::timestamp;

/// A heartbeat alone is written this often at most.
const WRITE_EVERY_MILLIS: i64 = 5_000;
/// Refusals that are kept of one answer, and characters of each text.
const MAX_REFUSALS: usize = 1_000;
const MAX_TEXT: usize = 1_000;
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Session<'a, I> {
    pub(super) streams: &'a Streams,
    presence: &'a Presence,
    pub(super) agent: Agent,
    inbound: I,
    pub(super) out: &'a Outbound<ConfigurationStreamResponse>,
    changes: watch::Receiver<u64>,
    /// What the agent has; `None` when that is not known, so that only a snapshot helps.
    pub(super) held: Option<Arc<Versions>>,
    pub(super) observed: Observed,
    /// As the database has it.
    written: Observed,
    pub(super) awaited: Option<Sent>,
    pub(super) nonce: u64,
    heard: Instant,
    /// When to look for changes again after the database failed.
    again: Option<Instant>,
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
        out: &'a Outbound<ConfigurationStreamResponse>,
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
        let observed = Observed {
            version: shortened(&hello.version),
            refused: agent.refused.clone(),
            connected_at: now,
            last_seen_at: now,
            ..Observed::default()
        };
        let mut session = Self {
            changes: streams.config.changes(),
            streams,
            presence,
            agent,
            inbound,
            out,
            held: None,
            observed,
            written: Observed::default(),
            awaited: None,
            nonce: 0,
            heard: Instant::now(),
            again: None,
        };
        session.answer_hello(hello).await?;
        Ok(session)
    }

    async fn answer_hello(&mut self, hello: Hello) -> Result<(), Ending> {
        self.changes.mark_unchanged();
        let claimed = hello.held.unwrap_or_default();
        if claimed.revision > *self.changes.borrow() {
            // Another replica may be ahead of what is known here.
            self.streams.config.refresh().await?;
        }
        let mut view = self.streams.views.newest(&self.agent.pool).await?;
        if claimed.epoch == view.head.epoch && claimed.revision > view.head.revision {
            self.begin_epoch(&claimed).await?;
            view = self.streams.views.newest(&self.agent.pool).await?;
        }
        let same_lineage = claimed.epoch == view.head.epoch;
        if same_lineage && claimed.revision <= view.head.revision {
            self.held = self
                .streams
                .known(&self.agent, &claimed.epoch, &claimed.digest);
        }
        if claimed.digest == view.digest && self.held.is_some() {
            self.observed.refused.clear();
        }
        self.observe(claimed);
        self.write_down().await?;
        let first_contact = self.held.is_none();
        let behind = self.observed.revision != view.head.revision;
        match &self.held {
            Some(held) if !behind && self.step(held, &view).is_empty() => {
                self.say_current(&view).await
            }
            _ if first_contact => self.say_snapshot(view).await,
            _ => self.say_delta(view).await,
        }
    }

    /// The agent holds a revision that this database never made: it was restored from an
    /// older copy. Its revisions would come to mean two things, so they start anew.
    async fn begin_epoch(&mut self, claimed: &Held) -> Result<(), Ending> {
        let begins = hex::encode(rand::random::<[u8; 16]>());
        if self
            .streams
            .config
            .begin_epoch(&claimed.epoch, &begins)
            .await?
        {
            tracing::warn!(
                agent.id = %self.agent.id,
                config.revision = claimed.revision,
                "an agent holds a newer revision than the database: it was restored; a new epoch begins"
            );
        }
        self.streams.config.refresh().await?;
        self.changes.mark_unchanged();
        Ok(())
    }

    /// Talks until the stream has a reason to end.
    pub(super) async fn run(&mut self) -> Ending {
        match self.talk().await {
            Ok(never) => match never {},
            Err(ending) => ending,
        }
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, Ending> {
        let timings = self.streams.timings;
        let mut beat = interval_at(Instant::now() + timings.heartbeat, timings.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let silent = sleep_until(self.heard + timings.silence);
            let deadline = self.awaited.as_ref().map(|sent| sent.deadline);
            let again = self.again;
            let free = deadline.is_none();
            tokio::select! {
                message = self.inbound.next() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
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
            }
        }
    }

    /// Leads the agent to the newest revision, whatever lies between.
    async fn advance(&mut self) -> Result<(), Ending> {
        self.again = None;
        self.changes.mark_unchanged();
        let view = match self.streams.views.newest(&self.agent.pool).await {
            Ok(view) => view,
            Err(error) => {
                // The agent has what it needs to work; ending its stream would help nobody.
                tracing::warn!(agent.id = %self.agent.id, error = %error, "the configuration cannot be read");
                self.again = Some(Instant::now() + READ_AGAIN);
                return Ok(());
            }
        };
        let same_lineage = self.observed.epoch == view.head.epoch;
        if same_lineage && self.observed.revision >= view.head.revision {
            return Ok(());
        }
        if same_lineage && self.held.is_some() {
            self.say_delta(view).await
        } else {
            self.say_snapshot(view).await
        }
    }

    async fn receive(&mut self, message: ConfigurationStreamRequest) -> Result<(), Ending> {
        self.heard = Instant::now();
        match message.message {
            Some(Said::Ack(ack)) => self.acknowledged(ack).await,
            Some(Said::Nack(nack)) => self.refused(nack).await,
            Some(Said::Heartbeat(heartbeat)) => self.heartbeat(heartbeat).await,
            Some(Said::Hello(_)) => Err(Ending::Protocol("a stream has one hello")),
            // Of a later release.
            None => Ok(()),
        }
    }

    async fn acknowledged(&mut self, ack: Ack) -> Result<(), Ending> {
        let Some(sent) = self.answered(ack.nonce) else {
            return Ok(());
        };
        let held = ack
            .held
            .ok_or(Ending::Protocol("an ack says what is held"))?;
        if held.digest == sent.view.digest {
            self.observed.refused.clear();
            self.held = Some(Arc::clone(&sent.view.versions));
        } else if held.digest == held::digest(&sent.result) {
            // Parked resources are still as they were before.
            self.observed.refused.retain(|refused| {
                let parked = parked_key(refused);
                parked.is_some_and(|(key, version)| sent.view.versions.get(&key) == Some(&version))
            });
            self.held = Some(Arc::new(sent.result));
        } else {
            return Err(Ending::Drift);
        }
        self.accept(held).await
    }

    async fn refused(&mut self, nack: Nack) -> Result<(), Ending> {
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
        let refused: Vec<_> = nack.refused.into_iter().take(MAX_REFUSALS).collect();
        self.observed.refused = refused.into_iter().filter_map(refusal).collect();
        tracing::warn!(
            agent.id = %self.agent.id,
            config.revision = held.revision,
            refused = keys.len(),
            "an agent refused resources"
        );
        let left = held::without(&sent.view.versions, self.held.as_deref(), &keys);
        let understood = held::digest(&left) == held.digest;
        self.held = understood.then(|| Arc::new(left));
        self.accept(held).await
    }

    async fn heartbeat(&mut self, heartbeat: AgentHeartbeat) -> Result<(), Ending> {
        if let (Some(held), None) = (&heartbeat.held, &self.awaited) {
            let same = held.epoch == self.observed.epoch && held.revision == self.observed.revision;
            let whole = self.observed.refused.is_empty();
            if same && whole && held.digest != self.observed.digest {
                return Err(Ending::Drift);
            }
        }
        self.seen().await
    }

    /// What an answer is about; `None` for one that nothing waits for.
    fn answered(&mut self, nonce: u64) -> Option<Sent> {
        let awaited = self.awaited.take_if(|sent| sent.nonce == nonce);
        if awaited.is_none() {
            tracing::debug!(agent.id = %self.agent.id, nonce, "an answer that nothing waits for");
        }
        awaited
    }

    async fn accept(&mut self, held: Held) -> Result<(), Ending> {
        let own = self
            .held
            .as_ref()
            .filter(|_| !self.observed.refused.is_empty());
        let apart = own.map(|versions| Apart {
            epoch: held.epoch.clone(),
            digest: held.digest.clone(),
            versions: Arc::clone(versions),
        });
        self.streams.set_apart(&self.agent.id, apart);
        self.observe(held);
        self.observed.last_seen_at = self.streams.clock.now_millis();
        self.write_down().await
    }

    fn observe(&mut self, held: Held) {
        self.presence.acknowledge(held.revision);
        self.observed.epoch = held.epoch;
        self.observed.revision = held.revision;
        self.observed.digest = held.digest;
    }

    async fn seen(&mut self) -> Result<(), Ending> {
        let now = self.streams.clock.now_millis();
        self.observed.last_seen_at = now;
        if now - self.written.last_seen_at >= WRITE_EVERY_MILLIS {
            self.write_down().await?;
        }
        Ok(())
    }

    async fn write_down(&mut self) -> Result<(), Ending> {
        self.streams
            .agents
            .observe(&self.agent.id, &self.observed)
            .await?;
        self.written.clone_from(&self.observed);
        Ok(())
    }

    async fn say_heartbeat(&mut self) -> Result<(), Ending> {
        let heartbeat = ControlHeartbeat {
            revision: *self.streams.config.changes().borrow(),
            at: Some(timestamp(self.streams.clock.now_millis())),
        };
        self.say(Told::Heartbeat(heartbeat)).await
    }

    pub(super) async fn say(&mut self, message: Told) -> Result<(), Ending> {
        let message = ConfigurationStreamResponse {
            message: Some(message),
        };
        self.out.send(message, self.streams.timings.answer).await
    }

    /// Versions that the agent refused, and that are not sent again.
    pub(super) fn parked(&self) -> BTreeSet<(Key, u64)> {
        self.observed
            .refused
            .iter()
            .filter_map(parked_key)
            .collect()
    }
}

/// Waits for a moment, or for ever without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn parked_key(refused: &RefusedResource) -> Option<(Key, u64)> {
    let kind = [held::Kind::Destination, held::Kind::Source]
        .into_iter()
        .find(|kind| kind.word() == refused.kind)?;
    let id = refused.id.clone();
    Some((Key { kind, id }, refused.version))
}

fn refusal(wire: Refusal) -> Option<RefusedResource> {
    let key = read_key(wire.key.as_ref()?)?;
    Some(RefusedResource {
        kind: key.kind.word().to_owned(),
        id: shortened(&key.id),
        version: wire.version,
        reason: shortened(&wire.reason),
        message: shortened(&wire.message),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
