//! Makes the ids of evidence: time, number of the store, random bits.

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
