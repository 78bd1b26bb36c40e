//! Everything at once, for as long as asked: senders that check every answer, SIGKILL
//! at random, a full disk, receivers that fail, hang and vanish. At the end every
//! acknowledged request is accounted for and every event was delivered at least once.
//!
//! `cargo test --test torture -- --seconds 600 --seed 7`; without arguments a short form.

#![expect(
    clippy::print_stdout,
    reason = "a test without a harness prints its own verdict"
)]

mod disk;
mod faults;
mod load;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hookplane_tests::{Receiver, System};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use disk::Disk;
use faults::Faults;
use load::Load;

const SHORT_SECONDS: u64 = 8;
const LONGEST_SECONDS: u64 = 6 * 3_600;

/// What the run was asked for. Anything else on the line is the test runner's.
struct Asked {
    seconds: u64,
    seed: u64,
}

impl Asked {
    fn read(mut line: impl Iterator<Item = String>) -> Self {
        let mut asked = Self {
            seconds: SHORT_SECONDS,
            seed: rand::random(),
        };
        while let Some(word) = line.next() {
            let place = match word.as_str() {
                "--seconds" => &mut asked.seconds,
                "--seed" => &mut asked.seed,
                _ => continue,
            };
            if let Some(value) = line.next().and_then(|value| value.parse().ok()) {
                *place = value;
            }
        }
        asked.seconds = asked.seconds.min(LONGEST_SECONDS);
        asked
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    println!("torture: {} s, seed {}", asked.seconds, asked.seed);
    let mut random = StdRng::seed_from_u64(asked.seed);

    let disk = Disk::small();
    println!("torture: the agent's disk is {}", disk.kind());
    let mut system = System::with_agent_on(disk.path()).await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let source = system.clerk("Clerk").await;
    // Retries go on for longer than any fault of this run lasts.
    let rules = json!([{ "type": "retry", "strategy": "linear", "count": 50, "interval": 1000 }]);
    for (place, receiver) in receivers.iter().enumerate() {
        let name = format!("receiver-{place}");
        let to = system.destination(&name, receiver).await;
        system.connect(&source, &name, &to, rules.clone()).await;
    }
    system.settled().await;

    let load = Arc::new(Load::start(source.at(&system.ingest(0))));
    let mut faults = Faults::new(Arc::clone(&load), disk);
    let until = tokio::time::Instant::now() + Duration::from_secs(asked.seconds);
    while tokio::time::Instant::now() < until {
        faults.one(&mut system, &receivers, &mut random).await;
    }
    faults.heal(&mut system, &receivers).await;
    let sent = load.stop().await;
    let verdict = verdict::reach(&system, &receivers, &sent, faults.counts()).await;
    println!("{verdict}");
    // The agent ends before its disk is unmounted.
    drop(system);
    drop(faults);
    if verdict.is_good() {
        println!("1 passed, 0 failed");
        ExitCode::SUCCESS
    } else {
        println!("0 passed, 1 failed (seed {})", asked.seed);
        ExitCode::FAILURE
    }
}
