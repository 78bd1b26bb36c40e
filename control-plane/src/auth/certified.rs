//! Agents prove themselves by their credential and, if they have one, their certificate.
//!
//! Owns what an agent's call is refused with. Invariant: both are judged at each call, so that a
//! certificate ends with its term, its authority or its agent, on connections that are open, too.

use rustls_pki_types::CertificateDer;
use tonic::{Code, Status};

use super::{AgentIdentity, Authenticator, Ticket};
use crate::domain::agent_authority::pki::Fault;
use crate::domain::api_key::{self, CREDENTIAL_PREFIX};
use crate::grpc::status::fleet::agent_revoked;
use crate::grpc::status::refused;
use crate::listener::PeerCertificate;
use crate::service::certificates::NotCertified;

impl Authenticator {
    /// The agent with this credential, whatever else it shows.
    pub(super) async fn credential(&self, token: Option<&str>) -> Result<AgentIdentity, Status> {
        let known = match token.filter(|token| token.starts_with(CREDENTIAL_PREFIX)) {
            Some(token) => self.agents.by_credential(&api_key::hash(token)).await?,
            None => return Err(foreign("an agent's credential is needed")),
        };
        let agent = known.ok_or_else(|| foreign("the credential is not known"))?;
        match agent.revoked_at {
            Some(_) => Err(agent_revoked()),
            None => Ok(AgentIdentity(agent)),
        }
    }

    /// The agent with this credential and the certificate that it has.
    pub(super) async fn agent(
        &self,
        token: Option<&str>,
        peer: Option<&PeerCertificate>,
    ) -> Result<(AgentIdentity, Ticket), Status> {
        // The credential first: who is not known at all has to enrol, and gets another certificate.
        let agent = self.credential(token).await?;
        let shown: Option<&CertificateDer<'static>> = peer.map(|peer| &*peer.0);
        let admitted = self.certificates.admit(&agent.0, shown).await;
        let until = admitted.map_err(uncertified)?;
        let ticket = Ticket::Agent {
            id: agent.0.id.clone(),
            admitted_at: self.clock.now_millis(),
            until,
        };
        Ok((agent, ticket))
    }
}

fn foreign(message: &str) -> Status {
    let hint = "enrol the agent with a token; it keeps its credential in its data folder";
    refused(Code::Unauthenticated, "UNAUTHENTICATED", message, hint)
}

/// PERMISSION_DENIED, because at UNAUTHENTICATED an agent enrols again. By the reason it knows that
/// another certificate will do.
fn uncertified(why: NotCertified) -> Status {
    let message = why.to_string();
    let (reason, hint) = match why {
        NotCertified::Store(error) => return error.into(),
        NotCertified::Missing => (
            "AGENT_CERTIFICATE_MISSING",
            "agents show it when they dial the control plane by https; nothing between them may end TLS",
        ),
        NotCertified::Refused(Fault::Foreign) => (
            "AGENT_CERTIFICATE_FOREIGN",
            "do two agents share a data folder? each needs its own",
        ),
        NotCertified::Refused(Fault::Early) => (
            "AGENT_CERTIFICATE_EARLY",
            "the clocks of the control plane's hosts are apart; set them right",
        ),
        NotCertified::Refused(Fault::Expired) => (
            "AGENT_CERTIFICATE_EXPIRED",
            "the agent asks for a new one by itself",
        ),
        NotCertified::Refused(Fault::Untrusted | Fault::Unreadable) => (
            "AGENT_CERTIFICATE_UNTRUSTED",
            "the agent asks for a new one by itself",
        ),
    };
    refused(Code::PermissionDenied, reason, message, hint)
}

/// The certificate that a stream was opened with is no longer valid.
pub(super) fn expired() -> Status {
    uncertified(NotCertified::Refused(Fault::Expired))
}
