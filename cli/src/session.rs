//! Which control plane is meant, and with which key.
//!
//! Order: flag or environment, then what runs in the data directory: `hookplane
//! dev`, or a control plane of its own. Refuses to guess further.

use std::fs;
use std::path::{Path, PathBuf};

use hookplane_client::{Client, Settings};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SessionArgs {
    /// Address of the control plane, `https://host:port`
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        env = "HOOKPLANE_API_URL",
        value_name = "URL"
    )]
    api_url: Option<String>,
    /// API key, `hpk_…`
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        env = "HOOKPLANE_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Option<String>,
    /// PEM file of the authority that signed the control plane's certificate
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        env = "HOOKPLANE_API_CA",
        value_name = "FILE"
    )]
    api_ca: Option<PathBuf>,
    /// Allow http:// to another machine
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        env = "HOOKPLANE_INSECURE"
    )]
    insecure: bool,
    /// Where `hookplane dev` keeps its data
    #[arg(
        long,
        global = true,
        help_heading = "Everywhere",
        env = "HOOKPLANE_DATA_DIR",
        default_value = ".hookplane",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,
}

/// `dev.json`: where a running `hookplane dev` listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DevFile {
    pub(crate) pid: u32,
    pub(crate) api: String,
    pub(crate) ingest: String,
    pub(crate) admin: String,
}

/// `demo.json`: what `hookplane dev --demo` set up, for `hookplane send`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DemoFile {
    pub(crate) source_id: String,
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// `runtime.json` of a control plane that runs as a process of its own.
#[derive(Clone, Debug, Deserialize)]
struct RuntimeFile {
    /// An address without scheme.
    api: String,
}

/// Where a control plane keeps its data below the data directory, unless told otherwise.
const CONTROL_PLANE: &str = "control-plane";

pub(crate) fn dev_file(data_dir: &Path) -> PathBuf {
    data_dir.join("dev.json")
}

pub(crate) fn demo_file(data_dir: &Path) -> PathBuf {
    data_dir.join("demo.json")
}

pub(crate) fn admin_key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.key")
}

/// Reads a JSON file that may be absent; one that cannot be understood counts as absent.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl SessionArgs {
    /// A client, which connects with its first call.
    pub(crate) fn connect(&self) -> Result<Client, Failure> {
        let mut settings = Settings::new(self.url()?, self.key()?);
        settings.insecure = self.insecure;
        if let Some(path) = &self.api_ca {
            let pem = fs::read(path).map_err(|error| Failure::file(path, &error))?;
            settings.ca = Some(pem);
        }
        Client::connect(settings).map_err(|invalid| {
            Failure::usage(
                invalid.to_string(),
                "see --api-url, --api-key, --api-ca and --insecure",
            )
        })
    }

    fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.api_url {
            return Ok(url.clone());
        }
        let dev = dev_file(&self.data_dir);
        if let Some(dev) = read_json::<DevFile>(&dev) {
            return Ok(dev.api);
        }
        let runtime = self.data_dir.join(CONTROL_PLANE).join("runtime.json");
        if let Some(runtime) = read_json::<RuntimeFile>(&runtime) {
            return Ok(format!("http://{}", runtime.api));
        }
        Err(Failure::usage(
            "no control plane is given and none is running here",
            format!(
                "set HOOKPLANE_API_URL, or start `hookplane dev`, which writes {}",
                dev.display()
            ),
        ))
    }

    fn key(&self) -> Result<String, Failure> {
        if let Some(key) = &self.api_key {
            return Ok(key.clone());
        }
        let of_dev = admin_key_file(&self.data_dir);
        let own = admin_key_file(&self.data_dir.join(CONTROL_PLANE));
        // Both keep one database, so the first key stands where the first start put it.
        let places = if dev_file(&self.data_dir).exists() {
            [&of_dev, &own]
        } else {
            [&own, &of_dev]
        };
        // Another control plane must not be sent the key of the one in the data directory.
        if self.api_url.is_none()
            && let Some(text) = places.iter().find_map(|path| fs::read_to_string(path).ok())
        {
            return Ok(text.trim().to_owned());
        }
        Err(Failure::usage(
            "no API key is given",
            format!(
                "set HOOKPLANE_API_KEY; the first key stands in {} or {}",
                of_dev.display(),
                own.display()
            ),
        ))
    }
}
