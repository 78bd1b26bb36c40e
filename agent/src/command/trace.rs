//! Everything about one request, as branches and as one timeline.
//!
//! Always fits one answer: of each list the newest entries that fit are given, and
//! the trace says when older ones were left out. Totals count all.

mod timeline;

use std::collections::{HashMap, HashSet};

use hookplane_proto::v1::{Attempt, Event, EventTrace, Repeat, RequestTrace};
use prost::Message;

use super::render::{self, Share};
use crate::clock::timestamp;
use crate::store::{
    AttemptRecord, EventRecord, EventStatus, IgnoredReason, RepeatRecord, RequestHistory,
};

/// Most entries of a list, and its share of the bytes of an answer.
const EVENTS: (usize, usize) = (1_000, 512 * 1_024);
const IGNORED: (usize, usize) = (1_000, 256 * 1_024);
const REPEATS: (usize, usize) = (RequestHistory::MOST_REPEATS, 256 * 1_024);
const ATTEMPTS: (usize, usize) = (RequestHistory::MOST_ATTEMPTS, 1_536 * 1_024);

/// What of a history the trace tells of; each list oldest first.
struct Kept<'a> {
    history: &'a RequestHistory,
    routed: Vec<&'a EventRecord>,
    ignored: Vec<&'a EventRecord>,
    attempts: Vec<&'a AttemptRecord>,
    repeats: Vec<&'a RepeatRecord>,
}

pub(super) fn trace(history: &RequestHistory, agent_id: &str) -> RequestTrace {
    let (ignored, routed): (Vec<_>, Vec<_>) = history.events.iter().partition(|e| is_ignored(e));
    let event = |record: &&EventRecord| render::event(record);
    let (routed_events, routed_cut) = newest(&routed, EVENTS.0, EVENTS.1, event);
    let (ignored_events, ignored_cut) = newest(&ignored, IGNORED.0, IGNORED.1, event);
    let (repeats, repeats_cut) = newest(&history.repeats, REPEATS.0, REPEATS.1, repeat);
    let routed = &routed[routed_cut..];
    let (attempts, mut by_event) = attempts(history, routed);
    let kept = Kept {
        history,
        routed: routed.to_vec(),
        ignored: ignored[ignored_cut..].to_vec(),
        repeats: history.repeats[repeats_cut..].iter().collect(),
        attempts,
    };
    let (timeline, timeline_cut) = timeline::timeline(&kept);
    let attempts_total = usize::try_from(history.attempts_total).unwrap_or(usize::MAX);
    let attempts_cut = attempts_total.saturating_sub(kept.attempts.len());
    let events_total = history.counts.events.saturating_add(history.counts.ignored) as usize;
    let events_cut = events_total.saturating_sub(history.events.len());
    let events = routed_events.into_iter().map(|event: Event| EventTrace {
        attempts: by_event.remove(&event.id).unwrap_or_default(),
        event: Some(event),
    });
    RequestTrace {
        // Payloads are given on look-up only.
        request: Some(render::request(
            &history.request,
            history.counts,
            agent_id,
            false,
        )),
        events: events.collect(),
        ignored_events,
        repeats,
        timeline,
        attempts_count: u32::try_from(history.attempts_total).unwrap_or(u32::MAX),
        // Asked for beside the history.
        replay_request_ids: Vec::new(),
        // The control plane says so when it could not ask.
        partial: false,
        unreachable: Vec::new(),
        truncated: [
            events_cut,
            routed_cut,
            ignored_cut,
            repeats_cut,
            attempts_cut,
            timeline_cut,
        ]
        .iter()
        .any(|cut| *cut > 0),
    }
}

/// The newest attempts that fit, of the events that are told of, and what is given of them.
/// Many tries tell more than one answer: what room is left over goes to the headers and
/// answers of the newest ones.
fn attempts<'a>(
    history: &'a RequestHistory,
    routed: &[&EventRecord],
) -> (Vec<&'a AttemptRecord>, HashMap<String, Vec<Attempt>>) {
    let told: HashSet<&str> = routed.iter().map(|event| event.id.as_str()).collect();
    let known: Vec<&AttemptRecord> = history
        .attempts
        .iter()
        .filter(|attempt| told.contains(attempt.event_id.as_str()))
        .collect();
    let bare = |record: &&AttemptRecord| render::attempt(record, Share::WithoutHeaders);
    let (mut given, cut) = newest(&known, ATTEMPTS.0, ATTEMPTS.1, bare);
    let kept = &known[cut..];
    let mut room = ATTEMPTS.1 - given.iter().map(Message::encoded_len).sum::<usize>();
    for (record, attempt) in kept.iter().zip(&mut given).rev() {
        let size = attempt.encoded_len();
        let fuller = [Share::Whole, Share::WithoutAnswer]
            .into_iter()
            .map(|share| render::attempt(record, share))
            .find(|fuller| fuller.encoded_len() - size <= room);
        if let Some(fuller) = fuller {
            room -= fuller.encoded_len() - size;
            *attempt = fuller;
        }
    }
    let mut by_event = HashMap::<String, Vec<Attempt>>::new();
    for attempt in given {
        let of_event = by_event.entry(attempt.event_id.clone()).or_default();
        of_event.push(attempt);
    }
    (kept.to_vec(), by_event)
}

/// The newest entries that fit, oldest first, and how many older ones do not.
fn newest<T, M: Message>(
    oldest_first: &[T],
    most: usize,
    bytes: usize,
    render: impl Fn(&T) -> M,
) -> (Vec<M>, usize) {
    let mut room = bytes;
    let mut fitting: Vec<M> = oldest_first
        .iter()
        .rev()
        .take(most)
        .map(render)
        .take_while(|entry| {
            let size = entry.encoded_len();
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .collect();
    fitting.reverse();
    let left_out = oldest_first.len() - fitting.len();
    (fitting, left_out)
}

fn repeat(record: &RepeatRecord) -> Repeat {
    Repeat {
        received_at: Some(timestamp(record.received_at)),
        client_ip: record.client_ip.clone(),
        requeued_event_ids: record.requeued_event_ids.clone(),
    }
}

/// Never routed; what a person stopped had been routed.
fn is_ignored(event: &EventRecord) -> bool {
    event.status == EventStatus::Cancelled && event.ignored_reason != Some(IgnoredReason::Operator)
}
