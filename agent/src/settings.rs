//! What the operator decided: first what was written, then what it means.
//!
//! Owns the meaning of flags, environment variables and keys of the file (`written`
//! has all three in one struct) and their precedence: defaults < file <
//! environment < flags. Nothing else reads the environment. [`Settings`] is
//! complete and checked.

mod written;

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};

pub use written::{Arguments, Command, Options, StoreCommand};

/// A few segments, so that old ones can go while new ones are written.
const LEAST_STORE: u64 = 256 << 20;
/// Past this many threads they only wait for each other.
const MOST_THREADS: usize = 64;
const LONGEST_DRAIN: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Where a certificate chain and its private key are, in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// What the agent works with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub control_plane: Url,
    pub control_plane_ca: Option<PathBuf>,
    pub insecure_control_plane: bool,
    pub join_token_file: Option<PathBuf>,
    pub name: String,
    pub pool: String,
    pub data_dir: PathBuf,
    pub ingest: SocketAddr,
    /// With these ingest speaks TLS.
    pub ingest_tls: Option<CertificateFiles>,
    pub ingest_threads: usize,
    pub admin: SocketAddr,
    pub allow_addresses: Vec<IpNet>,
    pub retention_days: u32,
    /// `None`: 80 % of the file system.
    pub store_bytes: Option<u64>,
    pub in_flight: usize,
    /// A quarter of `in_flight` when `None`.
    pub unverified_in_flight: Option<usize>,
    pub body_memory_mib: usize,
    pub connections_per_client: usize,
    pub log: String,
    pub log_format: LogFormat,
    /// The whole shutdown.
    pub drain: Duration,
    pub pace: Pace,
}

/// How often and how patiently. No flags: tests make it faster.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between heartbeats on the configuration stream.
    pub heartbeat: Duration,
    /// Without anything from the control plane a stream counts as dead.
    pub dead_after: Duration,
    /// Bounds of the jittered wait before dialling again.
    pub redial: (Duration, Duration),
    /// Between tries of an enrolment that was refused.
    pub refused_enrolment: Duration,
    /// How long a stream must have talked before its loss counts as news.
    pub talk: Duration,
    /// One dial or call that is no stream.
    pub call: Duration,
    /// Between writes of the numbers to disk.
    pub fold: Duration,
    /// Between reports that are sent.
    pub report: Duration,
    /// At shutdown, for the control plane to count the last reports.
    pub flush: Duration,
    /// Reports that may wait for the control plane.
    pub spool: u64,
    /// Between looks whether the certificate of ingest was replaced.
    pub certificate: Duration,
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("the settings file {} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the settings file {} is no valid TOML of this agent", path.display())]
    Malformed {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("`{setting}`: {message}")]
    Invalid {
        setting: &'static str,
        message: String,
    },
}

impl Pace {
    /// From here on a session of a stream was a good one: ten seconds of talk, whatever time
    /// of those that follow went into the dial and the opening of the stream.
    pub(crate) fn settled(&self) -> Duration {
        self.talk + 2 * self.call
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            dead_after: Duration::from_secs(35),
            redial: (Duration::from_millis(200), Duration::from_secs(10)),
            refused_enrolment: Duration::from_secs(30),
            talk: Duration::from_secs(10),
            call: Duration::from_secs(10),
            fold: Duration::from_secs(1),
            report: Duration::from_secs(5),
            flush: Duration::from_secs(2),
            spool: 10_000,
            certificate: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Defaults, with everything on disk in this folder.
    #[must_use]
    pub fn in_dir(data_dir: &Path) -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            control_plane: Url::parse("http://127.0.0.1:8080").expect("a constant URL"),
            control_plane_ca: None,
            insecure_control_plane: false,
            join_token_file: None,
            name: host_name(),
            pool: "default".to_owned(),
            data_dir: data_dir.to_owned(),
            ingest: local(8088),
            ingest_tls: None,
            ingest_threads: cores().min(MOST_THREADS),
            admin: local(8089),
            allow_addresses: Vec::new(),
            retention_days: 7,
            store_bytes: None,
            in_flight: 1_024,
            unverified_in_flight: None,
            body_memory_mib: 256,
            connections_per_client: 2_048,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            drain: Duration::from_secs(30),
            pace: Pace::default(),
        }
    }

    /// Reads the file, if one is named, and lets environment and flags win over it.
    ///
    /// # Errors
    /// [`SettingsError`] names the file or the setting and what would be right.
    pub fn read(arguments: Arguments) -> Result<Self, SettingsError> {
        let file = match arguments.config {
            None => Options::default(),
            Some(path) => match std::fs::read_to_string(&path) {
                Err(source) => return Err(SettingsError::Unreadable { path, source }),
                Ok(text) => toml::from_str(&text).map_err(|source| SettingsError::Malformed {
                    path,
                    source: Box::new(source),
                })?,
            },
        };
        Self::from_options(arguments.options.or(file))
    }

    fn from_options(given: Options) -> Result<Self, SettingsError> {
        let data_dir = given.data_dir.unwrap_or_else(|| ".hookplane/agent".into());
        let defaults = Self::in_dir(&data_dir);
        let control_plane = match given.control_plane {
            None => defaults.control_plane,
            Some(text) => Url::parse(&text)
                .map_err(|error| invalid("control_plane", format!("{text} is no URL: {error}")))?,
        };
        let allow_addresses = given
            .allow_address
            .unwrap_or_default()
            .iter()
            .map(|text| {
                text.trim().parse().map_err(|_| {
                    let message = format!("{text} is no network; `10.0.0.0/8` would be right");
                    invalid("allow_address", message)
                })
            })
            .collect::<Result<_, _>>()?;
        let settings = Self {
            control_plane,
            control_plane_ca: given.control_plane_ca,
            insecure_control_plane: given.insecure_control_plane.unwrap_or(false),
            join_token_file: given.join_token_file,
            name: given.name.unwrap_or(defaults.name),
            pool: given.pool.unwrap_or(defaults.pool),
            ingest: given.ingest.unwrap_or(defaults.ingest),
            ingest_tls: certificate(given.ingest_cert, given.ingest_key)?,
            ingest_threads: given.ingest_threads.unwrap_or(defaults.ingest_threads),
            admin: given.admin.unwrap_or(defaults.admin),
            allow_addresses,
            retention_days: given.retention_days.unwrap_or(defaults.retention_days),
            store_bytes: given.store_bytes,
            in_flight: given.in_flight.unwrap_or(defaults.in_flight),
            unverified_in_flight: given.unverified_in_flight,
            body_memory_mib: given.body_memory_mib.unwrap_or(defaults.body_memory_mib),
            connections_per_client: given
                .connections_per_client
                .unwrap_or(defaults.connections_per_client),
            log: given.log.unwrap_or(defaults.log),
            log_format: given.log_format.unwrap_or_default(),
            drain: given
                .drain_seconds
                .map_or(defaults.drain, Duration::from_secs),
            data_dir,
            pace: defaults.pace,
        };
        settings.check()?;
        Ok(settings)
    }

    /// Folder of the store.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Bounds of the store.
    pub(crate) fn store(&self) -> crate::store::journal::Options {
        crate::store::journal::Options {
            most_bytes: self.store_bytes,
            ..crate::store::journal::Options::default()
        }
    }

    /// Whether the values can work together.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] with the setting and what would be right.
    pub fn check(&self) -> Result<(), SettingsError> {
        let url = &self.control_plane;
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            other => {
                let message = format!("{other} is neither http nor https");
                return Err(invalid("control_plane", message));
            }
        };
        if plain && !self.insecure_control_plane && !is_loopback(url) {
            return Err(invalid(
                "control_plane",
                format!(
                    "{url} is plain http to another machine: the join token and all secrets would \
                     travel unprotected; use https, or say so with --insecure-control-plane"
                ),
            ));
        }
        if plain && self.control_plane_ca.is_some() {
            let message = format!("{url} does not use TLS, so no authority can be checked");
            return Err(invalid("control_plane_ca", message));
        }
        if self.name.is_empty() || self.name.len() > 155 {
            return Err(invalid("name", "1 to 155 characters are needed".to_owned()));
        }
        if self.pool.is_empty() || self.pool.len() > 155 {
            return Err(invalid("pool", "1 to 155 characters are needed".to_owned()));
        }
        if !(1..=3_650).contains(&self.retention_days) {
            let message = "1 to 3650 days are possible".to_owned();
            return Err(invalid("retention_days", message));
        }
        if self.store_bytes.is_some_and(|bytes| bytes < LEAST_STORE) {
            let message = format!("at least {LEAST_STORE} bytes are needed");
            return Err(invalid("store_bytes", message));
        }
        if !(1..=MOST_THREADS).contains(&self.ingest_threads) {
            let message = format!("1 to {MOST_THREADS} are possible");
            return Err(invalid("ingest_threads", message));
        }
        if !(1..=65_536).contains(&self.in_flight) {
            return Err(invalid("in_flight", "1 to 65536 are possible".to_owned()));
        }
        let needed = || "at least 1 is needed".to_owned();
        if self.unverified_in_flight == Some(0) {
            return Err(invalid("unverified_in_flight", needed()));
        }
        if self.drain > LONGEST_DRAIN {
            let message = format!("at most {} are possible", LONGEST_DRAIN.as_secs());
            return Err(invalid("drain_seconds", message));
        }
        if self.connections_per_client == 0 {
            return Err(invalid("connections_per_client", needed()));
        }
        if !(16..=1_048_576).contains(&self.body_memory_mib) {
            let message = "16 to 1048576 are possible; one body may have 16 MiB".to_owned();
            return Err(invalid("body_memory_mib", message));
        }
        Ok(())
    }
}

/// One without the other is a mistake that must not end in plain text on the wire.
fn certificate(
    chain: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<CertificateFiles>, SettingsError> {
    let missing = |what: &str| format!("{what} is needed too: TLS takes both");
    match (chain, key) {
        (None, None) => Ok(None),
        (Some(chain), Some(key)) => Ok(Some(CertificateFiles { chain, key })),
        (Some(_), None) => Err(invalid("ingest_cert", missing("`ingest_key`"))),
        (None, Some(_)) => Err(invalid("ingest_key", missing("`ingest_cert`"))),
    }
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn invalid(setting: &'static str, message: String) -> SettingsError {
    SettingsError::Invalid { setting, message }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// What the kernel calls this machine; containers get their own name this way.
fn host_name() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "agent".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn read(arguments: &[&str]) -> Result<Settings, SettingsError> {
        let all = [&["hookplane-agent"], arguments].concat();
        Settings::read(Arguments::try_parse_from(all).unwrap())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        let text = "pool = \"file\"\nname = \"file\"\nallow_address = [\"10.0.0.0/8\"]\n";
        std::fs::write(&path, text).unwrap();
        let settings = read(&["--config", path.to_str().unwrap(), "--name", "flag"]).unwrap();
        assert_eq!(
            (settings.name.as_str(), settings.pool.as_str()),
            ("flag", "file")
        );
        assert_eq!(settings.allow_addresses.len(), 1);
        assert_eq!(settings.retention_days, 7);
        std::fs::write(&path, "poool = \"typo\"").unwrap();
        let error = read(&["--config", path.to_str().unwrap()]).unwrap_err();
        assert!(matches!(error, SettingsError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_certificate_and_its_key_come_together_and_numbers_are_bounded() {
        let both = read(&["--ingest-cert", "a.pem", "--ingest-key", "b.pem"]).unwrap();
        assert!(
            both.ingest_tls
                .is_some_and(|files| files.chain == Path::new("a.pem"))
        );
        for (wrong, named) in [
            (["--ingest-cert", "a.pem"], "ingest_key"),
            (["--ingest-key", "b.pem"], "ingest_cert"),
            (["--ingest-threads", "0"], "ingest_threads"),
            (["--ingest-threads", "65"], "ingest_threads"),
            (["--drain-seconds", "3601"], "drain_seconds"),
            (["--drain-seconds", "18446744073709551615"], "drain_seconds"),
        ] {
            let error = read(&wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{wrong:?}: {error}");
        }
        assert!(read(&[]).unwrap().ingest_threads >= 1);
    }

    #[test]
    fn plain_http_leaves_the_machine_only_when_somebody_says_so() {
        for fine in [
            &["--control-plane", "http://127.0.0.1:1"][..],
            &["--control-plane", "http://[::1]:1"],
            &["--control-plane", "http://localhost:1"],
            &["--control-plane", "https://hookplane.example"],
            &[
                "--control-plane",
                "http://10.0.0.1",
                "--insecure-control-plane",
            ],
        ] {
            read(fine).unwrap_or_else(|error| panic!("{fine:?}: {error}"));
        }
        for wrong in [
            "http://10.0.0.1",
            "http://localhost.example",
            "ftp://127.0.0.1",
        ] {
            let error = read(&["--control-plane", wrong]).unwrap_err().to_string();
            assert!(error.contains("control_plane"), "{wrong}: {error}");
        }
    }
}
