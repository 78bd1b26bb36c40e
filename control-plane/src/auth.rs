//! Who calls: every method is refused unless its caller proved itself.
//!
//! Owns the rule which methods need an API key, which an agent's credential and
//! which nothing. Closed by default: a path that no rule names is refused.

mod refusals;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tonic::{Code, Status};

use crate::domain::Agent;
use crate::domain::api_key::{self, CREDENTIAL_PREFIX, KEY_PREFIX};
use crate::grpc::status::refused;
use crate::store::{AgentStore, KeyStore};
use refusals::Refusals;

/// The holder of an API key, in the extensions of every request to `hookplane.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub team_id: String,
    pub key_id: String,
}

/// The agent that calls, in the extensions of every request to
/// `hookplane.agent.v1` but the enrolment.
#[derive(Clone, Debug)]
pub struct AgentIdentity(pub Agent);

/// Looks up who holds a key or a credential. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    keys: KeyStore,
    agents: AgentStore,
    refusals: Arc<Refusals>,
}

/// What a path demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    ApiKey,
    Agent,
    Nothing,
    Closed,
}

impl Authenticator {
    #[must_use]
    pub fn new(keys: KeyStore, agents: AgentStore) -> Self {
        Self {
            keys,
            agents,
            refusals: Arc::default(),
        }
    }

    /// Judges the caller of a gRPC method by the head of the call, and leaves who
    /// it is in the extensions. Extensions come from this process only, so
    /// who was admitted there already is not looked up again.
    ///
    /// # Errors
    /// What the caller is told.
    pub async fn admit(&self, method: &str, head: &mut Parts) -> Result<(), Status> {
        let verdict = self.judge(method, head).await;
        if let Err(refusal) = &verdict
            && refusal.code() == Code::Unauthenticated
        {
            self.refusals.tell(method, refusal);
        }
        verdict
    }

    async fn judge(&self, method: &str, head: &mut Parts) -> Result<(), Status> {
        match demand(method) {
            Demand::Nothing => Ok(()),
            Demand::ApiKey if head.extensions.get::<Caller>().is_some() => Ok(()),
            Demand::ApiKey => {
                let caller = self.caller(bearer(&head.headers)).await?;
                head.extensions.insert(caller);
                Ok(())
            }
            Demand::Agent => {
                let agent = self.agent(bearer(&head.headers)).await?;
                head.extensions.insert(agent);
                Ok(())
            }
            Demand::Closed => Err(Status::unimplemented("there is no such method")),
        }
    }

    async fn agent(&self, token: Option<&str>) -> Result<AgentIdentity, Status> {
        let known = match token.filter(|token| token.starts_with(CREDENTIAL_PREFIX)) {
            Some(token) => self.agents.by_credential(&api_key::hash(token)).await?,
            None => return Err(foreign("an agent's credential is needed")),
        };
        known
            .map(AgentIdentity)
            .ok_or_else(|| foreign("the credential is not known"))
    }

    async fn caller(&self, token: Option<&str>) -> Result<Caller, Status> {
        let Some(token) = token else {
            return Err(unauthenticated("an API key is needed"));
        };
        if token.starts_with(CREDENTIAL_PREFIX) || !token.starts_with(KEY_PREFIX) {
            return Err(unauthenticated(
                "this is no API key; one starts with `hpk_`",
            ));
        }
        // The look-up is by hash, so its time tells nothing about the key.
        match self.keys.by_hash(&api_key::hash(token)).await? {
            Some(key) if key.revoked_at.is_none() => Ok(Caller {
                team_id: key.team_id,
                key_id: key.id,
            }),
            Some(_) => Err(unauthenticated("the API key was revoked")),
            None => Err(unauthenticated("the API key is not known")),
        }
    }
}

/// The layer in front of every gRPC method.
pub async fn authenticate(
    State(authenticator): State<Authenticator>,
    request: Request,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    let method = head.uri.path().to_owned();
    match authenticator.admit(&method, &mut head).await {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(refusal) => refusal.into_http(),
    }
}

fn demand(path: &str) -> Demand {
    let service = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    match service {
        // The join token is inside the message.
        "hookplane.agent.v1.EnrolmentService" => Demand::Nothing,
        // Replicas show each other a token, which the service compares.
        "hookplane.replica.v1.RelayService" => Demand::Nothing,
        "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection" => Demand::Nothing,
        agent if agent.starts_with("hookplane.agent.v1.") => Demand::Agent,
        api if api.starts_with("hookplane.v1.") => Demand::ApiKey,
        _ => Demand::Closed,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn foreign(message: &str) -> Status {
    let hint = "enrol the agent with the join token; it keeps its credential in its data folder";
    refused(Code::Unauthenticated, "UNAUTHENTICATED", message, hint)
}

fn unauthenticated(message: &str) -> Status {
    let hint =
        "send `Authorization: Bearer hpk_…`; the first key is in the file that the start names";
    refused(Code::Unauthenticated, "UNAUTHENTICATED", message, hint)
}
