//! What the fuzzer calls: bytes in, and a panic when a record does not come back from its encoding.
//!
//! Owns the targets and what their bytes mean. Refuses to know who finds the bytes: libFuzzer in
//! `fuzz/`, or the files kept from earlier runs in `cargo test`. Invariant: bytes that mean nothing
//! are no failure.

mod drafts;

use arbitrary::{Arbitrary, Unstructured};
use hookplane_journal::Record;

use super::entry::{self, Entry, Head};
use drafts::Draft;

/// The first byte is the kind, the rest the payload, as a journal would give them.
pub fn decode(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else {
        return;
    };
    let record = Record::new(*kind, payload.to_vec());
    // It reads a part only, so it may succeed where the whole does not.
    let key = entry::key_of_head(&record);
    let known = entry::check(&record).is_ok();
    let Ok(found) = entry::read(&record) else {
        return;
    };
    assert!(known, "read, but of an unknown kind or version");
    assert!(
        elements(&found) <= payload.len(),
        "more elements than bytes to make them of"
    );
    if let Entry::Request(head) | Entry::Carried(head) = &found {
        assert_eq!(key.ok(), Some(head.key));
    }
    comes_back(&found);
}

/// An entry of the fuzzer's choice.
pub fn round_trip(bytes: &[u8]) {
    let Ok(draft) = Draft::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    comes_back(&draft.entry());
}

fn comes_back(entry: &Entry) {
    let record = encoded(entry);
    let read = entry::read(&record);
    assert_eq!(read.expect("our own encoding"), *entry);
    // Nothing that is cut off passes for whole.
    let cut = record.payload.len() - 1;
    assert!(entry::read(&Record::new(record.kind, record.payload.slice(..cut))).is_err());
}

/// Things that take memory of their own, each made of at least one byte.
fn elements(entry: &Entry) -> usize {
    match entry {
        Entry::Payload { headers, .. } => headers.len(),
        Entry::Request(head) | Entry::Carried(head) => head.events.len(),
        Entry::Repeat(repeat) => repeat.requeued.len(),
        Entry::Tally(counts) => counts.len(),
        Entry::Keys(keys) => keys.len(),
        Entry::Attempt(attempt, _) | Entry::CarriedAttempt(attempt) => {
            attempt.request_headers.len() + attempt.response_headers.len()
        }
        _ => 0,
    }
}

fn encoded(entry: &Entry) -> Record {
    let head = |head: &Head, carried| {
        let [_, record] = entry::request_records(head, carried);
        record
    };
    match entry {
        Entry::Payload { headers, body } => {
            let [record, _] = entry::request_records(&drafts::bare(headers, body), false);
            record
        }
        Entry::Request(one) => head(one, false),
        Entry::Carried(one) => head(one, true),
        Entry::Repeat(repeat) => entry::repeat_record(repeat),
        Entry::Tally(counts) => entry::tally_record(counts),
        Entry::Attempt(attempt, status) => entry::attempt_record(attempt, *status),
        Entry::CarriedAttempt(attempt) => entry::carried_attempt_record(attempt),
        Entry::Retry(event) => entry::retry_record(event),
        Entry::Cancel {
            connection_id,
            detail,
        } => entry::cancel_record(connection_id, detail),
        Entry::Broken {
            event_id,
            at,
            reason,
        } => entry::broken_record(event_id, *at, reason),
        Entry::CancelEvent {
            event_id,
            at,
            detail,
        } => entry::cancel_event_record(event_id, *at, detail),
        Entry::HandlerNote(note) => entry::handler_note_record(note),
        Entry::Number(number) => entry::number_record(*number),
        Entry::Report { sequence, payload } => entry::report_record(*sequence, payload),
        Entry::Acknowledged(up_to) => entry::acknowledged_record(*up_to),
        Entry::Keys(keys) => entry::keys_record(keys),
        Entry::Facts {
            number,
            last_report,
        } => entry::facts_record(*number, *last_report),
    }
}
