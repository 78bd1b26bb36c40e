//! What holds on a disk that works, simulated and real.

use std::sync::Arc;

use super::{SEGMENT, all, append, open, open_with, options, payload, record, retain, scan, with};
use crate::io::RealDirectory;
use crate::io::simulated::{Operation, SimulatedDisk};
use crate::{AppendError, Journal, OpenError, Options, OptionsError, Position, ReadError, Record};

#[test]
fn what_was_appended_is_read_back_exactly_by_position_and_in_order() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let batch = [
        record(1, 0),
        record(2, 1),
        record(3, 4_079),
        record(4, 20_000),
        Record::new(255, payload(5, 1_500)),
    ];
    let positions = append(&journal, &batch);
    for (position, record) in with(positions.clone(), &batch) {
        assert_eq!(journal.read(position).unwrap(), record);
    }
    assert_eq!(all(&journal), with(positions, &batch).collect::<Vec<_>>());
}

#[test]
fn a_scan_that_has_caught_up_goes_on_with_what_comes_later() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let mut scan = journal.scan(Position::START);
    assert!(scan.next().is_none());
    for number in 0..200 {
        append(&journal, &[record(number, 3_000)]);
        let entry = scan.next().unwrap().unwrap();
        assert_eq!(entry.record, record(number, 3_000));
        assert!(scan.next().is_none());
        // A new scan from where this one stands sees the same rest: nothing.
        assert_eq!(scan.position(), entry.next);
        assert!(journal.scan(entry.next).next().is_none());
    }
    assert!(journal.segments().len() > 5);
}

#[test]
fn a_scan_from_any_record_gives_that_record_and_the_rest() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let mut kept = Vec::new();
    for number in 0..40 {
        // 4,080 bytes make records in the middle of a group begin on blocks.
        let batch = [
            record(number, 4_048),
            record(number, 4_080),
            record(number, 4_080),
        ];
        kept.extend(with(append(&journal, &batch), &batch));
    }
    let on_block = kept.iter().filter(|(at, _)| at.offset % 4_096 == 0).count();
    assert!(on_block > 0, "the case of a record on a block is missing");
    for (number, (position, _)) in kept.iter().enumerate() {
        let found: Vec<_> = scan(&journal, *position)
            .into_iter()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.position, entry.record))
            .collect();
        assert_eq!(found, kept[number..]);
    }
}

#[test]
fn a_journal_opened_again_has_everything_and_goes_on_behind_it() {
    let disk = SimulatedDisk::new(1);
    let mut kept = Vec::new();
    for run in 0..10 {
        let journal = open(&disk);
        assert_eq!(all(&journal), kept);
        let batch = [record(run, 10_000), record(run + 100, 3)];
        kept.extend(with(append(&journal, &batch), &batch));
    }
    assert!(kept.is_sorted_by_key(|(position, _)| *position));
}

#[test]
fn opening_and_closing_without_appends_writes_nothing() {
    let disk = SimulatedDisk::new(1);
    append(&open(&disk), &[record(1, 10)]);
    let end = open(&disk).end();
    for _ in 0..5 {
        drop(open(&disk));
    }
    assert_eq!(open(&disk).end(), end);
}

#[test]
fn retention_gives_up_whole_segments_and_recycles_their_files() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let positions: Vec<_> = (0..12)
        .flat_map(|number| append(&journal, &[record(number, 40_000)]))
        .collect();
    assert_eq!(journal.segments().len(), 12);
    let below = positions[5];
    assert_eq!(retain(&journal, below).unwrap(), 5);
    assert_eq!(journal.oldest().unwrap().segment, below.segment);
    assert!(matches!(
        journal.read(positions[4]),
        Err(ReadError::Gone(_))
    ));
    assert_eq!(journal.read(below).unwrap(), record(5, 40_000));
    // Two became spares, the others went.
    assert_eq!(journal.size_on_disk(), 9 * u64::from(SEGMENT));
    assert_eq!(disk.used(), 9 * u64::from(SEGMENT));
    append(&journal, &[record(12, 40_000)]);
    assert_eq!(disk.used(), 9 * u64::from(SEGMENT));
    assert!(journal.scan(positions[0]).next().unwrap().is_err());
    assert_eq!(all(&journal).len(), 8);
}

#[test]
fn appends_get_between_segments_that_are_given_up() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    for number in 0..20 {
        append(&journal, &[record(number, 40_000)]);
    }
    // The writer may still be making a spare file; this is answered behind it.
    assert_eq!(retain(&journal, Position::new(1, 0)).unwrap(), 0);
    let before = disk.performed().len();
    let mut retaining = std::pin::pin!(journal.retain(Position::new(20, 0)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let held = disk.hold();
    assert!(retaining.as_mut().poll(&mut context).is_pending());
    // Handed in second, while nothing has been given up yet.
    let pending = journal.append(vec![record(20, 100)]).unwrap();
    drop(held);
    pending.wait().unwrap();
    let performed = disk.performed().split_off(before);
    let until_written = performed.iter().take_while(|one| **one != Operation::Write);
    let gone = until_written.filter(|one| matches!(one, Operation::Remove | Operation::Rename));
    assert!(gone.count() <= 4, "an append waits for all of them");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers");
    assert_eq!(runtime.block_on(retaining).unwrap(), 19);
}

#[test]
fn retention_never_takes_the_newest_segment() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    assert_eq!(retain(&journal, Position::new(9, 0)).unwrap(), 0);
    append(&journal, &[record(1, 40_000)]);
    let last = append(&journal, &[record(2, 40_000)])[0];
    assert_eq!(retain(&journal, Position::new(u32::MAX, 0)).unwrap(), 1);
    assert_eq!(journal.read(last).unwrap(), record(2, 40_000));
    drop(journal);
    let (journal, recovery) = open_with(&disk, options());
    assert!(recovery.damage.is_empty());
    assert!(append(&journal, &[record(3, 1)])[0] > last);
}

#[test]
fn too_much_is_refused_at_the_door() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let refused = journal.append(vec![record(1, 48 << 10)]);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    append(&journal, &[record(1, (48 << 10) - 16)]);
    assert_eq!(append(&journal, &[]), []);
    journal.close();
    let refused = journal.append(vec![record(1, 1)]);
    assert!(matches!(refused, Err(AppendError::Closed)));
    assert_eq!(all(&journal).len(), 1);
}

#[test]
fn contradicting_options_are_refused() {
    let refused = |options: Options| {
        let disk = SimulatedDisk::new(1);
        match Journal::open(disk.directory(), options, || 1) {
            Err(OpenError::Options(error)) => error,
            _ => panic!("the options were taken"),
        }
    };
    let odd = Options {
        segment_bytes: 10_000,
        ..options()
    };
    assert_eq!(refused(odd), OptionsError::Segment(10_000));
    let large = Options {
        batch_bytes: SEGMENT as usize,
        ..options()
    };
    assert!(matches!(
        refused(large),
        OptionsError::BatchBeyondSegment { .. }
    ));
}

#[test]
fn positions_keep_their_order_as_numbers() {
    let positions = [
        Position::START,
        Position::new(1, 4_128),
        Position::new(1, u32::MAX),
        Position::new(2, 0),
        Position::new(i32::MAX as u32, u32::MAX),
    ];
    assert!(positions.is_sorted_by_key(|position| position.to_u64()));
    assert!(i64::try_from(positions[4].to_u64()).is_ok());
    for position in positions {
        assert_eq!(Position::from_u64(position.to_u64()), position);
    }
}

#[test]
fn real_files_keep_records_of_17_mib_and_small_ones_across_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep").join("journal");
    let start = || {
        let directory = Arc::new(RealDirectory::open(&path).unwrap());
        Journal::open(directory, Options::default(), || 7)
            .unwrap()
            .0
    };
    let batch = [record(1, 17 << 20), record(2, 1_500)];
    let journal = start();
    let positions = append(&journal, &batch);
    assert!(append(&journal, &batch)[0].segment == positions[0].segment);
    assert!(append(&journal, &batch)[0].segment == positions[0].segment);
    assert!(append(&journal, &batch)[0].segment > positions[0].segment);
    drop(journal);
    let journal = start();
    assert_eq!(all(&journal).len(), 8);
    assert_eq!(journal.read(positions[0]).unwrap(), batch[0]);
    assert_eq!(retain(&journal, Position::new(2, 0)).unwrap(), 1);
    assert_eq!(all(&journal).len(), 2);
}

#[test]
fn a_second_process_is_kept_out_of_real_files() {
    let folder = tempfile::tempdir().unwrap();
    let first = RealDirectory::open(folder.path()).unwrap();
    let refused = RealDirectory::open(folder.path()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    RealDirectory::open(folder.path()).unwrap();
}
