//! Pages of several agents as one page, newest first.
//!
//! Ids start with their time, so their order is the order of all stores and the
//! last id of a page says where the next one goes on.

use hookplane_proto::v1::{AppliedRange, Attempt, Event, Pagination, Request};
use prost_types::Timestamp;

/// Rows of one answer, in bytes: below the bound of a message.
const MAX_BYTES: usize = 3 * 1_024 * 1_024;

/// A row with an id that sorts by time.
pub(in crate::grpc) trait Row: prost::Message {
    fn id(&self) -> &str;
}

impl Row for Request {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for Event {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for Attempt {
    fn id(&self) -> &str {
        &self.id
    }
}

/// A page of one agent.
pub(in crate::grpc) struct Part<R> {
    pub(in crate::grpc) rows: Vec<R>,
    pub(in crate::grpc) pagination: Option<Pagination>,
}

/// Merges the agents' pages into one of at most `limit` rows.
pub(in crate::grpc) fn pages<R: Row>(parts: Vec<Part<R>>, limit: u32) -> (Vec<R>, Pagination) {
    let nexts = parts.iter().filter_map(|part| part.pagination.as_ref());
    // An agent that has more tells where it stopped; older rows of others have to
    // wait for the next page, or those in between would be jumped over.
    let horizon = nexts
        .map(|pagination| pagination.next.clone())
        .filter(|next| !next.is_empty())
        .max();
    let mut rows: Vec<R> = parts.into_iter().flat_map(|part| part.rows).collect();
    rows.sort_by(|one, other| other.id().cmp(one.id()));
    rows.dedup_by(|one, other| one.id() == other.id());
    let all = rows.len();
    if let Some(horizon) = &horizon {
        rows.retain(|row| row.id() >= horizon.as_str());
    }
    let within = rows.len();
    rows.truncate(limit as usize);
    let mut bytes = 0;
    let fitting = rows
        .iter()
        .take_while(|row| {
            bytes += row.encoded_len();
            bytes <= MAX_BYTES
        })
        .count();
    rows.truncate(fitting.max(1));
    let more = horizon.is_some() || rows.len() < all;
    // Nothing lies between the last row and where an agent stopped.
    let last = rows.last().map(|row| row.id().to_owned());
    let last = last.filter(|_| horizon.is_none() || rows.len() < within);
    let pagination = Pagination {
        order_by: "created_at".to_owned(),
        dir: "desc".to_owned(),
        limit,
        next: last.or(horizon).filter(|_| more).unwrap_or_default(),
    };
    (rows, pagination)
}

/// The range that was asked for, its start filled from what the agents went back to.
pub(in crate::grpc) fn range(
    asked: AppliedRange,
    parts: impl Iterator<Item = Option<AppliedRange>>,
) -> AppliedRange {
    let order = |at: &Timestamp| (at.seconds, at.nanos);
    let oldest = || {
        parts
            .flatten()
            .filter_map(|range| range.from)
            .min_by_key(order)
    };
    AppliedRange {
        from: asked.from.or_else(oldest),
        to: asked.to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(ids: &[&str], next: &str) -> Part<Event> {
        let row = |id: &&str| Event {
            id: (*id).to_owned(),
            ..Event::default()
        };
        let pagination = Pagination {
            next: next.to_owned(),
            ..Pagination::default()
        };
        Part {
            rows: ids.iter().map(row).collect(),
            pagination: Some(pagination),
        }
    }

    fn ids(rows: &[Event]) -> Vec<&str> {
        rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[test]
    fn pages_merge_newest_first_and_go_on_after_the_last_row() {
        let parts = vec![part(&["evt_9", "evt_4"], ""), part(&["evt_7"], "")];
        let (rows, pagination) = pages(parts, 2);
        assert_eq!(ids(&rows), ["evt_9", "evt_7"]);
        assert_eq!(pagination.next, "evt_7");
        let (rows, pagination) = pages(vec![part(&["evt_4"], ""), part(&[], "")], 2);
        assert_eq!((ids(&rows), pagination.next.as_str()), (vec!["evt_4"], ""));
    }

    #[test]
    fn an_agent_that_cut_its_page_short_holds_back_older_rows_of_others() {
        let cut_short = part(&["evt_9", "evt_8"], "evt_8");
        let (rows, pagination) = pages(vec![cut_short, part(&["evt_7", "evt_1"], "")], 4);
        assert_eq!(ids(&rows), ["evt_9", "evt_8"]);
        assert_eq!(pagination.next, "evt_8");
    }
}
