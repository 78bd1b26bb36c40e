//! Certificates of agents: whether there are any, who gets one, and who signs them.

use hookplane_proto::id::Kind;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use thiserror::Error;

use super::ServiceError;
use super::resource::mint;
use crate::clock::SharedClock;
use crate::domain::agent_authority::pki::{self, CannotSign, Fault, InvalidRequest, Issued};
use crate::domain::agent_authority::{LONGEST_OVERLAP, Signer};
use crate::domain::audit::{Act, Action};
use crate::domain::{Agent, AgentAuthority, Caller, Millis, ResourceKind, Violation};
use crate::store::authorities::Rotated;
use crate::store::{AuthorityStore, Page, PageRequest, StoreError};

/// Whether agents have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nobody gets one, and none is asked for: something in front of the API speaks TLS.
    Off,
    /// Who asks gets one, and from then on has to show it.
    Given,
    /// Every agent has to show one.
    Required,
}

/// Operations on certificates. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    store: AuthorityStore,
    clock: SharedClock,
    policy: Policy,
    life: Millis,
}

/// Why an agent gets no certificate.
#[derive(Debug, Error)]
pub enum CertifyError {
    #[error("this control plane gives agents no certificates")]
    Off,
    #[error("request: {0}")]
    Request(#[from] InvalidRequest),
    #[error("the certificates of the agent `{name}` are for another key")]
    OtherKey { name: String },
    #[error(transparent)]
    Sign(#[from] CannotSign),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an agent is not let in for want of a certificate.
#[derive(Debug, Error)]
pub enum NotCertified {
    #[error("the agent has to show its certificate")]
    Missing,
    #[error("the certificate {0}")]
    Refused(Fault),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no other authority signs.
#[derive(Debug, Error)]
pub enum RotateError {
    #[error("eight authorities are trusted, which is the most")]
    TooMany,
    #[error(transparent)]
    Sign(#[from] CannotSign),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl Certificates {
    #[must_use]
    pub const fn new(
        store: AuthorityStore,
        clock: SharedClock,
        policy: Policy,
        life: Millis,
    ) -> Self {
        Self {
            store,
            clock,
            policy,
            life,
        }
    }

    /// Seconds that a certificate is valid.
    #[must_use]
    pub fn valid_seconds(&self) -> u32 {
        u32::try_from(self.life / 1_000).unwrap_or(u32::MAX)
    }

    /// A certificate for the key that signed the request, if it is the agent's.
    ///
    /// # Errors
    /// [`CertifyError`].
    pub async fn certify(&self, agent: &Agent, request: &[u8]) -> Result<Issued, CertifyError> {
        if self.policy == Policy::Off {
            return Err(CertifyError::Off);
        }
        let request = pki::Request::read(request)?;
        let now = self.clock.now_millis();
        let made = || fresh(now).map_err(CertifyError::from);
        let signer = self.store.signer(made, now).await?;
        let issued = pki::issue(&signer, &request, agent, now, self.life)?;
        let key = request.key_hash();
        if !self.store.bind(agent, &key, issued.expires_at).await? {
            let name = agent.name.clone();
            return Err(CertifyError::OtherKey { name });
        }
        Ok(issued)
    }

    /// Whether an agent may call with what it showed, and until when; `None` for no end.
    ///
    /// # Errors
    /// [`NotCertified`].
    pub async fn admit(
        &self,
        agent: &Agent,
        shown: Option<&CertificateDer<'static>>,
    ) -> Result<Option<Millis>, NotCertified> {
        let demanded = match self.policy {
            Policy::Off => false,
            Policy::Given => agent.certificate_key.is_some(),
            Policy::Required => true,
        };
        if !demanded {
            return Ok(None);
        }
        let shown = shown.ok_or(NotCertified::Missing)?;
        let now = self.clock.now_millis();
        let trusted = self.store.trusted(now).await?;
        let until = pki::judge(shown, &trusted, agent, now);
        until.map(Some).map_err(NotCertified::Refused)
    }

    pub async fn list(&self, page: &PageRequest) -> Result<Page<AgentAuthority>, ServiceError> {
        Ok(self.store.list(page).await?)
    }

    /// Another authority signs from now on; what the others signed is trusted for the overlap, the
    /// life of a certificate when none is given.
    ///
    /// # Errors
    /// [`RotateError`].
    pub async fn rotate(
        &self,
        caller: &Caller,
        overlap_seconds: Option<u32>,
    ) -> Result<AgentAuthority, RotateError> {
        let overlap = overlap_seconds.map_or(self.life, |seconds| Millis::from(seconds) * 1_000);
        if overlap > LONGEST_OVERLAP {
            let text = "an overlap has at most 2,592,000 seconds (30 days)";
            let fault = Violation::new("overlap_seconds", text);
            return Err(ServiceError::from(vec![fault]).into());
        }
        let now = self.clock.now_millis();
        let until = now.saturating_add(overlap);
        let fresh = fresh(now)?;
        let act = Act {
            action: Action::Rotate,
            kind: ResourceKind::AgentAuthority.slug(),
            id: fresh.authority.id.clone(),
            name: fresh.authority.id.clone(),
            revision: None,
            before: None,
            after: Some(json!({
                "certificate": fresh.authority.certificate,
                "others_trusted_until": until,
            })),
            secrets_changed: false,
        };
        let rotated = self
            .store
            .rotate(&caller.into(), fresh, act, (now, until))
            .await
            .map_err(ServiceError::from)?;
        match rotated {
            Rotated::Done(authority) => Ok(authority),
            Rotated::TooMany => Err(RotateError::TooMany),
        }
    }
}

fn fresh(now: Millis) -> Result<Signer, CannotSign> {
    pki::authority(mint(Kind::AgentAuthority, now), now)
}
