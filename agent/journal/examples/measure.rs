//! Appends per second, beside a bare loop of write and flush on the same disk in the same run.
//!
//! `cargo run --release -p hookplane-journal --example measure [folder] [seconds]`
//! Each row is the median of five turns; journal and bare loop take turns, so that a disk which
//! slows down slows both.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookplane_journal::io::RealDirectory;
use hookplane_journal::{Appending, Journal, Options, Position, Record};
use rand::Rng;

const PAYLOAD: usize = 1_536;
const FILE: u64 = 64 << 20;
const TURNS: usize = 5;

/// How records are handed in.
#[derive(Clone, Copy)]
enum Way {
    /// One append of many records.
    Batch,
    /// Many appends of one record, waited for together, as from as many callers.
    Singles,
}

struct Measured {
    appends: f64,
    /// Bytes written by bytes handed in.
    written: f64,
    /// Records in a group.
    shared: f64,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or("target/journal-measure".into());
    let seconds: f64 = arguments.next().map_or(Ok(1.0), |text| text.parse())?;
    let (folder, turn) = (PathBuf::from(folder), Duration::from_secs_f64(seconds));
    std::fs::create_dir_all(&folder)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>7} {:>5} {:>12} {:>12} {:>6} {:>13} {:>14}",
        "way", "batch", "appends/s", "bare loop/s", "ratio", "records/group", "written/handed"
    )?;
    for (way, name) in [(Way::Batch, "batch"), (Way::Singles, "singles")] {
        for batch in [1, 16, 32, 256] {
            let (mut journal, mut bare) = (Vec::new(), Vec::new());
            for _ in 0..TURNS {
                journal.push(measure(&folder, way, batch, turn)?);
                bare.push(bare_loop(&folder, batch, turn)?);
            }
            journal.sort_by(|left, right| left.appends.total_cmp(&right.appends));
            bare.sort_by(f64::total_cmp);
            let (middle, bare) = (&journal[TURNS / 2], bare[TURNS / 2]);
            writeln!(
                out,
                "{name:>7} {batch:>5} {:>12.0} {bare:>12.0} {:>6.2} {:>13.1} {:>14.2}",
                middle.appends,
                middle.appends / bare,
                middle.shared,
                middle.written,
            )?;
        }
    }
    recovery(&folder, &mut out)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn open(folder: &Path) -> anyhow::Result<Journal> {
    let directory = Arc::new(RealDirectory::open(&folder.join("journal"))?);
    let (journal, _) = Journal::open(directory, Options::default(), || rand::rng().random())?;
    Ok(journal)
}

fn measure(folder: &Path, way: Way, batch: usize, turn: Duration) -> anyhow::Result<Measured> {
    let journal = open(folder)?;
    let payload = Bytes::from(vec![0x5a; PAYLOAD]);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let record = || Record::new(1, payload.clone());
    // Once through the spare files, so that files are recycled as in a long run.
    let (start, mut done) = (Instant::now(), 0_usize);
    while start.elapsed() < turn {
        match way {
            Way::Batch => {
                let records = std::iter::repeat_with(record).take(batch).collect();
                journal.append(records)?.wait()?;
            }
            Way::Singles => {
                let waiting: Vec<Appending> = (0..batch)
                    .map(|_| journal.append(vec![record()]))
                    .collect::<Result<_, _>>()?;
                for answer in waiting {
                    answer.wait()?;
                }
            }
        }
        done += batch;
        if let Some(end) = journal.end().filter(|end| end.segment > 3) {
            let below = Position::new(end.segment - 2, 0);
            if journal.oldest().is_some_and(|oldest| oldest < below) {
                runtime.block_on(journal.retain(below))?;
            }
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    let figures = journal.figures();
    Ok(Measured {
        appends: done as f64 / elapsed,
        written: figures.written_bytes as f64 / figures.payload_bytes as f64,
        shared: figures.records as f64 / figures.groups as f64,
    })
}

/// Writes and flushes the same bytes to a file written before, with nothing around them.
fn bare_loop(folder: &Path, batch: usize, turn: Duration) -> anyhow::Result<f64> {
    let path = folder.join("bare");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let length = (PAYLOAD * batch) as u64;
    if file.metadata()?.len() < FILE {
        file.write_all_at(&vec![0; FILE as usize], 0)?;
        file.sync_all()?;
    }
    let bytes = vec![0x5a; PAYLOAD * batch];
    let (start, mut at, mut done) = (Instant::now(), 0, 0_usize);
    while start.elapsed() < turn {
        if at + length > FILE {
            at = 0;
        }
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += length;
        done += batch;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// How long opening takes with a gigabyte in the journal, the page cache warm.
fn recovery(folder: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let journal = open(folder)?;
    let payload = Bytes::from(vec![0x5a; PAYLOAD]);
    while journal.size_on_disk() < 1 << 30 {
        let record = || Record::new(1, payload.clone());
        let records = std::iter::repeat_with(record).take(256).collect();
        journal.append(records)?.wait()?;
    }
    drop(journal);
    let start = Instant::now();
    let journal = open(folder)?;
    let opened = start.elapsed();
    journal.append(vec![Record::new(1, payload)])?.wait()?;
    writeln!(
        out,
        "opening 1 GiB: {opened:.1?}, to the first append: {:.1?}",
        start.elapsed()
    )?;
    Ok(())
}
