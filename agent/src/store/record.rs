//! What the store keeps: requests, events, attempts, repeats. Times are Unix milliseconds.

use bytes::Bytes;

use super::handler::{EventHandler, HandlerOutcome, HandlerVerdict};

/// Header pairs in order of arrival; names as received, values raw.
pub type Headers = Vec<(String, Bytes)>;

/// One inbound call, as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub id: String,
    pub team_id: String,
    pub source_id: String,
    /// `None` for an accepted request.
    pub rejection: Option<Rejection>,
    /// Which scheme and secret matched; `None` when nothing was verified.
    pub verified_by: Option<String>,
    pub message_id: Option<String>,
    pub event_type: Option<String>,
    pub ingested_at: u64,
    pub client_ip: String,
    pub config_revision: u64,
    pub method: String,
    /// Below the source's URL, with its leading slash.
    pub path: String,
    pub query: String,
    pub headers: Headers,
    pub body: Bytes,
    /// Bytes received; more than `body` when the body of a refused request was cut.
    pub body_size: u64,
    /// `None` when it came from outside.
    pub replay: Option<Replay>,
}

/// Where a request comes from that nobody sent: from one kept before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub parent_request_id: String,
    /// A person changed something of it.
    pub modified: bool,
    /// The bulk operation that made it.
    pub operation_id: Option<String>,
}

/// Why a request was refused. The reason and detail are for operators only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `SOURCE_AUTH_FAILED`, `SOURCE_METHOD_NOT_ALLOWED`, `BODY_TOO_LARGE`, `SOURCE_DISABLED`, …
    pub cause: String,
    /// Typed reason of a failed signature, `timestamp_too_old` for example.
    pub reason: String,
    pub detail: String,
}

impl Rejection {
    /// The one cause of which a body that fits is kept whole: others come before it is read, or
    /// because it did not come to its end.
    pub const UNVERIFIED: &str = "SOURCE_AUTH_FAILED";
}

/// Numbers that belong to a request but are counted by the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    pub events: u32,
    pub ignored: u32,
    pub repeats: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventStatus {
    Scheduled,
    Queued,
    Hold,
    Successful,
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredReason {
    Filtered,
    Duplicate,
    Disabled,
    Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryKind {
    Single,
    Bulk,
    /// The provider sent the message again after the branch had failed for good.
    Resend,
}

/// One branch of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    pub id: String,
    pub team_id: String,
    pub request_id: String,
    pub connection_id: String,
    pub source_id: String,
    pub destination_id: String,
    pub event_type: Option<String>,
    pub status: EventStatus,
    /// Attempts made so far.
    pub attempts: u32,
    pub response_status: Option<u16>,
    pub error_code: Option<String>,
    pub failure_message: Option<String>,
    pub ignored_reason: Option<IgnoredReason>,
    pub ignored_detail: Option<String>,
    pub created_at: u64,
    pub last_attempt_at: Option<u64>,
    /// When it is due; `None` unless pending.
    pub next_attempt_at: Option<u64>,
    pub successful_at: Option<u64>,
    pub retry: Option<Lineage>,
    /// Of the latest try that was answered; `None` when the handler said nothing.
    pub handler: Option<EventHandler>,
    /// The bulk operation that made it.
    pub operation_id: Option<String>,
}

impl EventRecord {
    /// Its handler has not said yet what the latest try came to.
    #[must_use]
    pub fn awaits_word(&self) -> bool {
        let said = self.handler.as_ref();
        said.is_none_or(|said| said.outcome == HandlerOutcome::Unreported)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub kind: RetryKind,
    pub parent_event_id: String,
}

/// One outbound try.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    pub id: String,
    pub team_id: String,
    pub event_id: String,
    pub request_id: String,
    pub connection_id: String,
    pub source_id: String,
    pub destination_id: String,
    /// From 1.
    pub number: u32,
    /// `initial`, `retry`, `manual` or `resend`.
    pub trigger: String,
    pub successful: bool,
    pub response_status: Option<u16>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub requested_url: String,
    pub http_method: String,
    /// As sent, without values that authenticate.
    pub request_headers: Headers,
    pub response_headers: Headers,
    pub response_body: Bytes,
    pub response_truncated: bool,
    pub started_at: u64,
    pub responded_at: Option<u64>,
    pub latency_micros: u64,
    /// Why there will or will not be another try, in words.
    pub decision: String,
    pub next_attempt_at: Option<u64>,
    /// What the handler said about its work.
    pub handler: Option<HandlerVerdict>,
    /// The body that was sent, where a transformation made it.
    pub sent_body: Option<SentBody>,
}

/// A body that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentBody {
    /// Up to the cap.
    pub kept: Bytes,
    /// Bytes of the whole.
    pub size: u64,
}

/// A later arrival of a message already accepted (G4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatRecord {
    pub request_id: String,
    pub received_at: u64,
    pub client_ip: String,
    pub requeued_event_ids: Vec<String>,
}
