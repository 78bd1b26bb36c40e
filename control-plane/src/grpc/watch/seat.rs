//! How many watches each key has open: one key cannot take the room of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

use crate::grpc::status::refused;

/// Watches at once with one key.
const MOST_OF_KEY: usize = 32;

/// All keys that watch.
#[derive(Clone, Default)]
pub(super) struct Seats {
    rooms: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl Seats {
    /// # Errors
    /// RESOURCE_EXHAUSTED when the key has too many watches.
    pub(super) fn take(&self, key_id: &str) -> Result<OwnedSemaphorePermit, Status> {
        let room = self.room(key_id).try_acquire_owned();
        room.map_err(|_| {
            let hint = "end watches that are not needed; each kind needs one watch";
            let text = format!("{MOST_OF_KEY} watches are open with this API key already");
            refused(Code::ResourceExhausted, "TOO_MANY_WATCHES", text, hint)
        })
    }

    fn room(&self, key_id: &str) -> Arc<Semaphore> {
        let rooms = self.rooms.lock();
        let mut rooms = rooms.unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rooms.get(key_id).and_then(Weak::upgrade) {
            return known;
        }
        rooms.retain(|_, room| room.strong_count() > 0);
        let room = Arc::new(Semaphore::new(MOST_OF_KEY));
        rooms.insert(key_id.to_owned(), Arc::downgrade(&room));
        room
    }
}
