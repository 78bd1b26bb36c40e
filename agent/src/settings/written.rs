//! The command line, the environment and the file, as they were written.
//!
//! Owns names, texts for people and the precedence of one over the other. Refuses
//! to know what the values mean and whether they go together.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::LogFormat;

/// The command line of `hookplane-agent`.
#[derive(Debug, clap::Parser)]
#[command(
    name = "hookplane-agent",
    version,
    about = "Receives, verifies, stores and delivers webhooks"
)]
pub struct Arguments {
    /// TOML file with the same settings, `ingest = "0.0.0.0:8088"` for example
    #[arg(long, env = "HOOKPLANE_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
    /// Without one the agent runs
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Work on the store of a stopped agent
    #[command(subcommand)]
    Store(StoreCommand),
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Read everything and say what is damaged; exit code 1 if something is
    Verify,
    /// Make the index again from the journal
    RebuildIndex,
    /// Write every record as a line of JSON to standard output
    Export,
}

/// Settings as written: flags, `HOOKPLANE_…` variables or keys of the file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// URL of the control plane [default: http://127.0.0.1:8080]
    #[arg(long, env = "HOOKPLANE_CONTROL_PLANE", value_name = "URL")]
    pub control_plane: Option<String>,
    /// PEM file of the authorities that may sign the control plane's certificate
    #[arg(long, env = "HOOKPLANE_CONTROL_PLANE_CA", value_name = "FILE")]
    pub control_plane_ca: Option<PathBuf>,
    /// Speak plain http to a control plane on another machine
    #[arg(long, env = "HOOKPLANE_INSECURE_CONTROL_PLANE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_control_plane: Option<bool>,
    /// File with the token that both planes were given
    #[arg(long, env = "HOOKPLANE_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
    /// Unique name of this agent [default: the host's name]
    #[arg(long, env = "HOOKPLANE_NAME")]
    pub name: Option<String>,
    /// Group of agents it belongs to [default: default]
    #[arg(long, env = "HOOKPLANE_POOL")]
    pub pool: Option<String>,
    /// Folder of the store, the identity and the configuration [default: .hookplane/agent]
    #[arg(long, env = "HOOKPLANE_DATA_DIR", value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Address for webhooks [default: 127.0.0.1:8088]
    #[arg(long, env = "HOOKPLANE_INGEST", value_name = "ADDRESS")]
    pub ingest: Option<SocketAddr>,
    /// PEM file of the certificate chain that ingest shows; with it ingest speaks TLS only
    #[arg(long, env = "HOOKPLANE_INGEST_CERT", value_name = "FILE")]
    pub ingest_cert: Option<PathBuf>,
    /// PEM file of the private key to it
    #[arg(long, env = "HOOKPLANE_INGEST_KEY", value_name = "FILE")]
    pub ingest_key: Option<PathBuf>,
    /// Threads that accept and deliver, at most 64 [default: one per core]
    #[arg(long, env = "HOOKPLANE_INGEST_THREADS", value_name = "NUMBER")]
    pub ingest_threads: Option<usize>,
    /// Address for health, readiness and metrics [default: 127.0.0.1:8089]
    #[arg(long, env = "HOOKPLANE_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// Private networks that deliveries may go to, `10.0.0.0/8,127.0.0.0/8`
    #[arg(
        long,
        env = "HOOKPLANE_ALLOW_ADDRESS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub allow_address: Option<Vec<String>>,
    /// Days that delivered requests are kept [default: 7]
    #[arg(long, env = "HOOKPLANE_RETENTION_DAYS", value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// Bytes on disk past which evidence goes early [default: 80 % of the file system]
    #[arg(long, env = "HOOKPLANE_STORE_BYTES", value_name = "BYTES")]
    pub store_bytes: Option<u64>,
    /// Inbound requests at once; past it the answer is 503 [default: 1024]
    #[arg(long, env = "HOOKPLANE_IN_FLIGHT", value_name = "NUMBER")]
    pub in_flight: Option<usize>,
    /// Of these, how many one source may have before the sender is verified; one caller, and
    /// a proxy is one, may have a quarter of that [default: a quarter]
    #[arg(long, env = "HOOKPLANE_UNVERIFIED_IN_FLIGHT", value_name = "NUMBER")]
    pub unverified_in_flight: Option<usize>,
    /// Memory for the bodies of inbound requests; past it the answer is 503 [default: 256]
    #[arg(long, env = "HOOKPLANE_BODY_MEMORY_MIB", value_name = "MIB")]
    pub body_memory_mib: Option<usize>,
    /// Inbound connections of one caller at once; past it new ones are closed [default: 2048]
    #[arg(long, env = "HOOKPLANE_CONNECTIONS_PER_CLIENT", value_name = "NUMBER")]
    pub connections_per_client: Option<usize>,
    /// What to log, `info,hookplane_agent=debug` for example [default: info]
    #[arg(long, env = "HOOKPLANE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log [default: text]
    #[arg(long, env = "HOOKPLANE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Seconds a shutdown may take, at most 3600 [default: 30]
    #[arg(long, env = "HOOKPLANE_DRAIN_SECONDS", value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,
}

impl Options {
    /// These, and for what they leave open the other ones.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            control_plane: self.control_plane.or(other.control_plane),
            control_plane_ca: self.control_plane_ca.or(other.control_plane_ca),
            insecure_control_plane: self.insecure_control_plane.or(other.insecure_control_plane),
            join_token_file: self.join_token_file.or(other.join_token_file),
            name: self.name.or(other.name),
            pool: self.pool.or(other.pool),
            data_dir: self.data_dir.or(other.data_dir),
            ingest: self.ingest.or(other.ingest),
            ingest_cert: self.ingest_cert.or(other.ingest_cert),
            ingest_key: self.ingest_key.or(other.ingest_key),
            ingest_threads: self.ingest_threads.or(other.ingest_threads),
            admin: self.admin.or(other.admin),
            allow_address: self.allow_address.or(other.allow_address),
            retention_days: self.retention_days.or(other.retention_days),
            store_bytes: self.store_bytes.or(other.store_bytes),
            in_flight: self.in_flight.or(other.in_flight),
            unverified_in_flight: self.unverified_in_flight.or(other.unverified_in_flight),
            body_memory_mib: self.body_memory_mib.or(other.body_memory_mib),
            connections_per_client: self.connections_per_client.or(other.connections_per_client),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
            drain_seconds: self.drain_seconds.or(other.drain_seconds),
        }
    }
}
