//! Failures that nobody has mended yet: the agents' groups as one list, and what each one asks for.
//!
//! Owns the advice. Refuses to know where events are kept. Invariant: what Hookplane itself could
//! not do is told apart from what a receiver answered.

use std::collections::HashMap;

use hookplane_proto::v1::{DeadLetterGroup, FailureOrigin, HandlerOutcome};

/// Groups of one answer.
const MOST: usize = 1_000;

/// Joins groups that have everything in common, the largest first.
pub(in crate::grpc) fn merged(
    parts: impl Iterator<Item = DeadLetterGroup>,
) -> Vec<DeadLetterGroup> {
    let mut by_cause: HashMap<(String, String, u32, i32), DeadLetterGroup> = HashMap::new();
    for part in parts {
        let cause = (
            part.connection_id.clone(),
            part.error_code.clone(),
            part.response_status,
            part.handler_outcome,
        );
        let Some(known) = by_cause.get_mut(&cause) else {
            by_cause.insert(cause, part);
            continue;
        };
        known.count = known.count.saturating_add(part.count);
        // Ids begin with their time.
        if part.oldest_event_id < known.oldest_event_id {
            known.oldest_event_id = part.oldest_event_id;
            known.oldest_at = part.oldest_at;
        }
        if part.newest_event_id > known.newest_event_id {
            known.newest_event_id = part.newest_event_id;
            known.newest_at = part.newest_at;
        }
    }
    let mut groups: Vec<DeadLetterGroup> = by_cause.into_values().map(advised).collect();
    groups.sort_by(|one, other| {
        let by_count = other.count.cmp(&one.count);
        by_count.then_with(|| one.newest_event_id.cmp(&other.newest_event_id))
    });
    groups.truncate(MOST);
    groups
}

fn advised(mut group: DeadLetterGroup) -> DeadLetterGroup {
    let (origin, next_step) = advice(&group);
    group.origin = origin.into();
    group.next_step = next_step.to_owned();
    group
}

/// By the last try; what went wrong before or after an answer comes first, as an older answer may
/// still stand beside it.
fn advice(group: &DeadLetterGroup) -> (FailureOrigin, &'static str) {
    use FailureOrigin::{Network, Pipeline, Receiver};
    match group.error_code.as_str() {
        "filter_failed" => (
            Pipeline,
            "a filter could not be evaluated: mend the rule, then replay the request",
        ),
        "delay_failed" => (
            Pipeline,
            "the body has no time to deliver at: mend the rule or the body, then replay the request",
        ),
        "transform_failed" => (
            Pipeline,
            "the transformation failed, and nothing was sent: mend the rule, then retry the event",
        ),
        "store_unreadable" => (
            Pipeline,
            "the stored request cannot be read: run `hookplane-agent store verify`, and ask the provider to send it again",
        ),
        "address_refused" => (
            Pipeline,
            "the address policy forbids this address: allow the network on the agents, or give another URL",
        ),
        "token_unavailable" => (
            Network,
            "no token could be fetched: check the token URL and the client's secret, then retry one",
        ),
        code if code.starts_with("handler_") => (Receiver, of_handler(group.handler_outcome())),
        "http_status" => (Receiver, of_answer(group.response_status)),
        _ => (
            Network,
            "no whole answer came: see the error in the trace, check name, network and certificate, then retry one",
        ),
    }
}

const fn of_handler(outcome: HandlerOutcome) -> &'static str {
    match outcome {
        HandlerOutcome::SilentDrop => {
            "the handler answered 2xx without doing the work: see the steps in the trace, mend the handler, then retry one"
        }
        _ => {
            "the handler answered 2xx and reported that it failed: read its reason, mend the handler, then retry one"
        }
    }
}

const fn of_answer(status: u32) -> &'static str {
    match status {
        300..=399 => {
            "the receiver redirects, which is never followed: give the final URL to the destination"
        }
        400 | 422 => {
            "the receiver does not take the content: compare the body with its schema, then retry one"
        }
        401 | 403 => {
            "the receiver does not take the credentials: put the destination's auth right, then retry one"
        }
        404 | 405 => {
            "nothing answers at this URL or method: put the destination right, then retry one"
        }
        408 => {
            "the receiver waited too long for the body: look at the network between, then retry one"
        }
        410 => "the receiver says that it is gone for good: delete or move the connection",
        413 => "the receiver takes smaller bodies only: raise its bound, then retry one",
        429 => "the receiver wants fewer: set a rate limit on the destination, then retry slowly",
        400..=499 => {
            "the receiver refuses the request: see its answer in the trace, then retry one"
        }
        500..=599 => {
            "the receiver had a fault of its own: wait until it is well, retry one, then the rest"
        }
        _ => "the receiver's answer is no success: see it in the trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(connection: &str, answer: u32, code: &str, count: u64, id: &str) -> DeadLetterGroup {
        DeadLetterGroup {
            connection_id: connection.to_owned(),
            response_status: answer,
            error_code: code.to_owned(),
            count,
            oldest_event_id: id.to_owned(),
            newest_event_id: id.to_owned(),
            ..DeadLetterGroup::default()
        }
    }

    #[test]
    fn the_same_cause_on_two_agents_is_one_group_with_both_ends() {
        let parts = [
            group("web_1", 500, "http_status", 2, "evt_5"),
            group("web_2", 401, "http_status", 9, "evt_4"),
            group("web_1", 500, "http_status", 3, "evt_2"),
        ];
        let groups = merged(parts.into_iter());
        let told: Vec<_> = groups
            .iter()
            .map(|group| (group.connection_id.as_str(), group.count))
            .collect();
        assert_eq!(told, [("web_2", 9), ("web_1", 5)]);
        assert_eq!(groups[1].oldest_event_id, "evt_2");
        assert_eq!(groups[1].newest_event_id, "evt_5");
    }

    #[test]
    fn what_hookplane_could_not_do_is_not_blamed_on_the_receiver() {
        let origin = |answer, code| advice(&group("web_1", answer, code, 1, "evt_1")).0;
        assert_eq!(origin(0, "filter_failed"), FailureOrigin::Pipeline);
        assert_eq!(origin(0, "delay_failed"), FailureOrigin::Pipeline);
        assert_eq!(origin(0, "transform_failed"), FailureOrigin::Pipeline);
        // The answer is that of the try before.
        assert_eq!(origin(500, "store_unreadable"), FailureOrigin::Pipeline);
        assert_eq!(origin(0, "connect_refused"), FailureOrigin::Network);
        // It began and did not end.
        assert_eq!(origin(200, "timeout"), FailureOrigin::Network);
        assert_eq!(origin(503, "http_status"), FailureOrigin::Receiver);
    }

    #[test]
    fn a_silent_drop_is_told_from_a_failure_that_was_reported() {
        let step = |outcome: HandlerOutcome, code| {
            let mut one = group("web_1", 200, code, 1, "evt_1");
            one.handler_outcome = outcome.into();
            advice(&one)
        };
        let (origin, dropped) = step(HandlerOutcome::SilentDrop, "handler_silent_drop");
        assert_eq!(origin, FailureOrigin::Receiver);
        assert!(dropped.contains("without doing the work"), "{dropped}");
        let (_, failed) = step(HandlerOutcome::Failed, "handler_failed");
        assert!(failed.contains("reported"), "{failed}");
    }
}
