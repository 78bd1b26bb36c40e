//! The goals: which figures there are, how each is made, and its floor and aim.
//!
//! A figure that was not measured at the size its goal names, or by a debug
//! build, gets no verdict: it is neither met nor missed.

use serde::Serialize;

use crate::results::{Isolation, Results, Round, median};
use crate::role::load::Latency;

const MIB: f64 = 1_048_576.0;
/// Sizes that the goals name.
const STORED: u64 = 2_000_000;
const RECOVERY: u64 = 1 << 30;

const ISOLATION_P50: &str = "delivery latency beside bad destinations ÷ alone, p50";
const ISOLATION_P99: &str = "the same, p99";

/// One row of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) floor: f64,
    pub(crate) aim: f64,
    pub(crate) higher_is_better: bool,
    pub(crate) value: Option<f64>,
    /// Least and most of the rounds.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    AimMet,
    FloorMet,
    Missed,
    NotMeasured,
    /// Measured, but smaller or otherwise than the goal says.
    NotComparable,
}

impl Verdict {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::AimMet => "aim met",
            Self::FloorMet => "floor met",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
            Self::NotComparable => "no verdict: not at the goal's size",
        }
    }
}

/// What a goal asks for.
struct Goal {
    name: &'static str,
    unit: &'static str,
    floor: f64,
    aim: f64,
}

/// All figures of the goals, in their order.
pub(crate) fn figures(results: &Results) -> Vec<Figure> {
    let whole = !results.settings.quick && !results.machine.debug_build;
    let stored = whole && results.settings.stored >= STORED;
    let recovered = whole && results.settings.recovery_bytes >= RECOVERY;
    let of = |goal: Goal, measure: fn(&Round) -> f64| {
        goal.figure(whole, results.rounds.iter().map(measure).collect())
    };
    let ratio = |name, floor, aim| Goal {
        name,
        unit: "",
        floor,
        aim,
    };
    let sized = |name, unit, floor, aim| Goal {
        name,
        unit,
        floor,
        aim,
    };
    vec![
        of(
            ratio(
                "verified durable accepts/s ÷ bare hyper requests/s",
                0.40,
                0.55,
            ),
            |round| round.accept.per_second() / round.bare.per_second(),
        ),
        of(
            ratio(
                "accepted and delivered events/s ÷ bare hyper requests/s",
                0.18,
                0.27,
            ),
            |round| round.deliver.delivered_per_second() / round.bare.per_second(),
        ),
        of(
            sized("processor time per delivered event", "µs", 50.0, 30.0),
            |round| round.deliver.server_cpu_micros as f64 / count(round.deliver.books.owed),
        ),
        of(
            sized(
                "accept latency at half the maximum rate ÷ median flush, p50",
                "×",
                10.0,
                6.0,
            ),
            |round| f64::from(round.half.latency.p50) / flush(round),
        ),
        of(sized("the same, p99", "×", 50.0, 25.0), |round| {
            f64::from(round.half.latency.p99) / flush(round)
        }),
        ratio(ISOLATION_P50, 1.2, 1.0).figure(whole, isolation(results, |latency| latency.p50)),
        ratio(ISOLATION_P99, 1.2, 1.0).figure(whole, isolation(results, |latency| latency.p99)),
        ratio("rate with 2 million events stored ÷ empty", 0.75, 0.90)
            .figure(stored, growth_ratio(results)),
        of(
            sized("bytes written ÷ raw request bytes", "×", 1.5, 1.2),
            |round| round.deliver.written_bytes as f64 / count(round.deliver.wire_bytes),
        ),
        of(
            sized("resident memory at rest", "MiB", 40.0, 25.0),
            |round| round.resident_at_rest as f64 / MIB,
        ),
        of(
            sized("resident memory at full load, most", "MiB", 200.0, 120.0),
            |round| round.accept.most_resident.max(round.deliver.most_resident) as f64 / MIB,
        ),
        sized(
            "SIGKILL with 1 GiB stored, to the first accept",
            "s",
            5.0,
            1.0,
        )
        .figure(recovered, seconds_to_accept(results)),
    ]
}

/// At least one, so that nothing is divided by zero.
fn count(number: u64) -> f64 {
    number.max(1) as f64
}

fn flush(round: &Round) -> f64 {
    f64::from(round.flush.prepared.p50.max(1))
}

/// Each run at the full number against the median of those on an empty store.
fn growth_ratio(results: &Results) -> Vec<f64> {
    let (Some(first), Some(last)) = (results.growth.first(), results.growth.last()) else {
        return Vec::new();
    };
    let rates = |runs: &[crate::results::Run]| -> Vec<f64> {
        runs.iter().map(|run| run.delivered_per_second()).collect()
    };
    let Some(empty) = median(rates(&first.runs)) else {
        return Vec::new();
    };
    rates(&last.runs).iter().map(|rate| rate / empty).collect()
}

fn isolation(results: &Results, of: fn(&Latency) -> u32) -> Vec<f64> {
    let ratio = |one: &Isolation| f64::from(of(&one.shared)) / f64::from(of(&one.alone).max(1));
    results.isolation.iter().map(ratio).collect()
}

fn seconds_to_accept(results: &Results) -> Vec<f64> {
    let seconds = results.recoveries.iter().map(|one| one.seconds_to_accept);
    seconds.collect()
}

impl Goal {
    fn figure(self, comparable: bool, values: Vec<f64>) -> Figure {
        let higher_is_better = self.aim > self.floor;
        let least = values.iter().copied().reduce(f64::min);
        let most = values.iter().copied().reduce(f64::max);
        let value = median(values);
        let reaches = |value: f64, bound: f64| {
            if higher_is_better {
                value >= bound
            } else {
                value <= bound
            }
        };
        let verdict = match value {
            None => Verdict::NotMeasured,
            Some(_) if !comparable => Verdict::NotComparable,
            Some(value) if reaches(value, self.aim) => Verdict::AimMet,
            Some(value) if reaches(value, self.floor) => Verdict::FloorMet,
            Some(_) => Verdict::Missed,
        };
        Figure {
            name: self.name,
            unit: self.unit,
            floor: self.floor,
            aim: self.aim,
            higher_is_better,
            value,
            spread: least.zip(most),
            verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Point, Recovery, Run};

    fn verdict(floor: f64, aim: f64, value: f64) -> Verdict {
        let goal = Goal {
            name: "a goal",
            unit: "",
            floor,
            aim,
        };
        goal.figure(true, vec![value]).verdict
    }

    #[test]
    fn a_rate_has_to_be_high_and_a_cost_has_to_be_low() {
        assert_eq!(verdict(0.4, 0.5, 0.5), Verdict::AimMet);
        assert_eq!(verdict(0.4, 0.5, 0.45), Verdict::FloorMet);
        assert_eq!(verdict(0.4, 0.5, 0.39), Verdict::Missed);
        assert_eq!(verdict(50.0, 30.0, 30.0), Verdict::AimMet);
        assert_eq!(verdict(50.0, 30.0, 50.1), Verdict::Missed);
    }

    #[test]
    fn without_a_measurement_nothing_is_met() {
        let figures = figures(&Results::default());
        assert_eq!(figures.len(), 12);
        assert!(
            figures
                .iter()
                .all(|one| one.verdict == Verdict::NotMeasured)
        );
    }

    #[test]
    fn a_smaller_store_than_the_goal_names_gives_no_verdict() {
        let run = |acknowledged| Run {
            acknowledged,
            seconds_to_last: 1.0,
            ..Run::default()
        };
        let point = |value, runs| Point { value, runs };
        let mut results = Results {
            growth: vec![point(0, vec![run(100)]), point(9, vec![run(80), run(90)])],
            recoveries: vec![Recovery::default()],
            ..Results::default()
        };
        results.machine.debug_build = false;
        results.settings.stored = STORED - 1;
        let stored = |results: &Results| figures(results)[7].clone();
        assert_eq!(stored(&results).verdict, Verdict::NotComparable);
        results.settings.stored = STORED;
        assert_eq!(stored(&results).verdict, Verdict::FloorMet);
        assert!(
            stored(&results)
                .value
                .is_some_and(|ratio| (ratio - 0.85).abs() < 1e-9)
        );
        results.settings.quick = true;
        assert_eq!(stored(&results).verdict, Verdict::NotComparable);
    }
}
