//! Stage four: on disk and flushed. Only a [`Stored`] can become a 2xx (G1).

use hookplane_signature::Challenge;

use super::{Appended, NewRequest, Store, StoreError};
use crate::ids::IdMint;
use crate::route::Routed;

/// Proof that the request and its events are on stable storage.
#[derive(Debug)]
pub struct Stored {
    request_id: String,
    repeat: bool,
    challenge: Option<Challenge>,
}

impl Stored {
    /// Of the request, or of the first one when this was a repeat.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The message had been accepted before.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.repeat
    }

    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        self.challenge.as_ref()
    }
}

/// Writes a routed request and waits for the flush.
///
/// # Errors
/// [`StoreError`]; then nothing is promised to the sender.
pub async fn store(routed: Routed, into: &dyn Store, ids: IdMint) -> Result<Stored, StoreError> {
    let (new, challenge) = routed.into_parts();
    let id = new.request.id.clone();
    let (request_id, repeat) = match into.append(new, ids).await? {
        Appended::New => (id, false),
        Appended::Repeat {
            first_request_id, ..
        } => (first_request_id, true),
    };
    Ok(Stored {
        request_id,
        repeat,
        challenge,
    })
}

/// Keeps a refused request as evidence.
///
/// # Errors
/// [`StoreError`]; the refusal stands all the same.
pub async fn store_rejected(
    rejected: NewRequest,
    into: &dyn Store,
    ids: IdMint,
) -> Result<(), StoreError> {
    into.append(rejected, ids).await.map(drop)
}
