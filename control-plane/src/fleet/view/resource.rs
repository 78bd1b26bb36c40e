//! One resource in its wire form, secrets revealed, encoded once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hookplane_proto::agent::v1::{Resource, ResourceKey, ResourceKind, resource};
use hookplane_proto::capability;
use prost::Message as _;

use crate::domain::Destination;
use crate::fleet::held::{Key, Kind};
use crate::store;
use crate::wire::{self, Secrets, destination};

/// Encoded, with what others need to know of it. Has no `Debug` on purpose.
pub(super) struct Prepared {
    pub(super) version: u64,
    pub(super) encoded: Bytes,
    /// Destinations that the connections of a source lead to.
    pub(super) refers: Vec<Arc<str>>,
    /// Capabilities without which an agent would not do what it says.
    pub(super) needs: BTreeSet<&'static str>,
}

impl Prepared {
    pub(super) fn destination(key: &Key, to: &Destination) -> Arc<Self> {
        let message = destination::message(to, Secrets::Revealed);
        let body = resource::Body::Destination(message);
        Self::new(key, to.revision, body, Vec::new())
    }

    pub(super) fn source(key: &Key, group: &store::SourceGroup, ingest_base: &str) -> Arc<Self> {
        let branches = group.connections.iter();
        let refers = branches.map(|one| one.destination_id.as_str().into());
        let refers = refers.collect();
        let body = resource::Body::Source(wire::group::message(group, ingest_base));
        Self::new(key, group.version, body, refers)
    }

    fn new(key: &Key, version: u64, body: resource::Body, refers: Vec<Arc<str>>) -> Arc<Self> {
        let resource = Resource {
            key: Some(wire_key(key)),
            version,
            body: Some(body),
        };
        let encoded: Bytes = resource.encode_to_vec().into();
        let needs = capability::needs(&encoded);
        Arc::new(Self {
            version,
            encoded,
            refers,
            needs,
        })
    }
}

/// A key in its wire form.
pub(in crate::fleet) fn wire_key(key: &Key) -> ResourceKey {
    let kind = match key.kind {
        Kind::Destination => ResourceKind::Destination,
        Kind::Source => ResourceKind::Source,
    };
    ResourceKey {
        kind: kind.into(),
        id: key.id.to_string(),
    }
}

/// A key from its wire form; `None` for a kind that is not known.
pub(in crate::fleet) fn read_key(wire: &ResourceKey) -> Option<Key> {
    let kind = match wire.kind() {
        ResourceKind::Destination => Kind::Destination,
        ResourceKind::Source => Kind::Source,
        ResourceKind::Unspecified => return None,
    };
    Some(Key::new(kind, &wire.id))
}
