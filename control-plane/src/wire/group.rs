//! A source with its connections and keys, as agents get it: secrets revealed.

use hookplane_proto::agent::v1;

use super::{Secrets, connection, handler_key, source};
use crate::store::SourceGroup;

/// The message for agents.
#[must_use]
pub fn message(group: &SourceGroup, ingest_base: &str) -> v1::SourceGroup {
    let source = source::message(&group.source, ingest_base, Secrets::Revealed);
    v1::SourceGroup {
        source: Some(source),
        connections: group.connections.iter().map(connection::message).collect(),
        handler_keys: group.handler_keys.iter().map(handler_key::known).collect(),
    }
}
