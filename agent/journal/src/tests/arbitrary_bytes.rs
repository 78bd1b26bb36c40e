//! Bytes that nobody wrote: the codecs and the recovery never panic and never invent.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{append, open, open_with, options, record, scan};
use crate::io::simulated::SimulatedDisk;
use crate::record::{Header, Identity};
use crate::segment::{self, Found, name};
use crate::{Journal, Position, Record, group};

/// A change to a file that once was whole.
#[derive(Clone, Debug)]
enum Harm {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    Fill {
        at: prop::sample::Index,
        length: usize,
        with: u8,
    },
    Cut {
        at: prop::sample::Index,
    },
    Move {
        from: prop::sample::Index,
        to: prop::sample::Index,
        length: usize,
    },
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip { at, bit }),
        2 => (index(), 1..9_000_usize, any::<u8>())
            .prop_map(|(at, length, with)| Harm::Fill { at, length, with }),
        1 => index().prop_map(|at| Harm::Cut { at }),
        2 => (index(), index(), 1..9_000_usize)
            .prop_map(|(from, to, length)| Harm::Move { from, to, length }),
    ]
}

fn apply(harm: &Harm, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    match harm {
        Harm::Flip { at, bit } => bytes[at.index(size)] ^= 1 << bit,
        Harm::Fill { at, length, with } => {
            let from = at.index(size);
            bytes[from..(from + length).min(size)].fill(*with);
        }
        Harm::Cut { at } => bytes.truncate(at.index(size)),
        Harm::Move { from, to, length } => {
            let (from, to) = (from.index(size), to.index(size));
            let length = (*length).min(size - from).min(size - to);
            bytes.copy_within(from..from + length, to);
        }
    }
}

proptest! {
    #[test]
    fn a_record_header_comes_back_where_it_was_written_and_nowhere_else(
        length: u32, kind: u8, last: bool, payload_crc: u32,
        salt: u64, segment: u32, offset: u32, other in 1..u32::MAX, flip in 0..128_usize,
    ) {
        let header = Header { length, kind, last, payload_crc };
        let identity = Identity { segment, salt };
        let mut bytes = header.encode(identity, offset);
        prop_assert_eq!(Header::decode(&bytes, identity, offset), Some(header));
        prop_assert_eq!(Header::decode(&bytes[..15], identity, offset), None);
        prop_assert_eq!(Header::decode(&bytes, identity, offset.wrapping_add(other)), None);
        let elsewhere = Identity { segment: segment.wrapping_add(other), salt };
        prop_assert_eq!(Header::decode(&bytes, elsewhere, offset), None);
        let recycled = Identity { segment, salt: salt.wrapping_add(u64::from(other)) };
        prop_assert_eq!(Header::decode(&bytes, recycled, offset), None);
        bytes[flip / 8] ^= 1 << (flip % 8);
        prop_assert_eq!(Header::decode(&bytes, identity, offset), None);
    }

    #[test]
    fn the_codecs_take_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
        let identity = Identity { segment: 1, salt: 2 };
        prop_assert_eq!(Header::decode(&bytes, identity, 4_096), None);
        prop_assert_eq!(group::Header::decode(&bytes, identity, 4_096), None);
        prop_assert_eq!(segment::Header::decode(&bytes, 1), Found::Nothing);
        segment::named(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn files_of_any_bytes_open_and_take_appends(
        files in prop::collection::btree_map(1..6_u32, prop::collection::vec(any::<u8>(), 0..20_000), 0..4),
    ) {
        let disk = SimulatedDisk::new(1);
        for (sequence, bytes) in &files {
            disk.put(&name(*sequence), bytes.clone());
        }
        let (journal, recovery) = open_with(&disk, options());
        prop_assert!(recovery.damage.len() >= files.len());
        let position = append(&journal, &[record(1, 100)])[0];
        prop_assert_eq!(journal.read(position).unwrap(), record(1, 100));
        prop_assert_eq!(scan(&journal, Position::START).into_iter().flatten().count(), 1);
    }

    #[test]
    fn a_harmed_journal_gives_what_was_written_or_says_what_is_missing(
        lengths in prop::collection::vec(0..30_000_usize, 1..12),
        harms in prop::collection::vec((1..4_u32, harm()), 1..4),
        odd in any::<(u32, u32)>(),
    ) {
        let disk = SimulatedDisk::new(1);
        let kept = write(&open(&disk), &lengths);
        for (segment, harm) in &harms {
            if let Some(mut bytes) = disk.bytes_of(&name(*segment)) {
                apply(harm, &mut bytes);
                disk.put(&name(*segment), bytes);
            }
        }
        let (journal, recovery) = open_with(&disk, options());
        let mut found = BTreeMap::new();
        let mut reported = !recovery.damage.is_empty() || recovery.torn.is_some();
        for entry in scan(&journal, Position::START) {
            match entry {
                Ok(entry) => drop(found.insert(entry.position, entry.record)),
                Err(_) => reported = true,
            }
        }
        for (position, record) in &found {
            prop_assert_eq!(kept.get(position), Some(record), "invented at {}", position);
        }
        // Missing without a word may be only the end of the newest segment, where damage cannot
        // be told from a write in flight.
        let newest = kept.keys().map(|position| position.segment).max().unwrap_or(0);
        let untold = kept.keys().filter(|at| !found.contains_key(at) && at.segment != newest);
        prop_assert!(reported || untold.count() == 0);
        for (position, record) in &kept {
            if let Ok(read) = journal.read(*position) {
                prop_assert_eq!(&read, record);
            }
        }
        // Positions that never were.
        journal.read(Position::new(odd.0 % 6, odd.1 % 70_000)).unwrap_err_or_written(&kept);
        append(&journal, &[record(1, 100)]);
    }
}

fn write(journal: &Journal, lengths: &[usize]) -> BTreeMap<Position, Record> {
    let mut kept = BTreeMap::new();
    for (number, length) in (0..).zip(lengths) {
        let batch = [record(number, *length), record(number + 1_000, 60)];
        kept.extend(super::with(append(journal, &batch), &batch));
    }
    kept
}

trait OrWritten {
    fn unwrap_err_or_written(self, kept: &BTreeMap<Position, Record>);
}

impl OrWritten for Result<Record, crate::ReadError> {
    fn unwrap_err_or_written(self, kept: &BTreeMap<Position, Record>) {
        if let Ok(record) = self {
            assert!(kept.values().any(|written| *written == record));
        }
    }
}
