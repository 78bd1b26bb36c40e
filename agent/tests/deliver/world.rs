//! A store, a deliverer on it, and requests to put in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_agent::clock::SystemClock;
use hookplane_agent::config::{
    Branches, Configuration, Connection, CurrentConfiguration, Destination, DestinationAuth, Source,
};
use hookplane_agent::deliver::{AddressPolicy, Deliverer, DestinationStanding, Gates, Sender};
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::meter::Meter;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{EventRecord, EventStatus, NewRequest, RequestRecord, Store};
use hookplane_rules::RetryPolicy;
use hookplane_signature::{AuthSpec, Provider, Verifier};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const IDS: IdMint = IdMint::new(1);
pub(crate) const TEAM: &str = "tm_1";

pub(crate) fn destination(id: &str, url: &str) -> Destination {
    Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        url: url.parse().unwrap(),
        method: None,
        path_forwarding: false,
        reports_outcome: false,
        auth: DestinationAuth::None,
        timeout: Duration::from_secs(30),
        max_in_flight: 2,
        rate: None,
        enabled: true,
        version: 1,
    }
}

pub(crate) fn configuration(
    destinations: Vec<Destination>,
    retry: &RetryPolicy,
) -> CurrentConfiguration {
    let branches = destinations.iter().flat_map(|to| {
        // Each has a second branch, so that two can lead to one destination.
        ["web", "web_other"].map(|prefix| (format!("{prefix}_{}", to.id), to))
    });
    let connections = branches
        .map(|(id, to)| {
            Arc::new(Connection {
                name: id.clone(),
                id,
                destination_id: to.id.clone(),
                enabled: true,
                paused: false,
                drain: None,
                filters: Vec::new(),
                deduplicate: None,
                delay: None,
                transform: None,
                retry: retry.clone(),
            })
        })
        .collect();
    let source = Source {
        id: "src_1".into(),
        team_id: TEAM.into(),
        name: "s".into(),
        provider: Provider::Webhook,
        enabled: true,
        verifier: Verifier::new(Provider::Webhook, AuthSpec::None, 300).unwrap(),
        methods: Vec::new(),
        custom_response: None,
        max_body_bytes: 1,
        handler_keys: Vec::new(),
        dedupe_window: Duration::ZERO,
        connections: Branches::of(Provider::Webhook, connections),
        version: 1,
    };
    Arc::new(ArcSwap::from_pointee(Configuration {
        epoch: "e".into(),
        deleted_connections: ["web_des_gone".to_owned()].into(),
        revision: 1,
        sources: [(source.id.clone(), Arc::new(source))].into(),
        destinations: destinations
            .into_iter()
            .map(|to| (to.id.clone(), Arc::new(to)))
            .collect(),
    }))
}

pub(crate) struct Running {
    pub(crate) store: JournalStore,
    pub(crate) gates: Arc<Gates>,
    pub(crate) meter: Arc<Meter>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

pub(crate) fn run(dir: &Path, config: &CurrentConfiguration, allow: &[&str]) -> Running {
    let store = JournalStore::open(&dir.join("store"), &Options::default()).unwrap();
    run_on(store.clone(), Arc::new(store), config, allow)
}

/// Delivers from `seen`, a view of the store.
pub(crate) fn run_on(
    store: JournalStore,
    seen: Arc<dyn Store>,
    config: &CurrentConfiguration,
    allow: &[&str],
) -> Running {
    let policy = AddressPolicy::new(allow.iter().map(|net| net.parse().unwrap()).collect());
    let sender = Sender::new(policy).unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let gates = Arc::new(Gates::new(Arc::new(SystemClock)));
    let meter = Arc::new(Meter::default());
    let deliverer = Deliverer::new(
        Arc::clone(config),
        seen,
        Arc::new(SystemClock),
        IDS,
        sender,
        (Arc::clone(&gates), Arc::clone(&meter)),
    );
    tasks.spawn(deliverer.run(tasks.clone(), shutdown.clone()));
    Running {
        store,
        gates,
        meter,
        tasks,
        shutdown,
    }
}

pub(crate) const LOOPBACK: &[&str] = &["127.0.0.0/8"];

impl Running {
    pub(crate) async fn put(&self, destination: &str) -> EventRecord {
        put(&self.store, destination, &format!("web_{destination}")).await
    }

    pub(crate) async fn put_changed(
        &self,
        destination: &str,
        change: impl FnOnce(&mut RequestRecord),
    ) -> EventRecord {
        let connection = format!("web_{destination}");
        put_changed(&self.store, destination, &connection, change).await
    }

    pub(crate) async fn reaches(&self, event: &EventRecord, wanted: EventStatus) -> EventRecord {
        let mut last = None;
        for _ in 0..400 {
            let now = self.store.event(TEAM, &event.id).await.unwrap().unwrap();
            if now.status == wanted {
                return now;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the event never became {wanted:?}: {last:?}");
    }

    /// The destination as it stands, once it stands as wanted.
    pub(crate) async fn stands(
        &self,
        destination: &str,
        wanted: impl Fn(&DestinationStanding) -> bool,
    ) -> DestinationStanding {
        let mut last = None;
        for _ in 0..400 {
            let all = self.gates.standings(1_000);
            let found = all
                .into_iter()
                .find(|one| one.destination_id == destination);
            match found {
                Some(found) if wanted(&found) => return found,
                other => last = other,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{destination} never stood as wanted: {last:?}");
    }

    /// True when everything under way ended.
    pub(crate) async fn stop(self) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        self.store.close().await;
        ended.is_ok()
    }
}

/// Stores a request with one event of a branch.
pub(crate) async fn put(store: &JournalStore, destination: &str, connection: &str) -> EventRecord {
    put_changed(store, destination, connection, |_| {}).await
}

async fn put_changed(
    store: &JournalStore,
    destination: &str,
    connection: &str,
    change: impl FnOnce(&mut RequestRecord),
) -> EventRecord {
    let mut request = RequestRecord {
        id: IDS.mint(Kind::Request, 1_000),
        team_id: TEAM.into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: None,
        event_type: None,
        ingested_at: 1_000,
        client_ip: "127.0.0.1".into(),
        config_revision: 1,
        method: "PUT".into(),
        path: "/deep/path".into(),
        query: "a=%20b&a=c".into(),
        headers: [
            ("content-type", "application/x-odd"),
            ("svix-signature", "v1,abc"),
            ("x-two", "1"),
            ("x-two", "2"),
            ("host", "inbound.example"),
            ("connection", "close, x-hop"),
            ("x-hop", "gone"),
            ("transfer-encoding", "chunked"),
            ("cookie", "session=secret"),
            ("hookplane-event-id", "forged"),
            (
                "traceparent",
                "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
            ),
        ]
        .map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())))
        .into(),
        body: Bytes::from_static(b"\x00raw \xff bytes"),
        body_size: 12,
        replay: None,
    };
    change(&mut request);
    let event = EventRecord {
        id: IDS.mint(Kind::Event, 1_000),
        team_id: TEAM.into(),
        request_id: request.id.clone(),
        connection_id: connection.into(),
        source_id: "src_1".into(),
        destination_id: destination.into(),
        event_type: None,
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: 1_000,
        last_attempt_at: None,
        next_attempt_at: Some(1_000),
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    };
    let new = NewRequest {
        request,
        events: vec![event.clone()],
        dedupe_window_millis: 0,
        branch_keys: Vec::new(),
    };
    store.append(new, IDS).await.unwrap();
    event
}
