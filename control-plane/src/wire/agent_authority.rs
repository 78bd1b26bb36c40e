//! Authorities of agents' certificates, as messages.

use hookplane_proto::v1;

use super::timestamp;
use crate::domain::agent_authority::Standing;
use crate::domain::{AgentAuthority, Millis};

#[must_use]
pub fn message(authority: &AgentAuthority, now: Millis) -> v1::AgentAuthority {
    let status = match authority.standing(now) {
        Standing::Signing => v1::AgentAuthorityStatus::Signing,
        Standing::Trusted => v1::AgentAuthorityStatus::Trusted,
        Standing::Ended => v1::AgentAuthorityStatus::Ended,
    };
    v1::AgentAuthority {
        id: authority.id.clone(),
        status: status.into(),
        certificate: authority.certificate.clone(),
        created_at: Some(timestamp(authority.created_at)),
        expires_at: Some(timestamp(authority.expires_at)),
        trusted_until: authority.trusted_until.map(timestamp),
    }
}
