//! An agent that reads everything: times a snapshot and checks what it adds up to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hookplane_proto::agent::v1::configuration_stream_request::Message as Said;
use hookplane_proto::agent::v1::configuration_stream_response::Message as Told;
use hookplane_proto::agent::v1::{
    ConfigurationStreamRequest, ConfigurationStreamResponse, Hello, ResourceKind,
};
use hookplane_proto::capability;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::agent::dial;
use super::{Fault, wire};

/// A snapshot as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    /// From the hello to the last part, decoded.
    pub(crate) took: Duration,
    pub(crate) bytes: usize,
    pub(crate) resources: usize,
}

/// Opens a stream as an agent that holds nothing, and checks the digest of what it gets.
pub(crate) async fn snapshot(api: &str, credential: &str) -> Result<Snapshot, Fault> {
    let channel = dial(api).await?;
    let (out, rest) = tokio::sync::mpsc::channel(1);
    let hello = Said::Hello(Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: capability::all()
            .iter()
            .map(|one| (*one).to_owned())
            .collect(),
        held: None,
    });
    let message = Some(hello);
    out.send(ConfigurationStreamRequest { message }).await?;
    let began = Instant::now();
    let rest = ReceiverStream::new(rest);
    let opened = wire::open::<ConfigurationStreamResponse>(channel, credential, rest);
    let mut told = opened.await?;
    let mut held = BTreeMap::new();
    let mut bytes = 0;
    while let Some(message) = told.message().await? {
        bytes += message.encoded_len();
        let Some(Told::Snapshot(chunk)) = message.message else {
            continue;
        };
        for resource in chunk.resources {
            let key = resource.key.unwrap_or_default();
            let kind = match key.kind() {
                ResourceKind::Destination => "destination",
                _ => "source",
            };
            held.insert((kind, key.id), resource.version);
        }
        if chunk.last {
            let took = began.elapsed();
            let wanted = chunk.held.unwrap_or_default().digest;
            if digest(&held) != wanted {
                return Err("the digest does not fit what was sent".into());
            }
            let resources = held.len();
            return Ok(Snapshot {
                took,
                bytes,
                resources,
            });
        }
    }
    Err("the stream ended before the last part".into())
}

fn digest(held: &BTreeMap<(&str, String), u64>) -> String {
    let mut lines = String::new();
    for ((kind, id), version) in held {
        // Writing into a text cannot fail.
        writeln!(lines, "{kind} {id} {version}").unwrap_or_default();
    }
    hex::encode(Sha256::digest(lines))
}
