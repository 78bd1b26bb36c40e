//! Keys of handlers, both ways.

use hookplane_proto::{agent, v1};

use super::timestamp;
use crate::domain::handler_key::HandlerKeyDraft;
use crate::domain::{HandlerKey, KnownHandlerKey};

/// The message of a stored key, without the key itself.
#[must_use]
pub fn message(key: &HandlerKey) -> v1::HandlerKey {
    let status = match key.revoked_at {
        Some(_) => v1::HandlerKeyStatus::Revoked,
        None => v1::HandlerKeyStatus::Active,
    };
    v1::HandlerKey {
        id: key.id.clone(),
        team_id: key.team_id.clone(),
        name: key.name.clone(),
        masked_key: key.masked.clone(),
        key: String::new(),
        status: status.into(),
        source_ids: key.source_ids.clone(),
        created_at: Some(timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(timestamp),
        revision: key.revision,
    }
}

#[must_use]
pub fn draft(message: v1::CreateHandlerKeyRequest) -> HandlerKeyDraft {
    HandlerKeyDraft {
        name: message.name,
        source_ids: message.source_ids,
    }
}

/// As agents get it. A hash that is none opens nothing there.
#[must_use]
pub fn known(key: &KnownHandlerKey) -> agent::v1::KnownHandlerKey {
    agent::v1::KnownHandlerKey {
        id: key.id.clone(),
        sha256: hex::decode(&key.hash).unwrap_or_default(),
    }
}
