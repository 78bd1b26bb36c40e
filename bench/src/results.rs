//! What was measured: plain numbers, before anybody judges them.
//!
//! The raw results are this, as JSON. Medians are of values of single rounds,
//! so a ratio is made within its round and the median taken of the ratios.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::probe::flush::FlushLatency;
use crate::probe::machine::Machine;
use crate::role::load::Latency;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) rounds: Vec<Round>,
    pub(crate) isolation: Vec<Isolation>,
    pub(crate) flushing: Flushing,
    pub(crate) growth: Vec<Point>,
    pub(crate) recoveries: Vec<Recovery>,
    pub(crate) by_connections: Vec<Point>,
    pub(crate) by_body: Vec<Point>,
    pub(crate) by_fan_out: Vec<Point>,
}

/// How the run was set up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// `2026-11-25`, UTC.
    pub(crate) day: String,
    pub(crate) quick: bool,
    pub(crate) rounds: u32,
    pub(crate) sweep_rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) connections: u32,
    pub(crate) deliveries: u32,
    pub(crate) body_size: usize,
    pub(crate) stored: u64,
    pub(crate) recovery_bytes: u64,
}

/// One pass over bare server, accepting, delivering and half rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Cores in use before the round, while the bench did nothing.
    pub(crate) busy_before: f64,
    pub(crate) flush: FlushLatency,
    pub(crate) bare: Run,
    /// The agent after its start, with its configuration.
    pub(crate) resident_at_rest: u64,
    /// The sink answers nothing: verified, routed, stored, answered. Delivered afterwards.
    pub(crate) accept: Run,
    /// Until the last event was delivered.
    pub(crate) deliver: Run,
    /// Requests due at half of the rate that `deliver` reached.
    pub(crate) half: Run,
}

/// One load on one server, and what it cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) cut_off: u64,
    /// The load alone.
    pub(crate) seconds: f64,
    /// Until everything was delivered, or the load alone when nothing is.
    pub(crate) seconds_to_last: f64,
    pub(crate) latency: Latency,
    pub(crate) lateness: Latency,
    pub(crate) wire_bytes: u64,
    pub(crate) server_cpu_micros: u64,
    pub(crate) load_cpu_micros: u64,
    pub(crate) sink_cpu_micros: u64,
    /// Cores that other programs used meanwhile.
    pub(crate) others_cores: f64,
    pub(crate) written_bytes: u64,
    pub(crate) disk_bytes: Option<u64>,
    pub(crate) disk_flushes: Option<u64>,
    pub(crate) most_resident: u64,
    pub(crate) books: Books,
}

/// What was acknowledged against what came, once it should have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    /// Acknowledged requests times destinations.
    pub(crate) owed: u64,
    pub(crate) lost: u64,
    /// The same message again at the same destination.
    pub(crate) repeated: u64,
    /// With a foreign id, or another message's body.
    pub(crate) foreign: u64,
}

/// One request at a time: every answer needs a flush of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Flushing {
    /// False when the kernel shows no flush counter for this disk.
    pub(crate) countable: bool,
    pub(crate) answers: u64,
    pub(crate) flushes: u64,
    /// As many as the machine makes at rest in the same time.
    pub(crate) flushes_at_rest: u64,
    pub(crate) latency: Latency,
    pub(crate) books: Books,
}

/// Deliveries to a healthy receiver, alone and beside bad ones.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// From when the request was due until its delivery arrived.
    pub(crate) alone: Latency,
    pub(crate) shared: Latency,
    /// Requests that were accepted for the bad ones meanwhile.
    pub(crate) neighbours: u64,
    pub(crate) books: Books,
}

/// One point of a plot: the runs at one value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) value: u64,
    pub(crate) runs: Vec<Run>,
}

/// One SIGKILL under load and the start after it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Recovery {
    pub(crate) store_bytes: u64,
    /// From the start of the process to the first 2xx.
    pub(crate) seconds_to_accept: f64,
    pub(crate) acknowledged_before: u64,
    pub(crate) books: Books,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.acknowledged as f64 / self.seconds.max(f64::EPSILON)
    }

    /// Requests accepted and delivered to all their destinations.
    pub(crate) fn delivered_per_second(&self) -> f64 {
        self.acknowledged as f64 / self.seconds_to_last.max(f64::EPSILON)
    }

    /// Events delivered; more than requests when there are several destinations.
    pub(crate) fn events_per_second(&self) -> f64 {
        self.books.owed.saturating_sub(self.books.lost) as f64
            / self.seconds_to_last.max(f64::EPSILON)
    }
}

impl Books {
    pub(crate) fn balance(&self) -> bool {
        self.lost == 0 && self.foreign == 0
    }
}

impl Flushing {
    /// Flushes that the answers can have come from, per answer.
    pub(crate) fn per_answer(&self) -> f64 {
        let own = self.flushes.saturating_sub(self.flushes_at_rest);
        own as f64 / (self.answers.max(1)) as f64
    }

    /// False when there were fewer flushes than answers: no other program can lower their
    /// number. `None` when nobody counts, or when the others' may be among them.
    pub(crate) fn shown(&self) -> Option<bool> {
        if !self.countable || self.answers == 0 {
            None
        } else if self.flushes < self.answers {
            Some(false)
        } else {
            (self.per_answer() >= 1.0).then_some(true)
        }
    }
}

impl Results {
    /// Every measured load with a name.
    pub(crate) fn all_books(&self) -> Vec<(&'static str, Books)> {
        let rounds = self.rounds.iter().flat_map(|round| {
            [
                ("accept", round.accept.books),
                ("accept and deliver", round.deliver.books),
                ("half rate", round.half.books),
            ]
        });
        let sweeps = [
            ("growth", &self.growth),
            ("connections", &self.by_connections),
            ("body size", &self.by_body),
            ("fan-out", &self.by_fan_out),
        ];
        let sweeps = sweeps.into_iter().flat_map(|(name, points)| {
            let runs = points.iter().flat_map(|point| &point.runs);
            runs.map(move |run| (name, run.books))
        });
        let beside = self.isolation.iter().map(|one| ("isolation", one.books));
        let killed = self.recoveries.iter().map(|one| ("SIGKILL", one.books));
        rounds
            .chain([("one at a time", self.flushing.books)])
            .chain(sweeps)
            .chain(beside)
            .chain(killed)
            .collect()
    }

    /// Nothing acknowledged is missing and no answer came without a flush, as far as can be told.
    pub(crate) fn safe(&self) -> bool {
        self.flushing.shown() != Some(false)
            && self.flushed_under_load() != Some(false)
            && self.all_books().iter().all(|(_, books)| books.balance())
    }

    /// Most cores in use before a round, and by other programs during one.
    pub(crate) fn disturbance(&self) -> (f64, f64) {
        let runs = self
            .rounds
            .iter()
            .flat_map(|round| [&round.bare, &round.accept, &round.deliver, &round.half]);
        let during = runs.map(|run| run.others_cores).fold(0.0, f64::max);
        let before = self.rounds.iter().map(|round| round.busy_before);
        (before.fold(0.0, f64::max), during)
    }

    /// Answers for each flush while only accepting, the most of the rounds. A connection
    /// waits for its answer, so one flush can stand behind as many answers as there are
    /// connections, and behind no more. `None` when flushes cannot be counted.
    pub(crate) fn answers_per_flush(&self) -> Option<f64> {
        let of_round = |round: &Round| {
            let flushes = round.accept.disk_flushes?.max(1);
            Some(round.accept.acknowledged as f64 / flushes as f64)
        };
        let ratios: Option<Vec<f64>> = self.rounds.iter().map(of_round).collect();
        ratios?.into_iter().reduce(f64::max)
    }

    /// `None` when it cannot be told.
    pub(crate) fn flushed_under_load(&self) -> Option<bool> {
        let most = f64::from(self.settings.connections);
        self.answers_per_flush().map(|answers| answers <= most)
    }
}

/// The middle one; the mean of two when there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[lower], values[upper]))
}

pub(crate) fn read(path: &Path) -> Result<Results, Fault> {
    let text = std::fs::read(path).map_err(|error| Fault::file(path, error))?;
    serde_json::from_slice(&text).map_err(|error| Fault::json(path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn an_answer_without_its_flush_makes_the_run_unsafe() {
        let of = |flushes, flushes_at_rest| Results {
            flushing: Flushing {
                countable: true,
                answers: 100,
                flushes,
                flushes_at_rest,
                ..Flushing::default()
            },
            ..Results::default()
        };
        assert!(!of(99, 0).safe());
        assert_eq!(of(110, 10).flushing.shown(), Some(true));
        assert_eq!(of(109, 10).flushing.shown(), None, "they may be others'");
    }

    #[test]
    fn one_lost_event_makes_the_run_unsafe() {
        let lost = Recovery {
            books: Books {
                owed: 10,
                lost: 1,
                ..Books::default()
            },
            ..Recovery::default()
        };
        let results = Results {
            recoveries: vec![lost],
            ..Results::default()
        };
        assert!(!results.safe());
    }
}
