//! Settings: first what was written (file, environment, flags), then what it means.
//!
//! Owns names, defaults, precedence and limits. Read once, in `main`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use serde::Deserialize;
use thiserror::Error;
use url::Url;
use zeroize::Zeroizing;

use crate::secret_keys::SecretKeys;
use crate::service::certificates::Policy;

const DEFAULT_DATA_DIR: &str = ".hookplane/control-plane";
const DEFAULT_DRAIN_SECONDS: u64 = 30;
const MAX_DRAIN_SECONDS: u64 = 3_600;
const HOUR: u64 = 3_600;
const DEFAULT_CERTIFICATE_HOURS: u64 = 24;
const MAX_CERTIFICATE_HOURS: u64 = 720;
const DEFAULT_LOG: &str = "info";
/// The fixed port of the API.
pub const DEFAULT_API: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where senders reach the agents when nobody says otherwise.
pub const DEFAULT_INGEST_URL: &str = "http://127.0.0.1:8088";

/// What the process was told.
#[derive(Debug, Parser)]
#[command(
    name = "hookplane-control-plane",
    version,
    about = "Keeps Hookplane's configuration and streams it to agents"
)]
pub struct CommandLine {
    /// TOML file with any of the settings below, named as the flags with `_` for `-`
    #[arg(long, env = "HOOKPLANE_CONFIG")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
}

/// Settings as written; the same names in the file, the environment and the flags.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Address of the API (gRPC and REST on one port) [default: 127.0.0.1:8080]
    #[arg(long, env = "HOOKPLANE_API")]
    pub api: Option<SocketAddr>,
    /// Folder for everything kept on disk [default: .hookplane/control-plane]
    #[arg(long, env = "HOOKPLANE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// `sqlite://path?mode=rwc` or `postgres://user:password@host/name` [default: SQLite in the data folder]
    #[arg(long, env = "HOOKPLANE_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// Where senders reach the agents; a source's URL starts with it [default: http://127.0.0.1:8088]
    #[arg(long, env = "HOOKPLANE_INGEST_URL")]
    pub ingest_url: Option<Url>,
    /// Keys that seal secrets in the database: base64 of 32 bytes, one per line, the first seals and all open; made when missing [default: <data-dir>/secret.key]
    #[arg(long, env = "HOOKPLANE_SECRET_KEY_FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// The key itself instead of a file; better given by the environment, where other users do not see it
    #[arg(long, env = "HOOKPLANE_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// Program with its arguments, split at spaces, that writes the key
    #[arg(long, env = "HOOKPLANE_SECRET_KEY_COMMAND")]
    pub secret_key_command: Option<String>,
    /// Token with which agents enrol; made when missing [default: <data-dir>/join.token]
    #[arg(long, env = "HOOKPLANE_JOIN_TOKEN_FILE")]
    pub join_token_file: Option<PathBuf>,
    /// Whether the join token that all agents share opens anything; without it agents enrol with tokens of `hookplane agents tokens create` [default: true]
    #[arg(long, env = "HOOKPLANE_SHARED_JOIN_TOKEN", num_args = 0..=1, default_missing_value = "true")]
    pub shared_join_token: Option<bool>,
    /// Where the first API key is written when the database has none [default: <data-dir>/admin.key]
    #[arg(long, env = "HOOKPLANE_ADMIN_KEY_FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// PEM file with the certificate chain of the API; without it the API speaks plain text
    #[arg(long, env = "HOOKPLANE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, env = "HOOKPLANE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Serve plain text on an address that is not loopback
    #[arg(long, env = "HOOKPLANE_INSECURE_API", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_api: Option<bool>,
    /// Whether agents have certificates: `off`, `given` (who asks gets one and has to show it from then on) or `required` [default: given with TLS, off without]
    #[arg(long, env = "HOOKPLANE_AGENT_CERTIFICATES")]
    pub agent_certificates: Option<AgentCertificates>,
    /// Hours that a certificate of an agent is valid, 1 to 720 [default: 24]
    #[arg(long, env = "HOOKPLANE_AGENT_CERTIFICATE_HOURS")]
    pub agent_certificate_hours: Option<u32>,
    /// Where other replicas on the same database reach this one's API [default: the address of the API, unless it is 0.0.0.0 or [::]]
    #[arg(long, env = "HOOKPLANE_REPLICA_URL")]
    pub replica_url: Option<Url>,
    /// PEM file with the authority of the other replicas' certificates [default: the public ones]
    #[arg(long, env = "HOOKPLANE_REPLICA_CA")]
    pub replica_ca: Option<PathBuf>,
    /// Which log lines are written, `info` or `hookplane_control_plane=debug` for example [default: info]
    #[arg(long, env = "HOOKPLANE_LOG")]
    pub log: Option<String>,
    /// Form of the log lines [default: text]
    #[arg(long, env = "HOOKPLANE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Seconds that calls in hand may take after a signal to stop [default: 30]
    #[arg(long, env = "HOOKPLANE_DRAIN_SECONDS")]
    pub drain_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Whether agents have certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum AgentCertificates {
    Off,
    Given,
    Required,
}

/// Settings as they are meant.
#[derive(Clone)]
pub struct Settings {
    pub api: SocketAddr,
    pub data_dir: PathBuf,
    /// URL of the database; may hold a password.
    pub database: String,
    pub ingest_url: Url,
    pub secret_keys: SecretKeys,
    pub join_token_file: PathBuf,
    /// Whether the token in the file opens anything.
    pub shared_join_token: bool,
    pub admin_key_file: PathBuf,
    pub tls: Option<TlsFiles>,
    /// `None`: given with TLS, off without.
    pub agent_certificates: Option<AgentCertificates>,
    pub agent_certificate_life: Duration,
    /// Where other replicas reach this one; `None` for the address it has.
    pub replica_url: Option<Url>,
    pub replica_ca: Option<PathBuf>,
    pub log: String,
    pub log_format: LogFormat,
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum InvalidSettings {
    #[error("the configuration file {path} cannot be read")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration file {path} is not right: {fault}")]
    Malformed { path: PathBuf, fault: String },
    #[error("{setting}: {fault}")]
    Value {
        setting: &'static str,
        fault: String,
    },
}

impl Settings {
    /// Defaults, with everything kept below `data_dir`.
    #[must_use]
    pub fn in_dir(data_dir: &Path) -> Self {
        Self {
            api: DEFAULT_API,
            database: sqlite_in(data_dir),
            ingest_url: Url::parse(DEFAULT_INGEST_URL).expect("a constant URL"),
            secret_keys: SecretKeys::File(data_dir.join("secret.key")),
            join_token_file: data_dir.join("join.token"),
            shared_join_token: true,
            admin_key_file: data_dir.join("admin.key"),
            tls: None,
            agent_certificates: None,
            agent_certificate_life: Duration::from_secs(DEFAULT_CERTIFICATE_HOURS * HOUR),
            replica_url: None,
            replica_ca: None,
            log: DEFAULT_LOG.to_owned(),
            log_format: LogFormat::Text,
            drain: Duration::from_secs(DEFAULT_DRAIN_SECONDS),
            data_dir: data_dir.to_owned(),
        }
    }

    /// Whether agents have certificates, as it follows from what was said.
    #[must_use]
    pub fn certificates(&self) -> Policy {
        match (self.agent_certificates, &self.tls) {
            (Some(AgentCertificates::Off), _) | (None, None) => Policy::Off,
            (Some(AgentCertificates::Given), _) | (None, Some(_)) => Policy::Given,
            (Some(AgentCertificates::Required), _) => Policy::Required,
        }
    }

    /// Reads the file, lays environment and flags over it, and checks the result.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the file or the setting.
    pub fn read(line: CommandLine) -> Result<Self, InvalidSettings> {
        let file = match &line.config {
            None => Options::default(),
            Some(path) => parse_file(path)?,
        };
        Self::resolve(line.options.over(file))
    }

    fn resolve(options: Options) -> Result<Self, InvalidSettings> {
        let data_dir = options.data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        let defaults = Self::in_dir(&data_dir);
        let api = options.api.unwrap_or(defaults.api);
        let tls = match (options.tls_cert, options.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err(value("tls_key", "a certificate needs its private key")),
            (None, Some(_)) => {
                return Err(value("tls_cert", "a private key needs its certificate"));
            }
        };
        if tls.is_none() && !api.ip().is_loopback() && options.insecure_api != Some(true) {
            return Err(value(
                "api",
                "an address that is not loopback needs tls_cert and tls_key, or insecure_api when something in front speaks TLS",
            ));
        }
        let shown = options.agent_certificates;
        if tls.is_none() && shown.is_some_and(|shown| shown != AgentCertificates::Off) {
            return Err(value(
                "agent_certificates",
                "agents show certificates to an API that speaks TLS: give tls_cert and tls_key",
            ));
        }
        let hours = options.agent_certificate_hours.map(u64::from);
        let hours = hours.unwrap_or(DEFAULT_CERTIFICATE_HOURS);
        if !(1..=MAX_CERTIFICATE_HOURS).contains(&hours) {
            return Err(value("agent_certificate_hours", "1 to 720 are possible"));
        }
        let ingest_url = options.ingest_url.unwrap_or(defaults.ingest_url);
        if !matches!(ingest_url.scheme(), "http" | "https") || ingest_url.query().is_some() {
            return Err(value(
                "ingest_url",
                "give an http or https URL without a query",
            ));
        }
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https");
        if !options.replica_url.as_ref().is_none_or(is_web) {
            return Err(value("replica_url", "give an http or https URL"));
        }
        let secret_keys = secret_keys(
            options.secret_key_file,
            options.secret_key,
            options.secret_key_command,
        )?
        .unwrap_or(defaults.secret_keys);
        let drain = options.drain_seconds.unwrap_or(DEFAULT_DRAIN_SECONDS);
        if drain > MAX_DRAIN_SECONDS {
            return Err(value("drain_seconds", "at most 3600 are possible"));
        }
        let database = options.database.unwrap_or(defaults.database);
        if !["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| database.starts_with(scheme))
        {
            return Err(value(
                "database",
                "give sqlite://path?mode=rwc or postgres://…",
            ));
        }
        Ok(Self {
            api,
            database,
            ingest_url,
            secret_keys,
            join_token_file: options.join_token_file.unwrap_or(defaults.join_token_file),
            shared_join_token: options.shared_join_token.unwrap_or(true),
            admin_key_file: options.admin_key_file.unwrap_or(defaults.admin_key_file),
            tls,
            agent_certificates: shown,
            agent_certificate_life: Duration::from_secs(hours * HOUR),
            replica_url: options.replica_url,
            replica_ca: options.replica_ca,
            log: options.log.unwrap_or(defaults.log),
            log_format: options.log_format.unwrap_or_default(),
            drain: Duration::from_secs(drain),
            data_dir,
        })
    }
}

impl Options {
    /// Each setting from here, or from below when it is not given here.
    fn over(self, below: Self) -> Self {
        Self {
            api: self.api.or(below.api),
            data_dir: self.data_dir.or(below.data_dir),
            database: self.database.or(below.database),
            ingest_url: self.ingest_url.or(below.ingest_url),
            secret_key_file: self.secret_key_file.or(below.secret_key_file),
            secret_key: self.secret_key.or(below.secret_key),
            secret_key_command: self.secret_key_command.or(below.secret_key_command),
            join_token_file: self.join_token_file.or(below.join_token_file),
            shared_join_token: self.shared_join_token.or(below.shared_join_token),
            admin_key_file: self.admin_key_file.or(below.admin_key_file),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            insecure_api: self.insecure_api.or(below.insecure_api),
            agent_certificates: self.agent_certificates.or(below.agent_certificates),
            agent_certificate_hours: self
                .agent_certificate_hours
                .or(below.agent_certificate_hours),
            replica_url: self.replica_url.or(below.replica_url),
            replica_ca: self.replica_ca.or(below.replica_ca),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
            drain_seconds: self.drain_seconds.or(below.drain_seconds),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("api", &self.api)
            .field("data_dir", &self.data_dir)
            .field("ingest_url", &self.ingest_url.as_str())
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// The one place that was named; None when none was.
fn secret_keys(
    file: Option<PathBuf>,
    text: Option<String>,
    command: Option<String>,
) -> Result<Option<SecretKeys>, InvalidSettings> {
    let words = |line: String| line.split_whitespace().map(str::to_owned).collect();
    let mut named = [
        file.map(SecretKeys::File),
        text.map(|text| SecretKeys::Given(Zeroizing::new(text))),
        command.map(|line| SecretKeys::Command(words(line))),
    ]
    .into_iter()
    .flatten();
    let first = named.next();
    if named.next().is_some() {
        return Err(value(
            "secret_key",
            "give one of secret_key_file, secret_key and secret_key_command",
        ));
    }
    Ok(first)
}

fn sqlite_in(data_dir: &Path) -> String {
    format!(
        "sqlite://{}?mode=rwc",
        data_dir.join("control-plane.db").display()
    )
}

fn parse_file(path: &Path) -> Result<Options, InvalidSettings> {
    let text = std::fs::read_to_string(path).map_err(|source| InvalidSettings::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|fault| InvalidSettings::Malformed {
        path: path.to_owned(),
        // The whole text of the fault would show the line, which may hold a password.
        fault: fault.message().to_owned(),
    })
}

fn value(setting: &'static str, fault: &str) -> InvalidSettings {
    InvalidSettings::Value {
        setting,
        fault: fault.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Options {
        toml::from_str(text).expect("the test's file is right")
    }

    #[test]
    fn what_is_said_later_wins_over_the_file_and_the_defaults() {
        let file = written("api = \"127.0.0.1:1\"\ndata_dir = \"here\"");
        let flags = Options {
            api: Some(SocketAddr::from(([127, 0, 0, 1], 2))),
            ..Options::default()
        };
        let settings = Settings::resolve(flags.over(file)).expect("they are right");
        assert_eq!(settings.api.port(), 2);
        assert_eq!(settings.join_token_file, Path::new("here/join.token"));
        assert_eq!(settings.drain, Duration::from_secs(30));
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_an_error() {
        assert!(toml::from_str::<Options>("adress = \"127.0.0.1:1\"").is_err());
    }

    #[test]
    fn plain_text_beyond_loopback_has_to_be_asked_for() {
        let open = || written("api = \"0.0.0.0:8080\"");
        let refused = Settings::resolve(open()).expect_err("it is refused");
        assert!(refused.to_string().starts_with("api:"), "{refused}");
        let insecure = Options {
            insecure_api: Some(true),
            ..open()
        };
        assert!(Settings::resolve(insecure).is_ok());
    }

    #[test]
    fn agents_have_certificates_where_there_is_tls_and_nowhere_else() {
        let tls = "tls_cert = \"a.pem\"\ntls_key = \"b.pem\"\n";
        let policy = |text: &str| {
            let settings = Settings::resolve(written(text)).expect("they are right");
            settings.certificates()
        };
        assert_eq!(policy(""), Policy::Off);
        assert_eq!(policy(tls), Policy::Given);
        let required = "agent_certificates = \"required\"";
        assert_eq!(policy(&format!("{tls}{required}")), Policy::Required);
        assert_eq!(
            policy(&format!("{tls}agent_certificates = \"off\"")),
            Policy::Off
        );
        let refused = Settings::resolve(written(required)).expect_err("no TLS");
        assert!(
            refused.to_string().starts_with("agent_certificates:"),
            "{refused}"
        );
        let long = Settings::resolve(written("agent_certificate_hours = 721"));
        let long = long.expect_err("too long").to_string();
        assert!(long.starts_with("agent_certificate_hours:"), "{long}");
    }

    #[test]
    fn half_of_a_certificate_is_refused_by_the_name_of_the_other_half() {
        let refused = Settings::resolve(written("tls_cert = \"a.pem\"")).expect_err("half");
        assert!(refused.to_string().starts_with("tls_key:"), "{refused}");
    }

    #[test]
    fn the_secret_key_is_in_one_place() {
        let refused = Settings::resolve(written("secret_key = \"x\"\nsecret_key_file = \"y\""));
        let refused = refused.expect_err("two places").to_string();
        assert!(refused.starts_with("secret_key:"), "{refused}");
    }

    #[test]
    fn settings_print_no_password() {
        let settings = Settings::resolve(written("database = \"postgres://u:hush@h/d\""));
        let text = format!("{:?}", settings.expect("they are right"));
        assert!(!text.contains("hush"), "{text}");
    }
}
