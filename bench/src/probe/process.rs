//! One process: processor time, memory, bytes it made the kernel write.

use serde::{Deserialize, Serialize};

use super::{read, ticks_to_micros};
use crate::fault::Fault;

/// Since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// In user and kernel mode, all threads.
    pub(crate) cpu_micros: u64,
    /// Bytes of pages that it made dirty and that go to a disk.
    pub(crate) written_bytes: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self, Fault> {
        Self::in_folder(&pid.to_string())
    }

    pub(crate) fn of_this_process() -> Result<Self, Fault> {
        Self::in_folder("self")
    }

    fn in_folder(name: &str) -> Result<Self, Fault> {
        let stat = read(format!("/proc/{name}/stat"))?;
        let io = read(format!("/proc/{name}/io"))?;
        Ok(Self {
            cpu_micros: ticks_to_micros(ticks(&stat)),
            written_bytes: field(&io, "write_bytes:").unwrap_or(0),
        })
    }
}

/// Resident memory in bytes; `None` when the process has ended and was not waited for.
pub(crate) fn resident(pid: u32) -> Result<Option<u64>, Fault> {
    let status = read(format!("/proc/{pid}/status"))?;
    Ok(field(&status, "VmRSS:").map(|kib| kib * 1_024))
}

/// User and system time: fields 14 and 15. The name before them may hold spaces.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_spaces() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 120 30 7 7 20 0";
        assert_eq!(ticks(stat), 150);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let io = "rchar: 1\ncancelled_write_bytes: 5\nwrite_bytes: 4096\n";
        assert_eq!(field(io, "write_bytes:"), Some(4_096));
        assert_eq!(field(io, "absent:"), None);
    }

    #[test]
    fn this_process_has_memory_and_can_be_read() {
        assert!(resident(std::process::id()).is_ok_and(|bytes| bytes > Some(0)));
        assert!(Usage::of_this_process().is_ok());
    }
}
