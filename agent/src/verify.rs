//! Stage two: is the sender who it should be? Over the raw bytes, at the time of receipt.

use std::sync::Arc;

use hookplane_signature::{Challenge, Inbound, Refusal, event_type, message_id};

use crate::config::Source;
use crate::ingest::{Call, Received};

/// Proof that the source's demand was met, and by what.
#[derive(Debug)]
pub struct Verified {
    source: Arc<Source>,
    call: Call,
    /// Scheme and secret; `None` where the source demands nothing.
    pub verified_by: Option<String>,
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

    pub(crate) fn into_parts(self) -> (Arc<Source>, Call) {
        (self.source, self.call)
    }
}

/// Judges a received request.
///
/// # Errors
/// [`Disbelieved`] with the typed reason.
pub fn verify(received: Received) -> Result<Verified, Box<Disbelieved>> {
    let (source, mut call) = received.into_parts();
    let now = i64::try_from(call.received_at / 1_000).unwrap_or(i64::MAX);
    let verdict = source.verifier.verify(
        &Inbound {
            headers: &call.headers,
            body: &call.body,
        },
        now,
    );
    match verdict {
        Ok(verdict) => {
            let message_id = message_id(source.provider, &call.headers, &call.body);
            let event_type = event_type(source.provider, &call.headers, &call.body);
            // From here on nobody needs them.
            call.hide_credentials(&source.verifier);
            Ok(Verified {
                source,
                call,
                verified_by: verdict.verified_by,
                challenge: verdict.challenge,
                message_id,
                event_type,
            })
        }
        Err(refusal) => Err(Box::new(Disbelieved {
            source,
            call,
            refusal,
        })),
    }
}
