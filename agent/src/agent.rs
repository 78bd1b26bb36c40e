//! The agent as a whole: started in steps, run as named parts, stopped in order.
//!
//! Owns the wiring and the life of the process. Start: data folder, store,
//! identity, last good configuration, listeners; none of it needs the control
//! plane. Stop: readiness off, no new connections, requests in hand, deliveries
//! within the deadline, the last report, the store. A part that ends by itself
//! stops the whole agent with a failure.

mod cores;
mod drain;
mod fleet;
#[cfg(feature = "simulation")]
pub mod simulated;
mod upkeep;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::accept::{Acceptor, Certificates, IngestLimits, InvalidCertificate};
use crate::admin::Admin;
use crate::clock::SharedClock;
use crate::config::{Configuration, CurrentConfiguration};
use crate::control::holder::{Holder, Writing};
use crate::control::identity::{Identity, IdentityError};
use crate::control::papers::{Papers, PapersError};
use crate::deliver::{AddressPolicy, Crew, Deliverer, Gates, Sender, TlsUnavailable};
use crate::files;
use crate::ids::StoreIds;
use crate::link::{Link, LinkError};
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::Reporter;
use crate::report::spool::Spool;
use crate::settings::{Settings, SettingsError};
use crate::store::journal::JournalStore;
use crate::store::{Store, StoreError};
use crate::vitals::Vitals;

pub use drain::runtime_end;

/// An agent that listens and is ready to run.
pub struct Agent {
    settings: Settings,
    clock: SharedClock,
    store: JournalStore,
    identity: Identity,
    holder: Holder,
    link: Link,
    /// Where the link speaks TLS.
    papers: Option<Papers>,
    /// One for the agent as a whole and one for each core.
    senders: (Sender, Vec<Sender>),
    spool: Arc<Spool>,
    current: CurrentConfiguration,
    ids: StoreIds,
    readiness: Arc<Readiness>,
    /// One for each core.
    ingest: Vec<TcpListener>,
    certificates: Option<Arc<Certificates>>,
    admin: TcpListener,
    addresses: (SocketAddr, SocketAddr),
    /// Held as long as the process uses the folder.
    lock: File,
}

/// Why the agent does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the data folder {} cannot be used", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error("another agent uses the data folder {}", path.display())]
    DataDirInUse { path: PathBuf },
    #[error(
        "the data folder has a store of an earlier development version, {}, which this one cannot \
         read; let that version deliver what is in it, then move the file away",
        path.display()
    )]
    EarlierStore { path: PathBuf },
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Papers(#[from] PapersError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Tls(#[from] TlsUnavailable),
    #[error("ingest cannot speak TLS")]
    Certificate(#[from] InvalidCertificate),
    #[error("{address} cannot be listened on")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
}

/// Why the agent ended other than by its shutdown.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("the part `{part}` of the agent ended by itself: {why}")]
    PartEnded { part: &'static str, why: String },
    #[error("a part of the agent panicked")]
    Panicked,
    #[error("the part `{part}` of the agent could not start")]
    PartNotStarted {
        part: &'static str,
        source: io::Error,
    },
}

/// The ends of parts: all the same type, told apart by name.
type Ended = (&'static str, Result<(), String>);

/// One switch for each step of the shutdown.
#[derive(Default)]
struct Stops {
    accept: CancellationToken,
    deliver: CancellationToken,
    report: CancellationToken,
    /// Set by the reporter when its last report is on disk.
    folded: CancellationToken,
    rest: CancellationToken,
    /// Ends the threads that accept and deliver.
    cores: CancellationToken,
    admin: CancellationToken,
}

impl Stops {
    /// Threads end when nobody runs the agent any more, however that came.
    fn guards(&self) -> [DropGuard; 3] {
        [&self.accept, &self.cores, &self.admin].map(|stop| stop.clone().drop_guard())
    }
}

/// What is waited for at each step.
#[derive(Default)]
struct Work {
    requests: TaskTracker,
    deliveries: TaskTracker,
    commands: TaskTracker,
}

impl Agent {
    /// Opens everything and listens, without the control plane.
    ///
    /// # Errors
    /// [`StartError`] names the step and what stood in its way.
    pub async fn start(settings: Settings, clock: SharedClock) -> Result<Self, StartError> {
        settings.check()?;
        let lock = lock_data_dir(&settings)?;
        refuse_earlier_store(&settings)?;
        let store = JournalStore::open(&settings.store_dir(), &settings.store())?;
        let identity = Identity::load_or_make(&settings.data_dir, rand::random())?;
        let (ids, readiness) = (StoreIds::default(), Arc::new(Readiness::default()));
        if let Some(enrolled) = identity.enrolled() {
            fleet::number_store(&store, enrolled.store, &ids, &readiness).await?;
        } else if let Some(number) = store.store_number().await? {
            fleet::number_store(&store, number, &ids, &readiness).await?;
        }
        let current: CurrentConfiguration =
            Arc::new(ArcSwap::from_pointee(Configuration::default()));
        let holder = Holder::open(
            &settings.data_dir,
            &identity,
            Arc::clone(&current),
            Arc::clone(&readiness),
            Arc::clone(&clock),
            Writing::Aside,
        );
        let link = Link::new(&settings)?;
        let papers = link
            .is_secure()
            .then(|| Papers::load_or_make(&settings.data_dir))
            .transpose()?;
        let senders = senders(&settings)?;
        let certificates = settings.ingest_tls.clone().map(Certificates::open);
        let certificates = certificates.transpose()?;
        let spool = Spool::open(Arc::new(store.clone()), settings.pace.spool).await?;
        let (address, threads) = (settings.ingest, settings.ingest_threads);
        let (ingest, ingest_address) = cores::listen(address, threads)
            .map_err(|source| StartError::Listen { address, source })?;
        let (admin, admin_address) = listen(settings.admin)?;
        let agent = Self {
            settings,
            clock,
            store,
            identity,
            holder,
            link,
            papers,
            senders,
            spool: Arc::new(spool),
            current,
            ids,
            readiness,
            ingest,
            certificates,
            admin,
            addresses: (ingest_address, admin_address),
            lock,
        };
        agent.write_runtime_file()?;
        Ok(agent)
    }

    /// Where webhooks come in.
    #[must_use]
    pub fn ingest(&self) -> SocketAddr {
        self.addresses.0
    }

    /// What ingest shows to senders, where it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Where health, readiness and metrics are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.addresses.1
    }

    /// Runs until `shutdown`, then drains within the deadline of the settings.
    ///
    /// # Errors
    /// [`RunError`] when a part ended by itself; everything else is stopped in order first.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let (stops, work) = (Stops::default(), Work::default());
        let guards = stops.guards();
        let drain = drain::Drain {
            limit: self.settings.drain,
            flush: self.settings.pace.flush,
            runtime_file: self.runtime_file(),
            store: self.store.clone(),
            spool: Arc::clone(&self.spool),
            readiness: Arc::clone(&self.readiness),
        };
        let mut parts = JoinSet::new();
        let started = self.start_parts(&mut parts, &stops, &work);
        let (failure, lock) = match started {
            Err(error) => (Some(error), None),
            Ok(lock) => {
                let failure = tokio::select! {
                    () = shutdown.cancelled() => None,
                    ended = parts.join_next() => Some(alone(ended)),
                };
                (failure, Some(lock))
            }
        };
        if let Some(error) = &failure {
            tracing::error!(error = %error, "the agent stops because a part of it ended");
        }
        drain.run(&mut parts, &stops, &work).await;
        drop((lock, guards));
        failure.map_or(Ok(()), Err)
    }

    /// Starts every part; gives the lock of the folder to hold on to.
    fn start_parts(
        self,
        parts: &mut JoinSet<Ended>,
        stops: &Stops,
        work: &Work,
    ) -> Result<File, RunError> {
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let (meter, vitals) = (Arc::new(Meter::default()), Arc::new(Vitals::default()));
        let gates = Arc::new(Gates::new(Arc::clone(&self.clock)));
        let not_started = |part| move |source| RunError::PartNotStarted { part, source };

        let admin = Admin::new(
            Arc::clone(&self.readiness),
            Arc::clone(&self.clock),
            (Arc::clone(&meter), Arc::clone(&gates)),
            Arc::clone(&vitals),
            Arc::clone(&self.spool),
        );
        let end = admin
            .spawn(self.admin, stops.admin.clone())
            .map_err(not_started("admin"))?;
        parts.spawn(async move {
            let outcome = match end.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("its thread panicked".to_owned()),
            };
            ("admin", outcome)
        });

        let limits = IngestLimits::of(&self.settings);
        let acceptor = Acceptor::new(
            Arc::clone(&self.current),
            Arc::clone(&store),
            Arc::clone(&self.clock),
            self.ids.clone(),
            Arc::clone(&meter),
            limits,
        );
        let served = cores::Served {
            acceptor: Arc::new(acceptor),
            certificates: self.certificates.clone(),
            requests: work.requests.clone(),
            stop: stops.accept.clone(),
            release: stops.cores.clone(),
        };
        let cores = cores::start(self.ingest, &served, parts).map_err(not_started("ingest"))?;
        if let Some(certificates) = self.certificates {
            let (every, stop) = (self.settings.pace.certificate, stops.accept.clone());
            parts.spawn(async move {
                certificates.watch(every, stop).await;
                ("certificate", Ok(()))
            });
        }

        let (sender, senders) = self.senders;
        let crew = Crew::from(sender).elsewhere(cores.into_iter().zip(senders).collect());
        let deliverer = deliver(
            Arc::clone(&self.current),
            Arc::clone(&store),
            Arc::clone(&self.clock),
            self.ids.clone(),
            (crew, Arc::clone(&gates), Arc::clone(&meter)),
            (work.deliveries.clone(), stops.deliver.clone()),
        );
        parts.spawn(async move {
            deliverer.await;
            ("deliver", Ok(()))
        });

        let told = Arc::clone(&meter);
        let reporter = Reporter {
            meter,
            gates: Arc::clone(&gates),
            store: Arc::clone(&store),
            spool: Arc::clone(&self.spool),
            vitals: Arc::clone(&vitals),
            config: Arc::clone(&self.current),
            readiness: Arc::clone(&self.readiness),
            clock: Arc::clone(&self.clock),
            fold: self.settings.pace.fold,
            every: self.settings.pace.report,
        };
        let (stop, folded) = (stops.report.clone(), stops.folded.clone());
        parts.spawn(async move {
            reporter.run(stop).await;
            folded.cancel();
            ("report", Ok(()))
        });

        let upkeep = upkeep::Upkeep {
            store: Arc::clone(&store),
            vitals,
            clock: Arc::clone(&self.clock),
            retention_days: self.settings.retention_days,
            clock_file: self.settings.data_dir.join("clock"),
        };
        let stop = stops.rest.clone();
        parts.spawn(async move {
            upkeep.run(stop).await;
            ("upkeep", Ok(()))
        });

        let fleet = fleet::Fleet {
            settings: self.settings,
            clock: self.clock,
            store,
            identity: self.identity,
            papers: self.papers,
            holder: self.holder,
            link: self.link,
            spool: self.spool,
            ids: self.ids,
            readiness: self.readiness,
            config: self.current,
            meter: told,
            gates: Arc::clone(&gates),
            commands: work.commands.clone(),
        };
        let stop = stops.rest.clone();
        parts.spawn(async move {
            Box::pin(fleet.run(stop)).await;
            ("fleet", Ok(()))
        });
        Ok(self.lock)
    }

    fn runtime_file(&self) -> PathBuf {
        self.settings.data_dir.join("runtime.json")
    }

    fn write_runtime_file(&self) -> Result<(), StartError> {
        let (ingest, admin) = self.addresses;
        let facts = serde_json::json!({
            "pid": std::process::id(),
            "ingest": ingest.to_string(),
            "admin": admin.to_string(),
        });
        let path = self.runtime_file();
        files::replace(&path, facts.to_string().as_bytes())
            .map_err(|source| StartError::DataDir { path, source })
    }
}

/// Delivers once the store has its number; before that there is nothing to deliver.
async fn deliver(
    current: CurrentConfiguration,
    store: Arc<dyn Store>,
    clock: SharedClock,
    ids: StoreIds,
    (crew, gates, meter): (Crew, Arc<Gates>, Arc<Meter>),
    (tasks, stop): (TaskTracker, CancellationToken),
) {
    let ids = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        ids = ids.ready() => ids,
    };
    let deliverer = Deliverer::new(current, store, clock, ids, crew, (gates, meter));
    deliverer.run(tasks, stop).await;
}

fn senders(settings: &Settings) -> Result<(Sender, Vec<Sender>), TlsUnavailable> {
    let policy = || AddressPolicy::new(settings.allow_addresses.clone());
    let of_cores = (0..settings.ingest_threads).map(|_| Sender::new(policy()));
    Ok((Sender::new(policy())?, of_cores.collect::<Result<_, _>>()?))
}

fn alone(ended: Option<Result<Ended, tokio::task::JoinError>>) -> RunError {
    match ended {
        Some(Ok((part, outcome))) => RunError::PartEnded {
            part,
            why: outcome.err().unwrap_or_else(|| "no error".to_owned()),
        },
        Some(Err(_)) | None => RunError::Panicked,
    }
}

/// What is acknowledged and undelivered in there must not be forgotten in silence.
fn refuse_earlier_store(settings: &Settings) -> Result<(), StartError> {
    let path = settings.data_dir.join("store.db");
    if path.exists() {
        return Err(StartError::EarlierStore { path });
    }
    Ok(())
}

/// One process per folder: two writers of one store would both believe in their own order.
fn lock_data_dir(settings: &Settings) -> Result<File, StartError> {
    let path = settings.data_dir.clone();
    let failed = |source| StartError::DataDir {
        path: path.clone(),
        source,
    };
    files::make_private_dir(&path).map_err(failed)?;
    let lock = File::create(path.join("agent.lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::DataDirInUse { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let open = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().map_err(|source| StartError::Listen { address, source })
}
