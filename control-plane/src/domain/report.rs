//! What an agent did in one minute, in numbers.

use serde::{Deserialize, Serialize};

use super::{Histogram, Millis};

/// One report of an agent. Its sequence number is counted once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Grows by one per report of a store, from 1.
    pub sequence: u64,
    /// Start of the minute the numbers belong to.
    pub minute: Millis,
    pub sources: Vec<SourceNumbers>,
    pub destinations: Vec<DestinationNumbers>,
    pub secrets: Vec<SecretNumbers>,
    /// Events waiting in the store; `None` when the report does not say.
    pub backlog: Option<u64>,
    /// How the agent stands to its destinations; `None` when the report does not say.
    pub states: Option<Vec<DestinationState>>,
}

/// What holds deliveries to one destination back at one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationState {
    #[serde(skip)]
    pub team_id: String,
    pub destination_id: String,
    pub circuit: CircuitState,
    pub open_since: Option<Millis>,
    pub next_probe_at: Option<Millis>,
    pub in_flight: u32,
    pub concurrency_limit: u32,
    pub held_until: Option<Millis>,
    pub disable_requested_at: Option<Millis>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl DestinationState {
    /// Whether people should see it even when nothing was attempted.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.circuit != CircuitState::Closed || self.disable_requested_at.is_some()
    }
}

/// What one secret of a source verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretNumbers {
    pub team_id: String,
    pub source_id: String,
    pub version: u32,
    pub verified: u64,
}

/// What arrived at one source, of one event type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceNumbers {
    pub team_id: String,
    pub source_id: String,
    /// Empty when unknown.
    pub event_type: String,
    pub received: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub repeats: u64,
    pub bytes: u64,
    /// Microseconds.
    pub latency: Histogram,
}

/// What was attempted at one destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationNumbers {
    pub team_id: String,
    pub destination_id: String,
    pub attempts: u64,
    pub successful: u64,
    pub failed: u64,
    /// Microseconds.
    pub latency: Histogram,
    /// Microseconds from being due to the start.
    pub start_delay: Histogram,
    /// Microseconds from accepted to delivered.
    pub delivered_after: Histogram,
}

impl SourceNumbers {
    /// Adds the numbers of the same source and type.
    pub fn add(&mut self, more: &Self) {
        sum(&mut self.received, more.received);
        sum(&mut self.accepted, more.accepted);
        sum(&mut self.rejected, more.rejected);
        sum(&mut self.repeats, more.repeats);
        sum(&mut self.bytes, more.bytes);
        self.latency.merge(&more.latency);
    }
}

impl DestinationNumbers {
    /// Adds the numbers of the same destination.
    pub fn add(&mut self, more: &Self) {
        sum(&mut self.attempts, more.attempts);
        sum(&mut self.successful, more.successful);
        sum(&mut self.failed, more.failed);
        self.latency.merge(&more.latency);
        self.start_delay.merge(&more.start_delay);
        self.delivered_after.merge(&more.delivered_after);
    }
}

fn sum(into: &mut u64, more: u64) {
    *into = into.saturating_add(more);
}
