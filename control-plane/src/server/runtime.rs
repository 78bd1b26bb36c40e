//! What a process leaves in its data folder while it lives: a lock, so that there
//! is one process per folder, and a file that tells others where it listens.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{RunError, StartError};

const NAME: &str = "runtime.json";
const LOCK: &str = "lock";

/// Held as long as this lives, and by no other process meanwhile. The operating
/// system gives it back when the process ends, however it ends.
pub(super) struct FolderLock(#[expect(dead_code, reason = "open is what it has to be")] File);

impl FolderLock {
    pub(super) fn take(data_dir: &Path) -> Result<Self, StartError> {
        let path = data_dir.join(LOCK);
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = opened.map_err(|source| StartError::DataDir {
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StartError::FolderInUse(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(StartError::DataDir { path, source }),
        }
    }
}

/// There while the process serves; gone after a clean exit.
pub(super) struct RuntimeFile {
    path: PathBuf,
    text: String,
}

impl RuntimeFile {
    pub(super) fn write(data_dir: &Path, api: SocketAddr) -> Result<Self, RunError> {
        let path = data_dir.join(NAME);
        let text = json!({ "pid": std::process::id(), "api": api }).to_string();
        let aside = data_dir.join("runtime.json.new");
        let written = std::fs::write(&aside, &text).and_then(|()| std::fs::rename(&aside, &path));
        match written {
            Ok(()) => Ok(Self { path, text }),
            Err(source) => Err(RunError::RuntimeFile { path, source }),
        }
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        // Another process may have written its own since.
        let own = std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.text);
        if own && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(error = %error, "the runtime file was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_process_and_is_free_after_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = FolderLock::take(dir.path()).expect("it is free");
        let refused = FolderLock::take(dir.path()).err().expect("it is taken");
        let text = refused.to_string();
        assert!(text.contains("another process"), "{text}");
        drop(first);
        FolderLock::take(dir.path()).expect("it is free again");
    }

    #[test]
    fn only_its_own_runtime_file_is_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mine = RuntimeFile::write(dir.path(), address(1)).expect("written");
        let newer = RuntimeFile::write(dir.path(), address(2)).expect("written");
        drop(mine);
        assert!(dir.path().join(NAME).exists(), "another's file was removed");
        drop(newer);
        assert!(!dir.path().join(NAME).exists());
    }
}
