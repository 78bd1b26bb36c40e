//! The control plane as a whole: opened in steps, run until told to stop, drained.
//!
//! Owns the wiring and the order of start and stop. Start: data folder and its
//! lock, secret files, database, first key, socket. Stop: streams end, calls in hand finish
//! within the deadline, the database closes.

mod calls;
mod door;
mod health;
mod router;
mod runtime;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookplane_proto::id::Kind;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::auth::Authenticator;
use crate::clock::SharedClock;
use crate::domain::api_key::Grant;
use crate::domain::{Caller, Millis};
use crate::fleet::relay::InvalidAuthority;
use crate::fleet::{self, Fleet, Neighbours};
use crate::keyfile::{self, InvalidKeyFile};
use crate::listener::{self, InvalidTls};
use crate::rest::InvalidRules;
use crate::secret_keys::InvalidSecretKeys;
use crate::service::certificates::Policy;
use crate::service::{Certificates, Keys, ServiceError};
use crate::settings::Settings;
use crate::store::database::Birth;
use crate::store::reach;
use crate::store::{
    AgentStore, AuthorityStore, ConfigStore, Database, KeyStore, ReportStore, StoreError,
};
use runtime::{FolderLock, RuntimeFile};

const FIRST_KEY_NAME: &str = "first key";

/// A control plane that is open but does not serve yet.
pub struct ControlPlane {
    settings: Settings,
    /// Given back last.
    lock: FolderLock,
    listener: TcpListener,
    api: SocketAddr,
    /// Empty when no token is shared.
    join_token: Zeroizing<String>,
    database: Database,
    config: ConfigStore,
    keys: KeyStore,
    clock: SharedClock,
}

/// Why it does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("the data folder {path} cannot be used")]
    DataDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "another process uses the data folder {0}; stop it first, or give this one a folder of its own with --data-dir"
    )]
    FolderInUse(PathBuf),
    #[error(transparent)]
    KeyFile(#[from] InvalidKeyFile),
    #[error("the keys that seal secrets cannot be read")]
    SecretKeys(#[from] InvalidSecretKeys),
    #[error("the database cannot be opened")]
    Database(#[from] StoreError),
    #[error("the first API key cannot be made")]
    FirstKey(#[from] ServiceError),
    #[error("TLS cannot be set up")]
    Tls(#[from] InvalidTls),
    #[error("the address {address} cannot be bound; is another process using it?")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// Why it stopped by itself.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("calls in hand did not end within {0:?}")]
    DrainDeadline(Duration),
    #[error("the part `{0}` ended by itself")]
    PartEnded(&'static str),
    #[error("the contract cannot be served over REST")]
    Rest(#[from] InvalidRules),
    #[error("TLS cannot be set up")]
    Tls(#[from] InvalidTls),
    #[error(transparent)]
    Authority(#[from] InvalidAuthority),
    #[error("{path} cannot be written")]
    RuntimeFile {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl ControlPlane {
    /// Opens everything and binds the port, without serving yet.
    ///
    /// # Errors
    /// [`StartError`] says which step failed.
    pub async fn start(settings: Settings, clock: SharedClock) -> Result<Self, StartError> {
        make_dir(&settings.data_dir)?;
        let lock = FolderLock::take(&settings.data_dir)?;
        let sealer = settings.secret_keys.sealer().await?;
        let join_token = if settings.shared_join_token {
            keyfile::join_token(&settings.join_token_file)?
        } else {
            Zeroizing::default()
        };
        if let Some(files) = &settings.tls {
            // Read again when serving; here only to fail early.
            listener::tls(files, settings.certificates() != Policy::Off)?;
        }
        reach::prepare(&settings.database).await?;
        let database = Database::open(&settings.database, &birth(&clock)).await?;
        let config = ConfigStore::new(database.clone(), sealer).await?;
        let keys = KeyStore::new(database.clone(), config.ledger().clone());
        first_key(&settings, &config, &keys, &clock).await?;
        let address = settings.api;
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (api, listener) = bound.map_err(|source| StartError::Bind { address, source })?;
        Ok(Self {
            settings,
            lock,
            listener,
            api,
            join_token,
            database,
            config,
            keys,
            clock,
        })
    }

    /// Where the API listens.
    #[must_use]
    pub const fn api(&self) -> SocketAddr {
        self.api
    }

    /// The token with which all agents may enrol; empty when there is none.
    #[must_use]
    pub fn join_token(&self) -> &str {
        &self.join_token
    }

    /// The file with the first API key, as long as it is there.
    #[must_use]
    pub fn admin_key_file(&self) -> Option<&Path> {
        let path = self.settings.admin_key_file.as_path();
        path.exists().then_some(path)
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`RunError`] when a part ended by itself or the drain took too long.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let policy = self.settings.certificates();
        let tls = self.settings.tls.as_ref();
        let tls = tls.map(|files| listener::tls(files, policy != Policy::Off));
        let tls = tls.transpose()?;
        let tasks = TaskTracker::new();
        let fleet = self.fleet(&tasks, &shutdown)?;
        let agents = AgentStore::new(self.database.clone());
        let life = self.settings.agent_certificate_life.as_millis();
        let certificates = Certificates::new(
            AuthorityStore::of(&self.config),
            Arc::clone(&self.clock),
            policy,
            Millis::try_from(life).unwrap_or(Millis::MAX),
        );
        let authenticator = Authenticator::new(
            self.keys.clone(),
            agents,
            certificates.clone(),
            Arc::clone(&self.clock),
        );
        let fleet = (fleet, certificates);
        let router = router::assemble(&self, fleet, authenticator.clone(), &shutdown)?;
        let attending = shutdown.clone();
        tasks.spawn(async move { authenticator.attend(attending).await });
        let runtime = RuntimeFile::write(&self.settings.data_dir, self.api)?;
        tracing::info!(api = %self.api, tls = tls.is_some(), "serving the API");
        let serving = listener::serve(
            self.listener,
            tls,
            router,
            listener::Bounds {
                // Longer than any call, shorter than the drain.
                linger: self.settings.drain * 3 / 4,
                ..listener::Bounds::default()
            },
            tasks.clone(),
            shutdown.clone(),
        );
        serving.await;
        if !shutdown.is_cancelled() {
            return Err(RunError::PartEnded("listener"));
        }
        tasks.close();
        let drained = tokio::time::timeout(self.settings.drain, tasks.wait()).await;
        self.database.close().await;
        drop((runtime, self.lock));
        drained.map_err(|_| RunError::DrainDeadline(self.settings.drain))
    }

    fn fleet(&self, tasks: &TaskTracker, shutdown: &CancellationToken) -> Result<Fleet, RunError> {
        let authority = self.settings.replica_ca.as_deref();
        let neighbours = Neighbours {
            own_url: self.own_url(),
            authority: authority.map(fleet::relay::authority).transpose()?,
        };
        Ok(Fleet::new(fleet::Parts {
            config: self.config.clone(),
            agents: AgentStore::new(self.database.clone()),
            reports: ReportStore::new(self.database.clone()),
            clock: Arc::clone(&self.clock),
            ingest_base: self.ingest_base(),
            join_token: self.join_token.to_string(),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
            timings: fleet::Timings::default(),
            neighbours,
        }))
    }

    /// Where other replicas reach this one; empty when nobody says.
    fn own_url(&self) -> String {
        if let Some(url) = &self.settings.replica_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        if self.api.ip().is_unspecified() {
            return String::new();
        }
        let scheme = if self.settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.api)
    }

    fn ingest_base(&self) -> String {
        self.settings
            .ingest_url
            .as_str()
            .trim_end_matches('/')
            .to_owned()
    }
}

fn make_dir(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| StartError::DataDir {
        path: path.to_owned(),
        source,
    })
}

fn birth(clock: &SharedClock) -> Birth {
    let now = clock.now_millis();
    Birth {
        epoch: hex::encode(rand::random::<[u8; 16]>()),
        team_id: crate::service::mint(Kind::Team, now),
        now,
    }
}

/// The key is in its file before it opens anything: were it the other way round,
/// a full disk would leave an installation that nobody can enter.
async fn first_key(
    settings: &Settings,
    config: &ConfigStore,
    keys: &KeyStore,
    clock: &SharedClock,
) -> Result<(), StartError> {
    if keys.any().await? {
        return Ok(());
    }
    let team = config.first_team().await?;
    let service = Keys::new(keys.clone(), Arc::clone(clock));
    let new = service.compose(&team, FIRST_KEY_NAME, Grant::everything())?;
    keyfile::write(&settings.admin_key_file, &new.secret)?;
    service.keep(&Caller::system(&team), &new).await?;
    Ok(())
}
