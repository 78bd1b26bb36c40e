//! API keys, both ways.

use hookplane_proto::v1;
use prost_types::Timestamp;

use super::{millis, timestamp};
use crate::domain::api_key::{KeyDraft, Standing};
use crate::domain::{ApiKey, Millis, Scope, Scopes, Violation};

/// The message of a stored key, without the key itself.
#[must_use]
pub fn message(key: &ApiKey, now: Millis) -> v1::ApiKey {
    let status = match key.standing(now) {
        Standing::Active => v1::ApiKeyStatus::Active,
        Standing::Revoked => v1::ApiKeyStatus::Revoked,
        Standing::Expired => v1::ApiKeyStatus::Expired,
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
        scopes: scopes(key.grant.scopes),
        expires_at: key.grant.expires_at.map(timestamp),
        last_used_at: key.last_used_at.map(timestamp),
        rate_limit_per_minute: key.grant.rate_per_minute,
        max_body_bytes: key.grant.max_body_bytes,
        rotated_at: key.rotated_at.map(timestamp),
        previous_valid_until: key.previous_until.map(timestamp),
    }
}

/// What a message asks for a new key.
///
/// # Errors
/// A [`Violation`] for a scope that there is not.
pub fn draft(message: v1::CreateApiKeyRequest) -> Result<KeyDraft, Vec<Violation>> {
    Ok(KeyDraft {
        name: Some(message.name),
        scopes: asked_scopes(&message.scopes)?,
        expires_at: expiry(message.expires_at, false),
        rate_per_minute: message.rate_limit_per_minute,
        max_body_bytes: message.max_body_bytes,
    })
}

/// What a message asks to change.
///
/// # Errors
/// A [`Violation`] for a scope that there is not.
pub fn edit(message: v1::UpdateApiKeyRequest) -> Result<KeyDraft, Vec<Violation>> {
    Ok(KeyDraft {
        name: message.name,
        scopes: asked_scopes(&message.scopes)?,
        expires_at: expiry(message.expires_at, message.never_expires),
        rate_per_minute: message.rate_limit_per_minute,
        max_body_bytes: message.max_body_bytes,
    })
}

fn scopes(scopes: Scopes) -> Vec<String> {
    scopes
        .iter()
        .map(|scope| scope.as_str().to_owned())
        .collect()
}

fn asked_scopes(names: &[String]) -> Result<Option<Scopes>, Vec<Violation>> {
    if names.is_empty() {
        return Ok(None);
    }
    let parsed = Scopes::parse(names.iter().map(String::as_str));
    parsed.map(Some).map_err(|unknown| {
        let known = Scope::ALL.map(Scope::as_str).join(", ");
        let fault = format!("`{unknown}` is none of {known}");
        vec![Violation::new("scopes", fault)]
    })
}

fn expiry(given: Option<Timestamp>, never: bool) -> Option<Option<Millis>> {
    match given {
        Some(at) => Some(Some(millis(at))),
        None => never.then_some(None),
    }
}
