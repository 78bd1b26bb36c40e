//! Space on disk kept for the index, so that a full disk can be emptied.
//!
//! Deleting rows needs room in the log of the index. A file beside it holds that room and goes
//! when the disk is full; it comes back when there is space again. Refuses to know who filled it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Less than a segment, so that the journal cannot take it.
const BYTES: usize = 8 << 20;
const BLOCK: usize = 1 << 20;
/// Between tries to make it.
const EVERY: Duration = Duration::from_secs(10);
const EXTENSION: &str = "reserve";

pub(super) struct Reserve {
    path: PathBuf,
    /// When to see whether it is there; `None` while it is.
    look: Option<Instant>,
}

impl Reserve {
    pub(super) fn beside(index: &Path) -> Self {
        Self {
            path: index.with_extension(EXTENSION),
            look: Some(Instant::now()),
        }
    }

    /// Gives the room to who needs it.
    pub(super) fn release(&mut self) {
        if self.look.is_some() {
            return;
        }
        self.look = Some(Instant::now() + EVERY);
        match std::fs::remove_file(&self.path) {
            Ok(()) => tracing::warn!("the disk is full; the index uses its reserve"),
            Err(error) => tracing::warn!(%error, "the reserve of the index is not released"),
        }
    }

    /// Makes it if it is not there.
    pub(super) fn keep(&mut self) {
        if self.look.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.look = match make(&self.path) {
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(%error, "the index has no reserve yet");
                // A part of it would only take the space away.
                drop(std::fs::remove_file(&self.path));
                Some(Instant::now() + EVERY)
            }
        };
    }
}

/// Written, because a length alone reserves nothing. Not flushed: file systems promise the space
/// when they take the bytes, and after a crash it is made again.
fn make(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|there| there.len() == BYTES as u64) {
        return Ok(());
    }
    let mut file = File::create(path)?;
    for _ in 0..BYTES / BLOCK {
        file.write_all(&[0; BLOCK])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_its_room_until_the_disk_is_full_and_does_not_take_it_back_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::beside(&dir.path().join("index.db"));
        let bytes = || std::fs::metadata(dir.path().join("index.reserve")).map(|file| file.len());
        reserve.keep();
        assert_eq!(bytes().unwrap(), BYTES as u64);
        reserve.release();
        reserve.keep();
        assert!(bytes().is_err(), "the room is not free");
    }
}
