//! Who calls: every method is refused unless its caller proved itself and may call it.
//!
//! Owns how callers prove themselves, and what a key's limits mean: scope,
//! expiry, pace, size of a body. Which method needs what is the table in
//! [`rules`]. Closed by default: a path that no rule names is refused.
//!
//! Invariant: nothing about a key is remembered from one call to the next, so a
//! revoked one is refused at once on every replica; its streams end within a second. The same
//! holds for agents.

mod cap;
mod certified;
mod pace;
mod refusals;
pub mod rules;
mod streams;
mod uses;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::clock::SharedClock;
pub use crate::domain::Caller;
use crate::domain::api_key::{self, CREDENTIAL_PREFIX, KEY_PREFIX, Standing};
use crate::domain::{Agent, ApiKey, Millis, Scope};
use crate::grpc::status::fleet::agent_revoked;
use crate::grpc::status::{lacking, refused, slow_down};
use crate::listener::PeerCertificate;
use crate::rest::BodyCap;
use crate::service::Certificates;
use crate::store::{AgentStore, KeyStore, StoreError};
use pace::Pace;
use refusals::Refusals;
use rules::{Demand, demand};
use streams::{Open, Streams};
use uses::Uses;

/// How often the keys of open streams are looked at.
const LOOK: Duration = Duration::from_millis(400);
/// How far the clocks of two replicas may be apart.
const CLOCKS_APART: Millis = 60_000;
/// After this many looks the last uses are written.
const LOOKS_PER_NOTE: u32 = 25;

/// The agent that calls, in the extensions of every request to
/// `hookplane.agent.v1` but the enrolment.
#[derive(Clone, Debug)]
pub struct AgentIdentity(pub Agent);

/// With what a caller was admitted, so that it can be judged again.
#[derive(Clone, Debug)]
enum Ticket {
    Key(KeyTicket),
    Agent {
        id: String,
        admitted_at: Millis,
        /// End of the certificate it showed.
        until: Option<Millis>,
    },
}

/// Why a stream is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The key is no longer in force for it.
    Key,
    Revoked,
    /// The agent's certificate has expired.
    Certificate,
}

impl Why {
    fn status(self) -> Status {
        match self {
            Self::Key => unauthenticated("the API key is no longer in force for this stream"),
            Self::Revoked => agent_revoked(),
            Self::Certificate => certified::expired(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyTicket {
    /// Of the secret that was sent.
    hash: String,
    scope: Scope,
}

/// Looks up who holds a key or a credential. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    keys: KeyStore,
    agents: AgentStore,
    certificates: Certificates,
    clock: SharedClock,
    shared: Arc<Shared>,
}

struct Shared {
    refusals: Refusals,
    pace: Pace,
    uses: Uses,
    streams: Arc<Streams>,
    /// Paths of methods that answer with a stream.
    streaming: HashSet<String>,
}

impl Authenticator {
    #[must_use]
    pub fn new(
        keys: KeyStore,
        agents: AgentStore,
        certificates: Certificates,
        clock: SharedClock,
    ) -> Self {
        let shared = Shared {
            refusals: Refusals::default(),
            pace: Pace::default(),
            uses: Uses::default(),
            streams: Arc::default(),
            streaming: streaming(),
        };
        Self {
            keys,
            agents,
            certificates,
            clock,
            shared: Arc::new(shared),
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
            self.shared.refusals.tell(method, refusal);
        }
        verdict
    }

    async fn judge(&self, method: &str, head: &mut Parts) -> Result<(), Status> {
        match demand(method) {
            Demand::Nothing => Ok(()),
            Demand::Key(_) if head.extensions.get::<Caller>().is_some() => Ok(()),
            Demand::Key(scope) => self.admit_key(scope, head).await,
            Demand::Agent => {
                let peer = head.extensions.get::<PeerCertificate>();
                let (agent, ticket) = self.agent(bearer(&head.headers), peer).await?;
                head.extensions.insert(ticket);
                head.extensions.insert(agent);
                Ok(())
            }
            Demand::Credential => {
                let agent = self.credential(bearer(&head.headers)).await?;
                head.extensions.insert(agent);
                Ok(())
            }
            Demand::Unruled => {
                let hash = api_key::hash(key_text(bearer(&head.headers))?);
                self.key_in_force(&hash).await?;
                Err(Status::unimplemented("there is no such method"))
            }
            Demand::Closed => Err(Status::unimplemented("there is no such method")),
        }
    }

    async fn admit_key(&self, scope: Scope, head: &mut Parts) -> Result<(), Status> {
        let hash = api_key::hash(key_text(bearer(&head.headers))?);
        let now = self.clock.now_millis();
        let key = self.key_in_force(&hash).await?;
        if !key.grant.scopes.has(scope) {
            return Err(lacking(scope));
        }
        let rate = key.grant.rate_per_minute;
        let paced = self.shared.pace.admit(&key.id, rate, Instant::now());
        paced.map_err(|wait| slow_down(rate, wait))?;
        self.shared.uses.note(&key, now);
        if key.grant.max_body_bytes > 0 {
            let cap = key.grant.max_body_bytes;
            head.extensions.insert(BodyCap(cap));
        }
        head.extensions
            .insert(Ticket::Key(KeyTicket { hash, scope }));
        head.extensions.insert(Caller {
            team_id: key.team_id,
            key_id: key.id,
            key_name: key.name,
            grant: key.grant,
        });
        Ok(())
    }

    /// The look-up is by hash, so its time tells nothing about the key.
    async fn key_in_force(&self, hash: &str) -> Result<ApiKey, Status> {
        let now = self.clock.now_millis();
        let found = self.keys.by_hash(hash, now).await?;
        let key = found.ok_or_else(|| unauthenticated("the API key is not known"))?;
        match key.standing(now) {
            Standing::Active => Ok(key),
            Standing::Revoked => Err(unauthenticated("the API key was revoked")),
            Standing::Expired => Err(unauthenticated("the API key has expired")),
        }
    }

    /// Ends streams whose key is no longer in force, whose agent was revoked or whose certificate
    /// has expired, and notes when keys were
    /// used, until `shutdown`.
    pub async fn attend(&self, shutdown: CancellationToken) {
        let mut looks = 0;
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.end_streams().await;
            looks += 1;
            if looks % LOOKS_PER_NOTE == 0 || shutdown.is_cancelled() {
                self.note_uses().await;
            }
        }
    }

    async fn end_streams(&self) {
        // Several streams of one key are one question.
        let mut verdicts: HashMap<_, bool> = HashMap::new();
        let open = self.shared.streams.open();
        let revoked = self.revoked(&open).await;
        let now = self.clock.now_millis();
        for open in open {
            let why = match &open.ticket {
                Ticket::Agent { id, .. } if revoked.contains(id) => Some(Why::Revoked),
                Ticket::Agent { until, .. } => until
                    .is_some_and(|until| until <= now)
                    .then_some(Why::Certificate),
                Ticket::Key(ticket) => {
                    let in_force = match verdicts.get(ticket) {
                        Some(known) => *known,
                        None => {
                            let in_force = self.still_admits(ticket).await;
                            verdicts.insert(ticket.clone(), in_force);
                            in_force
                        }
                    };
                    (!in_force).then_some(Why::Key)
                }
            };
            if let Some(why) = why {
                open.stop(why);
            }
        }
    }

    /// Agents that were revoked since the oldest of these streams was admitted: one question
    /// for the whole fleet.
    async fn revoked(&self, open: &[Open]) -> HashSet<String> {
        let admitted = open.iter().filter_map(|one| match one.ticket {
            Ticket::Agent { admitted_at, .. } => Some(admitted_at),
            Ticket::Key(_) => None,
        });
        let Some(oldest) = admitted.min() else {
            return HashSet::new();
        };
        let found = self.agents.revoked_since(oldest - CLOCKS_APART).await;
        // A database that is away says nothing about an agent.
        found.unwrap_or_default().into_iter().collect()
    }

    async fn still_admits(&self, ticket: &KeyTicket) -> bool {
        match self.key_in_force(&ticket.hash).await {
            Ok(key) => key.grant.scopes.has(ticket.scope),
            // A database that is away says nothing about a key.
            Err(refusal) => refusal.code() != Code::Unauthenticated,
        }
    }

    async fn note_uses(&self) {
        let uses = self.shared.uses.take();
        if uses.is_empty() {
            return;
        }
        let noted: Result<(), StoreError> = self.keys.note_uses(uses).await;
        if let Err(error) = noted {
            tracing::warn!(error = %error, "the last uses of API keys could not be noted");
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
    if let Err(refusal) = authenticator.admit(&method, &mut head).await {
        return refusal.into_http();
    }
    let body = match head.extensions.get::<BodyCap>() {
        Some(cap) => cap::capped(body, cap.0),
        None => body,
    };
    let shared = &authenticator.shared;
    let ticket = head.extensions.remove::<Ticket>();
    let response = next.run(Request::from_parts(head, body)).await;
    match ticket.filter(|_| shared.streaming.contains(&method)) {
        Some(ticket) => shared.streams.watch(ticket, response),
        None => response,
    }
}

fn streaming() -> HashSet<String> {
    hookplane_proto::descriptor_pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(prost_reflect::MethodDescriptor::is_server_streaming)
        .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
        .collect()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn key_text(token: Option<&str>) -> Result<&str, Status> {
    let token = token.ok_or_else(|| unauthenticated("an API key is needed"))?;
    if token.starts_with(CREDENTIAL_PREFIX) || !token.starts_with(KEY_PREFIX) {
        return Err(unauthenticated(
            "this is no API key; one starts with `hpk_`",
        ));
    }
    Ok(token)
}

fn unauthenticated(message: &str) -> Status {
    let hint =
        "send `Authorization: Bearer hpk_…`; the first key is in the file that the start names";
    refused(Code::Unauthenticated, "UNAUTHENTICATED", message, hint)
}
