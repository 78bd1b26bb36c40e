//! Files of the data folder: private to the process's user, and whole after any crash.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes the folder, closed to other users, unless it exists.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes beside the target, flushes and renames, so that a crash leaves the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    write_aside(&aside, bytes)?;
    std::fs::rename(&aside, path)?;
    sync_parent(path)
}

/// Like [`replace`], and what stood there is kept under the other name.
pub(crate) fn replace_keeping(path: &Path, kept: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    write_aside(&aside, bytes)?;
    match std::fs::rename(path, kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::rename(&aside, path)?;
    sync_parent(path)
}

fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
