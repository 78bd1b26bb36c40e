//! Places that the disk cannot read: each costs the records that stand on it and nothing else.

use super::{append, open, open_with, options, record};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::segment::name;
use crate::{Fault, Journal, OpenError, Position, ReadError};

const GROUPS: usize = 4;

/// A journal of groups of one record, closed as by a kill, so that opening walks it.
fn written(length: usize) -> (SimulatedDisk, Vec<Position>) {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let positions = (0..GROUPS)
        .flat_map(|number| append(&journal, &[record(u32::try_from(number).unwrap(), length)]))
        .collect();
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Process);
    (disk, positions)
}

/// Makes a sector unreadable, so many bytes behind a position.
fn spoil(disk: &SimulatedDisk, at: Position, by: u32) {
    let sector = u64::from(at.offset + by) / 512 * 512;
    disk.set_unreadable(&name(at.segment), sector..sector + 512);
}

/// How often a scan that passes over meets each kind of error, and the records it gives.
fn passed_over(journal: &Journal) -> (usize, Vec<Fault>, Vec<Position>) {
    let (mut failed, mut faults, mut found) = (0, Vec::new(), Vec::new());
    let mut scan = journal.scan(Position::START);
    while let Some(next) = scan.next() {
        match next {
            Ok(entry) => found.push(entry.position),
            Err(error) if error.is_bad_sector() => {
                failed += 1;
                assert!(failed < 10, "the scan does not go on");
                scan.pass_over();
            }
            Err(ReadError::Damaged(damage)) => faults.push(damage.fault),
            Err(error) => panic!("{error}"),
        }
    }
    (failed, faults, found)
}

#[test]
fn a_bad_sector_costs_the_record_on_it_wherever_it_is() {
    // In the header of the group or record, and in the middle of a long one.
    for (length, by) in [(1_000, 0), (1_000, 600), (12_000, 0), (12_000, 6_000)] {
        for lost in 0..GROUPS - 1 {
            let (disk, positions) = written(length);
            spoil(&disk, positions[lost], by);
            let (journal, recovery) = open_with(&disk, options());
            let faults = recovery.damage.iter().map(|damage| damage.fault);
            assert_eq!(faults.collect::<Vec<_>>(), [Fault::Unreadable]);
            let mut kept = positions.clone();
            kept.remove(lost);
            let told = passed_over(&journal);
            assert_eq!(
                told,
                (1, vec![Fault::Unreadable], kept.clone()),
                "{length} {by}"
            );
            let error = journal.read(positions[lost]).unwrap_err();
            assert!(error.is_bad_sector(), "{error}");
            for at in kept {
                journal.read(at).unwrap();
            }
        }
    }
}

#[test]
fn what_may_be_acknowledged_at_the_end_is_not_cut_off_because_it_is_not_read() {
    let (disk, positions) = written(1_000);
    let last = positions[GROUPS - 1];
    // Without the mark of a close, if it came so far.
    let mut bytes = disk.bytes_of(&name(1)).unwrap();
    bytes[(last.offset as usize).next_multiple_of(4_096)..].fill(0);
    disk.put(&name(1), bytes);
    spoil(&disk, last, 600);
    let opened = Journal::open(disk.directory(), options(), || 7);
    let refused = opened.map(|(_, recovery)| recovery);
    assert!(
        matches!(refused, Err(OpenError::Segment { .. })),
        "{refused:?}"
    );
    disk.set_unreadable("no such file", 0..0);
    let (journal, _) = open_with(&disk, options());
    assert_eq!(passed_over(&journal), (0, Vec::new(), positions));
}
