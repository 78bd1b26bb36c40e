//! A desk over a real store, for tests of what answers commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::task::TaskTracker;

use super::{Bulks, Desk, Searches};
use crate::clock::Clock;
use crate::config::CurrentConfiguration;
use crate::deliver::Gates;
use crate::ids::StoreIds;
use crate::store::journal::{JournalStore, Options};

/// Goes on by so much with each look at it.
pub(super) struct Ticking(pub(super) AtomicU64, pub(super) u64);

impl Clock for Ticking {
    fn now_millis(&self) -> u64 {
        self.0.fetch_add(self.1, Ordering::Relaxed)
    }
}

/// Its clock goes on by `tick` milliseconds with each look at it.
pub(super) fn desk(folder: &tempfile::TempDir, tick: u64) -> (Arc<JournalStore>, Desk) {
    let store = Arc::new(JournalStore::open(folder.path(), &Options::default()).unwrap());
    let desk = Desk {
        store: Arc::<JournalStore>::clone(&store),
        clock: Arc::new(Ticking(AtomicU64::new(0), tick)),
        ids: StoreIds::default(),
        agent_id: "agt_1".into(),
        searches: Searches::default(),
        config: CurrentConfiguration::default(),
        meter: Arc::default(),
        bulks: Bulks::default(),
        prepare: |_| Err("nothing is proposed here".to_owned()),
        diagnoses: Arc::default(),
        gates: Arc::new(Gates::new(Arc::new(Ticking(AtomicU64::new(0), tick)))),
        tasks: TaskTracker::new(),
    };
    (store, desk)
}
