//! What the machine tells: processes, disk, processors. Reads only, except the
//! flush probe, which writes one file of its own and removes it.

pub(crate) mod disk;
pub(crate) mod flush;
pub(crate) mod machine;
pub(crate) mod process;

use std::path::Path;

use crate::fault::Fault;

fn read(path: impl AsRef<Path>) -> Result<String, Fault> {
    let path = path.as_ref();
    std::fs::read_to_string(path).map_err(|error| Fault::file(path, error))
}

/// Microseconds of processor time in some ticks of `/proc`.
fn ticks_to_micros(ticks: u64) -> u64 {
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}
