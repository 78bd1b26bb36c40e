//! Stage two: is the sender who it should be? Over the raw bytes, at the time of receipt.
//!
//! Then, and never before, the body is read where the provider tells in it what it sends.

mod body;

use std::sync::Arc;

use hookplane_signature::{Challenge, Inbound, Refusal, event_type, message_id};

use crate::config::Source;
use crate::ingest::{Call, Received};

pub(crate) use body::Body;

/// Proof that the source's demand was met, and by what.
#[derive(Debug)]
pub struct Verified {
    source: Arc<Source>,
    call: Call,
    /// `None` when there was no need to read it yet.
    body: Option<Body>,
    /// Scheme and secret; `None` where the source demands nothing.
    pub verified_by: Option<String>,
    /// Number of the secret that matched, where secrets have one.
    pub secret_version: Option<u32>,
    pub challenge: Option<Challenge>,
    pub message_id: Option<String>,
    pub event_type: Option<String>,
}

/// A request that is not believed, and exactly why. For operators only.
#[derive(Debug)]
pub struct Disbelieved {
    pub source: Arc<Source>,
    pub call: Call,
    pub refusal: Refusal,
}

impl Verified {
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    pub(crate) fn into_parts(self) -> (Arc<Source>, Call, Option<Body>) {
        (self.source, self.call, self.body)
    }
}

/// Judges a received request.
///
/// # Errors
/// [`Disbelieved`] with the typed reason.
pub fn verify(received: Received) -> Result<Verified, Box<Disbelieved>> {
    let at = received.call().received_at;
    verify_as_of(received, at)
}

/// What was verified when it came, and by what, needs no proof again: a person sends it, and its
/// timestamp is old.
#[must_use]
pub fn believe(received: Received, verified_by: Option<String>) -> Verified {
    let (source, call) = received.into_parts();
    told(source, call, (verified_by, None, None))
}

/// Judges a request by the time at which it came, in Unix milliseconds.
///
/// # Errors
/// [`Disbelieved`] with the typed reason.
pub fn verify_as_of(received: Received, at: u64) -> Result<Verified, Box<Disbelieved>> {
    let (source, call) = received.into_parts();
    let now = i64::try_from(at / 1_000).unwrap_or(i64::MAX);
    let verdict = source.verifier.verify(
        &Inbound {
            headers: &call.headers,
            body: &call.body,
        },
        now,
    );
    match verdict {
        Ok(verdict) => {
            let proof = (
                verdict.verified_by,
                verdict.secret_version,
                verdict.challenge,
            );
            Ok(told(source, call, proof))
        }
        Err(refusal) => Err(Box::new(Disbelieved {
            source,
            call,
            refusal,
        })),
    }
}

/// What proved it, with the number of its secret, and what the sender asks.
type Proof = (Option<String>, Option<u32>, Option<Challenge>);

/// With what the provider tells of the message.
fn told(source: Arc<Source>, mut call: Call, proof: Proof) -> Verified {
    let branches = &source.connections;
    let body = branches
        .hints_in_body()
        .then(|| Body::read(&call.body, branches.looked_at_in_body()));
    let json = body.as_ref().and_then(Body::json);
    let message_id = message_id(source.provider, &call.headers, json);
    let event_type = event_type(source.provider, &call.headers, json);
    // From here on nobody needs them.
    call.hide_credentials(&source.verifier);
    let (verified_by, secret_version, challenge) = proof;
    Verified {
        source,
        call,
        body,
        verified_by,
        secret_version,
        challenge,
        message_id,
        event_type,
    }
}
