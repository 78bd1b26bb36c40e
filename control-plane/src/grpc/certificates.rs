//! `hookplane.agent.v1.CertificateService`: a certificate for an agent that is known.

use hookplane_proto::agent::v1::certificate_service_server::CertificateService;
use hookplane_proto::agent::v1::{CertifyRequest, CertifyResponse};
use tonic::{Code, Request, Response, Status};

use super::agent;
use super::status::refused;
use crate::service::Certificates;
use crate::service::certificates::CertifyError;

pub struct CertificateApi {
    certificates: Certificates,
}

impl CertificateApi {
    #[must_use]
    pub const fn new(certificates: Certificates) -> Self {
        Self { certificates }
    }
}

#[tonic::async_trait]
impl CertificateService for CertificateApi {
    async fn certify(
        &self,
        request: Request<CertifyRequest>,
    ) -> Result<Response<CertifyResponse>, Status> {
        let agent = agent(&request)?;
        let asked = request.into_inner().request;
        let issued = self.certificates.certify(&agent, &asked).await?;
        tracing::info!(agent.id, agent.name, "an agent has a certificate");
        Ok(Response::new(CertifyResponse {
            certificate: issued.certificate,
            valid_seconds: self.certificates.valid_seconds(),
        }))
    }
}

impl From<CertifyError> for Status {
    fn from(error: CertifyError) -> Self {
        let message = error.to_string();
        match error {
            CertifyError::Off => refused(
                Code::Unimplemented,
                "AGENT_CERTIFICATES_OFF",
                message,
                "set agent_certificates on the control plane, which needs TLS on its API",
            ),
            CertifyError::Request(_) => refused(
                Code::InvalidArgument,
                "VALIDATION_FAILED",
                message,
                "agent and control plane do not fit together; upgrade the older one",
            ),
            CertifyError::OtherKey { .. } => refused(
                Code::FailedPrecondition,
                "AGENT_KEY_DIFFERS",
                message,
                "start the agent with the data folder it had, or revoke it and let it enrol with an empty one",
            ),
            CertifyError::Sign(fault) => {
                tracing::error!(error = %fault, "no certificate could be signed");
                refused(
                    Code::Internal,
                    "INTERNAL",
                    message,
                    "look into the control plane's log",
                )
            }
            CertifyError::Store(error) => error.into(),
        }
    }
}
