//! A control plane for one test: a database of its own, the real authentication,
//! the eight services of the fleet on a loopback port.
//!
//! `HOOKPLANE_TEST_DATABASE=postgres://…/postgres` runs the same tests on PostgreSQL.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hookplane_control_plane::auth::Authenticator;
use hookplane_control_plane::clock::{Clock, SharedClock};
use hookplane_control_plane::domain::api_key::KeyDraft;
use hookplane_control_plane::domain::{Caller, Connection, Destination, Filter, Scopes, Source};
use hookplane_control_plane::fleet::{Fleet, Neighbours, Parts, Timings};
use hookplane_control_plane::listener;
use hookplane_control_plane::service::certificates::{Certificates, Policy};
use hookplane_control_plane::service::{Call, Connections, Destinations, Filters, Keys, Sources};
use hookplane_control_plane::store::database::Birth;
use hookplane_control_plane::store::{
    AgentStore, AuthorityStore, ConfigStore, Database, KeyStore, ReportStore, Sealer,
};
use hookplane_control_plane::wire::{connection, destination, filter, source};
use hookplane_proto::v1;
use sea_orm::ConnectionTrait as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub(crate) const JOIN_TOKEN: &str = "hpj_of-the-tests";
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Nothing in a test takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const NOW: i64 = 1_790_000_000_000;

pub(crate) type Authed = InterceptedService<Channel, Bearer>;

/// A clock that tests move.
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl TestClock {
    pub(crate) fn started() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).expect("a short time");
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// Adds a credential to every call.
#[derive(Clone)]
pub(crate) struct Bearer(pub(crate) String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).expect("plain text");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

pub(crate) struct Plane {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) config: ConfigStore,
    pub(crate) fleet: Fleet,
    pub(crate) team: String,
    pub(crate) api_key: String,
    pub(crate) tasks: TaskTracker,
    pub(crate) timings: Timings,
    url: String,
    address: SocketAddr,
    shutdown: CancellationToken,
    folder: Arc<tempfile::TempDir>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with(Timings::default()).await
    }

    pub(crate) async fn with(timings: Timings) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder for the test"));
        let url = database_url(&folder).await;
        let clock = TestClock::started();
        Self::open(url, folder, clock, timings).await
    }

    /// Stops it and starts another one on the same database.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await;
        Self::open(self.url, self.folder, self.clock, self.timings).await
    }

    /// Another control plane on the same database.
    pub(crate) async fn beside(&self) -> Self {
        let (folder, clock) = (Arc::clone(&self.folder), Arc::clone(&self.clock));
        Self::open(self.url.clone(), folder, clock, self.timings).await
    }

    /// One on a database of somebody's choice.
    pub(crate) async fn on(url: &str, timings: Timings) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder for the test"));
        let clock = TestClock::started();
        Self::open(url.to_owned(), folder, clock, timings).await
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        within("the streams end", self.tasks.wait()).await;
    }

    async fn open(
        url: String,
        folder: Arc<tempfile::TempDir>,
        clock: Arc<TestClock>,
        timings: Timings,
    ) -> Self {
        let birth = Birth {
            epoch: format!("epoch-{:x}", rand::random::<u64>()),
            team_id: "tm_first".to_owned(),
            now: NOW,
        };
        let database = Database::open(&url, &birth).await.expect("a database");
        let sealer = Sealer::new(&[7; 32]);
        let config = ConfigStore::new(database.clone(), sealer).await;
        let config = config.expect("a readable database");
        let shared: SharedClock = Arc::<TestClock>::clone(&clock);
        let keys = KeyStore::new(database.clone(), config.ledger().clone());
        let made = Keys::new(keys.clone(), Arc::clone(&shared));
        let draft = KeyDraft {
            name: Some("test".to_owned()),
            scopes: Some(Scopes::all()),
            ..KeyDraft::default()
        };
        let system = Caller::system("tm_first");
        let api_key = made.create(&system, draft).await.expect("a key").secret;
        let agents = AgentStore::new(database.clone());
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fleet = Fleet::new(Parts {
            config: config.clone(),
            agents: agents.clone(),
            reports: ReportStore::new(database),
            clock: shared,
            ingest_base: "http://ingest.test".to_owned(),
            join_token: JOIN_TOKEN.to_owned(),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
            timings,
            neighbours: Neighbours {
                own_url: format!("http://{address}"),
                authority: None,
            },
        });
        let certificates = Certificates::new(
            AuthorityStore::of(&config),
            Arc::<TestClock>::clone(&clock),
            Policy::Off,
            0,
        );
        let authenticator = Authenticator::new(
            keys,
            agents,
            certificates.clone(),
            Arc::<TestClock>::clone(&clock),
        );
        let (attending, ended) = (authenticator.clone(), shutdown.clone());
        tasks.spawn(async move { attending.attend(ended).await });
        let router = crate::router::router(&fleet, certificates, authenticator);
        let serving = listener::serve(
            listener,
            None,
            router,
            listener::Bounds::default(),
            tasks.clone(),
            shutdown.clone(),
        );
        tasks.spawn(serving);
        Self {
            clock,
            config,
            fleet,
            team: "tm_first".to_owned(),
            api_key,
            tasks,
            timings,
            url,
            address,
            shutdown,
            folder,
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.expect("an address").connect_lazy()
    }

    fn authed(&self) -> (Channel, Bearer) {
        (self.channel(), Bearer(self.api_key.clone()))
    }

    pub(crate) fn requests(&self) -> v1::request_service_client::RequestServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::request_service_client::RequestServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn events(&self) -> v1::event_service_client::EventServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::event_service_client::EventServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn audit(&self) -> v1::audit_service_client::AuditServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::audit_service_client::AuditServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn attempts(&self) -> v1::attempt_service_client::AttemptServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::attempt_service_client::AttemptServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn rollouts(&self) -> v1::rollout_service_client::RolloutServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::rollout_service_client::RolloutServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn configuration(
        &self,
    ) -> v1::configuration_service_client::ConfigurationServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::configuration_service_client::ConfigurationServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn fleet_api(&self) -> v1::fleet_service_client::FleetServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::fleet_service_client::FleetServiceClient::with_interceptor(channel, key)
    }

    pub(crate) fn access(
        &self,
    ) -> v1::agent_access_service_client::AgentAccessServiceClient<Authed> {
        let (channel, key) = self.authed();
        v1::agent_access_service_client::AgentAccessServiceClient::with_interceptor(channel, key)
    }

    /// How the API shows an agent.
    pub(crate) async fn shown(&self, agent_id: &str) -> v1::Agent {
        let asked = v1::GetAgentRequest {
            id: agent_id.to_owned(),
        };
        let found = self.fleet_api().get_agent(asked).await;
        found.expect("an enrolled agent").into_inner()
    }

    /// Waits until the API shows an agent as wanted.
    pub(crate) async fn shows(
        &self,
        agent_id: &str,
        what: &str,
        wanted: impl Fn(&v1::Agent) -> bool,
    ) -> v1::Agent {
        within(what, async {
            loop {
                let agent = self.shown(agent_id).await;
                if wanted(&agent) {
                    return agent;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    fn shared_clock(&self) -> SharedClock {
        Arc::<TestClock>::clone(&self.clock)
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::new(self.config.clone(), self.shared_clock())
    }

    fn call(&self) -> Call {
        Call::of_team(&self.team)
    }

    /// A Clerk source of a pool.
    pub(crate) async fn source(&self, name: &str, pool: &str) -> Source {
        let auth = v1::source_auth::Scheme::ProviderSignature(v1::ProviderSignature {
            webhook_signing_secrets: vec![SECRET.to_owned()],
            ..v1::ProviderSignature::default()
        });
        let config = v1::SourceConfig {
            auth: Some(v1::SourceAuth { scheme: Some(auth) }),
            ..v1::SourceConfig::default()
        };
        let message = v1::Source {
            name: name.to_owned(),
            pool: pool.to_owned(),
            r#type: v1::SourceType::Clerk.into(),
            config: Some(config),
            ..v1::Source::default()
        };
        let draft = source::draft(message).expect("a valid source");
        self.sources()
            .create(&self.call(), draft)
            .await
            .expect("a source")
    }

    /// Changes a source in a way that nobody notices but the revision.
    pub(crate) async fn touch(&self, source: &Source, description: &str) {
        let with = |message: &mut v1::Source| message.description = description.to_owned();
        self.change(source, with).await;
    }

    /// Moves a source to another pool.
    pub(crate) async fn move_to(&self, source: &Source, pool: &str) {
        self.change(source, |message| message.pool = pool.to_owned())
            .await;
    }

    /// Gives a source another name.
    pub(crate) async fn rename(&self, source: &Source, name: &str) {
        self.change(source, |message| message.name = name.to_owned())
            .await;
    }

    async fn change(&self, source: &Source, with: impl FnOnce(&mut v1::Source)) {
        let mut message =
            source::message(source, "", hookplane_control_plane::wire::Secrets::Revealed);
        with(&mut message);
        let draft = source::draft(message).expect("a valid source");
        let changed = self
            .sources()
            .replace(&self.call(), &source.id, draft)
            .await;
        changed.expect("a changed source");
    }

    /// A destination and the connection of a source to it.
    pub(crate) async fn connect(&self, from: &Source, name: &str) -> (Destination, Connection) {
        self.connect_limited(from, name, 0).await
    }

    pub(crate) fn destinations(&self) -> Destinations {
        Destinations::new(self.config.clone(), self.shared_clock())
    }

    /// Changes the rate limit of a destination; 0 for none.
    pub(crate) async fn limit(&self, to: &Destination, rate_limit: u32) {
        let draft = destination::draft(receiver(&to.spec.name, rate_limit));
        let draft = draft.expect("a valid destination");
        let changed = self
            .destinations()
            .replace(&self.call(), &to.id, draft)
            .await;
        changed.expect("a changed destination");
    }

    /// The same as `connect`, with a rate limit, which agents of the minor before do not know.
    pub(crate) async fn connect_limited(
        &self,
        from: &Source,
        name: &str,
        rate_limit: u32,
    ) -> (Destination, Connection) {
        let to = self.destination(name, rate_limit).await;
        let made = self.connect_to(from, &to, name).await;
        (to, made)
    }

    /// A destination that nothing uses yet.
    pub(crate) async fn destination(&self, name: &str, rate_limit: u32) -> Destination {
        let message = receiver(name, rate_limit);
        let draft = destination::draft(message).expect("a valid destination");
        let to = self.destinations().create(&self.call(), draft).await;
        to.expect("a destination")
    }

    pub(crate) async fn connect_to(
        &self,
        from: &Source,
        to: &Destination,
        name: &str,
    ) -> Connection {
        let message = v1::Connection {
            name: name.to_owned(),
            source_id: from.id.clone(),
            destination_id: to.id.clone(),
            ..v1::Connection::default()
        };
        let draft = connection::draft(message).expect("a valid connection");
        let connections = Connections::new(self.config.clone(), self.shared_clock());
        let made = connections.create(&self.call(), draft).await;
        made.expect("a connection")
    }

    /// Lets a stored filter decide what passes a connection.
    pub(crate) async fn filter_by(&self, connection: &Connection, filter: &Filter) {
        let mut message = connection::message(connection);
        let rule = v1::FilterRule {
            filter_id: filter.id.clone(),
            ..v1::FilterRule::default()
        };
        message.rules = vec![v1::Rule {
            rule: Some(v1::rule::Rule::Filter(rule)),
        }];
        let draft = connection::draft(message).expect("a valid connection");
        let connections = Connections::new(self.config.clone(), self.shared_clock());
        let changed = connections
            .replace(&self.call(), &connection.id, draft)
            .await;
        changed.expect("a changed connection");
    }

    /// A stored filter that lets this path through; made, or changed to it.
    pub(crate) async fn filter(&self, name: &str, path: &str) -> Filter {
        let text = prost_types::value::Kind::StringValue(path.to_owned());
        let message = v1::Filter {
            name: name.to_owned(),
            conditions: Some(v1::FilterConditions {
                path: Some(prost_types::Value { kind: Some(text) }),
                ..v1::FilterConditions::default()
            }),
            ..v1::Filter::default()
        };
        let filters = Filters::new(self.config.clone(), self.shared_clock());
        let made = filters.upsert(&self.call(), filter::draft(message)).await;
        made.expect("a filter")
    }

    pub(crate) async fn disconnect(&self, connection: &Connection) {
        let connections = Connections::new(self.config.clone(), self.shared_clock());
        let deleted = connections.delete(&self.call(), &connection.id).await;
        deleted.expect("a deleted connection");
    }
}

fn receiver(name: &str, rate_limit: u32) -> v1::Destination {
    v1::Destination {
        name: name.to_owned(),
        config: Some(v1::DestinationConfig {
            url: "https://receiver.test/hook".to_owned(),
            rate_limit,
            ..v1::DestinationConfig::default()
        }),
        ..v1::Destination::default()
    }
}

/// Waits for something with a deadline that only a hang exceeds.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

pub(crate) async fn database_url(folder: &tempfile::TempDir) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests chooses the database"
    )]
    let server = std::env::var("HOOKPLANE_TEST_DATABASE");
    let Ok(server) = server else {
        let file = folder.path().join("control-plane.db");
        return format!("sqlite://{}?mode=rwc", file.display());
    };
    let name = format!("hookplane_{:016x}", rand::random::<u64>());
    let admin = sea_orm::Database::connect(&server).await.expect("a server");
    let create = format!("CREATE DATABASE {name}");
    admin.execute_unprepared(&create).await.expect("a database");
    let (base, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{base}/{name}")
}
