//! The command line: how large the fleet is, and where the report goes.

use std::path::PathBuf;

/// Sizes that the goals name.
pub(crate) const GOAL: (usize, usize, usize) = (1_000, 10_000, 30_000);

#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "hookplane-bench-fleet",
    version,
    about = "Measures a control plane with simulated agents over real gRPC"
)]
pub(crate) struct Plan {
    /// Agents, each with three connections; allow 6 open files each (`ulimit -n`)
    #[arg(long, default_value_t = GOAL.0)]
    agents: usize,
    #[arg(long, default_value_t = GOAL.1)]
    sources: usize,
    #[arg(long, default_value_t = GOAL.2)]
    connections: usize,
    /// Changes whose way to all agents is timed
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Seconds at rest over which processor time is taken
    #[arg(long, default_value_t = 30)]
    rest_seconds: u64,
    /// Callers that write at once
    #[arg(long, default_value_t = 32)]
    pub(crate) writers: usize,
    /// A small fleet for a few seconds: shows that the bench works and measures nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// The control plane's program
    #[arg(long, default_value = "target/release/hookplane-control-plane")]
    pub(crate) program: PathBuf,
    /// The report
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/bench/performance-fleet.md"
    )]
    pub(crate) report: PathBuf,
}

impl Plan {
    pub(crate) const fn agents(&self) -> usize {
        if self.quick { 20 } else { self.agents }
    }

    pub(crate) const fn sources(&self) -> usize {
        if self.quick { 100 } else { self.sources }
    }

    pub(crate) const fn connections(&self) -> usize {
        if self.quick { 300 } else { self.connections }
    }

    pub(crate) const fn changes(&self) -> usize {
        if self.quick { 5 } else { self.changes }
    }

    pub(crate) const fn rest_seconds(&self) -> u64 {
        if self.quick { 2 } else { self.rest_seconds }
    }

    /// Whether the program is not the one that people run.
    pub(crate) fn is_debug(&self) -> bool {
        self.program.iter().any(|part| part == "debug")
    }

    /// Whether it has the size that the goals name.
    pub(crate) fn is_goal(&self) -> bool {
        (self.agents(), self.sources(), self.connections()) == GOAL
    }
}
