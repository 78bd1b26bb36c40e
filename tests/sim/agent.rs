//! The agent's host: its disk, its folder, and one life of the agent after the other.
//!
//! Owns what outlives a life. Invariant: nothing that a life leaves under way reaches the disk
//! after its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookplane_agent::agent::simulated::{World, run};
use hookplane_agent::clock::Clock;
use hookplane_agent::settings::Settings;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{Store, StoreError};
use hookplane_journal::io::simulated::{Crash, SimulatedDisk};
use rand::Rng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::chance;
use crate::control_plane;
use crate::history::{BEGINNING, Fact, History, now};
use crate::invariants::{self, Violation};
use crate::network::{Door, Network, listen};
use crate::store::{Stepped, blocking};

pub(crate) const INGEST: u16 = 8088;
const SEGMENT: u32 = 64 << 10;

pub(crate) struct AgentHost {
    seed: u64,
    pub(crate) disk: SimulatedDisk,
    folder: TempDir,
    /// Milliseconds that writes take longer.
    pub(crate) slow: Arc<AtomicU64>,
    history: History,
    lives: AtomicU64,
    life: Mutex<Option<Life>>,
    random: Mutex<StdRng>,
    violations: Mutex<Vec<Violation>>,
}

struct Life {
    store: Arc<Stepped>,
    shutdown: CancellationToken,
}

/// The wall clock of the simulation.
struct SimulatedClock;

impl Clock for SimulatedClock {
    fn now_millis(&self) -> u64 {
        BEGINNING + now()
    }
}

impl AgentHost {
    pub(crate) fn new(seed: u64, history: History) -> Arc<Self> {
        let folder = folder();
        std::fs::write(folder.path().join("join.token"), control_plane::JOIN_TOKEN)
            .expect("a folder that takes files");
        Arc::new(Self {
            seed,
            disk: SimulatedDisk::new(seed),
            folder,
            slow: Arc::default(),
            history,
            lives: AtomicU64::new(0),
            life: Mutex::default(),
            random: Mutex::new(chance::stream(seed, 4)),
            violations: Mutex::default(),
        })
    }

    /// One life, until it is told to stop or its host crashes.
    pub(crate) async fn live(self: Arc<Self>) -> turmoil::Result {
        let store = match self.open() {
            Ok(store) => store,
            Err(error) => {
                self.history.add(Fact::NotStarted(format!("{error:?}")));
                return Ok(());
            }
        };
        let shutdown = CancellationToken::new();
        *self.life() = Some(Life {
            store: Arc::clone(&store),
            shutdown: shutdown.clone(),
        });
        self.history.add(Fact::AgentUp);
        let found = invariants::g1_acknowledged_is_stored(&self.history.facts(), store.inner());
        self.note(found);
        let world = World {
            settings: self.settings(),
            clock: Arc::new(SimulatedClock),
            draw: chance::draw,
            credential: [7; 32],
            store: Arc::clone(&store) as Arc<dyn Store>,
            listener: Door(listen(INGEST).await?),
            network: Network,
        };
        Box::pin(run(world, shutdown)).await?;
        blocking(store.inner().close());
        *self.life() = None;
        self.history.add(Fact::AgentDown("in order"));
        Ok(())
    }

    pub(crate) fn open(&self) -> Result<Arc<Stepped>, StoreError> {
        let mut options = Options {
            // What waits for the index waits in real time.
            index_every: Duration::from_millis(5),
            ..Options::default()
        };
        options.journal.segment_bytes = SEGMENT;
        options.journal.batch_bytes = SEGMENT as usize / 2;
        options.journal.spare_segments = 1;
        // Pauses would be real time.
        options.journal.failure_pause = Duration::ZERO;
        let index = self.index();
        copy(&index, &self.older_index());
        let inner = JournalStore::open_on(self.disk.directory(), &index, &options, u64::MAX)?;
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let random = chance::stream(self.seed, 100 + life);
        let slow = Arc::clone(&self.slow);
        Ok(Stepped::new(inner, self.disk.clone(), random, slow))
    }

    /// The store of the present life.
    pub(crate) fn store(&self) -> Option<Arc<Stepped>> {
        self.life().as_ref().map(|life| Arc::clone(&life.store))
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life().is_some()
    }

    pub(crate) fn stop_in_order(&self) {
        if let Some(life) = &*self.life() {
            life.shutdown.cancel();
        }
    }

    /// From now on nothing reaches the disk.
    pub(crate) fn cut_off(&self) {
        if !self.disk.is_dead() {
            self.disk.die_at(self.disk.calls());
        }
    }

    /// Once nobody uses the store any more: what the end of the life leaves.
    pub(crate) fn settle(&self, crash: Crash) {
        drop(self.life().take());
        self.disk.crash(crash);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if crash == Crash::Power {
            // An index may be as it was some time ago, or gone.
            match random.random_range(0..4) {
                0 => remove(&self.index()),
                1 => {
                    remove(&self.index());
                    copy(&self.older_index(), &self.index());
                }
                _ => {}
            }
        }
    }

    pub(crate) fn note(&self, found: Result<(), Violation>) {
        if let Err(violation) = found {
            let mut violations = self.violations.lock();
            let violations = violations.as_mut().unwrap_or_else(|error| error.get_mut());
            violations.push(violation);
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let violations = self.violations.lock();
        violations.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::in_dir(&self.folder.path().join("agent"));
        let url = format!("http://control-plane:{}", control_plane::PORT);
        settings.control_plane = url.parse().expect("a URL");
        settings.join_token_file = Some(self.folder.path().join("join.token"));
        settings.name = "agent-1".to_owned();
        settings.allow_addresses = vec!["192.168.0.0/16".parse().expect("a network")];
        settings.drain = Duration::from_secs(4);
        let pace = &mut settings.pace;
        pace.heartbeat = Duration::from_secs(2);
        pace.dead_after = Duration::from_secs(7);
        pace.redial = (Duration::from_millis(200), Duration::from_secs(2));
        pace.call = Duration::from_secs(3);
        pace.report = Duration::from_secs(2);
        settings
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index.db")
    }

    fn older_index(&self) -> PathBuf {
        self.folder.path().join("older.db")
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In memory where there is such a place: flushes of the index must not take real time.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.expect("a folder")
}

fn files(index: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = index.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

fn remove(index: &Path) {
    for file in files(index) {
        // Absent is as good as removed.
        drop(std::fs::remove_file(file));
    }
}

fn copy(from: &Path, to: &Path) {
    remove(to);
    for (from, to) in files(from).iter().zip(files(to)) {
        // What is not there is not copied.
        drop(std::fs::copy(from, to));
    }
}
