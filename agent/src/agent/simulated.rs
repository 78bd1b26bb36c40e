//! An agent in a simulated world: the parts of the real one, wired to a store, a network, a
//! clock and randomness that somebody else plays.
//!
//! Left out is what belongs to a process: the lock of the folder, the admin listener and its
//! thread. Its end is to be dropped, which is a kill, or the token, after which it drains in
//! the order of the real one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::client::legacy::connect::Connection;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Endpoint;
use tower_service::Service;

use super::{StartError, deliver, fleet, upkeep};
use crate::accept::{Acceptor, IngestLimits, Listener, serve};
use crate::chance::Draw;
use crate::clock::SharedClock;
use crate::config::{Configuration, CurrentConfiguration};
use crate::control::holder::{Holder, Writing};
use crate::control::identity::Identity;
use crate::deliver::{AddressPolicy, Crew, Gates, Sender};
use crate::files;
use crate::ids::StoreIds;
use crate::link::{Connecting, Link, Network};
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::Reporter;
use crate::report::spool::Spool;
use crate::settings::Settings;
use crate::store::Store;
use crate::vitals::Vitals;

/// Everything an agent meets.
pub struct World<L, C> {
    pub settings: Settings,
    pub clock: SharedClock,
    pub draw: Draw,
    /// Of the identity, when the folder has none yet.
    pub credential: [u8; 32],
    pub store: Arc<dyn Store>,
    /// Brings senders.
    pub listener: L,
    /// Reaches receivers and the control plane.
    pub network: C,
}

/// Runs an agent until `shutdown`, then drains it.
///
/// # Errors
/// [`StartError`] when it cannot start.
pub async fn run<L, C>(world: World<L, C>, shutdown: CancellationToken) -> Result<(), StartError>
where
    L: Listener,
    C: Service<Uri, Error = io::Error> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
{
    let (parts, stops) = (Parts::open(&world).await?, Stops::default());
    let (requests, deliveries) = (TaskTracker::new(), TaskTracker::new());
    let limit = world.settings.drain / 2;
    let mut running = JoinSet::new();

    let acceptor = parts.acceptor(&world);
    let (tasks, stop) = (requests.clone(), stops.accept.clone());
    running.spawn(serve(world.listener, Arc::new(acceptor), tasks, stop));

    let policy = AddressPolicy::new(world.settings.allow_addresses.clone());
    let sender = Sender::over(world.network.clone(), policy)?;
    let link = Link::over(Arc::new(Over(world.network)), world.draw, &world.settings)?;
    running.spawn(deliver(
        Arc::clone(&parts.current),
        Arc::clone(&parts.store),
        Arc::clone(&parts.clock),
        parts.ids.clone(),
        (
            Crew::from(sender),
            Arc::clone(&parts.gates),
            Arc::clone(&parts.meter),
        ),
        (deliveries.clone(), stops.deliver.clone()),
    ));
    running.spawn(parts.reporter(&world.settings).run(stops.report.clone()));
    running.spawn(parts.upkeep(&world.settings).run(stops.rest.clone()));
    let fleet = parts.fleet(world.settings, link);
    let stop = stops.rest.clone();
    running.spawn(async move { Box::pin(fleet.run(stop)).await });

    shutdown.cancelled().await;
    stops.accept.cancel();
    settled(&requests, limit).await;
    stops.deliver.cancel();
    settled(&deliveries, limit).await;
    stops.report.cancel();
    stops.rest.cancel();
    while running.join_next().await.is_some() {}
    Ok(())
}

async fn settled(tasks: &TaskTracker, limit: Duration) {
    tasks.close();
    // What does not end in time is dropped with the runtime, as with the process.
    drop(timeout(limit, tasks.wait()).await);
}

#[derive(Default)]
struct Stops {
    accept: CancellationToken,
    deliver: CancellationToken,
    report: CancellationToken,
    rest: CancellationToken,
}

/// What the running parts share.
struct Parts {
    store: Arc<dyn Store>,
    clock: SharedClock,
    ids: StoreIds,
    readiness: Arc<Readiness>,
    current: CurrentConfiguration,
    identity: Identity,
    holder: Holder,
    spool: Arc<Spool>,
    meter: Arc<Meter>,
    vitals: Arc<Vitals>,
    gates: Arc<Gates>,
}

impl Parts {
    async fn open<L, C>(world: &World<L, C>) -> Result<Self, StartError> {
        let folder = &world.settings.data_dir;
        files::make_private_dir(folder).map_err(|source| StartError::DataDir {
            path: folder.clone(),
            source,
        })?;
        let store = Arc::clone(&world.store);
        let clock = Arc::clone(&world.clock);
        let identity = Identity::load_or_make(folder, world.credential)?;
        let (ids, readiness) = (StoreIds::drawing(world.draw), Arc::<Readiness>::default());
        if let Some(number) = store.store_number().await? {
            fleet::number_store(store.as_ref(), number, &ids, &readiness).await?;
        }
        let current = Arc::new(ArcSwap::from_pointee(Configuration::default()));
        let holder = Holder::open(
            folder,
            &identity,
            Arc::clone(&current),
            Arc::clone(&readiness),
            Arc::clone(&clock),
            Writing::InPlace,
        );
        let spool = Spool::open(Arc::clone(&store), world.settings.pace.spool).await?;
        Ok(Self {
            ids,
            readiness,
            current,
            identity,
            holder,
            spool: Arc::new(spool),
            meter: Arc::default(),
            vitals: Arc::default(),
            gates: Arc::new(Gates::new(Arc::clone(&clock))),
            store,
            clock,
        })
    }

    fn acceptor<L, C>(&self, world: &World<L, C>) -> Acceptor {
        Acceptor::new(
            Arc::clone(&self.current),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.ids.clone(),
            Arc::clone(&self.meter),
            IngestLimits::of(&world.settings),
        )
    }

    fn reporter(&self, settings: &Settings) -> Reporter {
        Reporter {
            meter: Arc::clone(&self.meter),
            gates: Arc::clone(&self.gates),
            store: Arc::clone(&self.store),
            spool: Arc::clone(&self.spool),
            vitals: Arc::clone(&self.vitals),
            config: Arc::clone(&self.current),
            readiness: Arc::clone(&self.readiness),
            clock: Arc::clone(&self.clock),
            fold: settings.pace.fold,
            every: settings.pace.report,
        }
    }

    fn upkeep(&self, settings: &Settings) -> upkeep::Upkeep {
        upkeep::Upkeep {
            store: Arc::clone(&self.store),
            vitals: Arc::clone(&self.vitals),
            clock: Arc::clone(&self.clock),
            retention_days: settings.retention_days,
            clock_file: settings.data_dir.join("clock"),
        }
    }

    fn fleet(self, settings: Settings, link: Link) -> fleet::Fleet {
        fleet::Fleet {
            settings,
            clock: self.clock,
            store: self.store,
            identity: self.identity,
            papers: None,
            holder: self.holder,
            link,
            spool: self.spool,
            ids: self.ids,
            readiness: self.readiness,
            config: self.current,
            meter: self.meter,
            gates: self.gates,
            commands: TaskTracker::new(),
        }
    }
}

/// Dials the control plane over the given network.
struct Over<C>(C);

impl<C> Network for Over<C>
where
    C: Service<Uri, Error = io::Error> + Clone + Send + Sync + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
{
    fn connect(&self, to: Endpoint) -> Connecting {
        let network = self.0.clone();
        Box::pin(async move { to.connect_with_connector(network).await })
    }
}
