//! API keys, on the way out.

use hookplane_proto::v1;

use super::timestamp;
use crate::domain::ApiKey;

/// The message of a stored key, without the key itself.
#[must_use]
pub fn message(key: &ApiKey) -> v1::ApiKey {
    let status = if key.revoked_at.is_none() {
        v1::ApiKeyStatus::Active
    } else {
        v1::ApiKeyStatus::Revoked
    };
    v1::ApiKey {
        id: key.id.clone(),
        team_id: key.team_id.clone(),
        name: key.name.clone(),
        masked_key: key.masked.clone(),
        key: String::new(),
        status: status.into(),
        created_at: Some(timestamp(key.created_at)),
        revoked_at: key.revoked_at.map(timestamp),
    }
}
