//! A proposed configuration against what the agents have recorded: one question per source to all of
//! them, and their answers as one.
//!
//! Refuses to know how a request is judged: the agents do, where payloads are. Invariants: nothing is
//! changed; both ends of the window are fixed before anyone is asked.

use std::collections::BTreeMap;

use hookplane_proto::agent::v1::EvaluateShadowCommand;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1;
use prost_types::Timestamp;
use tonic::Status;

use crate::fleet::Fleet;
use crate::grpc::evidence::query::Check;
use crate::grpc::evidence::{add, everyone};
use crate::service::{Call, Configuration, Shadowed};
use crate::wire;

/// When no start of the window is given.
const USUAL_WINDOW: &str = "now-1h";
const MOST_REQUESTS: u32 = 50_000;
const MAX_EXAMPLES: usize = 5;

pub(super) async fn evaluate(
    configuration: &Configuration,
    fleet: &Fleet,
    call: &Call,
    mut asked: v1::EvaluateShadowRequest,
) -> Result<v1::EvaluateShadowResponse, Status> {
    if asked.from.trim().is_empty() {
        USUAL_WINDOW.clone_into(&mut asked.from);
    }
    if asked.to.trim().is_empty() {
        "now".clone_into(&mut asked.to);
    }
    let mut check = Check::default();
    let now = fleet.clock().now_millis();
    check.range(&mut asked.from, &mut asked.to, now);
    let possible = asked.limit <= MOST_REQUESTS;
    check.holds("limit", possible, "50,000 requests are possible");
    check.done()?;
    let (from, to, limit) = (asked.from, asked.to, asked.limit);
    let wanted = super::wanted(v1::ApplyConfigurationRequest {
        sources: asked.sources,
        destinations: asked.destinations,
        filters: asked.filters,
        connections: asked.connections,
        prune_label: asked.prune_label,
        validate_only: true,
        request_id: String::new(),
    })?;
    let mut told = v1::EvaluateShadowResponse {
        from: from.clone(),
        to: to.clone(),
        ..v1::EvaluateShadowResponse::default()
    };
    for Shadowed { before, after } in configuration.shadow(call, wanted).await? {
        let (was, is) = (&before.source, &after.source);
        let verify =
            was.spec != is.spec || was.auth != is.auth || was.disabled_at != is.disabled_at;
        // Agents do not look at the address that people are shown.
        let base = "";
        let command = Command::EvaluateShadow(EvaluateShadowCommand {
            current: Some(wire::group::message(&before, base)),
            proposed: Some(wire::group::message(&after, base)),
            verify,
            from: from.clone(),
            to: to.clone(),
            limit,
        });
        let found = everyone(fleet, &call.team_id, command, |answer| match answer {
            Answer::EvaluateShadow(found) => Some(found),
            _ => None,
        })
        .await?;
        let mut whole = merged(found.parts);
        whole.source_id.clone_from(&was.id);
        whole.name.clone_from(&was.spec.name);
        told.models.push(whole);
        for one in found.unreachable {
            if !told
                .unreachable
                .iter()
                .any(|known| known.agent_id == one.agent_id)
            {
                told.unreachable.push(one);
            }
        }
    }
    told.partial = !told.unreachable.is_empty();
    told.count = u32::try_from(told.models.len()).unwrap_or(u32::MAX);
    Ok(told)
}

/// What several agents said of one source.
fn merged(parts: Vec<v1::ShadowSource>) -> v1::ShadowSource {
    let mut whole = v1::ShadowSource::default();
    let mut connections: BTreeMap<String, v1::ShadowConnection> = BTreeMap::new();
    for part in parts {
        add(&mut whole.requests, part.requests);
        add(&mut whole.unverifiable, part.unverifiable);
        whole.truncated |= part.truncated;
        let moment = |at: &Timestamp| (at.seconds, at.nanos);
        let ends = whole.oldest_at.into_iter().chain(part.oldest_at);
        whole.oldest_at = ends.min_by_key(moment);
        let ends = whole.newest_at.into_iter().chain(part.newest_at);
        whole.newest_at = ends.max_by_key(moment);
        join(&mut whole.refused, part.refused);
        join(&mut whole.accepted, part.accepted);
        for one in part.connections {
            match connections.get_mut(&one.connection_id) {
                None => drop(connections.insert(one.connection_id.clone(), one)),
                Some(known) => {
                    add(&mut known.sent_before, one.sent_before);
                    add(&mut known.sent_after, one.sent_after);
                    join(&mut known.gained, one.gained);
                    join(&mut known.lost, one.lost);
                    join(&mut known.failing, one.failing);
                    join(&mut known.moved, one.moved);
                    join(&mut known.changed, one.changed);
                }
            }
        }
    }
    whole.connections = connections.into_values().collect();
    let changes = |one: &v1::ShadowConnection| {
        let count = |part: &Option<v1::ShadowDifference>| part.as_ref().map_or(0, |it| it.count);
        [
            &one.gained,
            &one.lost,
            &one.failing,
            &one.moved,
            &one.changed,
        ]
        .into_iter()
        .map(count)
        .fold(0, u64::saturating_add)
    };
    whole.connections.sort_by(|one, other| {
        let by_changes = changes(other).cmp(&changes(one));
        by_changes.then_with(|| one.connection_id.cmp(&other.connection_id))
    });
    whole
}

/// The newest examples of both, with the reason of the newest one.
fn join(into: &mut Option<v1::ShadowDifference>, more: Option<v1::ShadowDifference>) {
    let Some(more) = more.filter(|more| more.count > 0) else {
        return;
    };
    let Some(known) = into.as_mut().filter(|known| known.count > 0) else {
        *into = Some(more);
        return;
    };
    add(&mut known.count, more.count);
    // Ids begin with their time.
    if more.request_ids.first() > known.request_ids.first() {
        known.reason = more.reason;
    }
    known.request_ids.extend(more.request_ids);
    known
        .request_ids
        .sort_unstable_by(|one, other| other.cmp(one));
    known.request_ids.truncate(MAX_EXAMPLES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(count: u64, ids: &[&str], reason: &str) -> Option<v1::ShadowDifference> {
        Some(v1::ShadowDifference {
            count,
            request_ids: ids.iter().map(|&id| id.to_owned()).collect(),
            reason: reason.to_owned(),
        })
    }

    fn part(connection: &str, lost: Option<v1::ShadowDifference>) -> v1::ShadowSource {
        v1::ShadowSource {
            requests: 10,
            connections: vec![v1::ShadowConnection {
                connection_id: connection.to_owned(),
                sent_before: 5,
                sent_after: 3,
                lost,
                ..v1::ShadowConnection::default()
            }],
            ..v1::ShadowSource::default()
        }
    }

    #[test]
    fn what_several_agents_found_is_one_with_the_newest_examples() {
        let whole = merged(vec![
            part(
                "web_1",
                difference(6, &["req_6", "req_4", "req_2"], "older"),
            ),
            part(
                "web_1",
                difference(3, &["req_7", "req_5", "req_3"], "newer"),
            ),
            part("web_2", difference(0, &[], "")),
        ]);
        assert_eq!(whole.requests, 30);
        let first = &whole.connections[0];
        assert_eq!(first.connection_id, "web_1", "what changes comes first");
        assert_eq!((first.sent_before, first.sent_after), (10, 6));
        let lost = difference(9, &["req_7", "req_6", "req_5", "req_4", "req_3"], "newer");
        assert_eq!(first.lost, lost);
    }
}
