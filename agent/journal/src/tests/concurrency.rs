//! Many callers, readers and retention at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{SEGMENT, all, open, open_with, options, record, retain};
use crate::io::RealDirectory;
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::{AppendError, Journal, Options, Position, ReadError, Record};

const CALLERS: u32 = 8;
const EACH: u32 = 200;

#[test]
fn many_callers_share_groups_and_each_gets_its_own_positions() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let kept = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (journal, kept) = (&journal, &kept);
            scope.spawn(move || {
                let sent: Vec<_> = (0..EACH)
                    .map(|number| record(caller * EACH + number, 300 + number as usize))
                    .map(|record| (record.clone(), journal.append(vec![record]).unwrap()))
                    .collect();
                let mut last = Position::START;
                for (record, answer) in sent {
                    let position = answer.wait().unwrap()[0];
                    assert!(position > last, "the order of one caller is kept");
                    last = position;
                    assert_eq!(journal.read(position).unwrap(), record);
                    kept.lock().unwrap().push((position, record));
                }
            });
        }
    });
    let mut kept = kept.into_inner().unwrap();
    kept.sort_by_key(|(position, _)| *position);
    assert_eq!(all(&journal), kept);
    let figures = journal.figures();
    assert_eq!(figures.records, u64::from(CALLERS * EACH));
    assert!(figures.groups < figures.records, "nothing was shared");
    drop(journal);
    disk.crash(Crash::Power);
    assert_eq!(all(&open(&disk)), kept);
}

#[test]
fn readers_see_exact_bytes_or_are_told_gone_while_segments_are_recycled_under_them() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(RealDirectory::open(folder.path()).unwrap());
    let (journal, _) = Journal::open(directory, options(), {
        let mut salt = 0;
        move || {
            salt += 1;
            salt
        }
    })
    .unwrap();
    let written = Mutex::new(Vec::<(Position, Record)>::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut exact, mut next) = (0_u32, 0);
                    while !done.load(Ordering::Relaxed) {
                        let picked = {
                            let written = written.lock().unwrap();
                            next = (next * 31 + 7) % written.len().max(1);
                            written.get(next).cloned()
                        };
                        let Some((position, record)) = picked else {
                            continue;
                        };
                        match journal.read(position) {
                            Ok(found) => assert_eq!(found, record),
                            Err(ReadError::Gone(_)) => continue,
                            Err(error) => panic!("{position}: {error}"),
                        }
                        exact += 1;
                    }
                    exact
                })
            })
            .collect();
        let follower = scope.spawn(|| {
            let mut scan = journal.scan(Position::START);
            let mut found = 0;
            while !done.load(Ordering::Relaxed) {
                match scan.next() {
                    Some(Ok(entry)) => found = entry.record.payload.len().max(found),
                    Some(Err(ReadError::Gone(_))) | None => {}
                    Some(Err(error)) => panic!("{error}"),
                }
            }
            found
        });
        for number in 0..600 {
            let record = record(number, 2_000 + number as usize * 7);
            let position = super::append(&journal, std::slice::from_ref(&record))[0];
            written.lock().unwrap().push((position, record));
            if number % 10 == 9 {
                let keep = position.segment.saturating_sub(2);
                retain(&journal, Position::new(keep, 0)).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
        follower.join().unwrap();
    });
    assert!(journal.oldest().unwrap().segment > 10);
    assert!(journal.size_on_disk() < 8 * u64::from(SEGMENT));
}

#[test]
fn a_scan_that_follows_the_writer_misses_nothing_where_segments_end() {
    const COUNT: u32 = 3_000;
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut scan = journal.scan(Position::START);
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut next = 0;
            while next < COUNT {
                match scan.next() {
                    Some(entry) => {
                        assert_eq!(entry.unwrap().record, record(next, 6_000));
                        next += 1;
                    }
                    None => assert!(Instant::now() < deadline, "record {next} never came"),
                }
            }
        });
        for number in 0..COUNT {
            super::append(&journal, &[record(number, 6_000)]);
        }
        follower.join().unwrap();
    });
}

#[test]
fn what_waits_is_bounded_and_an_answer_frees_its_share() {
    let disk = SimulatedDisk::new(1);
    let tight = Options {
        queue_bytes: 48 << 10,
        queue_batches: 4,
        ..options()
    };
    let (journal, _) = open_with(&disk, tight);
    let (mut busy, mut stored) = (0, 0);
    let mut waiting = Vec::new();
    for number in 0..2_000 {
        match journal.append(vec![record(number, 20_000)]) {
            Ok(answer) => waiting.push(answer),
            Err(AppendError::Busy) => {
                busy += 1;
                if let Some(answer) = waiting.pop() {
                    answer.wait().unwrap();
                    stored += 1;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    for answer in waiting {
        answer.wait().unwrap();
        stored += 1;
    }
    assert!(busy > 0, "the bound was never met");
    assert_eq!(all(&journal).len(), stored);
}

#[test]
fn what_was_handed_in_before_closing_is_stored() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let waiting: Vec<_> = (0..100)
        .map(|number| journal.append(vec![record(number, 500)]).unwrap())
        .collect();
    journal.close();
    for answer in waiting {
        answer.wait().unwrap();
    }
    drop(journal);
    disk.crash(Crash::Power);
    assert_eq!(all(&open(&disk)).len(), 100);
}
