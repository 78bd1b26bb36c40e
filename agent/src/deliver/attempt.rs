//! From a due event to a completion: build, send, decide.

use std::time::Duration;

use bytes::Bytes;
use hookplane_rules::{Decision, DeliveryControl, History, Outcome, parse_retry_after};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::Instant;
use url::Url;

use super::gate::{Ending, Verdict};
use super::headers;
use super::send::{Exchange, NoAnswer, Sender};
use super::tokens::Tokens;
use super::transform::transformed;
use super::verdict;
use crate::chance::fraction;
use crate::clock::Clock;
use crate::config::{Connection, Destination, DestinationAuth};
use crate::ids::{IdMint, Kind};
use crate::store::{
    AttemptRecord, Completion, DueEvent, EventStatus, HandlerOutcome, HandlerVerdict, Headers,
    RetryKind,
};

/// What a try needs.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) sender: &'a Sender,
    pub(super) tokens: &'a Tokens,
    pub(super) clock: &'a dyn Clock,
    pub(super) ids: IdMint,
}

/// What came of a try.
pub(super) struct Attempted {
    pub(super) completion: Completion,
    /// What it says about the receiver.
    pub(super) ending: Ending,
    /// The receiver asked to be disabled.
    pub(super) disable_requested: bool,
}

/// Makes one try and says what came of it. Writes nothing.
pub(super) async fn attempt(
    due: &DueEvent,
    destination: &Destination,
    connection: &Connection,
    means: Means<'_>,
) -> Attempted {
    let Means { clock, ids, .. } = means;
    let number = due.event.attempts + 1;
    let started_at = clock.now_millis();
    let method = destination
        .method
        .clone()
        .or_else(|| due.request.method.parse().ok())
        .unwrap_or(Method::POST);
    let made = connection.transform.as_ref();
    let (sent, failed) = match made.map(|transform| transformed(due, transform)) {
        None => (None, None),
        Some(Ok(sent)) => (Some(sent), None),
        Some(Err(failed)) => (None, Some(failed)),
    };
    let (due, sent_body) = match &sent {
        Some((sent, body)) => (sent, body.clone()),
        None => (due, None),
    };
    let url = target(due, destination);
    let trace = headers::trace(ids.draw());
    let mut outbound = headers::outbound(due, number, &destination.auth, started_at, trace);

    let began = Instant::now();
    let address = failed.map_or_else(|| address(&url, destination), Err);
    let mut result = match address {
        Ok(uri) => {
            let body = due.request.body.clone();
            let limit = destination.timeout;
            let exchange = exchange(destination, means, method.clone(), uri, &mut outbound, body);
            let answer = tokio::time::timeout(limit, exchange).await;
            answer.unwrap_or_else(|_| Err(timed_out(limit)))
        }
        Err(refused) => Err(refused),
    };
    let latency = began.elapsed();
    let request_headers = headers::kept(&outbound, &destination.auth);
    let now = clock.now_millis();
    let said = result.as_mut().ok().and_then(|exchange| {
        let status = exchange.status;
        verdict::take(&mut exchange.headers, status, now)
    });
    let handler = said.or_else(|| silence(&result, destination));
    let answer = outcome(&result, now);
    // Of the receiver: it did answer, whatever became of the work.
    let (ending, disable_requested) = about_the_receiver(&answer);
    let outcome = match &handler {
        Some(verdict) => with_verdict(answer, verdict),
        None => answer,
    };
    let history = History {
        attempts_made: number,
        retries_allowed_override: None,
    };
    let decision = connection
        .retry
        .decide(&history, &outcome, fraction(ids.draw()));
    let (status, decision, next) = match decision {
        Decision::Succeeded => (EventStatus::Successful, "delivered".to_owned(), None),
        Decision::GiveUp { reason } => (EventStatus::Failed, reason, None),
        Decision::Retry { after, reason } => {
            (EventStatus::Scheduled, reason, Some(now + millis(after)))
        }
    };
    let mut record = AttemptRecord {
        id: ids.mint(Kind::Attempt, started_at),
        team_id: due.event.team_id.clone(),
        event_id: due.event.id.clone(),
        request_id: due.event.request_id.clone(),
        connection_id: due.event.connection_id.clone(),
        source_id: due.event.source_id.clone(),
        destination_id: due.event.destination_id.clone(),
        number,
        trigger: trigger(due).to_owned(),
        successful: status == EventStatus::Successful,
        response_status: None,
        error_code: None,
        error_message: None,
        requested_url: url,
        http_method: method.to_string(),
        request_headers,
        response_headers: Headers::new(),
        response_body: Bytes::new(),
        response_truncated: false,
        started_at,
        responded_at: None,
        latency_micros: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        decision,
        next_attempt_at: next,
        handler,
        sent_body,
    };
    match result {
        Ok(exchange) => answered(&mut record, exchange, now, destination),
        Err(none) => {
            record.error_code = Some(none.code.to_owned());
            record.error_message = Some(none.message);
        }
    }
    let completion = Completion {
        attempt: record,
        status,
    };
    Attempted {
        completion,
        ending,
        disable_requested,
    }
}

/// The exchange itself; with a fetched token once more when the receiver refuses the first.
async fn exchange(
    to: &Destination,
    means: Means<'_>,
    method: Method,
    uri: Uri,
    outbound: &mut HeaderMap,
    body: Bytes,
) -> Result<Exchange, NoAnswer> {
    let Means {
        sender,
        tokens,
        clock,
        ..
    } = means;
    let send = |headers: &HeaderMap| {
        let (method, uri) = (method.clone(), uri.clone());
        sender.exchange(Some(to), method, uri, headers.clone(), body.clone())
    };
    let DestinationAuth::ClientCredentials(credentials) = &to.auth else {
        return send(outbound).await;
    };
    let token = tokens.token(to, credentials, sender, clock, None).await?;
    headers::authorise(outbound, &token);
    let answer = send(outbound).await?;
    if answer.status != StatusCode::UNAUTHORIZED {
        return Ok(answer);
    }
    let fresh = tokens.token(to, credentials, sender, clock, Some(&token));
    headers::authorise(outbound, &fresh.await?);
    send(outbound).await
}

fn timed_out(limit: Duration) -> NoAnswer {
    NoAnswer {
        code: "timeout",
        message: format!("no whole answer within {} ms", limit.as_millis()),
        permanent: false,
    }
}

/// What an outcome says about the receiver, apart from the message.
fn about_the_receiver(outcome: &Outcome) -> (Ending, bool) {
    let plain = |verdict| Ending {
        verdict,
        hold: None,
    };
    match outcome {
        // Refused by ourselves: nothing was learnt about the receiver.
        Outcome::NoAnswer {
            permanent: true, ..
        } => (plain(Verdict::Answered), false),
        Outcome::NoAnswer { .. } => (plain(Verdict::Failed), false),
        Outcome::Unfinished { .. } => (plain(Verdict::Good), false),
        Outcome::Answered {
            status,
            retry_after,
            control,
        } => {
            let verdict = match status {
                200..=299 => Verdict::Good,
                408 | 429 => Verdict::Busy,
                500.. => Verdict::Failed,
                _ => Verdict::Answered,
            };
            let hold = retry_after.filter(|_| matches!(status, 429 | 503));
            let ending = Ending { verdict, hold };
            (ending, *control == Some(DeliveryControl::Disable))
        }
    }
}

fn answered(record: &mut AttemptRecord, exchange: Exchange, now: u64, destination: &Destination) {
    record.response_status = Some(exchange.status.as_u16());
    record.responded_at = Some(now);
    record.response_headers = headers::kept(&exchange.headers, &destination.auth);
    record.response_body = exchange.body;
    record.response_truncated = exchange.truncated;
    if record.successful {
        return;
    }
    let unfinished = record
        .handler
        .as_ref()
        .filter(|_| exchange.status.is_success());
    let (code, message) = match unfinished {
        Some(verdict) => (code(verdict.outcome), in_words(verdict)),
        None => {
            let message = format!("the receiver answered {}", exchange.status);
            ("http_status", message)
        }
    };
    record.error_code = Some(code.to_owned());
    record.error_message = Some(message);
}

/// What it means that a handler that reports was silent.
fn silence(
    result: &Result<Exchange, NoAnswer>,
    destination: &Destination,
) -> Option<HandlerVerdict> {
    let answered_well = result.as_ref().is_ok_and(|one| one.status.is_success());
    (destination.reports_outcome && answered_well)
        .then(|| HandlerVerdict::of(HandlerOutcome::Unreported))
}

/// A good answer whose handler says that the work is not done is no success; of any other
/// answer its status decides.
fn with_verdict(answer: Outcome, verdict: &HandlerVerdict) -> Outcome {
    let good = matches!(
        answer,
        Outcome::Answered {
            status: 200..=299,
            ..
        }
    );
    if !good || !verdict.outcome.is_bad() {
        return answer;
    }
    Outcome::Unfinished {
        reason: in_words(verdict),
        retry: verdict.retry,
    }
}

fn in_words(verdict: &HandlerVerdict) -> String {
    let what = match verdict.outcome {
        HandlerOutcome::SilentDrop => "the handler answered without marking the work as done",
        HandlerOutcome::Crashed => "the handler crashed",
        HandlerOutcome::TimedOut => "the handler took longer than it allows itself",
        _ => "the handler failed",
    };
    match &verdict.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}

const fn code(outcome: HandlerOutcome) -> &'static str {
    match outcome {
        HandlerOutcome::SilentDrop => "handler_silent_drop",
        HandlerOutcome::Crashed => "handler_crashed",
        HandlerOutcome::TimedOut => "handler_timed_out",
        _ => "handler_failed",
    }
}

fn outcome(result: &Result<Exchange, NoAnswer>, now_millis: u64) -> Outcome {
    match result {
        Err(none) => Outcome::NoAnswer {
            code: none.code.to_owned(),
            permanent: none.permanent,
        },
        Ok(exchange) => {
            let text = |name: &str| {
                exchange
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            let seconds = i64::try_from(now_millis / 1_000).unwrap_or(i64::MAX);
            Outcome::Answered {
                status: exchange.status.as_u16(),
                retry_after: text("retry-after")
                    .and_then(|value| parse_retry_after(value, seconds)),
                control: text("webhook-delivery").and_then(DeliveryControl::parse),
            }
        }
    }
}

/// The receiver's URL, with what stood below the source's URL when it is forwarded.
fn target(due: &DueEvent, destination: &Destination) -> String {
    let mut url = destination.url.clone();
    if destination.path_forwarding {
        if due.request.path != "/" {
            let path = format!("{}{}", url.path().trim_end_matches('/'), due.request.path);
            url.set_path(&path);
        }
        if !due.request.query.is_empty() {
            let query = match url.query() {
                Some(own) if !own.is_empty() => format!("{own}&{}", due.request.query),
                _ => due.request.query.clone(),
            };
            url.set_query(Some(&query));
        }
    }
    url.into()
}

/// The target as an address, which must lie below the receiver's URL: a sender may choose
/// what follows it, never another place on the host. Ingest refuses such paths; this is the
/// second lock, on what is really sent.
fn address(target: &str, destination: &Destination) -> Result<Uri, NoAnswer> {
    let refused = |code, message: &str| NoAnswer {
        code,
        message: message.to_owned(),
        permanent: true,
    };
    let own = &destination.url;
    let below = |url: &Url| {
        let base = own.path().trim_end_matches('/');
        let rest = url.path().strip_prefix(base);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let inside = Url::parse(target).is_ok_and(|url| {
        url.origin() == own.origin()
            && url.username() == own.username()
            && url.password() == own.password()
            && below(&url)
    });
    if !inside {
        let message = "the path of the request leads away from the receiver's URL";
        return Err(refused("path_escapes", message));
    }
    target.parse().map_err(|_| {
        let message = "the path of the request makes no valid URL with the receiver's";
        refused("url_invalid", message)
    })
}

fn trigger(due: &DueEvent) -> &'static str {
    match (
        due.event.attempts,
        due.event.retry.as_ref().map(|lineage| lineage.kind),
    ) {
        (1.., _) => "retry",
        (0, Some(RetryKind::Resend)) => "resend",
        (0, Some(RetryKind::Single | RetryKind::Bulk)) => "manual",
        (0, None) => "initial",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
