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
        let order = |group: &DeadLetterGroup| {
            (
                std::cmp::Reverse(group.count),
                group.newest_event_id.clone(),
            )
        };
        order(one).cmp(&order(other))
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

fn advice(group: &DeadLetterGroup) -> (FailureOrigin, &'static str) {
    use FailureOrigin::{Network, Pipeline, Receiver};
    let reported = HandlerOutcome::try_from(group.handler_outcome).unwrap_or_default();
    let told = match (group.response_status, reported) {
        (200..=299, HandlerOutcome::SilentDrop) => {
            "the handler answered 2xx without doing the work: see the steps in the trace, mend the handler, then retry one"
        }
        (200..=299, _) => {
            "the handler answered 2xx and reported that it failed: read its reason, mend the handler, then retry one"
        }
        (300..=399, _) => {
            "the receiver redirects, which is never followed: give the final URL to the destination"
        }
        (400 | 422, _) => {
            "the receiver does not take the content: compare the body with its schema, then retry one"
        }
        (401 | 403, _) => {
            "the receiver does not take the credentials: put the destination's auth right, then retry one"
        }
        (404 | 405, _) => {
            "nothing answers at this URL or method: put the destination right, then retry one"
        }
        (408, _) => {
            "the receiver waited too long for the body: look at the network between, then retry one"
        }
        (410, _) => "the receiver says that it is gone for good: delete or move the connection",
        (413, _) => "the receiver takes smaller bodies only: raise its bound, then retry one",
        (429, _) => {
            "the receiver wants fewer: set a rate limit on the destination, then retry slowly"
        }
        (400..=499, _) => {
            "the receiver refuses the request: see its answer in the trace, then retry one"
        }
        (500..=599, _) => {
            "the receiver had a fault of its own: wait until it is well, retry one, then the rest"
        }
        (0, _) => {
            return match group.error_code.as_str() {
                "filter_failed" => (
                    Pipeline,
                    "a filter could not be evaluated: mend the rule, then replay the request",
                ),
                "store_unreadable" => (
                    Pipeline,
                    "the stored request cannot be read: run `hookplane-agent store verify`, and ask the provider to send it again",
                ),
                "address_refused" => (
                    Pipeline,
                    "the address policy forbids this address: allow the network on the agents, or give another URL",
                ),
                _ => (
                    Network,
                    "nobody answered: see the error in the trace, check name, network and certificate, then retry one",
                ),
            };
        }
        _ => "see the answer in the trace",
    };
    (Receiver, told)
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
        assert_eq!(origin(0, "connect_refused"), FailureOrigin::Network);
        assert_eq!(origin(503, "http_status"), FailureOrigin::Receiver);
        for answer in 0..=599 {
            let (_, step) = advice(&group("web_1", answer, "", 1, "evt_1"));
            assert!(!step.is_empty(), "{answer} has no next step");
        }
    }
}
