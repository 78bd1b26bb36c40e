//! The configuration of a run and how it changes: one source, up to three connections.

use std::fmt::Write as _;

use hookplane_proto::agent::v1 as wire;
use hookplane_proto::v1;
use sha2::{Digest as _, Sha256};

use crate::plan::{FAULTY, LATER, STEADY};

pub(crate) const TEAM: &str = "tm_1";
pub(crate) const SOURCE: &str = "src_1";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Longer than any answer of a healthy receiver takes.
pub(crate) const TIMEOUT_MILLIS: u32 = 2_000;
const EPOCH: &str = "e";
/// What the history calls it when the faulty destination is disabled.
pub(crate) const DISABLED: &str = "destination disabled";

/// Retries go on for longer than any fault of a run lasts.
const RETRIES: u32 = 50;
const INTERVAL_MILLIS: u64 = 1_000;

/// What a person does during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A connection more.
    Connect,
    /// The faulty receiver is reached elsewhere.
    Redirect(u32),
    EnableSource(bool),
    /// The faulty one.
    EnableDestination(bool),
}

/// What the control plane holds, with the version of each part.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    revision: u64,
    source: Part<bool>,
    connected: bool,
    faulty: Part<bool>,
    path: u32,
    /// Of steady and later.
    receivers: [String; 3],
}

#[derive(Clone, Copy, Debug)]
struct Part<T> {
    version: u64,
    value: T,
}

impl Change {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "a connection more",
            Self::Redirect(_) => "another URL",
            Self::EnableSource(true) => "source enabled",
            Self::EnableSource(false) => "source disabled",
            Self::EnableDestination(true) => "destination enabled",
            Self::EnableDestination(false) => DISABLED,
        }
    }
}

impl Configuration {
    /// `receivers`: base URLs of steady, faulty and later.
    pub(crate) fn new(receivers: [String; 3]) -> Self {
        let part = Part {
            version: 1,
            value: true,
        };
        Self {
            revision: 1,
            source: part,
            connected: false,
            faulty: part,
            path: 0,
            receivers,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.revision += 1;
        match change {
            Change::Connect => {
                self.connected = true;
                self.source.version = self.revision;
            }
            Change::EnableSource(enabled) => {
                self.source = Part {
                    version: self.revision,
                    value: enabled,
                };
            }
            Change::EnableDestination(enabled) => {
                self.faulty = Part {
                    version: self.revision,
                    value: enabled,
                };
            }
            Change::Redirect(path) => {
                self.path = path;
                self.faulty.version = self.revision;
            }
        }
    }

    /// Everything changed after the revision.
    pub(crate) fn since(&self, revision: u64) -> Vec<wire::Resource> {
        let all = self.resources().into_iter();
        all.filter(|resource| resource.version > revision).collect()
    }

    pub(crate) fn resources(&self) -> Vec<wire::Resource> {
        let [steady, faulty, later] = &self.receivers;
        let faulty = format!("{faulty}/{}", self.path);
        vec![
            self.source(),
            destination(STEADY, 1, steady, true),
            destination(FAULTY, self.faulty.version, &faulty, self.faulty.value),
            destination(LATER, 1, later, true),
        ]
    }

    fn source(&self) -> wire::Resource {
        let to = if self.connected {
            &[STEADY, FAULTY, LATER][..]
        } else {
            &[STEADY, FAULTY]
        };
        let signed = v1::ProviderSignature {
            provider: v1::SourceType::Clerk.into(),
            webhook_signing_secrets: vec![SECRET.into()],
            terms: Vec::new(),
        };
        let scheme = v1::source_auth::Scheme::ProviderSignature(signed);
        let mut source = v1::Source {
            id: SOURCE.into(),
            team_id: TEAM.into(),
            name: SOURCE.into(),
            config: Some(v1::SourceConfig {
                auth: Some(v1::SourceAuth {
                    scheme: Some(scheme),
                }),
                ..v1::SourceConfig::default()
            }),
            ..v1::Source::default()
        };
        source.set_type(v1::SourceType::Clerk);
        if !self.source.value {
            source.set_status(v1::SourceStatus::Disabled);
        }
        let group = wire::SourceGroup {
            source: Some(source),
            connections: to.iter().map(|to| connection(to)).collect(),
            handler_keys: Vec::new(),
        };
        wire::Resource {
            key: Some(key(wire::ResourceKind::Source, SOURCE)),
            version: self.source.version,
            body: Some(wire::resource::Body::Source(group)),
        }
    }

    /// Epoch, revision and the digest of all resources, as the protocol defines it.
    pub(crate) fn held(&self) -> wire::Held {
        let mut lines: Vec<String> = Vec::new();
        for resource in self.resources() {
            let key = resource.key.unwrap_or_default();
            let kind = match key.kind() {
                wire::ResourceKind::Source => "source",
                _ => "destination",
            };
            lines.push(format!("{kind} {} {}\n", key.id, resource.version));
        }
        lines.sort_unstable();
        let digest = Sha256::digest(lines.concat());
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes everything");
            hex
        });
        wire::Held {
            epoch: EPOCH.into(),
            revision: self.revision,
            digest: hex,
        }
    }
}

pub(crate) fn connection_id(to: &str) -> String {
    format!("web_{to}")
}

fn connection(to: &str) -> v1::Connection {
    let retry = v1::RetryRule {
        strategy: v1::RetryStrategy::Linear.into(),
        count: RETRIES,
        interval: INTERVAL_MILLIS,
        ..v1::RetryRule::default()
    };
    v1::Connection {
        id: connection_id(to),
        name: to.into(),
        source_id: SOURCE.into(),
        destination_id: to.into(),
        rules: vec![v1::Rule {
            rule: Some(v1::rule::Rule::Retry(retry)),
        }],
        ..v1::Connection::default()
    }
}

fn destination(id: &str, version: u64, url: &str, enabled: bool) -> wire::Resource {
    let config = v1::DestinationConfig {
        url: url.into(),
        path_forwarding_disabled: true,
        timeout_ms: TIMEOUT_MILLIS,
        ..v1::DestinationConfig::default()
    };
    let destination = v1::Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        config: Some(config),
        disabled_at: (!enabled).then(prost_types::Timestamp::default),
        ..v1::Destination::default()
    };
    wire::Resource {
        key: Some(key(wire::ResourceKind::Destination, id)),
        version,
        body: Some(wire::resource::Body::Destination(destination)),
    }
}

fn key(kind: wire::ResourceKind, id: &str) -> wire::ResourceKey {
    wire::ResourceKey {
        kind: kind.into(),
        id: id.into(),
    }
}
