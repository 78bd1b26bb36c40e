//! `hookplane.agent.v1.EnrolmentService`: a token for an identity.

use hookplane_proto::agent::v1::enrolment_service_server::EnrolmentService;
use hookplane_proto::agent::v1::{EnrollRequest, EnrollResponse};
use hookplane_proto::id::{Id, Kind, MAX_STORE};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::{Code, Request, Response, Status};

use super::{access, status};
use crate::domain::DEFAULT_POOL;
use crate::domain::agent::faults;
use crate::domain::agent_token::TOKEN_PREFIX;
use crate::fleet::Fleet;
use crate::store::agents::Applicant;

const MAX_VERSION: usize = 64;

pub struct Enrolment {
    fleet: Fleet,
}

impl Enrolment {
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    /// Compares hashes, so that neither content nor length of the token shows in the time.
    fn admit_shared(&self, token: &str) -> Result<(), Status> {
        let hash = |text: &str| Sha256::digest(text.as_bytes());
        let known = self.fleet.join_token();
        if known.is_empty() {
            return Err(status::refused(
                Code::Unauthenticated,
                "JOIN_TOKEN_OFF",
                "no agent enrols with a shared join token here",
                "give the agent a token of `hookplane agents tokens create`",
            ));
        }
        if bool::from(hash(token).ct_eq(&hash(known))) {
            return Ok(());
        }
        Err(status::refused(
            Code::Unauthenticated,
            "JOIN_TOKEN_WRONG",
            "the join token is wrong",
            "give the agent the control plane's join token file, or a token of `hookplane agents tokens create`",
        ))
    }
}

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let asked = request.into_inner();
        let token = Some(asked.join_token.as_str()).filter(|text| text.starts_with(TOKEN_PREFIX));
        let token = token.map(str::to_owned);
        if token.is_none() {
            self.admit_shared(&asked.join_token)?;
        }
        let pool = match asked.pool.as_str() {
            "" => DEFAULT_POOL.to_owned(),
            _ => asked.pool,
        };
        let faults = faults(&asked.name, &pool, &asked.credential_hash);
        if !faults.is_empty() {
            return Err(status::invalid(&faults));
        }
        let now = self.fleet.clock().now_millis();
        let millis = u64::try_from(now).unwrap_or(0);
        let applicant = Applicant {
            id: Id::new(Kind::Agent, millis, 0, rand::random()).to_string(),
            name: asked.name,
            pool,
            version: printable(&asked.version).take(MAX_VERSION).collect(),
            credential_hash: asked.credential_hash,
            store: (1..=MAX_STORE)
                .contains(&asked.store)
                .then_some(asked.store),
        };
        let agent = match token {
            Some(token) => access::of(&self.fleet).enrol(&applicant, &token).await?,
            None => self.fleet.agents().enrol(&applicant, now).await?,
        };
        let head = self.fleet.config().head().await?;
        tracing::info!(
            agent.id = %agent.id,
            agent.name = %agent.name,
            agent.pool = %agent.pool,
            agent.store = agent.store,
            "an agent enrolled"
        );
        Ok(Response::new(EnrollResponse {
            agent_id: agent.id,
            store: agent.store,
            epoch: head.epoch,
        }))
    }
}

fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|letter| !letter.is_control())
}
