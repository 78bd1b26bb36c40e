//! A control plane in this process, on a free port, with a client that holds its first key.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::Settings;
use hookplane_proto::v1::agent_access_service_client::AgentAccessServiceClient;
use hookplane_proto::v1::api_key_service_client::ApiKeyServiceClient;
use hookplane_proto::v1::configuration_service_client::ConfigurationServiceClient;
use hookplane_proto::v1::connection_service_client::ConnectionServiceClient;
use hookplane_proto::v1::destination_service_client::DestinationServiceClient;
use hookplane_proto::v1::filter_service_client::FilterServiceClient;
use hookplane_proto::v1::handler_key_service_client::HandlerKeyServiceClient;
use hookplane_proto::v1::installation_service_client::InstallationServiceClient;
use hookplane_proto::v1::source_service_client::SourceServiceClient;
use hookplane_proto::v1::{self};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) type Authorised = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub(crate) struct Plane {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) channel: Channel,
    pub(crate) key: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) database: String,
    /// For calls that no typed client makes.
    pub(crate) raw: Client<HttpConnector, Full<Bytes>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Plane {
    pub(crate) async fn on_sqlite() -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let database = Settings::in_dir(dir.path()).database;
        Self::start(dir, database).await
    }

    /// One that gives calls in hand this much time when it stops.
    pub(crate) async fn with_drain(drain: Duration) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let settings = Settings {
            drain,
            ..Settings::in_dir(dir.path())
        };
        Self::start_with(dir, settings).await
    }

    /// One whose agents share no join token.
    pub(crate) async fn without_join_token() -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let settings = Settings {
            shared_join_token: false,
            ..Settings::in_dir(dir.path())
        };
        Self::start_with(dir, settings).await
    }

    /// One on each database there is.
    pub(crate) async fn on_each_database() -> Vec<Self> {
        let mut planes = vec![Self::on_sqlite().await];
        if let Some(database) = tokio::task::spawn_blocking(super::postgres::database)
            .await
            .expect("the test's PostgreSQL starts")
        {
            let dir = Arc::new(tempfile::tempdir().expect("a folder"));
            planes.push(Self::start(dir, database).await);
        }
        planes
    }

    async fn start(dir: Arc<TempDir>, database: String) -> Self {
        let settings = Settings {
            database,
            ..Settings::in_dir(dir.path())
        };
        Self::start_with(dir, settings).await
    }

    async fn start_with(dir: Arc<TempDir>, settings: Settings) -> Self {
        let settings = Settings {
            api: ([127, 0, 0, 1], 0).into(),
            ..settings
        };
        let database = settings.database.clone();
        let key_file = settings.admin_key_file.clone();
        let plane = ControlPlane::start(settings, Arc::new(SystemClock))
            .await
            .expect("it starts");
        let address = plane.api();
        let key = std::fs::read_to_string(key_file).expect("the first key is written");
        let shutdown = CancellationToken::new();
        let ending = shutdown.clone();
        let running = TaskTracker::new().spawn(async move {
            plane.run(ending).await.expect("it ends as it should");
        });
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("a URL")
            .connect()
            .await
            .expect("it accepts connections");
        Self {
            dir,
            channel,
            key: key.trim().to_owned(),
            address,
            database,
            raw: Client::builder(TokioExecutor::new())
                .http2_only(true)
                .build_http(),
            shutdown,
            running,
        }
    }

    /// Stops it and starts another one on the same folder and database.
    pub(crate) async fn restart(self) -> Self {
        let (dir, database) = (Arc::clone(&self.dir), self.database.clone());
        self.stop().await;
        Self::start(dir, database).await
    }

    pub(crate) async fn stop(self) {
        drop((self.channel, self.raw));
        self.shutdown.cancel();
        self.running.await.expect("it ended as it should");
    }

    pub(crate) fn bearer(key: &str) -> Bearer {
        Bearer(Some(
            format!("Bearer {key}")
                .parse()
                .expect("a key is plain text"),
        ))
    }

    pub(crate) fn sources(&self) -> SourceServiceClient<Authorised> {
        self.sources_with(&self.key)
    }

    pub(crate) fn sources_with(&self, key: &str) -> SourceServiceClient<Authorised> {
        SourceServiceClient::with_interceptor(self.channel.clone(), Self::bearer(key))
    }

    pub(crate) fn destinations(&self) -> DestinationServiceClient<Authorised> {
        DestinationServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn connections(&self) -> ConnectionServiceClient<Authorised> {
        ConnectionServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn filters(&self) -> FilterServiceClient<Authorised> {
        FilterServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn configuration(&self) -> ConfigurationServiceClient<Authorised> {
        ConfigurationServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn keys(&self) -> ApiKeyServiceClient<Authorised> {
        self.keys_with(&self.key)
    }

    pub(crate) fn keys_with(&self, key: &str) -> ApiKeyServiceClient<Authorised> {
        ApiKeyServiceClient::with_interceptor(self.channel.clone(), Self::bearer(key))
    }

    pub(crate) fn handler_keys(&self) -> HandlerKeyServiceClient<Authorised> {
        HandlerKeyServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn access(&self) -> AgentAccessServiceClient<Authorised> {
        AgentAccessServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) fn installation(&self) -> InstallationServiceClient<Authorised> {
        InstallationServiceClient::with_interceptor(self.channel.clone(), Self::bearer(&self.key))
    }

    pub(crate) async fn create_source(&self, source: v1::Source) -> Result<v1::Source, Status> {
        let source = Some(source);
        let made = self
            .sources()
            .create_source(v1::CreateSourceRequest {
                source,
                ..v1::CreateSourceRequest::default()
            })
            .await?;
        Ok(made.into_inner())
    }

    pub(crate) async fn create_destination(&self, name: &str) -> v1::Destination {
        let destination = Some(destination(name));
        let asked = v1::CreateDestinationRequest {
            destination,
            ..v1::CreateDestinationRequest::default()
        };
        let made = self.destinations().create_destination(asked).await;
        made.expect("the destination is right").into_inner()
    }
}

pub(crate) fn clerk(name: &str) -> v1::Source {
    v1::Source {
        name: name.to_owned(),
        r#type: v1::SourceType::Clerk.into(),
        config: Some(v1::SourceConfig {
            auth: Some(provider_auth(&[SECRET])),
            ..v1::SourceConfig::default()
        }),
        ..v1::Source::default()
    }
}

pub(crate) fn provider_auth(secrets: &[&str]) -> v1::SourceAuth {
    let signature = v1::ProviderSignature {
        provider: 0,
        webhook_signing_secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        terms: Vec::new(),
    };
    v1::SourceAuth {
        scheme: Some(v1::source_auth::Scheme::ProviderSignature(signature)),
    }
}

pub(crate) fn destination(name: &str) -> v1::Destination {
    v1::Destination {
        name: name.to_owned(),
        config: Some(v1::DestinationConfig {
            url: "https://users.internal/hooks".to_owned(),
            ..v1::DestinationConfig::default()
        }),
        ..v1::Destination::default()
    }
}

pub(crate) fn connection(name: &str, source_id: &str, destination_id: &str) -> v1::Connection {
    v1::Connection {
        name: name.to_owned(),
        source_id: source_id.to_owned(),
        destination_id: destination_id.to_owned(),
        ..v1::Connection::default()
    }
}

pub(crate) fn secrets_of(source: &v1::Source) -> Vec<String> {
    let auth = source.config.clone().and_then(|config| config.auth);
    match auth.and_then(|auth| auth.scheme) {
        Some(v1::source_auth::Scheme::ProviderSignature(signature)) => {
            signature.webhook_signing_secrets
        }
        other => panic!("the source has no provider signature but {other:?}"),
    }
}

/// A filter that lets this path through.
pub(crate) fn filter(name: &str, path: &str) -> v1::Filter {
    v1::Filter {
        name: name.to_owned(),
        conditions: Some(v1::FilterConditions {
            path: Some(text(path)),
            ..v1::FilterConditions::default()
        }),
        ..v1::Filter::default()
    }
}

pub(crate) fn text(text: &str) -> prost_types::Value {
    prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    }
}

/// A rule that refers to a stored filter.
pub(crate) fn filtered_by(filter_id: &str) -> v1::Rule {
    let rule = v1::FilterRule {
        filter_id: filter_id.to_owned(),
        ..v1::FilterRule::default()
    };
    v1::Rule {
        rule: Some(v1::rule::Rule::Filter(rule)),
    }
}
