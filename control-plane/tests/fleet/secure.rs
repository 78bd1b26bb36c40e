//! A whole control plane that speaks TLS, and agents that dial it with a key of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookplane_control_plane::clock::SharedClock;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::{AgentCertificates, Settings, TlsFiles};
use hookplane_proto::agent::v1::certificate_service_client::CertificateServiceClient;
use hookplane_proto::agent::v1::command_service_client::CommandServiceClient;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use hookplane_proto::agent::v1::{
    CertifyRequest, CertifyResponse, CommandStreamRequest, CommandStreamResponse, EnrollRequest,
};
use hookplane_proto::v1::agent_access_service_client::AgentAccessServiceClient;
use hookplane_proto::v1::installation_service_client::InstallationServiceClient;
use rcgen::{CertificateParams, KeyPair};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Status, Streaming};

use crate::agent::application;
use crate::plane::{Authed, Bearer, TestClock, database_url, within};

pub(crate) const LIFE: Duration = Duration::from_secs(3_600);

pub(crate) struct Secure {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) url: String,
    folder: tempfile::TempDir,
    address: SocketAddr,
    authority: String,
    api_key: String,
    join_token: String,
    shutdown: CancellationToken,
    serving: JoinSet<()>,
}

/// An agent with a key, and the certificate it was given last.
pub(crate) struct KeyedAgent {
    pub(crate) id: String,
    pub(crate) credential: String,
    pub(crate) key: KeyPair,
    pub(crate) certificate: Option<String>,
}

/// Certificate and key for 127.0.0.1, and who signed it.
fn server_files(folder: &Path) -> (TlsFiles, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).expect("a root").pem();
    let issuer = rcgen::Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let files = TlsFiles {
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    std::fs::write(&files.cert, leaf.pem()).expect("it is written");
    std::fs::write(&files.key, key.serialize_pem()).expect("it is written");
    (files, root)
}

impl Secure {
    pub(crate) async fn start(certificates: AgentCertificates) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = database_url(&folder).await;
        Self::open(folder, url, TestClock::started(), certificates, None).await
    }

    /// Another one on the same database, which knows the same secrets.
    pub(crate) async fn beside(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["secret.key", "join.token"] {
            let copied = std::fs::copy(self.folder.path().join(name), folder.path().join(name));
            copied.expect("a copy");
        }
        let given = AgentCertificates::Given;
        let (url, clock) = (self.url.clone(), Arc::clone(&self.clock));
        Self::open(folder, url, clock, given, Some(self.api_key.clone())).await
    }

    async fn open(
        folder: tempfile::TempDir,
        url: String,
        clock: Arc<TestClock>,
        certificates: AgentCertificates,
        api_key: Option<String>,
    ) -> Self {
        // Another test may have done it.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (tls, authority) = server_files(folder.path());
        let settings = Settings {
            api: ([127, 0, 0, 1], 0).into(),
            database: url.clone(),
            tls: Some(tls),
            agent_certificates: Some(certificates),
            agent_certificate_life: LIFE,
            ..Settings::in_dir(folder.path())
        };
        let key_file = settings.admin_key_file.clone();
        let shared: SharedClock = Arc::<TestClock>::clone(&clock);
        let plane = ControlPlane::start(settings, shared).await;
        let plane = plane.expect("it starts");
        let (address, join_token) = (plane.api(), plane.join_token().to_owned());
        let api_key = api_key.unwrap_or_else(|| {
            let text = std::fs::read_to_string(key_file).expect("the first key");
            text.trim().to_owned()
        });
        let shutdown = CancellationToken::new();
        let ended = shutdown.clone();
        let mut serving = JoinSet::new();
        serving.spawn(async move { plane.run(ended).await.expect("it ends well") });
        Self {
            clock,
            url,
            folder,
            address,
            authority,
            api_key,
            join_token,
            shutdown,
            serving,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        within("the control plane ends", self.serving.join_all()).await;
    }

    /// A connection with a certificate and its key, in PEM, or without.
    pub(crate) fn channel(&self, shown: Option<(&str, &KeyPair)>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        if let Some((certificate, key)) = shown {
            tls = tls.identity(Identity::from_pem(certificate, key.serialize_pem()));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address));
        let endpoint = endpoint.expect("an address").tls_config(tls);
        endpoint.expect("a configuration").connect_lazy()
    }

    pub(crate) fn access(&self) -> AgentAccessServiceClient<Authed> {
        let key = Bearer(self.api_key.clone());
        AgentAccessServiceClient::with_interceptor(self.channel(None), key)
    }

    pub(crate) fn installation(&self) -> InstallationServiceClient<Authed> {
        let key = Bearer(self.api_key.clone());
        InstallationServiceClient::with_interceptor(self.channel(None), key)
    }

    pub(crate) async fn enrolled(&self, name: &str) -> KeyedAgent {
        let credential = format!("hpa_{name}");
        let request = EnrollRequest {
            join_token: self.join_token.clone(),
            ..application(name, "default", &credential)
        };
        let mut client = EnrolmentServiceClient::new(self.channel(None));
        let answer = client.enroll(request).await.expect("an agent").into_inner();
        KeyedAgent {
            id: answer.agent_id,
            credential,
            key: KeyPair::generate().expect("a key"),
            certificate: None,
        }
    }

    /// Enrolled, and with a certificate.
    pub(crate) async fn certified(&self, name: &str) -> KeyedAgent {
        let mut agent = self.enrolled(name).await;
        agent.certify(self).await.expect("a certificate");
        agent
    }
}

/// A request for a certificate, signed by the key.
pub(crate) fn request_by(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(vec!["somebody.else".to_owned()]).expect("parameters");
    params
        .serialize_request(key)
        .expect("it signs")
        .der()
        .to_vec()
}

impl KeyedAgent {
    pub(crate) async fn ask(
        &self,
        plane: &Secure,
        request: Vec<u8>,
    ) -> Result<CertifyResponse, Status> {
        let bearer = Bearer(self.credential.clone());
        let mut client = CertificateServiceClient::with_interceptor(plane.channel(None), bearer);
        Ok(client
            .certify(CertifyRequest { request })
            .await?
            .into_inner())
    }

    pub(crate) async fn certify(&mut self, plane: &Secure) -> Result<CertifyResponse, Status> {
        let answer = self.ask(plane, request_by(&self.key)).await?;
        self.certificate = Some(answer.certificate.clone());
        Ok(answer)
    }

    /// Opens a stream with the certificate it has.
    pub(crate) async fn calls(&self, plane: &Secure) -> Result<CommandStream, Status> {
        let shown = self.certificate.as_deref();
        self.calls_with(plane, shown.map(|certificate| (certificate, &self.key)))
            .await
    }

    pub(crate) async fn calls_with(
        &self,
        plane: &Secure,
        shown: Option<(&str, &KeyPair)>,
    ) -> Result<CommandStream, Status> {
        let (say, said) = mpsc::channel(4);
        let bearer = Bearer(self.credential.clone());
        let mut client = CommandServiceClient::with_interceptor(plane.channel(shown), bearer);
        let opened = within("an answer", client.stream(ReceiverStream::new(said))).await;
        Ok(CommandStream {
            _say: say,
            hear: opened?.into_inner(),
        })
    }
}

pub(crate) struct CommandStream {
    _say: mpsc::Sender<CommandStreamRequest>,
    hear: Streaming<CommandStreamResponse>,
}

impl CommandStream {
    /// With what the control plane ends it.
    pub(crate) async fn end(mut self) -> Status {
        within("the stream ends", async {
            loop {
                match self.hear.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended without a word"),
                    Err(status) => return status,
                }
            }
        })
        .await
    }
}
