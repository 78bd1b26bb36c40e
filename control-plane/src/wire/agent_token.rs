//! Tokens for enrolment, as messages.

use hookplane_proto::v1;

use super::timestamp;
use crate::domain::agent_token::Standing;
use crate::domain::{AgentToken, Millis};

/// The message of a stored token, without the token itself.
#[must_use]
pub fn message(token: &AgentToken, now: Millis) -> v1::AgentToken {
    let status = match token.standing(now) {
        Standing::Open => v1::AgentTokenStatus::Open,
        Standing::Used => v1::AgentTokenStatus::Used,
        Standing::Revoked => v1::AgentTokenStatus::Revoked,
        Standing::Expired => v1::AgentTokenStatus::Expired,
    };
    v1::AgentToken {
        id: token.id.clone(),
        team_id: token.team_id.clone(),
        name: token.name.clone(),
        pool: token.pool.clone(),
        token: String::new(),
        status: status.into(),
        created_at: Some(timestamp(token.created_at)),
        expires_at: Some(timestamp(token.expires_at)),
        used_at: token.used_at.map(timestamp),
        used_by_agent_id: token.used_by.clone().unwrap_or_default(),
        revoked_at: token.revoked_at.map(timestamp),
    }
}
