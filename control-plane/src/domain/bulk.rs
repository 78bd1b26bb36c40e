//! Bulk operations: many events retried, or many requests replayed, at a rate.
//!
//! Owns how an operation stands and what that means. Refuses to know what it selects: the selection
//! is kept in the form in which agents are asked.

use super::Millis;

/// Per second, over all agents.
pub const DEFAULT_RATE: u32 = 100;
pub const MAX_RATE: u32 = 10_000;
/// That one team may have under way.
pub const MOST_ONGOING: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkKind {
    Events,
    Requests,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkStatus {
    Running,
    Paused,
    Completed,
    Cancelled,
}

/// The one that goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    None,
    /// It is to be sent.
    Wanted,
    /// It is sent, and has not ended.
    Sent,
    /// It succeeded, or a person let the rest follow.
    Passed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkOperation {
    pub id: String,
    pub team_id: String,
    pub kind: BulkKind,
    /// An encoded `EventSelection` or `RequestSelection`.
    pub selection: Vec<u8>,
    pub rate: u32,
    pub canary: Canary,
    pub status: BulkStatus,
    pub status_reason: String,
    pub requested_by: String,
    /// Targets when it began.
    pub total: u64,
    pub counts: BulkCounts,
    pub skipped_reason: String,
    pub created_at: Millis,
    /// Of the last step that changed anything, or of a person.
    pub updated_at: Millis,
    pub finished_at: Option<Millis>,
}

/// Sums over the agents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkCounts {
    /// Targets that were sent again.
    pub made: u64,
    pub skipped: u64,
    /// Events of it, by where they stand.
    pub queued: u64,
    pub scheduled: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// How far an operation came on one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkShare {
    pub agent_id: String,
    /// Targets up to here were dealt with.
    pub after_id: String,
    pub exhausted: bool,
    pub counts: BulkCounts,
}

impl BulkOperation {
    #[must_use]
    pub const fn is_ongoing(&self) -> bool {
        matches!(self.status, BulkStatus::Running | BulkStatus::Paused)
    }

    /// Targets to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        if !self.is_ongoing() {
            return 0;
        }
        self.total
            .saturating_sub(self.counts.made)
            .saturating_sub(self.counts.skipped)
    }

    /// Until all is made, at its rate.
    #[must_use]
    pub fn seconds_left(&self) -> u64 {
        self.remaining().div_ceil(u64::from(self.rate.max(1)))
    }
}

impl BulkCounts {
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            made: self.made + other.made,
            skipped: self.skipped + other.skipped,
            queued: self.queued + other.queued,
            scheduled: self.scheduled + other.scheduled,
            done: self.done + other.done,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

impl BulkKind {
    /// The word in the API and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Events => "event_bulk_retry",
            Self::Requests => "request_bulk_retry",
        }
    }

    /// # Errors
    /// The word itself when it is none.
    pub fn read(word: &str) -> Result<Self, String> {
        let all = [Self::Events, Self::Requests];
        let found = all.into_iter().find(|one| one.word() == word);
        found.ok_or_else(|| format!("kind `{word}`"))
    }
}

impl BulkStatus {
    /// The word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// # Errors
    /// The word itself when it is none.
    pub fn read(word: &str) -> Result<Self, String> {
        let all = [
            Self::Running,
            Self::Paused,
            Self::Completed,
            Self::Cancelled,
        ];
        let found = all.into_iter().find(|one| one.word() == word);
        found.ok_or_else(|| format!("status `{word}`"))
    }
}

impl Canary {
    /// The word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wanted => "wanted",
            Self::Sent => "sent",
            Self::Passed => "passed",
        }
    }

    /// # Errors
    /// The word itself when it is none.
    pub fn read(word: &str) -> Result<Self, String> {
        let all = [Self::None, Self::Wanted, Self::Sent, Self::Passed];
        let found = all.into_iter().find(|one| one.word() == word);
        found.ok_or_else(|| format!("canary `{word}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_neither_made_nor_skipped_and_nothing_once_it_ended() {
        let mut operation = BulkOperation {
            id: "bch_1".into(),
            team_id: "tm_1".into(),
            kind: BulkKind::Events,
            selection: Vec::new(),
            rate: 40,
            canary: Canary::None,
            status: BulkStatus::Running,
            status_reason: String::new(),
            requested_by: "key".into(),
            total: 100,
            counts: BulkCounts {
                made: 10,
                skipped: 5,
                ..BulkCounts::default()
            },
            skipped_reason: String::new(),
            created_at: 1,
            updated_at: 1,
            finished_at: None,
        };
        assert_eq!((operation.remaining(), operation.seconds_left()), (85, 3));
        operation.counts.made = 200;
        assert_eq!(operation.remaining(), 0, "more came than were counted");
        operation.counts.made = 1;
        operation.status = BulkStatus::Cancelled;
        assert_eq!(operation.remaining(), 0);
    }
}
