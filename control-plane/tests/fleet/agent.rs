//! A scripted agent: says exactly what a test wants, and keeps what it was sent.

use std::collections::BTreeMap;

use hookplane_proto::agent::v1::command_service_client::CommandServiceClient;
use hookplane_proto::agent::v1::configuration_service_client::ConfigurationServiceClient;
use hookplane_proto::agent::v1::configuration_stream_request::Message as Said;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use hookplane_proto::agent::v1::report_service_client::ReportServiceClient;
use hookplane_proto::agent::v1::{
    Ack, AgentHeartbeat, CommandStreamRequest, CommandStreamResponse, ConfigurationStreamRequest,
    ConfigurationStreamResponse, EnrollRequest, EnrollResponse, Held, Hello, Nack, Refusal,
    ReportStreamRequest, ReportStreamResponse, Resource, ResourceKey, ResourceKind,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::plane::{Bearer, JOIN_TOKEN, Plane, within};

/// Kind and id, sorted as the digest wants it.
type Key = (&'static str, String);

pub(crate) struct TestAgent {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) store: u32,
    pub(crate) credential: String,
    channel: Channel,
}

pub(crate) fn hash(credential: &str) -> String {
    hex::encode(Sha256::digest(credential))
}

pub(crate) fn application(name: &str, pool: &str, credential: &str) -> EnrollRequest {
    EnrollRequest {
        join_token: JOIN_TOKEN.to_owned(),
        name: name.to_owned(),
        pool: pool.to_owned(),
        version: "0.1.0".to_owned(),
        credential_hash: hash(credential),
        store: 0,
    }
}

pub(crate) async fn enrol(plane: &Plane, request: EnrollRequest) -> Result<EnrollResponse, Status> {
    let mut client = EnrolmentServiceClient::new(plane.channel());
    Ok(client.enroll(request).await?.into_inner())
}

impl TestAgent {
    pub(crate) async fn enrolled(plane: &Plane, name: &str, pool: &str) -> Self {
        let credential = format!("hpa_{name}");
        let answer = enrol(plane, application(name, pool, &credential)).await;
        let answer = answer.expect("an enrolled agent");
        Self {
            id: answer.agent_id,
            name: name.to_owned(),
            store: answer.store,
            credential,
            channel: plane.channel(),
        }
    }

    /// The same agent, dialling another control plane.
    pub(crate) fn dialling(self, plane: &Plane) -> Self {
        Self {
            channel: plane.channel(),
            ..self
        }
    }

    /// Opens its configuration stream with what it holds; nothing on first contact.
    /// Speaks as the minor release before: it names no capabilities.
    pub(crate) async fn configuration(&self, held: Holding) -> Talk {
        self.capable(held, &[]).await
    }

    /// The same, of a release that can do more.
    pub(crate) async fn capable(&self, held: Holding, capabilities: &[&str]) -> Talk {
        let (say, said) = mpsc::channel(16);
        let hello = Said::Hello(Hello {
            version: "0.1.0".to_owned(),
            capabilities: capabilities.iter().map(|one| (*one).to_owned()).collect(),
            held: (!held.epoch.is_empty()).then(|| held.held()),
        });
        let bearer = Bearer(self.credential.clone());
        let mut client = ConfigurationServiceClient::with_interceptor(self.channel.clone(), bearer);
        say.send(Talk::wrap(hello)).await.expect("room");
        let hear = client.stream(ReceiverStream::new(said)).await;
        let hear = hear.expect("a configuration stream").into_inner();
        Talk { say, hear, held }
    }

    pub(crate) async fn commands(
        &self,
    ) -> (
        mpsc::Sender<CommandStreamRequest>,
        Streaming<CommandStreamResponse>,
    ) {
        let (say, said) = mpsc::channel(256);
        let bearer = Bearer(self.credential.clone());
        let mut client = CommandServiceClient::with_interceptor(self.channel.clone(), bearer);
        let hear = client.stream(ReceiverStream::new(said)).await;
        (say, hear.expect("a command stream").into_inner())
    }

    pub(crate) async fn reports(
        &self,
    ) -> (
        mpsc::Sender<ReportStreamRequest>,
        Streaming<ReportStreamResponse>,
    ) {
        let (say, said) = mpsc::channel(16);
        let bearer = Bearer(self.credential.clone());
        let mut client = ReportServiceClient::with_interceptor(self.channel.clone(), bearer);
        let hear = client.stream(ReceiverStream::new(said)).await;
        (say, hear.expect("a report stream").into_inner())
    }
}

/// What an agent holds.
#[derive(Clone, Default)]
pub(crate) struct Holding {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) resources: BTreeMap<Key, Resource>,
}

fn key(wire: &ResourceKey) -> Key {
    let word = match wire.kind() {
        ResourceKind::Source => "source",
        ResourceKind::Destination => "destination",
        ResourceKind::Unspecified => panic!("a resource without a kind"),
    };
    (word, wire.id.clone())
}

impl Holding {
    pub(crate) fn held(&self) -> Held {
        Held {
            epoch: self.epoch.clone(),
            revision: self.revision,
            digest: self.digest(),
        }
    }

    pub(crate) fn digest(&self) -> String {
        let line = |((kind, id), one): (&Key, &Resource)| format!("{kind} {id} {}\n", one.version);
        hash(&self.resources.iter().map(line).collect::<String>())
    }

    fn take(&mut self, upserts: Vec<Resource>, removals: &[ResourceKey], held: &Held) {
        self.epoch.clone_from(&held.epoch);
        self.revision = held.revision;
        for resource in upserts {
            let key = key(resource.key.as_ref().expect("a resource has a key"));
            self.resources.insert(key, resource);
        }
        for removal in removals {
            self.resources.remove(&key(removal));
        }
    }
}

/// What a message came to, for assertions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Current,
    /// Ids changed and ids removed.
    Delta(Vec<String>, Vec<String>),
    /// Ids, and how many chunks they came in.
    Snapshot(Vec<String>, u32),
}

/// An open configuration stream.
pub(crate) struct Talk {
    pub(crate) say: mpsc::Sender<ConfigurationStreamRequest>,
    pub(crate) hear: Streaming<ConfigurationStreamResponse>,
    pub(crate) held: Holding,
}

impl Talk {
    fn wrap(message: Said) -> ConfigurationStreamRequest {
        ConfigurationStreamRequest {
            message: Some(message),
        }
    }

    pub(crate) async fn say(&mut self, message: Said) {
        self.say
            .send(Self::wrap(message))
            .await
            .expect("an open stream");
    }

    /// The next message that is not a heartbeat, or how the stream ended.
    pub(crate) async fn hear(&mut self) -> Result<Told, Status> {
        loop {
            let heard = within("a word from the control plane", self.hear.message()).await?;
            let heard = heard.ok_or_else(|| Status::new(Code::Ok, "the stream ended"))?;
            match heard.message.expect("a message says something") {
                Told::Heartbeat(_) => {}
                other => return Ok(other),
            }
        }
    }

    /// Takes the next change without answering: what it was, and its nonce.
    pub(crate) async fn take(&mut self) -> (Got, u64) {
        let mut parts = 0;
        let mut all: Vec<Resource> = Vec::new();
        loop {
            match self.hear().await.expect("an open stream") {
                Told::Current(current) => {
                    let held = current.held.expect("current says what is held");
                    let here = (&self.held.epoch, self.held.revision);
                    assert_eq!(
                        (&held.epoch, held.revision),
                        here,
                        "current is what is held"
                    );
                    return (Got::Current, 0);
                }
                Told::Delta(delta) => {
                    assert_eq!(
                        delta.base_revision, self.held.revision,
                        "a delta on what is held"
                    );
                    let held = delta.held.expect("a delta says what it leads to");
                    let changed = names(delta.upserts.iter().filter_map(|one| one.key.as_ref()));
                    let removed = names(delta.removals.iter());
                    self.held.take(delta.upserts, &delta.removals, &held);
                    return (Got::Delta(changed, removed), delta.nonce);
                }
                Told::Snapshot(chunk) => {
                    assert_eq!(chunk.index, parts, "chunks have no gaps");
                    parts += 1;
                    all.extend(chunk.resources);
                    if chunk.last {
                        self.held = Holding::default();
                        let got = names(all.iter().filter_map(|one| one.key.as_ref()));
                        let held = chunk.held.expect("a snapshot says what it is");
                        self.held.take(all, &[], &held);
                        return (Got::Snapshot(got, parts), chunk.nonce);
                    }
                }
                Told::Heartbeat(_) => {}
            }
        }
    }

    /// Takes the next change and acknowledges it.
    pub(crate) async fn apply(&mut self) -> Got {
        let (got, nonce) = self.take().await;
        if got != Got::Current {
            self.ack(nonce).await;
        }
        got
    }

    pub(crate) async fn ack(&mut self, nonce: u64) {
        let held = Some(self.held.held());
        self.say(Said::Ack(Ack { nonce, held })).await;
    }

    /// Refuses a source of the last change: keeps `before` of it.
    pub(crate) async fn refuse(&mut self, nonce: u64, id: &str, before: Option<Resource>) {
        let key = ("source", id.to_owned());
        let refused = self.held.resources.remove(&key).expect("it was sent");
        self.held
            .resources
            .extend(before.map(|before| (key, before)));
        let refusal = Refusal {
            key: refused.key,
            version: refused.version,
            reason: "secret_invalid".to_owned(),
            message: "the secret is no base64".to_owned(),
        };
        let held = Some(self.held.held());
        let refused = vec![refusal];
        self.say(Said::Nack(Nack {
            nonce,
            held,
            refused,
        }))
        .await;
    }

    pub(crate) async fn heartbeat(&mut self, held: Held) {
        let (held, at) = (Some(held), None);
        self.say(Said::Heartbeat(AgentHeartbeat { held, at })).await;
    }

    /// How the stream ends, whatever comes before.
    pub(crate) async fn ending(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a ResourceKey>) -> Vec<String> {
    let mut names: Vec<String> = keys.map(|key| key.id.clone()).collect();
    names.sort();
    names
}
