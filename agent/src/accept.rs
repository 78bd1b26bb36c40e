//! The accepting half of the agent: ingest → verify → route → store → answer,
//! read from top to bottom.
//!
//! Owns the order of the stages and their bounds: requests in flight, evidence
//! of refusals per source. Every path ends in exactly one answer.

mod handlers;
mod keep;
mod quota;
mod reject;
mod respond;
pub mod server;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::config::{Configuration, CurrentConfiguration};
use crate::ids::{IdMint, StoreIds};
use crate::ingest::{Budget, BudgetLimits, Client, Pace, Share};
use crate::meter::{Ending, Meter};
use crate::settings::Settings;
use crate::store::{NewRequest, Store, stage};
use crate::{ingest, route, verify};

use keep::Keeping;
use server::open::OpenConnections;

pub use server::{Certificates, InvalidCertificate, Listener, TlsListener, serve};

const MIB: usize = 1_024 * 1_024;
const LARGEST_BODY: usize = 16 * MIB;

/// An answer to a sender.
pub type Answer = hyper::Response<Full<bytes::Bytes>>;

/// Bounds of the accepting half.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Requests at once, and the bytes of their bodies; past either the answer is 503.
    pub in_flight: usize,
    pub body_bytes: usize,
    /// How much of that one source may have before its senders are verified.
    pub unverified_in_flight: usize,
    pub unverified_bytes: usize,
    /// How much one caller may have until then, over all sources.
    pub client_in_flight: usize,
    pub client_bytes: usize,
    /// Until the protocol is known, and from then until the whole head has arrived.
    pub header_deadline: Duration,
    /// Until the whole body has arrived.
    pub body_deadline: Duration,
    /// From then on a body that comes more slowly than so many bytes per second is given up.
    pub body_grace: Duration,
    pub body_slowest: u32,
    /// For the store to answer; past it the answer is 503.
    pub append_deadline: Duration,
    /// Connections at once, over all listeners; past it new ones wait to be served.
    pub connections: usize,
    /// Connections of one caller at once; past it new ones are closed unheard.
    pub connections_per_client: usize,
    /// How long a connection may go without a request.
    pub idle: Duration,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            in_flight: 1_024,
            body_bytes: 256 * MIB,
            unverified_in_flight: 256,
            unverified_bytes: 64 * MIB,
            client_in_flight: 64,
            client_bytes: 16 * MIB,
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            body_grace: Duration::from_secs(5),
            body_slowest: 1_024,
            append_deadline: Duration::from_secs(10),
            connections: 10_000,
            connections_per_client: 2_048,
            idle: Duration::from_secs(60),
        }
    }
}

impl IngestLimits {
    /// As the operator decided.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let quarter = (settings.in_flight / 4).max(1);
        let unverified_in_flight = settings.unverified_in_flight.unwrap_or(quarter);
        let body_bytes = settings.body_memory_mib.saturating_mul(MIB);
        let unverified_bytes = body_bytes / 4;
        Self {
            in_flight: settings.in_flight,
            body_bytes,
            unverified_in_flight,
            // At least one body of the largest size there is.
            unverified_bytes: unverified_bytes.max(LARGEST_BODY),
            // A caller without a secret must not be able to shut a source for all others.
            client_in_flight: (unverified_in_flight / 4).max(1),
            client_bytes: (unverified_bytes / 4).max(LARGEST_BODY),
            connections_per_client: settings.connections_per_client,
            ..Self::default()
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            deadline: self.body_deadline,
            grace: self.body_grace,
            slowest: self.body_slowest,
        }
    }
}

/// Accepts requests. Shared by all connections.
pub struct Acceptor {
    config: CurrentConfiguration,
    store: Arc<dyn Store>,
    clock: SharedClock,
    ids: StoreIds,
    meter: Arc<Meter>,
    limits: IngestLimits,
    budget: Arc<Budget>,
    quota: quota::RefusalQuota,
    connections: Arc<OpenConnections>,
}

impl Acceptor {
    #[must_use]
    pub fn new(
        config: CurrentConfiguration,
        store: Arc<dyn Store>,
        clock: SharedClock,
        ids: impl Into<StoreIds>,
        meter: Arc<Meter>,
        limits: IngestLimits,
    ) -> Self {
        let budget = Budget::new(BudgetLimits {
            all: Share {
                places: limits.in_flight,
                bytes: limits.body_bytes,
            },
            of_source: Share {
                places: limits.unverified_in_flight,
                bytes: limits.unverified_bytes,
            },
            of_client: Share {
                places: limits.client_in_flight,
                bytes: limits.client_bytes,
            },
        });
        let quota = quota::RefusalQuota::default();
        let connections =
            OpenConnections::at_most(limits.connections, limits.connections_per_client);
        Self {
            config,
            store,
            clock,
            ids: ids.into(),
            meter,
            limits,
            budget,
            quota,
            connections,
        }
    }

    #[must_use]
    pub fn limits(&self) -> &IngestLimits {
        &self.limits
    }

    fn connections(&self) -> &Arc<OpenConnections> {
        &self.connections
    }

    /// Takes one call from the wire to its answer.
    /// What outlives the call, because its caller may leave at any time, runs on `tasks`.
    pub async fn accept(
        &self,
        request: hyper::Request<Incoming>,
        client_ip: IpAddr,
        tasks: &TaskTracker,
    ) -> Answer {
        let began = Instant::now();
        let mut place = match self.budget.enter(Client::of(client_ip)) {
            Ok(place) => place,
            Err(full) => return self.turn_away(full.code()),
        };
        let now = self.clock.now_millis();
        // One revision for the whole call, even when a newer one arrives meanwhile.
        let configuration = self.config.load_full();
        // Before the first configuration no source can be said not to exist.
        let (Some(ids), false) = (self.ids.get(), configuration.epoch.is_empty()) else {
            return self.turn_away("AGENT_NOT_READY");
        };
        let pace = self.limits.pace();
        if handlers::is_meant(request.uri().path()) {
            let hearing = handlers::Hearing {
                configuration: &configuration,
                store: &self.store,
                now,
                pace,
            };
            return match hearing.answer(request, &mut place).await {
                Ok(answer) => answer,
                Err(code) => self.turn_away(code),
            };
        }
        let received =
            ingest::receive(request, &configuration, client_ip, now, pace, &mut place).await;
        let received = match received.map_err(reject::of_ingest) {
            Ok(received) => received,
            Err(Ok(refusal)) => return self.refuse(refusal, &configuration, ids, began).await,
            Err(Err(full)) => return self.turn_away(full.code()),
        };
        let verified = match verify::verify(received) {
            Ok(verified) => verified,
            Err(disbelieved) => {
                let refusal = reject::of_verify(*disbelieved);
                return self.refuse(refusal, &configuration, ids, began).await;
            }
        };
        place.verified();
        let source = Arc::clone(verified.source());
        if let Some(version) = verified.secret_version {
            self.meter.verified(&source, version);
        }
        let keeping = Keeping {
            store: Arc::clone(&self.store),
            meter: Arc::clone(&self.meter),
            ids,
            source: Arc::clone(&source),
            event_type: verified.event_type.clone(),
            size: verified.call().body_size,
            began,
            place,
        };
        let routed = route::route(verified, &configuration, ids);
        let kept = keeping.keep(routed, tasks);
        match tokio::time::timeout(self.limits.append_deadline, kept).await {
            Ok(Ok(stored)) => respond::stored(&stored, source.custom_response.as_ref()),
            Ok(Err(error)) => {
                tracing::error!(error = %chain(&error), "a request could not be stored");
                self.turn_away("STORE_UNAVAILABLE")
            }
            // It may still be stored; then its sender's next one is a repeat.
            Err(_) => {
                tracing::error!("the store takes too long");
                self.turn_away("STORE_SLOW")
            }
        }
    }

    /// Nothing is kept; the sender should come again.
    fn turn_away(&self, code: &'static str) -> Answer {
        self.meter.turned_away(code);
        respond::busy(code)
    }

    /// Keeps the refusal as evidence, within the source's quota, and answers it.
    async fn refuse(
        &self,
        mut rejection: reject::Refusal,
        configuration: &Configuration,
        ids: IdMint,
        began: Instant,
    ) -> Answer {
        match rejection.measured() {
            Some((source, size)) => {
                let ending = Ending::Rejected(rejection.code);
                self.meter
                    .request(source, None, ending, size, began.elapsed());
            }
            None => self.meter.turned_away(rejection.code),
        }
        let now = self.clock.now_millis();
        let id = ids.mint(crate::ids::Kind::Request, now);
        let record = rejection.take_record(id.clone()).filter(|kept| {
            self.quota
                .allows(&kept.request.source_id, configuration, now)
        });
        let kept = match record {
            None => false,
            Some(record) => self.keep_refused(record, ids).await,
        };
        respond::refused(&rejection, kept.then_some(id.as_str()))
    }

    /// Whether it can be looked up.
    async fn keep_refused(&self, record: NewRequest, ids: IdMint) -> bool {
        let kept = stage::store_rejected(record, self.store.as_ref(), ids);
        match tokio::time::timeout(self.limits.append_deadline, kept).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "a refused request was not kept");
                false
            }
            Err(_) => {
                tracing::warn!("a refused request was not kept in time");
                false
            }
        }
    }
}
