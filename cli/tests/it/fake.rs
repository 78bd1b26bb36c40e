//! A control plane made of memory, as much of one as the command line needs.
//!
//! Refuses to be right about anything but the outside: names are unique,
//! secrets come back redacted, a change counts the revision up, an upsert that
//! changes nothing does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use hookplane_client::v1::api_key_service_server::ApiKeyServiceServer;
use hookplane_client::v1::attempt_service_server::AttemptServiceServer;
use hookplane_client::v1::connection_service_server::ConnectionServiceServer;
use hookplane_client::v1::destination_service_server::DestinationServiceServer;
use hookplane_client::v1::event_service_server::EventServiceServer;
use hookplane_client::v1::fleet_service_server::FleetServiceServer;
use hookplane_client::v1::handler_key_service_server::HandlerKeyServiceServer;
use hookplane_client::v1::request_service_server::RequestServiceServer;
use hookplane_client::v1::source_service_server::SourceServiceServer;
use hookplane_client::v1::{Connection, Destination, Source};
use tonic::service::InterceptorLayer;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::hookplane::Shell;

mod configuration;
mod evidence;
mod fleet;
mod handler_keys;

pub(crate) use evidence::trace;

pub(crate) const KEY: &str = "hpk_test";

/// What the control plane remembers.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) sources: Vec<Source>,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) connections: Vec<Connection>,
    /// Secrets by resource id; reading shows them redacted.
    pub(crate) secrets: HashMap<String, Vec<String>>,
    pub(crate) revision: u64,
    /// Streams of the tail opened so far.
    pub(crate) tails: u32,
    next_id: u32,
}

impl State {
    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{:026}", self.next_id)
    }
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// The running control plane. It ends when dropped.
pub(crate) struct Plane {
    pub(crate) url: String,
    fake: Fake,
    _tasks: tokio::task::JoinSet<()>,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        let fake = Fake::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let router = tonic::transport::Server::builder()
            .layer(InterceptorLayer::new(authorised))
            .add_service(SourceServiceServer::new(fake.clone()))
            .add_service(DestinationServiceServer::new(fake.clone()))
            .add_service(ConnectionServiceServer::new(fake.clone()))
            .add_service(RequestServiceServer::new(fake.clone()))
            .add_service(EventServiceServer::new(fake.clone()))
            .add_service(AttemptServiceServer::new(fake.clone()))
            .add_service(FleetServiceServer::new(fake.clone()))
            .add_service(HandlerKeyServiceServer::new(fake.clone()))
            .add_service(ApiKeyServiceServer::new(fake.clone()));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            url,
            fake,
            _tasks: tasks,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.fake.state()
    }

    /// A terminal that has address and key in its environment.
    pub(crate) fn shell(&self) -> Shell {
        Shell::bare()
            .with("HOOKPLANE_API_URL", &self.url)
            .with("HOOKPLANE_API_KEY", KEY)
    }
}

fn authorised(request: Request<()>) -> Result<Request<()>, Status> {
    let expected = format!("Bearer {KEY}");
    let sent = request.metadata().get("authorization");
    if sent.is_some_and(|sent| sent.as_bytes() == expected.as_bytes()) {
        Ok(request)
    } else {
        Err(Status::unauthenticated("the key is not known"))
    }
}

/// A status as the control plane makes them.
fn refused(code: Code, reason: &str, message: &str, hint: &str, fields: &[(&str, &str)]) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("hint".to_owned(), hint.to_owned())]);
    details.set_error_info(reason, "hookplane", metadata);
    for (field, message) in fields {
        details.add_bad_request_violation(*field, *message);
    }
    Status::with_error_details(code, message, details)
}

fn not_found(id: &str) -> Status {
    let message = format!("there is no {id}");
    refused(
        Code::NotFound,
        "RESOURCE_NOT_FOUND",
        &message,
        "list to see what there is",
        &[],
    )
}
