//! Kills a process that appends from several threads with SIGKILL, at random moments, again and
//! again over the same directory: every acknowledged record is at its position, batches are whole,
//! and the order of each thread is kept.
//!
//! Started with `victim` it is the process that dies; without, it is the test. `--rounds` and
//! `--seed` make it longer and repeat the moments; what the disk and the threads do in them is not
//! repeated.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(
    clippy::print_stdout,
    reason = "the victim tells on standard output what was acknowledged"
)]

#[path = "kill/evidence.rs"]
mod evidence;
#[path = "kill/victim.rs"]
mod victim;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use evidence::Evidence;

/// A few seconds on a slow disk.
const ROUNDS: u32 = 60;
/// Rounds after which the test opens the journal itself; in between only victims do.
const LOOK: u32 = 10;
/// A victim that says nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, folder, round] = arguments.as_slice()
        && role == "victim"
    {
        return victim::run(Path::new(folder), round.parse().unwrap());
    }
    let rounds = number_after(&arguments, "--rounds").unwrap_or(ROUNDS.into());
    let seed = number_after(&arguments, "--seed").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let evidence = every_acknowledged_record_survives(rounds.try_into().unwrap(), seed);
    println!(
        "{rounds} kills, {} groups torn, {} records acknowledged, 0 lost",
        evidence.torn, evidence.acknowledged
    );
    println!("1 passed, 0 failed");
}

fn number_after(arguments: &[String], name: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| argument == name)?;
    Some(arguments.get(at + 1)?.parse().unwrap())
}

fn every_acknowledged_record_survives(rounds: u32, seed: u64) -> Evidence {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut evidence = Evidence::default();
    for round in 1..=rounds {
        let mut victim = Victim::start(folder.path(), round);
        // None at all is the moment of opening.
        let lines = [0, 1, random.random_range(0..400)][random.random_range(0..3)];
        for _ in 0..lines {
            let line = victim.hear().expect("it speaks until it is killed");
            evidence.take(&line);
        }
        // The moment lies anywhere between two answers, not only at one.
        std::thread::sleep(Duration::from_micros(random.random_range(0..3_000)));
        victim.process.kill().unwrap();
        while let Some(line) = victim.hear() {
            evidence.take(&line);
        }
        victim.process.wait().unwrap();
        if round.is_multiple_of(LOOK) || round == rounds {
            evidence.check(folder.path());
        }
    }
    assert!(evidence.acknowledged > 0, "nothing was ever acknowledged");
    evidence
}

struct Victim {
    process: Child,
    lines: Receiver<String>,
}

impl Victim {
    fn start(folder: &Path, round: u32) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["victim", folder.to_str().unwrap(), &round.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = sync_channel(64);
        std::thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|read| read > 0) {
                // The last one may be cut off by the kill: then it was not heard.
                if !line.ends_with('\n') || tell.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// `None` when it is dead and all it said was heard.
    fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the victim hangs"),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It is dead already unless the test failed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
