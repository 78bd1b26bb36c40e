//! Taking in what the writer handed over instead of reading it from the journal.
//!
//! Only what is exactly next is taken; before a gap, as after an overflow or records that nobody
//! handed over, the journal is read until both meet again. So the order is the journal's in any
//! case, and what is folded is the same.

use super::super::handover::Handed;
use super::Follower;
use hookplane_journal::Position;

impl Follower {
    /// What comes next in the journal, if it was handed over and can be read by others, too.
    pub(super) fn next_handed(&mut self) -> Option<Handed> {
        let here = self.scan.position();
        loop {
            if self.handed.is_empty() {
                self.parts.handover.pick_up(&mut self.handed);
            }
            let first = self.handed.front()?;
            if first.from > here || !self.is_published(first.next) {
                return None;
            }
            let first = self.handed.pop_front()?;
            if first.from == here {
                return Some(first);
            }
            // It was read already.
        }
    }

    /// It is flushed in any case, but who is told of it may read it at once.
    fn is_published(&mut self, next: Position) -> bool {
        if self.published < next {
            self.published = self.parts.journal.end().unwrap_or(self.published);
        }
        self.published >= next
    }

    pub(super) fn take_handed(&mut self, handed: Handed) {
        self.scan.go_to(handed.next);
        self.payload = handed.payload;
        self.fold(handed.entry, handed.at, handed.bytes);
        self.payload = None;
        if !self.stuck.get() {
            self.resume = handed.next;
        }
    }
}
