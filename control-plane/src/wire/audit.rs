//! Audit entries, on the way out.

use hookplane_proto::v1;

use super::{timestamp, value};
use crate::domain::audit::Entry;

/// The message of an entry, without how agents stand to it.
#[must_use]
pub fn message(entry: Entry) -> v1::AuditEntry {
    // What does not parse was not written here; checking the record tells.
    let state = |text: String| serde_json::from_str(&text).ok().map(value::wire);
    v1::AuditEntry {
        sequence: entry.sequence,
        at: Some(timestamp(entry.at)),
        key_id: entry.actor.key_id,
        key_name: entry.actor.key_name,
        action: entry.action,
        resource_type: entry.kind,
        resource_id: entry.id,
        resource_name: entry.name,
        revision: entry.revision.unwrap_or(0),
        epoch: entry.epoch,
        before: entry.before.and_then(state),
        after: entry.after.and_then(state),
        secrets_changed: entry.secrets_changed,
        agents: Vec::new(),
    }
}
