//! The disk under a folder: bytes written and flushes, as the kernel counts them.
//!
//! The flush counter is what proves that a store really flushes: no program
//! can raise it by saying so. It counts the whole disk, so it is read on a
//! machine that does nothing else, against what it counts at rest.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::read;
use crate::fault::Fault;

const SECTOR: u64 = 512;

/// Where the counters of one disk are.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

/// Since the machine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) flushes: u64,
}

impl Disk {
    /// The disk that holds a folder; `None` when the kernel shows no counters for it,
    /// or when it keeps no cache, so that it is never told to flush.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, Fault> {
        let device = std::fs::metadata(folder)
            .map_err(|error| Fault::file(folder, error))?
            .dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let Ok(folder) = Path::new(&format!("/sys/dev/block/{major}:{minor}")).canonicalize()
        else {
            return Ok(None);
        };
        // Flushes are counted at the whole disk, not at its partitions.
        let disk = match folder.parent() {
            Some(whole) if folder.join("partition").exists() => whole.to_owned(),
            _ => folder,
        };
        let disk = Self { folder: disk };
        Ok((disk.written().is_some() && disk.has_cache()).then_some(disk))
    }

    pub(crate) fn written(&self) -> Option<Written> {
        written(&read(self.folder.join("stat")).ok()?)
    }

    fn has_cache(&self) -> bool {
        read(self.folder.join("queue/write_cache")).is_ok_and(|kind| kind.trim() == "write back")
    }
}

/// Field 7 counts sectors written, field 16 flushes (since Linux 5.5).
fn written(stat: &str) -> Option<Written> {
    let fields: Vec<u64> = stat
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    Some(Written {
        bytes: fields.get(6)? * SECTOR,
        flushes: *fields.get(15)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_and_flushes_are_read_from_their_fields() {
        let stat = " 1 2 3 4 5 6 70 8 9 10 11 12 13 14 15 160 17\n";
        let wanted = Written {
            bytes: 70 * 512,
            flushes: 160,
        };
        assert_eq!(written(stat), Some(wanted));
    }

    #[test]
    fn a_kernel_without_the_flush_counter_gives_nothing() {
        assert_eq!(written("1 2 3 4 5 6 7 8 9 10 11"), None);
    }
}
