//! A journal whose files are harmed at random: what was not touched is still read, what is read
//! was appended, and what is missing is said.
//!
//! Owns the judgement what harm may cost. The payloads are not of the fuzzer's choice, and no harm
//! writes bytes of its choice: it would learn to forge checksums, which promise nothing against
//! that.

use std::collections::BTreeSet;
use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};

use super::harm::{Files, Harm};
use super::written::{Draft, Step, Written};
use super::{open, try_open};
use crate::io::simulated::{Crash, SimulatedDisk};
use crate::segment::{self, BLOCK, Found};
use crate::{Journal, OpenError, Position, ReadError, Record, Recovery, group};

const STEPS: usize = 24;
const HARMS: usize = 8;

#[derive(Debug, Arbitrary)]
struct Plan {
    seed: u64,
    before: Vec<Step>,
    /// Of a copy of the files taken here `Harm::RollBack` makes use.
    after: Vec<Step>,
    end: End,
    harms: Vec<Harm>,
    /// Positions that most likely never were.
    odd: Vec<(u8, u16)>,
}

#[derive(Debug, Arbitrary)]
enum End {
    Close,
    Kill,
    KillWithin { drafts: [Draft; 3], calls: u8 },
    CutPower,
    CutPowerWithin { drafts: [Draft; 3], calls: u8 },
}

/// Writes what the bytes mean, harms the files, opens them and judges what is there.
pub fn recovery(bytes: &[u8]) {
    let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let mut written = Written::new(plan.seed);
    let steps = |steps: &[Step], written: &mut Written| {
        let steps = steps.iter().take(STEPS);
        steps.for_each(|step| written.perform(step));
    };
    steps(&plan.before, &mut written);
    let earlier = files(&written.disk);
    steps(&plan.after, &mut written);
    end(&plan.end, &mut written);

    let before = files(&written.disk);
    let mut after = before.clone();
    for harm in plan.harms.iter().take(HARMS) {
        harm.apply(&mut after, &earlier);
    }
    replace(&written.disk, &after);
    judge(&written, &Harmed { before, after }, &plan.odd);
}

fn end(end: &End, written: &mut Written) {
    match end {
        End::Close => written.end(None),
        End::Kill => written.end(Some(Crash::Process)),
        End::CutPower => written.end(Some(Crash::Power)),
        End::KillWithin { drafts, calls } => {
            written.end_within(drafts, (calls % 16).into(), Crash::Process);
        }
        End::CutPowerWithin { drafts, calls } => {
            written.end_within(drafts, (calls % 16).into(), Crash::Power);
        }
    }
}

fn files(disk: &SimulatedDisk) -> Files {
    let bytes = |name: String| disk.bytes_of(&name).map(|bytes| (name, bytes));
    disk.names().into_iter().filter_map(bytes).collect()
}

fn replace(disk: &SimulatedDisk, files: &Files) {
    disk.names().iter().for_each(|name| disk.take_away(name));
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
}

fn judge(written: &Written, harmed: &Harmed, odd: &[(u8, u16)]) {
    let (journal, recovery) = match try_open(&written.disk) {
        Ok(opened) => opened,
        // A checksum that fits by accident is not ruled out, only never seen.
        Err(OpenError::Version { .. }) => return,
        Err(error) => panic!("harm alone does not keep a journal from opening: {error}"),
    };
    judge_scan(&journal, &recovery, written, harmed);
    judge_reads(&journal, written, harmed);
    for (segment, offset) in odd {
        let position = Position::new((*segment).into(), (*offset).into());
        drop(
            journal
                .read(position)
                .map(|read| written.assert_appended(position, &read)),
        );
        for entry in journal.scan(position).flatten() {
            written.assert_appended(entry.position, &entry.record);
        }
    }
    // It goes on, and what it stores now survives beside all that was not touched.
    let last = written.ever.last_key_value().map(|(last, _)| *last);
    let more = Record::new(9, vec![9; 100]);
    let appended = journal.append(vec![more.clone()]);
    let position = appended.and_then(crate::Appending::wait);
    let position = match position {
        Ok(positions) => positions[0],
        Err(error) => {
            let newest = journal.end().map(|end| end.segment);
            assert_eq!(newest, Some(segment::MAX_SEQUENCE), "{error}");
            return;
        }
    };
    written.disk.die_at(written.disk.performed().len());
    drop(journal);
    written.disk.crash(Crash::Power);
    let (journal, _) = open(&written.disk);
    let read = journal.read(position);
    assert_eq!(read.expect("acknowledged just now"), more);
    if Some(position) > last {
        judge_reads(&journal, written, harmed);
    }
}

fn judge_scan(journal: &Journal, recovery: &Recovery, written: &Written, harmed: &Harmed) {
    let mut found = BTreeSet::new();
    let mut reported: BTreeSet<u32> = recovery
        .damage
        .iter()
        .map(|damage| damage.position.segment)
        .collect();
    for entry in journal.scan(Position::START) {
        match entry {
            Ok(entry) => {
                written.assert_appended(entry.position, &entry.record);
                assert!(found.last() < Some(&entry.position), "out of order");
                found.insert(entry.position);
            }
            Err(ReadError::Damaged(damage)) => {
                reported.insert(damage.position.segment);
            }
            Err(error) => panic!("neither a record nor damage: {error}"),
        }
    }
    for position in written.kept.keys() {
        let group = harmed.group_of(*position);
        if !found.contains(position) {
            assert!(
                !harmed.is_read_in_order(*position, &group),
                "{position} was not touched and a scan does not give it"
            );
            assert!(
                reported.contains(&position.segment) || !harmed.is_sealed(position.segment),
                "{position} is missing without a word"
            );
        }
    }
}

fn judge_reads(journal: &Journal, written: &Written, harmed: &Harmed) {
    for (position, record) in &written.kept {
        match journal.read(*position) {
            Ok(read) => assert_eq!(read, *record, "{position} is another record"),
            Err(error) => assert!(
                !harmed.is_read(*position, record, &harmed.group_of(*position)),
                "{position} was not touched: {error}"
            ),
        }
    }
}

impl Written {
    fn assert_appended(&self, position: Position, record: &Record) {
        let known = self.ever.get(&position) == Some(record);
        let unknown = || self.unknown.iter().flatten().any(|sent| sent == record);
        assert!(known || unknown(), "{position} was never appended");
    }
}

/// The files before and after the harm.
struct Harmed {
    before: Files,
    after: Files,
}

impl Harmed {
    fn is_untouched(&self, segment: u32, bytes: Range<usize>) -> bool {
        let name = segment::name(segment);
        let of = |files: &Files| Some(files.get(&name)?.get(bytes.clone())?.to_vec());
        let before = of(&self.before);
        before.is_some() && before == of(&self.after)
    }

    /// One of two copies is enough.
    fn has_header(&self, segment: u32) -> bool {
        [0, 2_048]
            .iter()
            .any(|at| self.is_untouched(segment, *at..*at + 48))
    }

    /// Its end is written in the header of the next, so nothing in it can be taken for torn.
    fn is_sealed(&self, segment: u32) -> bool {
        self.has_header(segment) && self.has_header(segment + 1)
    }

    fn is_read(&self, position: Position, record: &Record, group: &Range<u32>) -> bool {
        let at = position.offset as usize;
        self.has_header(position.segment)
            && self.is_untouched(position.segment, at..at + record.stored_len())
            && (self.is_sealed(position.segment)
                || self.is_read_in_order(position, group)
                || self.has_group_behind(position.segment, group))
    }

    fn is_read_in_order(&self, position: Position, group: &Range<u32>) -> bool {
        let group = group.start as usize..group.end as usize;
        self.has_header(position.segment) && self.is_untouched(position.segment, group)
    }

    fn has_group_behind(&self, segment: u32, group: &Range<u32>) -> bool {
        self.groups(segment)
            .filter(|later| later.start > group.start)
            .any(|later| {
                let at = later.start as usize;
                self.is_untouched(segment, at..at + group::HEADER)
            })
    }

    /// Where the group of an acknowledged record stood, padding included.
    fn group_of(&self, position: Position) -> Range<u32> {
        self.groups(position.segment)
            .find(|group| group.contains(&position.offset))
            .expect("an acknowledged record stands in a group")
    }

    fn groups(&self, segment: u32) -> impl Iterator<Item = Range<u32>> {
        let bytes = self.before.get(&segment::name(segment));
        let mut at = BLOCK;
        std::iter::from_fn(move || {
            let bytes = bytes?;
            let Found::Header(header) = segment::Header::decode(bytes, segment) else {
                return None;
            };
            let here = bytes.get(at as usize..)?;
            let found = group::Header::decode(here, header.identity, at)?;
            let start = at;
            at += u32::try_from(found.stored_len()).ok()?;
            Some(start..at)
        })
    }
}
