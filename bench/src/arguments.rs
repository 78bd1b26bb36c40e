//! The command line: what to measure, how long, and where the report goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fault::Fault;

/// Bytes that one stored event may take on disk, for the check of free space only.
const STORED_EVENT: u64 = 4_000;
const MIB: u64 = 1 << 20;

#[derive(Debug, clap::Parser)]
#[command(
    name = "hookplane-bench",
    version,
    about = "Measures an agent against the limits of the machine it runs on"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Task {
    /// Measure everything and write the report
    Run(Plan),
    /// Write the report again, from kept results or without figures
    Report {
        /// Results of an earlier run; without them the report holds the method only
        #[arg(long, value_name = "FILE")]
        results: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// The bare server that everything is divided by
    #[command(hide = true)]
    Bare,
    /// The receiver of deliveries
    #[command(hide = true)]
    Sink,
    /// The load generator; reads a job from standard input
    #[command(hide = true)]
    Load,
}

/// Where the report goes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Output {
    /// The report; plots and a summary go into a folder of the same name beside it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/bench/performance.md"
    )]
    pub(crate) report: PathBuf,
    /// Text that goes into the report as it is: why a figure is what it is, with a profile
    #[arg(long, value_name = "FILE")]
    pub(crate) notes: Option<PathBuf>,
    /// Raw results of every measurement
    #[arg(long, value_name = "FILE", default_value = "target/bench/results.json")]
    pub(crate) raw: PathBuf,
}

/// What a run does.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    /// Rounds; figures are their median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Rounds of each point of a plot [default: 3, or fewer when there are fewer rounds]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) sweep_rounds: Option<u32>,
    /// Seconds of each load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) seconds: u64,
    /// Connections of the load generator
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Deliveries at once to one destination
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) deliveries: u32,
    /// Events stored before the rate is measured again; the goal names 2,000,000
    #[arg(long, default_value_t = 100_000)]
    pub(crate) stored: u64,
    /// MiB of store that the killed agent has; the goal names 1024
    #[arg(long, default_value_t = 128)]
    pub(crate) recovery_mib: u64,
    /// Most MiB that one load sends
    #[arg(long, default_value_t = 1_024)]
    pub(crate) load_mib: u64,
    /// A few seconds in all: shows that the bench works and measures nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// The rounds and nothing else: no SIGKILL, no plots, no growth
    #[arg(long)]
    pub(crate) rounds_only: bool,
    /// Folder whose disk is measured
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Plan {
    /// Refuses a plan that the disk has no room for.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        std::fs::create_dir_all(&self.dir).map_err(|error| Fault::file(&self.dir, error))?;
        let stored = self.stored().saturating_mul(STORED_EVENT);
        // A load is written once, and again by a store that rewrites; never more than one at once.
        let load = self.load_bytes().saturating_mul(2);
        let recovery = self.recovery_bytes().saturating_mul(2);
        let needed = stored.max(load).max(recovery) + 256 * MIB;
        let free = free_bytes(&self.dir)?;
        if free < needed {
            return Err(Fault::Refused(format!(
                "{} has {} MiB free and this plan may need {}; use --dir, or lower --stored, --recovery-mib or --load-mib",
                self.dir.display(),
                free / MIB,
                needed / MIB
            )));
        }
        Ok(())
    }

    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    pub(crate) fn sweep_rounds(&self) -> u32 {
        let wanted = self.sweep_rounds.unwrap_or(3).max(1);
        wanted.min(self.rounds())
    }

    pub(crate) fn duration(&self) -> Duration {
        if self.quick {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(self.seconds)
        }
    }

    /// Before the clock runs: connections are made and pages are touched.
    pub(crate) fn warm_up(&self) -> Duration {
        self.duration() / 5
    }

    pub(crate) fn stored(&self) -> u64 {
        if self.quick { 2_000 } else { self.stored }
    }

    pub(crate) fn recovery_bytes(&self) -> u64 {
        if self.quick {
            2 * MIB
        } else {
            self.recovery_mib * MIB
        }
    }

    pub(crate) fn load_bytes(&self) -> u64 {
        if self.quick {
            32 * MIB
        } else {
            self.load_mib * MIB
        }
    }
}

fn free_bytes(folder: &Path) -> Result<u64, Fault> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| Fault::file(folder, error.into()))?;
    Ok(disk.f_bavail * disk.f_frsize)
}
