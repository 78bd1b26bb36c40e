//! The file that tells others of this machine where the process listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::RunError;

const NAME: &str = "runtime.json";

/// There while the process serves; gone after a clean exit.
pub(super) struct RuntimeFile(PathBuf);

impl RuntimeFile {
    pub(super) fn write(data_dir: &Path, api: SocketAddr) -> Result<Self, RunError> {
        let path = data_dir.join(NAME);
        let text = json!({ "pid": std::process::id(), "api": api }).to_string();
        let aside = data_dir.join("runtime.json.new");
        let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path));
        match written {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(RunError::RuntimeFile { path, source }),
        }
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(error = %error, "the runtime file was not removed");
        }
    }
}
