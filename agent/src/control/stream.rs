//! The configuration stream: hello, then current, delta or snapshot, acknowledged one by one.
//!
//! Owns the conversation of one session. What is held outlives it in the
//! [`Holder`]. Anything that does not fit ends the session; the next one then
//! asks for a whole snapshot.

use std::time::Duration;

use hookplane_proto::agent::v1::configuration_service_client::ConfigurationServiceClient;
use hookplane_proto::agent::v1::configuration_stream_request::Message as Told;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Heard;
use hookplane_proto::agent::v1::{
    Ack, AgentHeartbeat, ConfigurationStreamRequest, ConfigurationStreamResponse, Delta, Held,
    Hello, Nack, SnapshotChunk,
};
use hookplane_proto::capability;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::holder::{Holder, NotApplied};
use super::ledger::{Change, Misfit};
use crate::causes::chain;
use crate::clock::{SharedClock, timestamp};
use crate::link::{Link, Pass, SessionEnd, Stream};

const OUTGOING: usize = 16;
/// Most bytes of resources in one snapshot.
const MAX_SNAPSHOT: usize = 256 * 1_024 * 1_024;
/// Largest message taken; the control plane keeps well below it.
const MAX_MESSAGE: usize = 16 << 20;

/// The agent's side of the stream, over all its sessions.
pub(crate) struct ConfigurationStream {
    holder: Holder,
    link: Link,
    clock: SharedClock,
    /// What is held did not fit: ask for everything.
    resync: bool,
}

/// A snapshot on its way.
#[derive(Default)]
struct Incoming {
    held: Held,
    chunks: u32,
    bytes: usize,
    resources: Vec<hookplane_proto::agent::v1::Resource>,
    deleted_connections: Vec<String>,
}

/// Why a session cannot go on.
enum Fault {
    /// The next session has to start from a snapshot.
    Resync(String),
    Broken(String),
}

type Outgoing = mpsc::Sender<ConfigurationStreamRequest>;

impl Stream for ConfigurationStream {
    fn name(&self) -> &'static str {
        "configuration"
    }

    async fn session(&mut self, pass: &Pass) -> SessionEnd {
        let end = self.converse(pass).await;
        if let crate::link::Cause::Lost(why) | crate::link::Cause::Uncertified(why) = &end.cause {
            self.holder.readiness().update(|facts| {
                facts.connected = false;
                facts.connection_problem = Some(why.clone());
            });
        }
        end
    }
}

impl ConfigurationStream {
    pub(crate) fn new(holder: Holder, link: Link, clock: SharedClock) -> Self {
        Self {
            holder,
            link,
            clock,
            resync: false,
        }
    }

    async fn converse(&mut self, pass: &Pass) -> SessionEnd {
        let channel = match self.link.dial().await {
            Ok(channel) => channel,
            Err(why) => return SessionEnd::lost(false, why),
        };
        let (out, rest) = mpsc::channel(OUTGOING);
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capability::all()
                .iter()
                .map(|one| (*one).to_owned())
                .collect(),
            held: self.holder.held().filter(|_| !self.resync),
        };
        if say(&out, Told::Hello(hello)).await.is_err() {
            return SessionEnd::lost(false, "the stream closed before the hello");
        }
        // One source with all its connections is one message.
        let mut client =
            ConfigurationServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let call = client.stream(pass.request(ReceiverStream::new(rest)));
        let heard = match tokio::time::timeout(self.link.pace.call, call).await {
            Err(_) => return SessionEnd::lost(false, "no answer to the hello in time"),
            Ok(Err(status)) => return SessionEnd::status(false, &status),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        self.listen(heard, &out).await
    }

    async fn listen(
        &mut self,
        mut heard: Streaming<ConfigurationStreamResponse>,
        out: &Outgoing,
    ) -> SessionEnd {
        let pace = self.link.pace;
        let mut beat = tokio::time::interval(pace.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.reset();
        let mut lived = false;
        let mut snapshot: Option<Incoming> = None;
        let silence = tokio::time::sleep(pace.dead_after);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                // A word that has come counts, however late it is looked at.
                biased;
                _ = beat.tick() => {
                    let heartbeat = AgentHeartbeat {
                        held: self.holder.held(),
                        at: Some(timestamp(self.clock.now_millis())),
                    };
                    if say(out, Told::Heartbeat(heartbeat)).await.is_err() {
                        return SessionEnd::closed();
                    }
                }
                message = heard.message() => {
                    let message = match message {
                        Err(status) => return SessionEnd::status(lived, &status),
                        Ok(None) => return SessionEnd::closed(),
                        Ok(Some(message)) => message,
                    };
                    silence.as_mut().reset(tokio::time::Instant::now() + pace.dead_after);
                    if !lived {
                        lived = true;
                        self.connected();
                    }
                    match self.take(message, &mut snapshot, out).await {
                        Ok(()) => {}
                        Err(Fault::Resync(why)) => {
                            // What does not fit twice is not asked for in a hot loop.
                            let again = std::mem::replace(&mut self.resync, true);
                            return SessionEnd::lost(lived && !again, why);
                        }
                        // Not `lived`: whatever is broken is not asked for in a hot loop.
                        Err(Fault::Broken(why)) => return SessionEnd::lost(false, why),
                    }
                }
                () = silence.as_mut() => {
                    let text = format!("nothing heard for {:?}", pace.dead_after);
                    return SessionEnd::lost(lived, text);
                }
            }
        }
    }

    fn connected(&self) {
        tracing::info!("the configuration stream is open");
        self.holder.readiness().update(|facts| {
            facts.connected = true;
            facts.connection_problem = None;
        });
    }

    async fn take(
        &mut self,
        message: ConfigurationStreamResponse,
        snapshot: &mut Option<Incoming>,
        out: &Outgoing,
    ) -> Result<(), Fault> {
        match message.message {
            Some(Heard::Current(current)) => {
                if self.holder.confirm(&current.held.unwrap_or_default()) {
                    return Ok(());
                }
                let why = "the control plane calls something else current than what is held";
                Err(Fault::Resync(why.to_owned()))
            }
            Some(Heard::Heartbeat(heartbeat)) => {
                self.holder.heard(heartbeat.revision);
                Ok(())
            }
            Some(Heard::Delta(delta)) => {
                let nonce = delta.nonce;
                self.apply(of_delta(delta), nonce, out).await
            }
            Some(Heard::Snapshot(chunk)) => {
                let (nonce, last) = (chunk.nonce, chunk.last);
                let mut incoming = snapshot.take().unwrap_or_default();
                incoming.add(chunk)?;
                if !last {
                    *snapshot = Some(incoming);
                    return Ok(());
                }
                let change = Change {
                    held: incoming.held,
                    base: None,
                    upserts: incoming.resources,
                    removals: Vec::new(),
                    deleted_connections: incoming.deleted_connections,
                };
                self.apply(change, nonce, out).await?;
                self.resync = false;
                Ok(())
            }
            // Of a later release; what needs an answer is only sent to agents that can give it.
            None => Ok(()),
        }
    }

    async fn apply(&mut self, change: Change, nonce: u64, out: &Outgoing) -> Result<(), Fault> {
        if change.held.epoch.is_empty() {
            return Err(Fault::Broken("a configuration without an epoch".to_owned()));
        }
        let refused = match self.holder.apply(change).await {
            Ok(refused) => refused,
            Err(NotApplied::Misfit(misfit @ (Misfit::Base { .. } | Misfit::Digest))) => {
                return Err(Fault::Resync(misfit.to_string()));
            }
            Err(error) => return Err(Fault::Broken(chain(&error))),
        };
        let held = self.holder.held();
        let told = if refused.is_empty() {
            Told::Ack(Ack { nonce, held })
        } else {
            Told::Nack(Nack {
                nonce,
                held,
                refused,
            })
        };
        say(out, told)
            .await
            .map_err(|()| Fault::Broken("the stream closed before the answer".to_owned()))
    }
}

impl Incoming {
    fn add(&mut self, chunk: SnapshotChunk) -> Result<(), Fault> {
        let held = chunk.held.unwrap_or_default();
        if self.chunks == 0 {
            self.held = held;
        } else if held.epoch != self.held.epoch || held.revision != self.held.revision {
            let why = "a chunk belongs to another snapshot";
            return Err(Fault::Resync(why.to_owned()));
        }
        if chunk.index != self.chunks {
            let why = format!("chunk {} came in place of {}", chunk.index, self.chunks);
            return Err(Fault::Resync(why));
        }
        self.chunks += 1;
        let added: usize = chunk
            .resources
            .iter()
            .map(hookplane_proto::agent::v1::Resource::encoded_len)
            .sum();
        self.bytes += added;
        if self.bytes > MAX_SNAPSHOT {
            let why = format!("the snapshot is larger than {MAX_SNAPSHOT} bytes");
            return Err(Fault::Broken(why));
        }
        self.resources.extend(chunk.resources);
        self.deleted_connections.extend(chunk.deleted_connections);
        Ok(())
    }
}

fn of_delta(delta: Delta) -> Change {
    Change {
        held: delta.held.unwrap_or_default(),
        base: Some(delta.base_revision),
        upserts: delta.upserts,
        removals: delta.removals,
        deleted_connections: delta.deleted_connections,
    }
}

/// Says something, or learns within the deadline that nobody listens.
async fn say(out: &Outgoing, message: Told) -> Result<(), ()> {
    const DEADLINE: Duration = Duration::from_secs(10);
    let request = ConfigurationStreamRequest {
        message: Some(message),
    };
    out.send_timeout(request, DEADLINE).await.map_err(drop)
}
