//! Makes the ids of evidence: time, number of the store, random bits.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use hookplane_proto::id::Id;
pub use hookplane_proto::id::Kind;

/// Mints ids of one store. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct IdMint {
    store: u32,
}

impl IdMint {
    #[must_use]
    pub const fn new(store: u32) -> Self {
        Self { store }
    }

    /// An id that nobody else makes, sorted by the given time.
    #[must_use]
    pub fn mint(self, kind: Kind, now_millis: u64) -> String {
        Id::new(kind, now_millis, self.store, rand::random()).to_string()
    }

    /// Every id of the kind made at or after the time sorts at or after this text.
    #[must_use]
    pub fn lower_bound(kind: Kind, millis: u64) -> String {
        Id::new(kind, millis, 0, 0).to_string()
    }
}

/// The mint of this agent's store. Empty until the control plane gave the store
/// its number, and never changed afterwards. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StoreIds(Arc<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    mint: OnceLock<IdMint>,
    given: Notify,
}

impl StoreIds {
    #[must_use]
    pub fn get(&self) -> Option<IdMint> {
        self.0.mint.get().copied()
    }

    /// Gives the number; the first one stays.
    pub fn set(&self, store: u32) {
        self.0.mint.get_or_init(|| IdMint::new(store));
        self.0.given.notify_waiters();
    }

    /// Waits for the number.
    pub async fn ready(&self) -> IdMint {
        loop {
            // Made before the look, so that a number given in between wakes it.
            let given = self.0.given.notified();
            if let Some(mint) = self.get() {
                return mint;
            }
            given.await;
        }
    }
}

impl From<IdMint> for StoreIds {
    fn from(mint: IdMint) -> Self {
        Self(Arc::new(Numbered {
            mint: OnceLock::from(mint),
            given: Notify::new(),
        }))
    }
}
