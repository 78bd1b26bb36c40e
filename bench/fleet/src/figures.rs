//! What was measured, and the floors and aims it is held against.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Writes a second while the configuration was made, nobody else about.
    pub(crate) writes: f64,
    /// The same with every agent connected.
    pub(crate) writes_with_agents: f64,
    /// A snapshot to one agent, at the median and in bytes.
    pub(crate) snapshot: Duration,
    pub(crate) snapshot_bytes: usize,
    pub(crate) snapshot_resources: usize,
    /// All agents from nothing to everything.
    pub(crate) first_contact: Duration,
    /// From a change to its acknowledgement by all: p50, p99, most.
    pub(crate) change: [Duration; 3],
    /// Of the control plane: at rest, and the most it ever had.
    pub(crate) memory: (u64, u64),
    /// Of one core, at rest.
    pub(crate) processor: f64,
    /// All agents back after a restart, and the snapshots that took.
    pub(crate) back: Duration,
    pub(crate) back_snapshots: u64,
    pub(crate) back_dials: u64,
}

/// A figure beside its goals.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) floor: f64,
    pub(crate) aim: f64,
    pub(crate) unit: &'static str,
    /// More is better.
    pub(crate) up: bool,
}

impl Row {
    pub(crate) fn verdict(&self) -> &'static str {
        let meets = |goal: f64| {
            if self.up {
                self.value >= goal
            } else {
                self.value <= goal
            }
        };
        match (meets(self.aim), meets(self.floor)) {
            (true, _) => "aim met",
            (_, true) => "floor met",
            _ => "**missed**",
        }
    }
}

const MIB: f64 = 1_048_576.0;

impl Figures {
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |name, value, floor, aim, unit| Row {
            name,
            value,
            floor,
            aim,
            unit,
            up: false,
        };
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let memory = self.memory.1 as f64 / MIB;
        vec![
            row(
                "change to acknowledged by all, p99",
                millis(self.change[1]),
                1_000.0,
                200.0,
                "ms",
            ),
            row(
                "memory of the control plane, most",
                memory,
                1_024.0,
                400.0,
                "MiB",
            ),
            row(
                "processor at rest",
                self.processor * 100.0,
                20.0,
                5.0,
                "% of a core",
            ),
            row(
                "all agents back after a restart",
                self.back.as_secs_f64(),
                30.0,
                10.0,
                "s",
            ),
            row(
                "snapshot of everything to one agent",
                millis(self.snapshot),
                2_000.0,
                500.0,
                "ms",
            ),
            Row {
                up: true,
                ..row(
                    "configuration writes on PostgreSQL",
                    self.writes,
                    500.0,
                    2_000.0,
                    "/s",
                )
            },
        ]
    }
}
