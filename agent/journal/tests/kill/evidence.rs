//! What the victims said, and whether the journal agrees.
//!
//! Owns the judgement: acknowledged records are where they were said to be; of everything else
//! only whole batches are there; the batches of a writer are there without a gap up to the last.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hookplane_journal::io::RealDirectory;
use hookplane_journal::{Entry, Journal, Position};

use crate::victim::{Label, options};

#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) acknowledged: usize,
    /// Groups that a kill left in part.
    pub(crate) torn: u64,
    /// Position and label of what was acknowledged and not given up.
    stored: BTreeMap<Position, Label>,
    /// Segments before it may be gone.
    below: u32,
}

impl Evidence {
    pub(crate) fn take(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let what = words.next().unwrap();
        let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        match what {
            "opened" => {
                assert_eq!(numbers[0], 0, "a kill alone damages nothing");
                self.torn += numbers[1];
            }
            "below" => self.below = self.below.max(numbers[0].try_into().unwrap()),
            "stored" => self.stored(&numbers),
            other => panic!("a victim says {other}"),
        }
    }
    fn stored(&mut self, numbers: &[u64]) {
        let [round, writer, batch, positions @ ..] = numbers else {
            panic!("a victim says too little");
        };
        let small = |number: &u64| u32::try_from(*number).unwrap();
        let of = u32::try_from(positions.len()).unwrap();
        for (place, position) in (0..).zip(positions) {
            let label = Label {
                round: small(round),
                writer: small(writer),
                batch: small(batch),
                place,
                of,
            };
            let before = self.stored.insert(Position::from_u64(*position), label);
            assert_eq!(before, None, "a position is given twice");
        }
        self.acknowledged += positions.len();
    }

    /// Opens the journal that the last victim left, and closes it again.
    pub(crate) fn check(&mut self, folder: &Path) {
        let directory = Arc::new(RealDirectory::open(folder).unwrap());
        let (journal, recovery) = Journal::open(directory, options(), rand::random).unwrap();
        assert_eq!(recovery.damage, [], "a kill alone damages nothing");
        let oldest = journal.oldest().map_or(0, |oldest| oldest.segment);
        assert!(oldest <= self.below.max(1), "more was given up than asked");
        self.stored.retain(|position, _| position.segment >= oldest);

        let found: Result<Vec<Entry>, _> = journal.scan(Position::START).collect();
        let found = found.expect("no damage");
        check_order(&found);
        let found: BTreeMap<Position, Label> = found
            .into_iter()
            .map(|entry| (entry.position, Label::of(&entry.record)))
            .collect();
        for (position, label) in &self.stored {
            let here = found.get(position);
            assert_eq!(here, Some(label), "{position} was acknowledged");
            assert_eq!(journal.read(*position).unwrap(), label.record());
        }
    }
}

/// Every byte as handed in, every batch whole, every writer's batches one after the other.
fn check_order(found: &[Entry]) {
    assert!(found.is_sorted_by(|one, next| one.position < next.position));
    let mut last: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut rest = found;
    while let Some(first) = rest.first() {
        let label = Label::of(&first.record);
        let (batch, others) = rest
            .split_at_checked(label.of as usize)
            .expect("a whole batch");
        for (place, entry) in (0..).zip(batch) {
            let here = Label { place, ..label };
            assert_eq!(entry.record, here.record(), "at {}", entry.position);
        }
        // A later one is there only if the earlier ones are; those given up are before them all.
        let before = last.insert((label.round, label.writer), label.batch);
        assert!(
            before.is_none_or(|before| before + 1 == label.batch),
            "{label:?} follows {before:?}"
        );
        rest = others;
    }
}
