//! The accepting half of the agent: ingest → verify → route → store → answer,
//! read from top to bottom.
//!
//! Owns the order of the stages and their bounds: requests in flight, evidence
//! of refusals per source. Every path ends in exactly one answer.

mod quota;
mod reject;
mod respond;
pub mod server;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::config::CurrentConfiguration;
use crate::ids::{IdMint, StoreIds};
use crate::meter::{Ending, Meter};
use crate::store::{Store, stage};
use crate::{ingest, route, verify};

pub use server::serve;

/// An answer to a sender.
pub type Answer = hyper::Response<Full<bytes::Bytes>>;

/// Bounds of the accepting half.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Requests at once; past it the answer is 503.
    pub in_flight: usize,
    /// Until the protocol is known, and from then until the whole head has arrived.
    pub header_deadline: Duration,
    /// Until the whole body has arrived.
    pub body_deadline: Duration,
    /// Connections at once; past it new ones wait in the kernel's queue.
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
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            connections: 10_000,
            connections_per_client: 2_048,
            idle: Duration::from_secs(60),
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
    in_flight: Semaphore,
    quota: quota::RefusalQuota,
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
        let in_flight = Semaphore::new(limits.in_flight);
        let quota = quota::RefusalQuota::default();
        Self {
            config,
            store,
            clock,
            ids: ids.into(),
            meter,
            limits,
            in_flight,
            quota,
        }
    }

    #[must_use]
    pub fn limits(&self) -> &IngestLimits {
        &self.limits
    }

    /// Takes one call from the wire to its answer.
    pub async fn accept(&self, request: hyper::Request<Incoming>, client_ip: IpAddr) -> Answer {
        let began = Instant::now();
        let Ok(_place) = self.in_flight.try_acquire() else {
            return self.turn_away("AGENT_BUSY");
        };
        let now = self.clock.now_millis();
        // One revision for the whole call, even when a newer one arrives meanwhile.
        let configuration = self.config.load_full();
        // Before the first configuration no source can be said not to exist.
        let (Some(ids), false) = (self.ids.get(), configuration.epoch.is_empty()) else {
            return self.turn_away("AGENT_NOT_READY");
        };
        let deadline = self.limits.body_deadline;
        let received = ingest::receive(request, &configuration, client_ip, now, deadline).await;
        let received = match received {
            Ok(received) => received,
            Err(refused) => return self.refuse(reject::of_ingest(refused), ids, began).await,
        };
        let verified = match verify::verify(received) {
            Ok(verified) => verified,
            Err(disbelieved) => {
                return self
                    .refuse(reject::of_verify(*disbelieved), ids, began)
                    .await;
            }
        };
        let source = Arc::clone(verified.source());
        let (event_type, size) = (verified.event_type.clone(), verified.call().body_size);
        let routed = route::route(verified, &configuration, ids);
        match stage::store(routed, self.store.as_ref(), ids).await {
            Ok(stored) => {
                let ending = if stored.is_repeat() {
                    Ending::Repeat
                } else {
                    Ending::Accepted
                };
                let kind = event_type.as_deref();
                self.meter
                    .request(&source, kind, ending, size, began.elapsed());
                respond::stored(&stored, source.custom_response.as_ref())
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "a request could not be stored");
                self.turn_away("STORE_UNAVAILABLE")
            }
        }
    }

    /// Nothing is kept; the sender should come again.
    fn turn_away(&self, code: &'static str) -> Answer {
        self.meter.turned_away(code);
        respond::busy(code)
    }

    /// Keeps the refusal as evidence, within the source's quota, and answers it.
    async fn refuse(&self, rejection: reject::Refusal, ids: IdMint, began: Instant) -> Answer {
        let id = ids.mint(crate::ids::Kind::Request, self.clock.now_millis());
        let answer = respond::refused(&rejection, &id);
        match rejection.measured() {
            Some((source, size)) => {
                let ending = Ending::Rejected(rejection.code);
                self.meter
                    .request(source, None, ending, size, began.elapsed());
            }
            None => self.meter.turned_away(rejection.code),
        }
        if let Some(record) = rejection.into_record(id)
            && self
                .quota
                .allows(&record.request.source_id, self.clock.now_millis())
            && let Err(error) = stage::store_rejected(record, self.store.as_ref(), ids).await
        {
            tracing::warn!(error = %chain(&error), "a refused request was not kept");
        }
        answer
    }
}
