//! What the code behind a receiver says about its own work: its outcome, beside the HTTP exchange.
//!
//! A 2xx says that an answer came; only the handler knows whether the work was done. Owns the
//! outcomes and their bounds. Refuses to know how they arrive (`deliver/verdict`).

/// What a handler came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HandlerOutcome {
    Completed,
    /// Not meant for this handler, and said so.
    Ignored,
    Failed,
    /// Goes on after the answer, until a deadline.
    Deferred,
    /// Answered well without ever saying that the work was done.
    SilentDrop,
    Crashed,
    /// Took longer than the handler allows itself.
    TimedOut,
    /// The destination's handlers report, and this one did not.
    Unreported,
}

impl HandlerOutcome {
    pub const ALL: [Self; 8] = [
        Self::Completed,
        Self::Ignored,
        Self::Failed,
        Self::Deferred,
        Self::SilentDrop,
        Self::Crashed,
        Self::TimedOut,
        Self::Unreported,
    ];

    /// As headers, reports, lists and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::SilentDrop => "silent_drop",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Unreported => "unreported",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether the work is known not to be done.
    pub const fn is_bad(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::SilentDrop | Self::Crashed | Self::TimedOut
        )
    }
}

/// How far a named part of the work came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Done,
    Failed,
    /// Declared, and never begun.
    Missing,
}

impl StepState {
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Missing];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a handler said about one try, as kept with the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerVerdict {
    pub outcome: HandlerOutcome,
    /// At most `MOST_REASON` bytes.
    pub reason: Option<String>,
    /// With `Failed`: another try may help.
    pub retry: bool,
    /// In the handler's order; at most `MOST_STEPS`.
    pub steps: Vec<(String, StepState)>,
    /// With `Deferred`.
    pub deferral: Option<Deferral>,
}

impl HandlerVerdict {
    pub const MOST_REASON: usize = 512;
    pub const MOST_STEPS: usize = 32;
    pub const MOST_STEP_NAME: usize = 64;

    pub const fn of(outcome: HandlerOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            retry: false,
            steps: Vec::new(),
            deferral: None,
        }
    }
}

/// Work that goes on after the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// `dfr_…`: by it the work is ended.
    pub token: String,
    /// Unix milliseconds; past it the work counts as dropped.
    pub deadline_at: u64,
}

/// What a handler reported of a try, apart from its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerReport {
    pub source_id: String,
    pub event_id: String,
    /// Number of the try; 0 for the latest.
    pub attempt: u32,
    pub handler: EventHandler,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is kept with the event.
    Kept,
    /// The answer or an earlier report had said it, or a later try has begun to count.
    Settled,
    /// The try that it is about has not ended here.
    UnderWay,
    /// The source has no such event.
    NotFound,
}

/// The same of the latest try, as kept with the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHandler {
    pub outcome: HandlerOutcome,
    pub reason: Option<String>,
}

impl From<&HandlerVerdict> for EventHandler {
    fn from(verdict: &HandlerVerdict) -> Self {
        Self {
            outcome: verdict.outcome,
            reason: verdict.reason.clone(),
        }
    }
}
