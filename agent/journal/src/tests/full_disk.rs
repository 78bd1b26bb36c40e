//! A disk that is full or fails: typed refusals, reading goes on, and so does writing by itself.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::{SEGMENT, all, append, open, open_with, options, record, retain, try_append, with};
use crate::io::simulated::{Crash, Operation, SimulatedDisk};
use crate::{AppendError, Health, Options, Position};

fn with_reserve() -> Options {
    Options {
        reserve: true,
        ..options()
    }
}

#[test]
fn a_full_disk_refuses_keeps_readable_and_resumes_when_there_is_space() {
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(3 * u64::from(SEGMENT));
    let journal = open(&disk);
    let kept: Vec<_> = (0..3)
        .flat_map(|number| {
            with(
                append(&journal, &[record(number, 40_000)]),
                &[record(number, 40_000)],
            )
            .collect::<Vec<_>>()
        })
        .collect();
    let refused = try_append(&journal, &[record(3, 40_000)]);
    assert!(matches!(refused, Err(AppendError::Full(_))));
    assert_eq!(journal.health(), Health::Full);
    assert_eq!(all(&journal), kept);
    disk.set_capacity(u64::MAX);
    append(&journal, &[record(3, 40_000)]);
    assert_eq!(journal.health(), Health::Writable);
    assert_eq!(all(&journal).len(), 4);
}

#[test]
fn giving_segments_up_on_a_full_disk_makes_room() {
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(3 * u64::from(SEGMENT));
    let journal = open(&disk);
    let last = (0..3)
        .flat_map(|number| append(&journal, &[record(number, 40_000)]))
        .last();
    try_append(&journal, &[record(3, 40_000)]).unwrap_err();
    retain(&journal, last.unwrap()).unwrap();
    append(&journal, &[record(3, 40_000)]);
    append(&journal, &[record(4, 40_000)]);
}

#[test]
fn a_write_refused_for_lack_of_space_leaves_the_segment_in_use() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let first = append(&journal, &[record(1, 100)])[0];
    disk.fail_next(Operation::Write, ErrorKind::StorageFull);
    let refused = try_append(&journal, &[record(2, 9_000)]);
    assert!(matches!(refused, Err(AppendError::Full(_))));
    let second = append(&journal, &[record(3, 100)])[0];
    assert_eq!(second.segment, first.segment);
    drop(journal);
    disk.crash(Crash::Power);
    let (journal, recovery) = open_with(&disk, options());
    assert_eq!((all(&journal).len(), recovery.damage.len()), (2, 0));
}

#[test]
fn after_a_failed_flush_the_group_goes_to_a_new_segment_and_the_old_file_is_left_alone() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let first = append(&journal, &[record(1, 5_000)])[0];
    disk.fail_next(Operation::Sync, ErrorKind::Other);
    let before = disk.performed().len();
    let second = append(&journal, &[record(2, 5_000)])[0];
    assert_eq!(second.segment, first.segment + 1);
    // The flush that failed, then those of the new segment's header and of the group.
    let calls = disk.performed().split_off(before);
    let flushes = calls
        .iter()
        .filter(|call| **call == Operation::Sync)
        .count();
    assert_eq!(flushes, 3, "{calls:?}");
    assert_eq!(journal.health(), Health::Writable);
    disk.crash(Crash::Power);
    drop(journal);
    assert_eq!(all(&open(&disk)).len(), 2);
}

#[test]
fn after_a_failed_write_the_group_goes_to_a_new_segment() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    append(&journal, &[record(1, 5_000)]);
    disk.fail_next(Operation::Write, ErrorKind::Other);
    assert_eq!(append(&journal, &[record(2, 5_000)])[0].segment, 2);
}

#[test]
fn once_the_next_segment_may_have_a_name_the_one_before_is_not_written_any_more() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    append(&journal, &[record(1, 40_000)]);
    // The next one states where this one ends; the failure is only that it may not last.
    disk.fail_next(Operation::SyncDirectory, ErrorKind::Other);
    disk.fail_next(Operation::SyncDirectory, ErrorKind::Other);
    try_append(&journal, &[record(2, 40_000)]).unwrap_err();
    let position = append(&journal, &[record(3, 100)])[0];
    assert_eq!(position.segment, 2);
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Process);
    assert_eq!(open(&disk).read(position).unwrap(), record(3, 100));
}

#[test]
fn a_segment_that_cannot_be_given_up_stays_readable() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let first = append(&journal, &[record(1, 40_000)])[0];
    let second = append(&journal, &[record(2, 40_000)])[0];
    disk.fail_next(Operation::Rename, ErrorKind::Other);
    retain(&journal, second).unwrap_err();
    assert_eq!(journal.read(first).unwrap(), record(1, 40_000));
    assert_eq!(retain(&journal, second).unwrap(), 1);
}

#[test]
fn a_disk_that_goes_on_failing_is_reported_and_used_again_once_it_works() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let kept = append(&journal, &[record(1, 5_000)])[0];
    for operation in [
        Operation::Sync,
        Operation::Write,
        Operation::Rename,
        Operation::SyncDirectory,
    ] {
        for _ in 0..3 {
            disk.fail_next(Operation::Sync, ErrorKind::Other);
            disk.fail_next(operation, ErrorKind::Other);
            let refused = try_append(&journal, &[record(2, 5_000)]);
            assert!(
                matches!(refused, Err(AppendError::Failed(_))),
                "{operation:?}"
            );
            assert_eq!(journal.health(), Health::Failing);
            assert_eq!(journal.read(kept).unwrap(), record(1, 5_000));
            disk.forget_failures();
        }
        append(&journal, &[record(3, 5_000)]);
        assert_eq!(journal.health(), Health::Writable);
    }
    assert_eq!(all(&journal).len(), 5);
    drop(journal);
    disk.crash(Crash::Power);
    let (journal, recovery) = open_with(&disk, options());
    assert_eq!((all(&journal).len(), recovery.damage.len()), (5, 0));
}

#[test]
fn a_segment_that_failed_is_cut_off_so_that_failures_do_not_fill_the_disk() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    for number in 0..50 {
        disk.fail_next(Operation::Sync, ErrorKind::Other);
        append(&journal, &[record(number, 100)]);
    }
    assert!(disk.used() < 50 * 8_192 + u64::from(SEGMENT));
    assert_eq!(journal.size_on_disk(), disk.used());
    assert_eq!(all(&journal).len(), 50);
}

#[test]
fn during_the_pause_appends_are_refused_without_touching_the_disk() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        failure_pause: Duration::from_secs(3_600),
        ..options()
    };
    let (journal, _) = open_with(&disk, options);
    disk.fail_next(Operation::Create, ErrorKind::Other);
    disk.fail_next(Operation::Create, ErrorKind::Other);
    try_append(&journal, &[record(1, 1)]).unwrap_err();
    let calls = disk.performed().len();
    let refused = try_append(&journal, &[record(1, 1)]);
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    assert_eq!(disk.performed().len(), calls);
}

#[test]
fn the_writer_finds_out_by_itself_that_the_disk_works_again() {
    let disk = SimulatedDisk::new(1);
    let options = Options {
        failure_pause: Duration::from_millis(1),
        ..options()
    };
    let (journal, _) = open_with(&disk, options);
    disk.set_capacity(0);
    try_append(&journal, &[record(1, 1)]).unwrap_err();
    assert_eq!(journal.health(), Health::Full);
    disk.set_capacity(u64::MAX);
    let deadline = Instant::now() + Duration::from_secs(30);
    while journal.health() != Health::Writable {
        assert!(Instant::now() < deadline, "nobody tried the disk again");
        std::thread::yield_now();
    }
    append(&journal, &[record(1, 1)]);
    assert_eq!(all(&journal).len(), 1);
}

#[test]
fn the_reserve_takes_urgent_appends_only_and_is_made_again() {
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(3 * u64::from(SEGMENT));
    let (journal, _) = open_with(&disk, with_reserve());
    append(&journal, &[record(0, 44_000)]);
    append(&journal, &[record(1, 44_000)]);
    let urgent = |number| {
        journal
            .append_urgent(vec![record(number, 20_000)])
            .unwrap()
            .wait()
    };
    // The third file is the reserve.
    let refused = try_append(&journal, &[record(9, 44_000)]);
    assert!(matches!(refused, Err(AppendError::Full(_))));
    for number in 2..4 {
        urgent(number).unwrap();
    }
    // There is room in the segment that was the reserve, but not for these.
    let refused = try_append(&journal, &[record(9, 1)]);
    assert!(matches!(refused, Err(AppendError::Full(_))));
    assert_eq!(journal.health(), Health::Full);
    urgent(5).unwrap();
    let refused = urgent(6);
    assert!(matches!(refused, Err(AppendError::Full(_))));
    // One file is the new reserve and no more than that.
    retain(&journal, Position::new(2, 0)).unwrap();
    try_append(&journal, &[record(9, 1)]).unwrap_err();
    retain(&journal, Position::new(3, 0)).unwrap();
    append(&journal, &[record(7, 1)]);
    assert_eq!(journal.health(), Health::Writable);
    assert_eq!(all(&journal).len(), 4);
}

#[test]
fn the_reserve_survives_a_restart() {
    let disk = SimulatedDisk::new(1);
    let (journal, _) = open_with(&disk, with_reserve());
    append(&journal, &[record(0, 40_000)]);
    drop(journal);
    disk.set_capacity(disk.used());
    let (journal, _) = open_with(&disk, with_reserve());
    append(&journal, &[record(1, 1_000)]);
    try_append(&journal, &[record(1, 40_000)]).unwrap_err();
    let urgent = journal
        .append_urgent(vec![record(2, 40_000)])
        .unwrap()
        .wait();
    assert!(urgent.unwrap()[0] > Position::new(2, 0));
}
