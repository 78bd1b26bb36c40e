//! How large a table may grow while the indexer is busy, and who has to wait then.
//!
//! Refuses to know what rows are. Invariant: ends of deliveries are folded for a good while after new
//! requests are refused, so that what is sent is not sent again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Follower, PAUSE};

/// Rows above which the follower waits for the indexer instead of reading on.
const MOST_ROWS: usize = if cfg!(test) { 1_024 } else { 98_304 };
/// After so long with a table the indexer is stuck, and not only slow.
const LATE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

impl Follower {
    /// The indexer fails or does not keep up. While the store comes through what there was at
    /// opening that is no reason for anything.
    fn is_index_late(&self) -> bool {
        let late = self.taken.is_some() && self.since.elapsed() >= LATE;
        late && self.parts.progress.has_caught_up()
    }

    /// Three times as many while the index is late: new requests are refused then, and what still
    /// comes is the ends of deliveries and what was accepted before.
    pub(super) fn most_rows(&self) -> usize {
        MOST_ROWS * if self.is_index_late() { 3 } else { 1 }
    }

    /// Says whether the table has no room for new requests.
    pub(super) fn weigh_table(&self) {
        let full = self.table.rows() >= MOST_ROWS && self.is_index_late();
        if full != self.parts.table_full.swap(full, Ordering::Relaxed) && full {
            tracing::error!("the index stays behind; new requests are refused");
        }
    }

    /// Waits a moment until the table may grow again; false when it has to stay as it is.
    pub(super) fn make_room(&mut self) -> bool {
        self.collect(PAUSE);
        if !self.is_indexing() {
            self.hand_over();
        }
        self.table.rows() < self.most_rows()
    }
}
