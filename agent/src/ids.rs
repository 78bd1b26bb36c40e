//! Makes the ids of evidence: time, number of the store, random bits.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use hookplane_proto::id::Id;
pub use hookplane_proto::id::Kind;

use crate::chance::{self, Draw};

/// Mints ids of one store. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct IdMint {
    store: u32,
    draw: Draw,
}

impl IdMint {
    #[must_use]
    pub const fn new(store: u32) -> Self {
        Self::drawing(store, chance::system)
    }

    /// With randomness of somebody's choice.
    #[must_use]
    pub const fn drawing(store: u32, draw: Draw) -> Self {
        Self { store, draw }
    }

    /// An id that nobody else makes, sorted by the given time.
    #[must_use]
    pub fn mint(self, kind: Kind, now_millis: u64) -> String {
        Id::new(kind, now_millis, self.store, (self.draw)()).to_string()
    }

    /// Where its randomness comes from, for whoever works with these ids.
    pub(crate) const fn draw(self) -> Draw {
        self.draw
    }

    /// Every id of the kind made at or after the time sorts at or after this text.
    #[must_use]
    pub fn lower_bound(kind: Kind, millis: u64) -> String {
        Id::new(kind, millis, 0, 0).to_string()
    }
}

/// The mint of this agent's store. Empty until the control plane gave the store
/// its number, and never changed afterwards. Clones share it.
#[derive(Clone, Debug)]
pub struct StoreIds(Arc<Numbered>);

#[derive(Debug)]
struct Numbered {
    draw: Draw,
    mint: OnceLock<IdMint>,
    given: Notify,
}

impl StoreIds {
    /// With randomness of somebody's choice.
    #[must_use]
    pub fn drawing(draw: Draw) -> Self {
        Self::of(draw, OnceLock::new())
    }

    fn of(draw: Draw, mint: OnceLock<IdMint>) -> Self {
        Self(Arc::new(Numbered {
            draw,
            mint,
            given: Notify::new(),
        }))
    }

    #[must_use]
    pub fn get(&self) -> Option<IdMint> {
        self.0.mint.get().copied()
    }

    /// Gives the number; the first one stays.
    pub fn set(&self, store: u32) {
        let mint = || IdMint::drawing(store, self.0.draw);
        self.0.mint.get_or_init(mint);
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

impl Default for StoreIds {
    fn default() -> Self {
        Self::drawing(chance::system)
    }
}

impl From<IdMint> for StoreIds {
    fn from(mint: IdMint) -> Self {
        Self::of(mint.draw, OnceLock::from(mint))
    }
}
