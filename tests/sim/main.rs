//! Agent, receivers, provider and control plane in one simulated world, by seeds: faults of
//! network, disk, processes and receivers, and the guarantees that must hold all the same.
//!
//! `cargo test --test sim -- --seed 7` plays one seed again and shows its history;
//! `-- --seeds 10000` plays so many, `--twice 500` the first of them twice; without arguments a short form for CI.

#![expect(
    clippy::print_stdout,
    reason = "a test without a harness prints its own verdict"
)]

mod agent;
mod chance;
mod configuration;
mod control_plane;
mod figures;
mod history;
mod invariants;
mod network;
mod plan;
mod provider;
mod receiver;
mod store;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::Figures;
use history::Fact;
use invariants::Violation;
use world::Outcome;

/// Of the short form, whichever comes first.
const SEEDS: u64 = 2_000;
const SECONDS: u64 = 400;
/// Seeds that are played twice, unless a disk fails in them, to see that nothing else decides.
const TWICE: u64 = 20;
/// Runs at once: they wait for their stores' threads about as long as they compute.
const AT_ONCE: usize = 3;
const SHOWN: usize = 3;
/// Seeds without which a run shows nothing.
const LEAST: u64 = 10;

/// What the run was asked for. Anything else on the line is the test runner's.
#[derive(Clone, Copy)]
struct Asked {
    one: Option<u64>,
    /// All seeds from here on; else known ones and fresh ones in turn.
    first: Option<u64>,
    fresh: u64,
    seeds: u64,
    seconds: u64,
    /// How many are played twice.
    twice: u64,
}

impl Asked {
    fn read(mut line: impl Iterator<Item = String>) -> Self {
        let mut asked = Self {
            one: None,
            first: None,
            fresh: rand::random_range(1_000_000..1_000_000_000),
            seeds: SEEDS,
            seconds: SECONDS,
            twice: TWICE,
        };
        while let Some(word) = line.next() {
            let mut value = || line.next().and_then(|value| value.parse().ok());
            match word.as_str() {
                "--seed" => asked.one = value(),
                "--first" => asked.first = value(),
                "--seeds" => {
                    asked.seeds = value().unwrap_or(SEEDS);
                    asked.seconds = u64::MAX;
                }
                "--twice" => asked.twice = value().unwrap_or(TWICE),
                "--seconds" => asked.seconds = value().unwrap_or(SECONDS),
                _ => {}
            }
        }
        asked
    }

    /// The seed in this place.
    const fn seed(&self, place: u64) -> u64 {
        match self.first {
            Some(first) => first + place,
            None if place.is_multiple_of(2) => place / 2,
            None => self.fresh + place / 2,
        }
    }
}

/// What all seeds came to.
#[derive(Default)]
struct Tally {
    seeds: AtomicU64,
    figures: Mutex<Figures>,
    bad: Mutex<Vec<Outcome>>,
    panicked: Mutex<Vec<u64>>,
}

fn main() -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    if let Some(seed) = asked.one {
        return replay(seed);
    }
    let began = Instant::now();
    let tally = Tally::default();
    if asked.first.is_none() {
        println!("sim: known seeds and fresh ones from {} on", asked.fresh);
    }
    play(asked, &tally, began);
    println!(
        "sim: {} seeds in {:.1} s",
        tally.seeds.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
    );
    println!("sim: {}", lock(&tally.figures));
    verdict(asked, &tally)
}

/// Takes seeds one after the other, several at once, until there are enough.
fn play(asked: Asked, tally: &Tally, began: Instant) {
    let next = AtomicU64::new(0);
    let longest = Duration::from_secs(asked.seconds);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= asked.seeds || began.elapsed() > longest {
                        return;
                    }
                    tally.add(asked.seed(place), place < asked.twice);
                }
            });
        }
    });
}

impl Tally {
    fn add(&self, seed: u64, twice: bool) {
        let Some(mut outcome) = on_a_thread(seed) else {
            lock(&self.panicked).push(seed);
            return;
        };
        // While a disk refuses, the store's own threads make room at their own pace.
        let facts = outcome.history.facts();
        let steady = !facts
            .iter()
            .any(|(_, fact)| matches!(fact, Fact::DiskBad(_)));
        if twice && steady {
            let again = on_a_thread(seed);
            let differs = again.and_then(|again| outcome.history.differs_from(&again.history));
            if let Some(what) = differs {
                outcome.violations.push(Violation {
                    invariant: "determinism",
                    what,
                });
            }
        }
        self.seeds.fetch_add(1, Ordering::Relaxed);
        lock(&self.figures).add(&outcome);
        if !outcome.violations.is_empty() {
            println!("sim: seed {seed} breaks something, see the end");
            lock(&self.bad).push(outcome);
        }
    }
}

/// A thread of its own for each run: nothing of one is left for the next. `None` if it panicked.
fn on_a_thread(seed: u64) -> Option<Outcome> {
    let run = std::thread::Builder::new()
        .name(format!("seed {seed}"))
        .stack_size(16 << 20)
        .spawn(move || world::run(seed));
    run.expect("a thread").join().ok()
}

impl Tally {
    /// A run without seeds, or in which nothing went wrong, passes everything.
    fn shows_something(&self, asked: Asked) -> bool {
        let seeds = self.seeds.load(Ordering::Relaxed);
        if seeds < asked.seeds.min(LEAST) {
            println!("sim: {seeds} seeds are too few to show anything");
            return false;
        }
        let missing = lock(&self.figures).missing();
        if seeds >= LEAST && !missing.is_empty() {
            println!(
                "sim: in {seeds} seeds there was no {}",
                missing.join(", no ")
            );
            return false;
        }
        true
    }
}

fn verdict(asked: Asked, tally: &Tally) -> ExitCode {
    let mut bad = lock(&tally.bad);
    bad.sort_by_key(|outcome| outcome.seed);
    let panicked = lock(&tally.panicked);
    for outcome in bad.iter().take(SHOWN) {
        println!(
            "sim: the end of seed {}:\n{}",
            outcome.seed, outcome.history
        );
    }
    // What is broken comes last: of a long output people and machines keep the end.
    for outcome in bad.iter() {
        for violation in &outcome.violations {
            println!("sim: seed {} breaks {violation}", outcome.seed);
        }
    }
    for seed in panicked.iter() {
        println!("sim: seed {seed} panicked");
    }
    let shown = tally.shows_something(asked);
    if bad.is_empty() && panicked.is_empty() && shown {
        println!("1 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("play one again: cargo test -p hookplane-tests --test sim -- --seed N");
    println!("0 passed, 1 failed");
    ExitCode::FAILURE
}

fn replay(seed: u64) -> ExitCode {
    let Some(outcome) = on_a_thread(seed) else {
        println!("sim: seed {seed} panicked");
        return ExitCode::FAILURE;
    };
    println!("{:#}", outcome.history);
    println!(
        "sim: seed {seed}, {:.1} simulated s, history {:016x}",
        outcome.simulated.as_secs_f64(),
        outcome.hash
    );
    for violation in &outcome.violations {
        println!("sim: seed {seed} breaks {violation}");
    }
    ExitCode::from(u8::from(!outcome.violations.is_empty()))
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
