//! Crashes while old segments are given up, requests moved, a connection stopped and events retried
//! by several callers at once: at every point at which something is written.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use hookplane_journal::io::simulated::{Crash, SimulatedDisk};

use super::super::table::is_pending;
use super::*;

const OLD: u64 = 1_000;
const RECENT: u64 = 10_000;
const GONE: &str = "des_gone";

/// What the outside knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Waits,
    /// Something was handed in that ends it, and not acknowledged.
    MayHaveEnded,
    Ended,
}

#[derive(Default)]
struct World {
    events: Mutex<BTreeMap<String, Told>>,
}

impl World {
    fn tell(&self, event: &EventRecord, told: Told) {
        let mut events = self.events.lock().unwrap();
        let known = events.entry(event.id.clone()).or_insert(told);
        if *known != Told::Ended {
            *known = told;
        }
    }

    async fn accept(&self, store: &JournalStore, at: u64, to: &str) -> Option<EventRecord> {
        let one = request(at, None, 6_000);
        let branch = event(&one, to);
        let new = new(&one, vec![branch.clone()]);
        store.append(new, IDS).await.ok()?;
        self.tell(&branch, Told::Waits);
        Some(branch)
    }

    async fn complete(&self, store: &JournalStore, event: &EventRecord) {
        self.tell(event, Told::MayHaveEnded);
        let done = completion(event, EventStatus::Successful, None);
        if store.complete(done).await.is_ok() {
            self.tell(event, Told::Ended);
        }
    }

    /// Some that wait, some to be stopped, some that were delivered, all of them old.
    async fn fill(&self, store: &JournalStore) -> (Vec<EventRecord>, Vec<EventRecord>) {
        let (mut stopping, mut delivered) = (Vec::new(), Vec::new());
        for at in 0..24 {
            let to = ["des_1", GONE, "des_2"][at as usize % 3];
            let Some(event) = self.accept(store, OLD + at, to).await else {
                break;
            };
            match to {
                GONE => stopping.push(event),
                "des_2" => {
                    self.complete(store, &event).await;
                    delivered.push(event);
                }
                _ => {}
            }
        }
        (stopping, delivered)
    }

    async fn cancel(&self, store: &JournalStore, stopping: &[EventRecord]) {
        for event in stopping {
            self.tell(event, Told::MayHaveEnded);
        }
        let stopped = store.cancel_pending(&format!("web_{GONE}"), "gone").await;
        if stopped.is_ok() {
            for event in stopping {
                self.tell(event, Told::Ended);
            }
        }
    }

    async fn retry(&self, store: &JournalStore, delivered: &[EventRecord]) {
        for parent in delivered {
            let id = IDS.mint(Kind::Event, RECENT);
            let made = store.retry_event(TEAM, &parent.id, id, RECENT).await;
            if let Ok(child) = made {
                self.tell(&child, Told::Waits);
            }
        }
    }

    /// Everything at once, as far as the disk lets it.
    async fn live(&self, store: &JournalStore) {
        let (stopping, delivered) = self.fill(store).await;
        let accepts = async {
            for at in 0..8 {
                if let Some(event) = self.accept(store, RECENT + at, "des_2").await {
                    self.complete(store, &event).await;
                }
            }
        };
        let retains = async {
            for _ in 0..4 {
                drop(store.retain(RECENT, RECENT, 10).await);
            }
        };
        tokio::join!(
            accepts,
            retains,
            self.cancel(store, &stopping),
            self.retry(store, &delivered[..delivered.len() / 2]),
        );
    }

    /// Ids of the events that are due, and those of the known ones that are pending in the books.
    async fn pending(&self, store: &JournalStore) -> (HashSet<String>, HashSet<String>) {
        let mut due = HashSet::new();
        for to in ["des_1", "des_2", GONE] {
            let found = store.due(lane_due(to, u64::MAX >> 1, 255)).await.unwrap();
            due.extend(found.into_iter().map(|due| due.event.id.clone()));
        }
        let ids: Vec<String> = self.events.lock().unwrap().keys().cloned().collect();
        let mut pending = HashSet::new();
        for id in ids {
            let found = store.event(TEAM, &id).await.unwrap();
            if found.is_some_and(|event| is_pending(event.status)) {
                pending.insert(id);
            }
        }
        (due, pending)
    }

    async fn check(&self, store: &JournalStore, context: &str) {
        let mut due = HashSet::new();
        // A connection may be in the middle of being stopped.
        until(context, async || {
            let pending;
            (due, pending) = self.pending(store).await;
            pending.is_subset(&due)
        })
        .await;
        for (id, told) in self.events.lock().unwrap().iter() {
            match told {
                Told::Waits => assert!(due.contains(id), "{context}: {id} waits and is lost"),
                Told::Ended => assert!(!due.contains(id), "{context}: {id} came back"),
                Told::MayHaveEnded => {}
            }
        }
        assert_eq!(store.imbalance().await.unwrap(), 0, "{context}");
    }
}

/// One life that ends at a write, and what the next ones find. False when it did not come so far.
async fn run(dies_at: usize) -> bool {
    let disk = SimulatedDisk::new(dies_at as u64);
    let dir = tempfile::tempdir().unwrap();
    let options = options(64 << 10);
    let world = World::default();
    let store = on_disk(&disk, dir.path(), &options);
    disk.die_at(dies_at);
    world.live(&store).await;
    drop(store);
    let died = disk.performed().len() > dies_at;
    let crash = [Crash::Power, Crash::Process][dies_at % 2];
    disk.crash(crash);
    let store = on_disk(&disk, dir.path(), &options);
    world.check(&store, "after the crash").await;
    drop(store.retain(RECENT, RECENT, 100).await);
    world.check(&store, "after more was given up").await;
    store.close().await;
    drop(store);
    super::super::index::remove(&dir.path().join("index.db")).unwrap();
    let store = on_disk(&disk, dir.path(), &options);
    world.check(&store, "in an index made again").await;
    died
}

#[test]
fn a_crash_while_the_store_is_tidied_loses_nothing_and_brings_nothing_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut point = 3;
    while runtime.block_on(run(point)) {
        point += 1;
        assert!(point < 2_000, "it never came to its end");
    }
    assert!(point > 60, "died at {point} points only");
}
