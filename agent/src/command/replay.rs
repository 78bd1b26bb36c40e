//! A request again: through today's configuration and rules, as a new request that names its origin.
//!
//! Owns what may be changed about it. What was accepted is believed as it was then, and counts as
//! verified only when nothing is changed; what was refused is verified again, as of the time it came, so that a secret that was put right heals it.
//! Invariant: it goes the way of every other request, but for the check whether it is a repeat.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::v1::{ReplayRequestRequest, ReplayRequestResponse, RequestModifications};
use tokio::time::Instant;

use super::Desk;
use super::fault::Fault;
use crate::clock::timestamp;
use crate::config::{Configuration, Source};
use crate::ingest::{self, Call, Refused};
use crate::meter::Ending;
use crate::route::route;
use crate::store::{EventStatus, Rejection, Replay, RequestRecord, stage};
use crate::verify;

pub(super) async fn replay(
    desk: &Desk,
    team: &str,
    mut asked: ReplayRequestRequest,
    operation_id: Option<&str>,
) -> Result<Answer, Fault> {
    let began = Instant::now();
    // Nothing to change is no change.
    let nothing = RequestModifications::default();
    asked.modifications = asked.modifications.filter(|changes| *changes != nothing);
    let ids = desk.ids.get();
    let ids = ids.ok_or_else(|| Fault::unavailable("the agent is not enrolled"))?;
    let found = desk.store.request(team, &asked.id).await?;
    let (record, _) = found.ok_or_else(|| Fault::not_found("request", &asked.id))?;
    if !is_whole(&record) && !gives_body(asked.modifications.as_ref()) {
        let message = "its body was not kept whole, as it was refused";
        let hint = "ask the provider to send it again, or give a body";
        return Err(Fault::precondition(message, hint));
    }
    let configuration = desk.config.load_full();
    let source = source_of(&record, &configuration)?;
    let now = desk.clock.now_millis();
    let modified = asked.modifications.is_some();
    let call = call(&record, asked.modifications, now, configuration.revision)?;
    let size = call.body_size;
    let received = ingest::again(Arc::clone(source), call).map_err(|why| not_taken(&why))?;
    let verified = if record.rejection.is_none() {
        // What somebody changed, nobody signed.
        let verified_by = record.verified_by.clone().filter(|_| !modified);
        verify::believe(received, verified_by)
    } else {
        verify::verify_as_of(received, record.ingested_at).map_err(|why| {
            let message = format!("it is refused again: {}", why.refusal.reason.as_str());
            Fault::precondition(
                message,
                "see rejection_reason; put the source's secret right first",
            )
        })?
    };
    let event_type = verified.event_type.clone();
    let routed = route(verified, &configuration, ids).replaying(Replay {
        parent_request_id: record.id.clone(),
        modified,
        operation_id: operation_id.map(str::to_owned),
    });
    let events = &routed.new_request().events;
    let all = events.len();
    let ignored = events.iter();
    let ignored = ignored.filter(|event| event.status == EventStatus::Cancelled);
    let ignored = ignored.count();
    let stored = stage::store(routed, desk.store.as_ref(), ids).await?;
    let kind = event_type.as_deref();
    desk.meter
        .request(source, kind, Ending::Accepted, size, began.elapsed());
    let new_id = stored.request_id().to_owned();
    Ok(Answer::ReplayRequest(ReplayRequestResponse {
        ok: true,
        queued: true,
        transport: "queue".to_owned(),
        replayed_at: Some(timestamp(now)),
        request_id: record.id,
        source_id: record.source_id,
        replay_request_id: new_id.clone(),
        replay_message_id: new_id,
        replay_mode: if modified { "modified" } else { "exact" }.to_owned(),
        original_rejection_cause: record.rejection.map(|why| why.cause).unwrap_or_default(),
        events_count: u32::try_from(all - ignored).unwrap_or(u32::MAX),
        ignored_count: u32::try_from(ignored).unwrap_or(u32::MAX),
    }))
}

/// Whether the body is all that was sent.
pub(super) fn is_whole(record: &RequestRecord) -> bool {
    let read = record.rejection.as_ref();
    let read = read.is_none_or(|why| why.cause == Rejection::UNVERIFIED);
    read && record.body.len() as u64 == record.body_size
}

fn gives_body(changes: Option<&RequestModifications>) -> bool {
    changes.is_some_and(|changes| changes.body.is_some() || changes.body_text.is_some())
}

fn source_of<'a>(
    record: &RequestRecord,
    configuration: &'a Configuration,
) -> Result<&'a Arc<Source>, Fault> {
    let known = configuration.sources.get(&record.source_id);
    known
        .filter(|source| source.team_id == record.team_id)
        .ok_or_else(|| {
            Fault::precondition(
                format!("the agent does not have its source {}", record.source_id),
                "a source that was deleted, or moved to another pool, takes nothing here",
            )
        })
}

/// What comes in this time.
pub(super) fn call(
    record: &RequestRecord,
    changes: Option<RequestModifications>,
    now: u64,
    revision: u64,
) -> Result<Call, Fault> {
    let changes = changes.unwrap_or_default();
    let method = changes.method.as_deref().unwrap_or(&record.method);
    let method = http::Method::from_bytes(method.as_bytes()).map_err(|_| {
        Fault::invalid(
            "`modifications.method` is no method",
            "give one such as POST",
        )
    })?;
    let body = match (changes.body, changes.body_text) {
        (None, None) => record.body.clone(),
        (Some(body), None) => Bytes::from(body),
        (None, Some(text)) => Bytes::from(text),
        (Some(_), Some(_)) => {
            let message = "`modifications` has `body` and `body_text`";
            return Err(Fault::invalid(message, "give one of them"));
        }
    };
    let mut headers = record.headers.clone();
    if !changes.headers.is_empty() {
        let given = changes.headers.into_iter();
        headers = given
            .map(|header| (header.name, Bytes::from(header.value)))
            .collect();
    }
    for (name, value) in changes.set_headers {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        if !value.is_empty() {
            headers.push((name, Bytes::from(value)));
        }
    }
    for (name, value) in &headers {
        let sound = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && http::HeaderValue::from_bytes(value).is_ok();
        if !sound {
            let shown: String = name.chars().take(64).collect();
            let message = format!("the header {shown:?} cannot be sent");
            return Err(Fault::invalid(message, "names are tokens, values one line"));
        }
    }
    let path = changes.path.unwrap_or_else(|| record.path.clone());
    let query = changes.query.unwrap_or_else(|| record.query.clone());
    let target = format!("{path}?{query}");
    if !path.starts_with('/') || target.parse::<http::uri::PathAndQuery>().is_err() {
        let message = "`modifications.path` or `query` cannot be in an address";
        return Err(Fault::invalid(
            message,
            "a path begins with `/`; escape what is no plain text",
        ));
    }
    Ok(Call {
        method,
        path,
        query,
        headers,
        body_size: body.len() as u64,
        body,
        client_ip: record.client_ip.parse().unwrap_or(IpAddr::from([0; 4])),
        received_at: now,
        config_revision: revision,
    })
}

fn not_taken(why: &Refused) -> Fault {
    let (message, hint) = untaken(why);
    Fault::precondition(message, hint)
}

/// Why its source does not take it, and what to do.
pub(super) const fn untaken(why: &Refused) -> (&'static str, &'static str) {
    match why {
        Refused::Disabled(..) => ("its source is disabled", "enable the source first"),
        Refused::MethodNotAllowed(..) => (
            "its source does not take this method",
            "allow the method at the source, or change it",
        ),
        Refused::TooLarge(..) => (
            "its body is larger than the source takes",
            "raise the bound",
        ),
        Refused::HeadersTooLarge(..) => ("its headers are too many or too large", "send fewer"),
        Refused::PathInvalid(..) => ("its path cannot be taken", "change the path"),
        Refused::UnknownSource | Refused::Incomplete(..) | Refused::NoRoom(_) => {
            ("it is not taken", "try again later")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(cause: &str, body: &'static str, size: u64) -> RequestRecord {
        RequestRecord {
            id: "req_1".into(),
            team_id: "tm_1".into(),
            source_id: "src_1".into(),
            rejection: Some(Rejection {
                cause: cause.into(),
                reason: String::new(),
                detail: String::new(),
            }),
            verified_by: None,
            message_id: None,
            event_type: None,
            ingested_at: 1,
            client_ip: "127.0.0.1".into(),
            config_revision: 1,
            method: "POST".into(),
            path: "/".into(),
            query: String::new(),
            headers: Vec::new(),
            body: body.into(),
            body_size: size,
            replay: None,
        }
    }

    #[test]
    fn a_body_that_broke_off_or_was_cut_is_not_taken_for_the_whole() {
        assert!(is_whole(&refused(Rejection::UNVERIFIED, "{}", 2)));
        assert!(!is_whole(&refused(Rejection::UNVERIFIED, "{}", 3)), "cut");
        // Its size is what had come by then.
        assert!(!is_whole(&refused("BODY_INCOMPLETE", "{", 1)), "broken off");
        // A size that was not announced is not known.
        assert!(!is_whole(&refused("SOURCE_METHOD_NOT_ALLOWED", "", 0)));
    }
}
