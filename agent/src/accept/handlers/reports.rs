//! Reports: what handlers say of their work when their answers did not.
//!
//! Owns their form and which of them are kept. Refuses to know who may report (`handlers`).
//! Invariants: a report is judged by itself, so that a bad one takes no good one with it; sent again
//! it changes nothing.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, timeout_at};

use super::{Fault, Hearing, Shown, invalid, key_refused};
use crate::store::{
    EventHandler, HandlerOutcome, HandlerReport, HandlerVerdict, Noted, StoreError, StoreEvent,
};

const MOST_REPORTS: usize = 100;
const MOST_ID: usize = 128;
/// A report can be here before the answer that it is about has been written. For all of a call.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// Why no report of a call counts, or no further one.
pub(super) enum Stopped {
    Refused(Fault),
    Store(StoreError),
}

/// As much of a report as an agent keeps of one about an event; the rest may be there.
#[derive(Deserialize)]
struct Report {
    id: String,
    source: String,
    #[serde(default)]
    event_id: Option<String>,
    #[serde(default)]
    attempt: Option<u32>,
    outcome: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Why one report is not kept: a code and words.
type Refused = (&'static str, String);

impl Hearing<'_> {
    /// Gives the answer: how many are accepted, and which are not.
    pub(super) async fn reports(&self, shown: &Shown, body: &[u8]) -> Result<Value, Stopped> {
        let call: Value = serde_json::from_slice(body)
            .map_err(|error| Stopped::Refused(invalid(format!("the body is no JSON: {error}"))))?;
        let reports = call.get("reports").and_then(Value::as_array);
        let reports = reports.ok_or_else(|| {
            let message = "`reports` is missing or no list".to_owned();
            Stopped::Refused(invalid(message))
        })?;
        if reports.is_empty() || reports.len() > MOST_REPORTS {
            let message = format!("{} reports; 1 to {MOST_REPORTS} are taken", reports.len());
            return Err(Stopped::Refused(invalid(message)));
        }
        // Before the first look, so that no end of a try is missed.
        let mut news = self.store.subscribe();
        let deadline = Instant::now() + UNDER_WAY;
        let (mut accepted, mut refused) = (0_usize, Vec::new());
        let mut strangers = 0;
        for report in reports {
            let kept = self.report(shown, report, &mut news, deadline).await;
            match kept.map_err(Stopped::Store)? {
                Ok(()) => accepted += 1,
                Err((code, message)) => {
                    let fault = key_refused();
                    strangers += usize::from(code == fault.code);
                    let id = report.get("id").and_then(Value::as_str).unwrap_or_default();
                    let id: String = id.chars().take(MOST_ID).collect();
                    refused.push(json!({ "id": id, "code": code, "message": message }));
                }
            }
        }
        if strangers == reports.len() {
            return Err(Stopped::Refused(key_refused()));
        }
        Ok(json!({ "accepted": accepted, "refused": refused }))
    }

    async fn report(
        &self,
        shown: &Shown,
        report: &Value,
        news: &mut Receiver<StoreEvent>,
        deadline: Instant,
    ) -> Result<Result<(), Refused>, StoreError> {
        let report = match read(report) {
            Ok(report) => report,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(source) = self.source(&report.source_id, shown) else {
            let fault = key_refused();
            return Ok(Err((fault.code, fault.message)));
        };
        let team = &source.team_id;
        loop {
            let noted = self
                .store
                .note_handler(team, report.clone(), self.now)
                .await?;
            match noted {
                Noted::Kept | Noted::Settled => return Ok(Ok(())),
                Noted::NotFound => {
                    let message = "the source has no such event here";
                    return Ok(Err(("EVENT_UNKNOWN", message.to_owned())));
                }
                Noted::UnderWay => {}
            }
            let ended = ended(news, &report.event_id);
            if timeout_at(deadline, ended).await.is_err() {
                let message = "this try has not ended here; send the report again later";
                return Ok(Err(("EVENT_UNDER_WAY", message.to_owned())));
            }
        }
    }
}

/// Waits until a try of the event ended, or that may have been missed.
async fn ended(news: &mut Receiver<StoreEvent>, event_id: &str) {
    loop {
        match news.recv().await {
            Ok(StoreEvent::Completed { event, .. }) if event.id == event_id => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The store closes; the deadline ends the wait.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn read(report: &Value) -> Result<HandlerReport, Refused> {
    let report = Report::deserialize(report).map_err(|error| {
        (
            "REPORT_INVALID",
            format!("the report is malformed: {error}"),
        )
    })?;
    if report.id.is_empty() || report.id.len() > MOST_ID {
        let message = format!("`id` has 1 to {MOST_ID} bytes");
        return Err(("REPORT_INVALID", message));
    }
    let Some(outcome) = HandlerOutcome::parse(&report.outcome) else {
        let known: Vec<_> = HandlerOutcome::ALL.map(HandlerOutcome::name).into();
        let message = format!("`outcome` is one of {}", known.join(", "));
        return Err(("REPORT_INVALID", message));
    };
    let Some(event_id) = report.event_id.filter(|id| !id.is_empty()) else {
        let message = "`event_id` is needed: this agent keeps reports about its own deliveries";
        return Err(("EVENT_MISSING", message.to_owned()));
    };
    let reason = report.reason.map(|mut reason| {
        reason.truncate(reason.floor_char_boundary(HandlerVerdict::MOST_REASON));
        reason
    });
    Ok(HandlerReport {
        source_id: report.source,
        event_id,
        attempt: report.attempt.unwrap_or(0),
        handler: EventHandler {
            outcome,
            reason: reason.filter(|reason| !reason.is_empty()),
        },
    })
}
