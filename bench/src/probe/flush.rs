//! The disk's flush latency: what one durable write costs without any agent.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::role::load::Latency;

/// About one event.
const RECORD: [u8; 2_048] = [0x5a; 2_048];
/// Kept free at the front of the file, and written before the clock runs.
const PREPARED: u64 = 64;

/// Microseconds of a write of 2 KiB and an fdatasync.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FlushLatency {
    /// At the end of a file that grows: file system metadata is flushed too.
    pub(crate) growing: Latency,
    /// Over blocks that were written before: the disk alone. Ratios use this one.
    pub(crate) prepared: Latency,
}

/// Measures on the disk of a folder.
pub(crate) fn measure(folder: &Path, times: u64) -> Result<FlushLatency, Fault> {
    let path = folder.join("flush-probe");
    let measured = both(&path, times);
    // A file that was never made cannot be removed.
    std::fs::remove_file(&path).ok();
    measured.map_err(|error| Fault::file(&path, error))
}

fn both(path: &Path, times: u64) -> std::io::Result<FlushLatency> {
    let mut file = File::create(path)?;
    for _ in 0..PREPARED {
        file.write_all(&RECORD)?;
    }
    file.sync_all()?;
    let growing = timed(times, |_| {
        file.write_all(&RECORD)?;
        file.sync_data()
    })?;
    let prepared = timed(times, |turn| {
        file.write_all_at(&RECORD, turn % PREPARED * RECORD.len() as u64)?;
        file.sync_data()
    })?;
    Ok(FlushLatency { growing, prepared })
}

fn timed(
    times: u64,
    mut write: impl FnMut(u64) -> std::io::Result<()>,
) -> std::io::Result<Latency> {
    let mut micros = Vec::new();
    for turn in 0..times {
        let began = Instant::now();
        write(turn)?;
        micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(Latency::of(micros))
}
