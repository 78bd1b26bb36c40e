//! Crashes at random points against a model: what was acknowledged is there, one message made
//! one request, and what is not delivered is due.

use std::collections::BTreeMap;

use hookplane_journal::io::simulated::{Crash, SimulatedDisk};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::store::Appended;

const SEEDS: u64 = 25;
const LIVES: usize = 6;
const ACTIONS: usize = 40;
const MESSAGES: u32 = 12;

/// What the outside was told.
#[derive(Default)]
struct Told {
    requests: BTreeMap<String, RequestRecord>,
    /// Message id to the request it belongs to.
    messages: BTreeMap<String, String>,
    /// Branches by id, with the state acknowledged last; a state handed in and not acknowledged
    /// may have been taken or not.
    events: BTreeMap<String, (EventRecord, Option<EventStatus>)>,
    reports: BTreeMap<u64, Vec<u8>>,
}

struct World {
    disk: SimulatedDisk,
    dir: tempfile::TempDir,
    random: StdRng,
    told: Told,
    now: u64,
}

impl World {
    fn open(&self) -> JournalStore {
        on_disk(&self.disk, self.dir.path(), &options(64 << 10))
    }

    /// Lives until the disk dies or there is nothing more to do.
    async fn live(&mut self, store: &JournalStore) {
        let from = self.disk.performed().len();
        if self.random.random_bool(0.9) {
            self.disk.die_at(from + self.random.random_range(0..80));
        }
        for _ in 0..ACTIONS {
            self.now += 1;
            let alive = match self.random.random_range(0..10) {
                0..=5 => self.accept(store).await,
                6..=8 => self.complete(store).await,
                _ => self.report(store).await,
            };
            if !alive {
                return;
            }
        }
    }

    async fn accept(&mut self, store: &JournalStore) -> bool {
        let message = format!("msg_{}", self.random.random_range(0..MESSAGES));
        let size = self.random.random_range(0..6_000);
        let one = request(self.now, Some(&message), size);
        let branch = event(&one, ["des_1", "des_2"][self.random.random_range(0..2)]);
        match store.append(new(&one, vec![branch.clone()]), IDS).await {
            Ok(Appended::New) => {
                let before = self.told.messages.insert(message, one.id.clone());
                assert_eq!(before, None, "a known message made another request");
                self.told.requests.insert(one.id.clone(), one);
                self.told.events.insert(branch.id.clone(), (branch, None));
                true
            }
            Ok(Appended::Repeat {
                first_request_id,
                requeued,
            }) => {
                // One that was not acknowledged before its crash may be the first.
                let first = self.told.messages.entry(message);
                let first = first.or_insert_with(|| first_request_id.clone());
                assert_eq!(*first, first_request_id, "a message changed its request");
                for event in requeued {
                    self.told.events.insert(event.id.clone(), (event, None));
                }
                true
            }
            Err(_) => false,
        }
    }

    async fn complete(&mut self, store: &JournalStore) -> bool {
        let destination = ["des_1", "des_2"][self.random.random_range(0..2)];
        let Ok(due) = store.due(lane_due(destination, self.now, 3)).await else {
            return false;
        };
        let Some(due) = due.into_iter().next() else {
            return true;
        };
        let status = [
            EventStatus::Successful,
            EventStatus::Failed,
            EventStatus::Scheduled,
        ][self.random.random_range(0..3)];
        let next = (status == EventStatus::Scheduled).then_some(self.now + 5);
        let outcome = store.complete(completion(&due.event, status, next)).await;
        let known = self.told.events.entry(due.event.id.clone());
        let (event, unsure) = known.or_insert((Arc::unwrap_or_clone(due.event), None));
        match outcome {
            Ok(()) => {
                event.status = status;
                event.attempts += 1;
                true
            }
            Err(_) => {
                *unsure = Some(status);
                false
            }
        }
    }

    async fn report(&mut self, store: &JournalStore) -> bool {
        let payload = self.now.to_le_bytes().to_vec();
        match store.spool_report(payload.clone()).await {
            Ok(sequence) => {
                let before = self.told.reports.insert(sequence, payload);
                assert_eq!(before, None, "a number was given twice");
                true
            }
            Err(_) => false,
        }
    }

    /// After a restart: is everything as it was told?
    async fn check(&mut self, store: &JournalStore) {
        for (id, told) in &self.told.requests {
            let found = store.request(TEAM, id).await.unwrap();
            let (found, _) = found.unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            assert_eq!(found, *told);
        }
        for (id, (told, unsure)) in &mut self.told.events {
            let found = store.event(TEAM, id).await.unwrap();
            let found = found.unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            if found.attempts > told.attempts {
                assert_eq!(
                    Some(found.status),
                    *unsure,
                    "{id} in a state nobody gave it"
                );
            } else {
                assert_eq!(found.status, told.status, "{id} lost its state");
            }
            *unsure = None;
            *told = found;
        }
        let mut waiting = store
            .due(lane_due("des_1", u64::MAX >> 1, 255))
            .await
            .unwrap();
        waiting.extend(
            store
                .due(lane_due("des_2", u64::MAX >> 1, 255))
                .await
                .unwrap(),
        );
        let waiting: Vec<_> = waiting
            .into_iter()
            .map(|due| due.event.id.clone())
            .collect();
        for (id, (told, _)) in &self.told.events {
            let pending = super::super::table::is_pending(told.status);
            assert_eq!(waiting.contains(id), pending, "{id} is {:?}", told.status);
        }
        let reports = store.spooled_reports(0, 1_000).await.unwrap();
        for (sequence, payload) in &self.told.reports {
            let kept = reports.iter().find(|report| report.sequence == *sequence);
            assert_eq!(kept.map(|report| &report.payload), Some(payload));
        }
        for report in reports {
            self.told.reports.insert(report.sequence, report.payload);
        }
        assert_eq!(
            store.imbalance().await.unwrap(),
            0,
            "the books do not balance"
        );
    }

    /// The index may be as it is, gone, or as it was a while ago.
    fn shuffle_index(&mut self, older: &Option<Vec<u8>>) {
        let path = self.dir.path().join("index.db");
        match (self.random.random_range(0..4), older) {
            (0, _) => super::super::index::remove(&path).unwrap(),
            (1, Some(older)) => {
                super::super::index::remove(&path).unwrap();
                std::fs::write(&path, older).unwrap();
            }
            _ => {}
        }
    }
}

async fn run(seed: u64) {
    let mut world = World {
        disk: SimulatedDisk::new(seed),
        dir: tempfile::tempdir().unwrap(),
        random: StdRng::seed_from_u64(seed),
        told: Told::default(),
        now: 1_000,
    };
    let mut older = None;
    for _ in 0..LIVES {
        let store = world.open();
        world.check(&store).await;
        world.live(&store).await;
        drop(store);
        let crash = if world.random.random() {
            Crash::Power
        } else {
            Crash::Process
        };
        world.disk.crash(crash);
        world.shuffle_index(&older);
        older = std::fs::read(world.dir.path().join("index.db")).ok();
    }
    let store = world.open();
    world.check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_crash_what_was_acknowledged_is_there() {
    for seed in 0..SEEDS {
        let lived = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(run(seed));
        });
        assert!(lived.await.is_ok(), "seed {seed}");
    }
}
