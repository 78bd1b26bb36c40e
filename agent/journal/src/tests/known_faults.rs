//! Each kind of damage: what is found, what is reported, what can still be read.

use super::{SEGMENT, all, append, open, open_with, options, record, retain, scan, try_append};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::segment::name;
use crate::{Damage, Fault, Journal, OpenError, Position, ReadError, Recovery};

/// A journal of `count` groups of one record, closed as by a kill: without the mark.
fn written(count: u32, length: usize) -> (SimulatedDisk, Vec<Position>) {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    let positions = (0..count)
        .flat_map(|number| append(&journal, &[record(number, length)]))
        .collect();
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Process);
    (disk, positions)
}

fn change(disk: &SimulatedDisk, segment: u32, act: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.bytes_of(&name(segment)).unwrap();
    act(&mut bytes);
    disk.put(&name(segment), bytes);
}

fn flip(disk: &SimulatedDisk, at: Position) {
    change(disk, at.segment, |bytes| bytes[at.offset as usize] ^= 0x10);
}

fn behind(position: Position, by: u32) -> Position {
    Position::new(position.segment, position.offset + by)
}

fn reopened(disk: &SimulatedDisk) -> (Journal, Recovery) {
    open_with(disk, options())
}

/// The damages a scan reports and how many records it gives.
fn scanned(journal: &Journal) -> (Vec<(u32, Fault)>, usize) {
    let (mut damage, mut records) = (Vec::new(), 0);
    for entry in scan(journal, Position::START) {
        match entry {
            Ok(_) => records += 1,
            Err(ReadError::Damaged(Damage { position, fault })) => {
                damage.push((position.offset, fault));
            }
            Err(error) => panic!("{error}"),
        }
    }
    (damage, records)
}

#[test]
fn a_flipped_bit_in_a_payload_is_reported_and_costs_that_record_only() {
    let (disk, positions) = written(5, 1_000);
    flip(&disk, behind(positions[2], 500));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
    assert_eq!(recovery.damage[0].fault, Fault::Payload);
    let read = journal.read(positions[2]).unwrap_err();
    assert!(matches!(read, ReadError::Damaged(damage) if damage.fault == Fault::Payload));
    assert_eq!(journal.read(positions[3]).unwrap(), record(3, 1_000));
    assert_eq!(
        scanned(&journal),
        (vec![(positions[2].offset, Fault::Payload)], 4)
    );
}

#[test]
fn a_flipped_bit_in_a_record_header_is_reported_and_costs_the_rest_of_its_group() {
    let (disk, positions) = written(5, 1_000);
    flip(&disk, positions[2]);
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage[0].fault, Fault::RecordHeader);
    assert_eq!(
        scanned(&journal),
        (vec![(positions[2].offset, Fault::RecordHeader)], 4)
    );
}

#[test]
fn in_a_group_of_many_a_payload_costs_one_record_and_a_header_all_behind_it() {
    for (at, fault, left) in [(500, Fault::Payload, 5), (0, Fault::RecordHeader, 3)] {
        let (disk, _) = written(1, 100);
        let journal = open(&disk);
        let batch: Vec<_> = (1..=4).map(|number| record(number, 3_000)).collect();
        let positions = append(&journal, &batch);
        let last = append(&journal, &[record(5, 100)])[0];
        drop(journal);
        flip(&disk, behind(positions[1], at));
        let (journal, recovery) = reopened(&disk);
        assert_eq!(recovery.damage.len(), 1);
        assert_eq!(
            scanned(&journal),
            (vec![(positions[1].offset, fault)], left)
        );
        // By position those behind are there all the same.
        assert_eq!(journal.read(positions[3]).unwrap(), batch[3]);
        assert_eq!(journal.read(last).unwrap(), record(5, 100));
    }
}

#[test]
fn a_flipped_bit_in_a_group_header_is_reported_and_its_records_still_read_by_position() {
    let (disk, positions) = written(5, 1_000);
    let group = positions[2].offset - 32;
    flip(&disk, Position::new(1, group));
    let (journal, recovery) = reopened(&disk);
    let position = Position::new(1, group);
    let fault = Fault::GroupHeader;
    assert_eq!(recovery.damage, [Damage { position, fault }]);
    assert_eq!(scanned(&journal), (vec![(group, fault)], 4));
    assert_eq!(journal.read(positions[2]).unwrap(), record(2, 1_000));
}

#[test]
fn a_damaged_segment_is_not_written_any_more() {
    let (disk, positions) = written(5, 1_000);
    flip(&disk, positions[2]);
    let (journal, _) = reopened(&disk);
    let next = append(&journal, &[record(9, 10)])[0];
    assert_eq!(next.segment, 2);
    assert_eq!(scanned(&journal).1, 5);
}

#[test]
fn a_hole_of_zeros_in_acknowledged_data_is_damage_and_not_the_end() {
    let (disk, positions) = written(6, 1_000);
    let from = positions[1].offset as usize - 32;
    change(&disk, 1, |bytes| bytes[from..from + 3 * 4_096].fill(0));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
    assert_eq!(scanned(&journal).1, 3);
    assert_eq!(journal.read(positions[5]).unwrap(), record(5, 1_000));
}

#[test]
fn a_torn_last_group_is_cut_off_and_its_place_is_written_again() {
    let (disk, positions) = written(5, 9_000);
    flip(&disk, behind(positions[4], 8_000));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage, []);
    assert_eq!(
        recovery.torn,
        Some(Position::new(1, positions[4].offset - 32))
    );
    assert_eq!(all(&journal).len(), 4);
    assert_eq!(append(&journal, &[record(9, 100)])[0], positions[4]);
    assert_eq!(all(&journal).len(), 5);
}

#[test]
fn damage_to_the_last_group_of_a_journal_closed_in_order_is_told_from_a_torn_one() {
    let disk = SimulatedDisk::new(1);
    let position = append(&open(&disk), &[record(1, 1_000)])[0];
    flip(&disk, behind(position, 500));
    let (_, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
}

#[test]
fn a_file_cut_off_in_its_last_group_loses_that_group_only() {
    let (disk, positions) = written(5, 1_000);
    change(&disk, 1, |bytes| {
        bytes.truncate(positions[4].offset as usize + 100)
    });
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage, []);
    assert_eq!(all(&journal).len(), 4);
    // A file of the wrong length is not written on.
    assert_eq!(append(&journal, &[record(9, 100)])[0].segment, 2);
}

#[test]
fn a_sealed_segment_that_is_too_short_is_reported() {
    let (disk, positions) = written(4, 40_000);
    change(&disk, 2, |bytes| bytes.truncate(20_000));
    let (journal, recovery) = reopened(&disk);
    let position = Position::new(2, 20_000);
    let fault = Fault::Truncated;
    assert_eq!(recovery.damage, [Damage { position, fault }]);
    assert_eq!(
        scanned(&journal),
        (vec![(positions[1].offset, Fault::Truncated)], 3)
    );
}

#[test]
fn a_missing_segment_in_the_middle_is_reported_and_not_stepped_over() {
    let (disk, positions) = written(4, 40_000);
    disk.take_away(&name(2));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
    assert_eq!(recovery.damage[0].fault, Fault::MissingSegment);
    let read = journal.read(positions[1]).unwrap_err();
    assert!(matches!(read, ReadError::Damaged(damage) if damage.fault == Fault::MissingSegment));
    assert_eq!(scanned(&journal), (vec![(4_096, Fault::MissingSegment)], 3));
}

#[test]
fn one_broken_copy_of_a_segment_header_does_no_harm() {
    let (disk, _) = written(4, 40_000);
    flip(&disk, Position::new(2, 20));
    flip(&disk, Position::new(4, 2_048 + 20));
    let (journal, recovery) = reopened(&disk);
    assert_eq!((recovery.damage, all(&journal).len()), (vec![], 4));
}

#[test]
fn a_segment_without_any_header_is_reported_and_the_others_are_read() {
    for lost in 1..=4 {
        let (disk, positions) = written(4, 40_000);
        change(&disk, lost, |bytes| bytes[..4_096].fill(0));
        let (journal, recovery) = reopened(&disk);
        let position = Position::new(lost, 4_096);
        let fault = Fault::SegmentHeader;
        assert_eq!(recovery.damage, [Damage { position, fault }]);
        assert_eq!(scanned(&journal), (vec![(4_096, fault)], 3));
        assert!(journal.read(positions[lost as usize - 1]).is_err());
        assert_eq!(append(&journal, &[record(9, 40_000)])[0].segment, 5);
        assert_eq!(scanned(&journal).1, 4);
    }
}

#[test]
fn a_header_of_another_segment_under_this_name_is_not_believed() {
    let (disk, _) = written(4, 40_000);
    let other = disk.bytes_of(&name(1)).unwrap();
    disk.put(&name(3), other);
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage[0].fault, Fault::SegmentHeader);
    assert_eq!(scanned(&journal).1, 3);
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_touched() {
    let (disk, _) = written(1, 100);
    change(&disk, 1, |bytes| {
        for copy in [0, 2_048] {
            bytes[copy + 12] = 2;
            let crc = crc32fast::hash(&bytes[copy + 12..copy + 48]);
            bytes[copy + 8..copy + 12].copy_from_slice(&crc.to_le_bytes());
        }
    });
    let before = disk.bytes_of(&name(1));
    let refused = Journal::open(disk.directory(), options(), || 1)
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::Version { version: 2, .. }));
    assert_eq!(disk.bytes_of(&name(1)), before);
}

#[test]
fn stale_groups_of_a_recycled_file_are_never_taken_for_new_ones() {
    let disk = SimulatedDisk::new(1);
    let journal = open(&disk);
    // Every group of the old life ends where one of the new life ends, or would.
    for number in 0..30 {
        append(&journal, &[record(number, 4_000)]);
    }
    let newest = journal.end().unwrap();
    assert_eq!(newest.segment, 2);
    retain(&journal, newest).unwrap();
    append(&journal, &[record(100, 45_000)]);
    let only = append(&journal, &[record(101, 4_000)])[0];
    assert_eq!(only.segment, 3);
    assert!(!disk.names().contains(&"0000000001.spare".to_owned()));
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Power);
    let (journal, recovery) = reopened(&disk);
    assert_eq!((recovery.damage, recovery.torn), (vec![], None));
    assert_eq!(journal.end(), recovery.end);
    let found: Vec<_> = scan(&journal, Position::new(3, 4_096))
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(found.last().unwrap().position, only);
}

#[test]
fn a_group_moved_to_another_place_of_its_segment_is_not_believed() {
    let (disk, positions) = written(5, 1_000);
    let (from, to) = (
        positions[1].offset as usize - 32,
        positions[3].offset as usize - 32,
    );
    change(&disk, 1, |bytes| bytes.copy_within(from..from + 4_096, to));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
    assert!(journal.read(positions[3]).is_err());
}

#[test]
fn a_group_of_another_segment_in_the_same_place_is_not_believed() {
    let (disk, positions) = written(4, 40_000);
    let other = disk.bytes_of(&name(1)).unwrap();
    change(&disk, 2, |bytes| {
        bytes[4_096..].copy_from_slice(&other[4_096..]);
    });
    let (journal, _) = reopened(&disk);
    let fault = Fault::GroupHeader;
    assert_eq!(scanned(&journal), (vec![(4_096, fault)], 3));
    assert_eq!(positions[0].offset, positions[1].offset);
    assert!(journal.read(positions[1]).is_err());
}

#[test]
fn a_file_longer_than_it_says_is_read_and_not_written_on() {
    let (disk, _) = written(5, 1_000);
    change(&disk, 1, |bytes| bytes.resize(2 * SEGMENT as usize, 7));
    let (journal, recovery) = reopened(&disk);
    assert_eq!((recovery.damage, all(&journal).len()), (vec![], 5));
    assert_eq!(append(&journal, &[record(9, 10)])[0].segment, 2);
}

#[test]
fn a_payload_that_looks_like_a_group_changes_nothing() {
    // An old segment, sent back as a payload whose blocks fall on blocks.
    let (disk, _) = written(5, 1_000);
    let old = disk.bytes_of(&name(1)).unwrap();
    let image = [&vec![0; 4_096 - 48], &old[4_096..40_000]].concat();
    let journal = open(&disk);
    let batch = [crate::Record::new(1, image)];
    let position = append(&journal, &batch)[0];
    append(&journal, &[record(9, 10)]);
    disk.die_at(disk.performed().len());
    drop(journal);
    disk.crash(Crash::Process);
    flip(&disk, behind(position, 10));
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.damage.len(), 1);
    assert_eq!(scanned(&journal).1, 6);
}

#[test]
fn foreign_and_left_over_files_do_no_harm() {
    let (disk, _) = written(2, 100);
    for stray in [
        "lock",
        "notes.txt",
        "1.segment",
        "0000000000.segment",
        "unfinished",
    ] {
        disk.put(stray, vec![1; 100]);
    }
    disk.put("0000000077.spare", vec![2; 100]);
    disk.put("0000000078.spare", vec![3; SEGMENT as usize]);
    let (journal, recovery) = reopened(&disk);
    assert_eq!((recovery.segments, recovery.damage.len()), (1, 0));
    assert_eq!(all(&journal).len(), 2);
    assert!(!disk.names().contains(&"unfinished".to_owned()));
    assert!(!disk.names().contains(&"0000000077.spare".to_owned()));
    append(&journal, &[record(3, 45_000)]);
    append(&journal, &[record(3, 45_000)]);
    assert!(!disk.names().contains(&"0000000078.spare".to_owned()));
    try_append(&journal, &[record(4, 45_000)]).unwrap();
}

#[test]
fn a_file_with_a_number_that_no_segment_gets_is_left_alone() {
    for number in [1 << 31, u32::MAX] {
        let (disk, positions) = written(2, 100);
        disk.put(&name(number), disk.bytes_of(&name(1)).unwrap());
        let (journal, recovery) = reopened(&disk);
        assert_eq!((recovery.segments, recovery.damage.len()), (1, 0));
        assert_eq!(append(&journal, &[record(3, 100)])[0].segment, 1);
        assert_eq!(all(&journal).len(), positions.len() + 1);
        assert!(disk.names().contains(&name(number)));
    }
}

#[test]
fn without_a_segment_number_left_appends_are_refused_and_reading_goes_on() {
    let (disk, positions) = written(2, 100);
    disk.put(&name((1 << 31) - 1), vec![0; SEGMENT as usize]);
    let (journal, recovery) = reopened(&disk);
    assert_eq!(recovery.segments, 2);
    assert!(try_append(&journal, &[record(3, 100)]).is_err());
    assert_eq!(journal.read(positions[1]).unwrap(), record(1, 100));
    assert_eq!(scanned(&journal).1, 2);
}

#[test]
fn a_segment_that_says_it_has_no_room_for_a_group_is_not_written_on() {
    for bytes in [100_u32, 4_096, 5_000] {
        let (disk, _) = written(1, 100);
        change(&disk, 1, |file| {
            file[20..24].copy_from_slice(&bytes.to_le_bytes());
            let crc = crc32fast::hash(&file[12..48]);
            file[8..12].copy_from_slice(&crc.to_le_bytes());
            file.truncate(bytes as usize);
        });
        let (journal, _) = reopened(&disk);
        assert_eq!(append(&journal, &[record(9, 100)])[0].segment, 2);
    }
}
