//! The data directory of a development instance: who holds it, where it listens.
//!
//! Invariant: `dev.json` is there only while somebody listens at what it says,
//! crashes aside; files with secrets are readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::failure::Failure;
use crate::session::{DevFile, dev_file};

/// The directory, held by this process.
pub(super) struct Instance {
    dev_file: PathBuf,
    /// Released by the system when the process ends, however it ends.
    lock: File,
}

impl Instance {
    pub(super) fn open(data_dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(data_dir).map_err(|error| Failure::file(data_dir, &error))?;
        let path = data_dir.join("dev.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Failure::file(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                dev_file: dev_file(data_dir),
                lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Failure::new(
                "DATA_DIR_IN_USE",
                format!("another `hookplane dev` uses {}", data_dir.display()),
            )
            .hint("stop it, or give this one another --data-dir")),
            Err(fs::TryLockError::Error(error)) => Err(Failure::file(&path, &error)),
        }
    }

    /// Lets other commands find this instance.
    pub(super) fn announce(&self, listening: &DevFile) -> Result<(), Failure> {
        write_private(&self.dev_file, listening)
    }

    /// Nobody listens any more.
    pub(super) fn close(self) {
        // What is left behind is found out by whoever connects.
        drop(fs::remove_file(&self.dev_file));
        drop(self.lock);
    }
}

/// Writes JSON that its owner alone can read: aside first, then in its place.
pub(super) fn write_private(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let aside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&aside)?;
        // The mode of a file that was there is its own.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        serde_json::to_writer(&mut file, value)?;
        file.write_all(b"\n")?;
        fs::rename(&aside, path)
    };
    write().map_err(|error| Failure::file(path, &error))
}

/// The same address with a port: source URLs are made before the agent listens.
pub(super) fn fixed_port(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address)
        .and_then(|free| free.local_addr())
        .map_err(|error| Failure::new("ADDRESS", format!("{address} cannot be used: {error}")))
}
