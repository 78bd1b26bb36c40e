//! The machine: what it is, and how busy it is with everything that runs on it.

use serde::{Deserialize, Serialize};

use super::{read, ticks_to_micros};
use crate::fault::Fault;

/// Enough for a reader to judge what the figures mean elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// This program was built with debug assertions: no figure of it means anything.
    pub(crate) debug_build: bool,
}

impl Machine {
    pub(crate) fn this() -> Result<Self, Fault> {
        let processors = read("/proc/cpuinfo")?;
        let value = |name: &str| {
            let line = processors.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or("", |(_, value)| value.trim())
        };
        let (model, vendor) = (value("model name"), value("vendor_id"));
        let memory = read("/proc/meminfo")?;
        let kib = memory.split_whitespace().nth(1);
        Ok(Self {
            processor: format!("{model} ({vendor})"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            debug_build: cfg!(debug_assertions),
        })
    }
}

/// Processor time of all cores that was not idle, since the machine began.
pub(crate) fn busy_micros() -> Result<u64, Fault> {
    Ok(ticks_to_micros(busy_ticks(&read("/proc/stat")?)))
}

/// User, nice, system and steal: not idle, not waiting for a disk, and not the
/// interrupts, which on loopback are the load's own.
fn busy_ticks(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 7]
        .iter()
        .filter_map(|place| fields.get(*place))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_disk_waits_and_interrupts_are_not_busy() {
        assert_eq!(
            busy_ticks("cpu  1 2 4 1000 1000 8 16 32 64 0\ncpu0 9\n"),
            39
        );
    }
}
