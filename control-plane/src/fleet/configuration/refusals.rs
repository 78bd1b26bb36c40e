//! What agents refuse, between its wire form and the one that is kept.

use hookplane_proto::agent::v1::Refusal;

use crate::domain::RefusedResource;
use crate::fleet::held::{Key, Kind};
use crate::fleet::view::read_key;

/// Characters of a text that are kept.
const MAX_TEXT: usize = 1_000;

/// The version that is parked, by its key.
pub(super) fn parked_key(refused: &RefusedResource) -> Option<(Key, u64)> {
    let kind = [Kind::Destination, Kind::Source]
        .into_iter()
        .find(|kind| kind.word() == refused.kind)?;
    Some((Key::new(kind, &refused.id), refused.version))
}

/// `None` for a kind that is not known.
pub(super) fn refusal(wire: Refusal) -> Option<RefusedResource> {
    let key = read_key(wire.key.as_ref()?)?;
    Some(RefusedResource {
        kind: key.kind.word().to_owned(),
        id: shortened(&key.id),
        version: wire.version,
        reason: shortened(&wire.reason),
        message: shortened(&wire.message),
        unsent: false,
    })
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
