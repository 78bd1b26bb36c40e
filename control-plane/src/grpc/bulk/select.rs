//! What an operation shall take, checked and with its defaults.
//!
//! Invariant: both ends of the window are fixed and lie in the past, so that what an operation makes
//! is never one of its targets.

use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use tonic::Status;

use crate::domain::{Millis, Violation};
use crate::grpc::evidence::query::Check;
use crate::grpc::status;
use crate::store::ConfigStore;
use crate::wire::millis;

/// When no start of the window is given.
const USUAL_WINDOW: &str = "now-24h";

/// Whose selection it is, and when it is made.
#[derive(Clone, Copy)]
pub(super) struct Team<'a> {
    pub(super) id: &'a str,
    pub(super) config: &'a ConfigStore,
    pub(super) now: Millis,
}

pub(super) async fn events(
    team: Team<'_>,
    asked: Option<v1::EventSelection>,
) -> Result<v1::EventSelection, Status> {
    let events = events_within(asked, team.now)?;
    let mut faults = unknown_source(team, &events.source_id).await?;
    for id in named(&events.connection_id) {
        if team.config.connection(team.id, id).await?.is_none() {
            faults.push(unknown("connection", id));
        }
    }
    for id in named(&events.destination_id) {
        if team.config.destination(team.id, id).await?.is_none() {
            faults.push(unknown("destination", id));
        }
    }
    if faults.is_empty() {
        return Ok(events);
    }
    Err(status::invalid(&faults))
}

pub(super) async fn requests(
    team: Team<'_>,
    asked: Option<v1::RequestSelection>,
) -> Result<v1::RequestSelection, Status> {
    let requests = requests_within(asked, team.now)?;
    let faults = unknown_source(team, &requests.source_id).await?;
    if faults.is_empty() {
        return Ok(requests);
    }
    Err(status::invalid(&faults))
}

async fn unknown_source(team: Team<'_>, id: &str) -> Result<Vec<Violation>, Status> {
    if id.is_empty() || team.config.source(team.id, id).await?.is_some() {
        return Ok(Vec::new());
    }
    Ok(vec![unknown("source", id)])
}

/// Ids separated by commas.
fn named(ids: &str) -> impl Iterator<Item = &str> {
    ids.split(',').map(str::trim).filter(|id| !id.is_empty())
}

/// What is not configured any more takes nothing: its events would wait for ever.
fn unknown(noun: &str, id: &str) -> Violation {
    let message = format!("there is no {noun} `{}`", status::shown(id));
    Violation::new(format!("{noun}_id"), message)
}

fn events_within(
    asked: Option<v1::EventSelection>,
    now: Millis,
) -> Result<v1::EventSelection, Status> {
    let mut asked = asked.unwrap_or_default();
    let mut check = Check::default();
    window(&mut check, (&mut asked.from, &mut asked.to), now);
    if asked.status == 0 {
        asked.status = v1::EventStatus::Failed.into();
    }
    let sendable = matches!(
        asked.status(),
        v1::EventStatus::Failed | v1::EventStatus::Successful
    );
    check.holds(
        "status",
        sendable,
        "give FAILED or SUCCESSFUL: nothing else has ended with something to send again",
    );
    check.outcome(asked.handler_outcome);
    check.id("source_id", Kind::Source, &asked.source_id);
    let same = asked.connection_id.is_empty()
        || asked.webhook_id.is_empty()
        || asked.connection_id == asked.webhook_id;
    check.holds(
        "webhook_id",
        same,
        "is another name of connection_id; give one of the two",
    );
    if asked.connection_id.is_empty() {
        asked.connection_id = std::mem::take(&mut asked.webhook_id);
    }
    asked.webhook_id.clear();
    check.ids("connection_id", Kind::Connection, &asked.connection_id);
    check.ids("destination_id", Kind::Destination, &asked.destination_id);
    check.done()?;
    Ok(asked)
}

fn requests_within(
    asked: Option<v1::RequestSelection>,
    now: Millis,
) -> Result<v1::RequestSelection, Status> {
    let mut asked = asked.unwrap_or_default();
    let mut check = Check::default();
    window(&mut check, (&mut asked.from, &mut asked.to), now);
    check.status::<v1::RequestStatus>(asked.status);
    check.id("source_id", Kind::Source, &asked.source_id);
    check.text("event_type", &asked.event_type);
    check.done()?;
    Ok(asked)
}

fn window(check: &mut Check, (from, to): (&mut String, &mut String), now: Millis) {
    if from.trim().is_empty() {
        USUAL_WINDOW.clone_into(from);
    }
    if to.trim().is_empty() {
        "now".clone_into(to);
    }
    let range = check.range(from, to, now);
    if range.to.is_some_and(|to| millis(to) > now) {
        "now".clone_into(to);
        check.range(from, to, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_790_000_000_000;

    #[test]
    fn a_window_that_ends_in_the_future_ends_now() {
        let asked = v1::EventSelection {
            to: "2100-01-01T00:00:00Z".to_owned(),
            ..v1::EventSelection::default()
        };
        let events = events_within(Some(asked), NOW).unwrap();
        assert_eq!(events.to, "2026-09-21T14:13:20Z");
        assert_eq!(events.from, "2026-09-20T14:13:20Z");
        assert_eq!(events.status(), v1::EventStatus::Failed);
    }

    #[test]
    fn what_cannot_be_sent_again_is_refused_by_name() {
        let asked = v1::EventSelection {
            status: v1::EventStatus::Queued.into(),
            connection_id: "web_x".to_owned(),
            ..v1::EventSelection::default()
        };
        let refused = events_within(Some(asked), NOW).unwrap_err();
        assert!(refused.message().starts_with("status"), "{refused}");
        assert!(requests_within(None, NOW).is_ok());
    }
}
