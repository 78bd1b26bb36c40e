//! What the agents hold of a selection, as one answer.

use std::collections::HashMap;

use hookplane_proto::v1;
use prost_types::Timestamp;

use crate::grpc::evidence::add;

/// Of all agents.
const MOST_GROUPS: usize = 1_000;
const MOST_SAMPLES: usize = 10;

/// The agents' previews as one.
pub(super) fn merged(parts: Vec<v1::BulkPreview>) -> v1::BulkPreview {
    let mut whole = v1::BulkPreview::default();
    let mut groups: HashMap<(String, String, String), v1::BulkPreviewGroup> = HashMap::new();
    for part in parts {
        add(&mut whole.count, part.count);
        whole.oldest_at = earlier(whole.oldest_at, part.oldest_at);
        whole.newest_at = later(whole.newest_at, part.newest_at);
        whole.sample_ids.extend(part.sample_ids);
        for group in part.models {
            let of = (
                group.source_id.clone(),
                group.connection_id.clone(),
                group.status.clone(),
            );
            match groups.get_mut(&of) {
                None => drop(groups.insert(of, group)),
                Some(known) => {
                    add(&mut known.count, group.count);
                    known.oldest_at = earlier(known.oldest_at, group.oldest_at);
                    known.newest_at = later(known.newest_at, group.newest_at);
                }
            }
        }
    }
    whole.models = groups.into_values().collect();
    whole.models.sort_by(|one, other| {
        let name =
            |group: &v1::BulkPreviewGroup| (group.connection_id.clone(), group.source_id.clone());
        let by_count = other.count.cmp(&one.count);
        by_count.then_with(|| name(one).cmp(&name(other)))
    });
    whole.models.truncate(MOST_GROUPS);
    // Ids begin with their time.
    whole
        .sample_ids
        .sort_unstable_by(|one, other| other.cmp(one));
    whole.sample_ids.truncate(MOST_SAMPLES);
    whole
}

fn moment(at: &Timestamp) -> (i64, i32) {
    (at.seconds, at.nanos)
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min_by_key(moment)
}

fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).max_by_key(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(connection: &str, count: u64, from: i64, to: i64) -> v1::BulkPreviewGroup {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        v1::BulkPreviewGroup {
            connection_id: connection.to_owned(),
            status: "FAILED".to_owned(),
            count,
            oldest_at: at(from),
            newest_at: at(to),
            ..v1::BulkPreviewGroup::default()
        }
    }

    #[test]
    fn previews_of_several_agents_are_one_with_exact_counts_and_both_ends() {
        let part = |count, group: v1::BulkPreviewGroup, id: &str| v1::BulkPreview {
            count,
            oldest_at: group.oldest_at,
            newest_at: group.newest_at,
            models: vec![group],
            sample_ids: vec![id.to_owned()],
            ..v1::BulkPreview::default()
        };
        let whole = merged(vec![
            part(2, group("web_1", 2, 20, 30), "evt_2"),
            part(5, group("web_1", 5, 10, 25), "evt_5"),
            part(9, group("web_2", 9, 15, 40), "evt_3"),
        ]);
        assert_eq!(whole.count, 16);
        let told: Vec<_> = whole
            .models
            .iter()
            .map(|group| (group.connection_id.as_str(), group.count))
            .collect();
        assert_eq!(told, [("web_2", 9), ("web_1", 7)]);
        let ends = (
            whole.oldest_at.unwrap().seconds,
            whole.newest_at.unwrap().seconds,
        );
        assert_eq!(ends, (10, 40));
        assert_eq!(whole.sample_ids, ["evt_5", "evt_3", "evt_2"]);
    }
}
