//! Which messages were certainly never seen: Bloom filters in generations.
//!
//! A key that is not in here was not stored since the oldest generation began, so a new message
//! needs no look-up. A key that is in here may have been: the index decides. Owns its own bound:
//! sixteen generations of a million keys, 2 MiB each, made as they are needed. What the index knew
//! at opening has generations of its own, which go first. Invariant: once the follower has caught
//! up, the two newest generations hold every key that the index may not know yet.

use std::collections::VecDeque;

use super::entry::Key;

/// Keys of one generation; two of them are far above what may wait for the index.
const KEYS: usize = 1 << 20;
const GENERATIONS: usize = 16;
/// The newest of them that may have what the index does not know.
const UNINDEXED: usize = 2;
/// Blocks of 64 bytes, so that a look-up costs one cache line per generation.
const BLOCKS: usize = 1 << 15;
const WORDS: usize = 8;
/// Bits set for a key; with 16 bits per key about one look-up in a thousand is in vain.
const PROBES: u32 = 6;

pub(super) struct Filter {
    /// Keys of one generation.
    most: usize,
    /// What came since the index's position at opening, newest last.
    newer: VecDeque<Generation>,
    /// What the index knew then, newest first.
    older: VecDeque<Generation>,
    /// Latest expiry among known messages that were never inserted.
    missing_until: u64,
    /// Latest expiry among messages that had to go.
    forgotten_until: u64,
}

struct Generation {
    bits: Vec<u64>,
    keys: usize,
    /// Latest time at which one of its keys expires.
    expires_at: u64,
}

impl Filter {
    /// `missing_until`: latest expiry among messages that are known but not inserted.
    pub(super) const fn new(missing_until: u64) -> Self {
        Self {
            most: KEYS,
            newer: VecDeque::new(),
            older: VecDeque::new(),
            missing_until,
            forgotten_until: 0,
        }
    }

    /// Whether a key that is not in here can be a known message at this time.
    pub(super) const fn is_blind(&self, now: u64) -> bool {
        now < self.missing_until || now < self.forgotten_until
    }

    /// Every known message has been inserted by now.
    pub(super) const fn is_complete(&mut self) {
        self.missing_until = 0;
    }

    /// Whether messages that the index knows can be inserted without another one having to go.
    pub(super) fn has_room(&self) -> bool {
        let begun = self.older.back().is_some_and(|last| last.keys < self.most);
        begun || self.len() < GENERATIONS - 1
    }

    fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    pub(super) fn may_contain(&self, key: &Key) -> bool {
        let place = Place::of(key);
        let mut generations = self.newer.iter().rev().chain(&self.older);
        generations.any(|generation| generation.contains(place))
    }

    /// Whether it may have come so lately that the index does not know it yet.
    pub(super) fn is_recent(&self, key: &Key) -> bool {
        let place = Place::of(key);
        let mut newest = self.newer.iter().rev().take(UNINDEXED);
        newest.any(|generation| generation.contains(place))
    }

    pub(super) fn insert(&mut self, key: &Key, expires_at: u64) {
        let full = |last: &Generation| last.keys >= self.most;
        if self.newer.back().is_none_or(full) {
            self.forget();
            self.newer.push_back(Generation::new());
        }
        let newest = self.newer.back_mut();
        newest
            .expect("made above")
            .insert(Place::of(key), expires_at);
    }

    /// A message that the index knows. They come newest first.
    pub(super) fn insert_older(&mut self, key: &Key, expires_at: u64) {
        let full = |last: &Generation| last.keys >= self.most;
        if self.older.back().is_none_or(full) {
            if self.len() == GENERATIONS {
                self.forgotten_until = self.forgotten_until.max(expires_at);
                return;
            }
            self.older.push_back(Generation::new());
        }
        let oldest = self.older.back_mut();
        oldest
            .expect("made above")
            .insert(Place::of(key), expires_at);
    }

    /// Makes room for a generation.
    fn forget(&mut self) {
        if self.len() < GENERATIONS {
            return;
        }
        let oldest = self.older.pop_back();
        if let Some(oldest) = oldest.or_else(|| self.newer.pop_front()) {
            self.forgotten_until = self.forgotten_until.max(oldest.expires_at);
        }
    }
}

/// Where the bits of a key stand. Keys are hashes, so their bytes are as good as random.
#[derive(Clone, Copy)]
struct Place {
    block: usize,
    bits: [u64; WORDS],
}

impl Place {
    fn of(key: &Key) -> Self {
        let number = u128::from_le_bytes(*key);
        let block = usize::try_from(number % BLOCKS as u128).unwrap_or(0);
        let mut bits = [0; WORDS];
        for probe in 0..PROBES {
            let bit = (number >> (16 + 9 * probe)) & 511;
            let bit = usize::try_from(bit).unwrap_or(0);
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self { block, bits }
    }
}

impl Generation {
    fn new() -> Self {
        Self {
            bits: vec![0; BLOCKS * WORDS],
            keys: 0,
            expires_at: 0,
        }
    }

    fn contains(&self, place: Place) -> bool {
        let block = &self.bits[place.block * WORDS..][..WORDS];
        let wanted = place.bits.iter().zip(block);
        wanted.fold(0, |missing, (wanted, held)| missing | (wanted & !held)) == 0
    }

    fn insert(&mut self, place: Place, expires_at: u64) {
        let block = &mut self.bits[place.block * WORDS..][..WORDS];
        for (held, wanted) in block.iter_mut().zip(place.bits) {
            *held |= wanted;
        }
        self.keys += 1;
        self.expires_at = self.expires_at.max(expires_at);
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn key(number: u32) -> Key {
        let digest = Sha256::digest(number.to_le_bytes());
        digest[..16].try_into().unwrap()
    }

    #[test]
    fn what_was_inserted_is_found_and_most_of_the_rest_is_not() {
        let mut filter = Filter::new(0);
        for number in 0..200_000 {
            filter.insert(&key(number), 10);
        }
        assert!((0..200_000).all(|number| filter.may_contain(&key(number))));
        let in_vain = (200_000..300_000).filter(|number| filter.may_contain(&key(*number)));
        let in_vain = in_vain.count();
        assert!(in_vain < 300, "{in_vain} of 100000 look-ups in vain");
    }

    #[test]
    fn past_its_bound_it_knows_what_it_forgot() {
        let mut filter = Filter::new(5);
        assert!(filter.is_blind(4) && !filter.is_blind(5));
        filter.most = 100;
        for number in 0..1_600 {
            filter.insert(&key(number), 77);
        }
        assert!(!filter.is_blind(5));
        filter.insert(&key(1_600), 99);
        assert!(filter.is_blind(76) && !filter.is_blind(77));
        assert_eq!(filter.len(), GENERATIONS);
    }

    #[test]
    fn only_what_came_lately_is_recent_and_what_the_index_knew_goes_first() {
        let mut filter = Filter::new(5);
        filter.most = 100;
        filter.insert(&key(0), 50);
        // The index knows 1,400 keys; they do not make the one that came since an old one.
        for number in 10_000..11_400 {
            assert!(filter.has_room());
            filter.insert_older(&key(number), 60 + u64::from(number));
        }
        assert!(!filter.has_room());
        assert!(filter.is_recent(&key(0)));
        let older = (10_000..11_400).map(key);
        assert!(older.clone().all(|key| filter.may_contain(&key)));
        assert!(older.clone().filter(|key| filter.is_recent(key)).count() < 20);
        filter.is_complete();

        for number in 1..200 {
            filter.insert(&key(number), 70);
        }
        assert!(filter.may_contain(&key(0)) && !filter.is_blind(51));
        assert!(!filter.is_blind(0), "nothing had to go yet");
        for number in 200..=300 {
            filter.insert(&key(number), 70);
        }
        assert!(!filter.is_recent(&key(0)), "it is three generations old");
        assert!(
            filter.may_contain(&key(0)) && filter.is_blind(60 + 11_398),
            "what the index knew longest goes first"
        );
    }
}
