//! Records read back exactly what was put in, whatever it was.

use hookplane_journal::Record;
use proptest::prelude::*;

use super::super::entry::{self, Entry, Head, Repeat};
use super::super::handover::Said;
use super::*;
use crate::store::{
    Deferral, EventHandler, HandlerOutcome, HandlerVerdict, Headers, IgnoredReason, Lineage,
    Rejection, Replay, RetryKind, StepState,
};

fn headers() -> impl Strategy<Value = Headers> {
    let value = proptest::collection::vec(any::<u8>(), 0..40);
    let pair = (any::<String>(), value.prop_map(Bytes::from));
    proptest::collection::vec(pair, 0..12)
}

fn requests() -> impl Strategy<Value = RequestRecord> {
    let body = proptest::collection::vec(any::<u8>(), 0..3_000);
    let texts = (
        any::<String>(),
        any::<Option<String>>(),
        any::<Option<String>>(),
    );
    let rejected = any::<Option<(String, String, String)>>();
    let replayed = any::<Option<(String, bool, Option<String>)>>();
    (headers(), body, texts, rejected, any::<u64>(), replayed).prop_map(
        |(headers, body, (path, message_id, event_type), rejected, at, replayed)| RequestRecord {
            replay: replayed.map(|(parent_request_id, modified, operation_id)| Replay {
                parent_request_id,
                modified,
                operation_id,
            }),
            headers,
            body: Bytes::from(body),
            path,
            message_id,
            event_type,
            rejection: rejected.map(|(cause, reason, detail)| Rejection {
                cause,
                reason,
                detail,
            }),
            ..request(at, None, 0)
        },
    )
}

fn verdicts() -> impl Strategy<Value = Option<HandlerVerdict>> {
    let steps = proptest::collection::vec((any::<String>(), 0..StepState::ALL.len()), 0..4);
    let deferral = any::<Option<(String, u64)>>();
    let outcome = 0..HandlerOutcome::ALL.len();
    let all = (outcome, any::<(Option<String>, bool)>(), steps, deferral);
    let made = all.prop_map(
        |(outcome, (reason, retry), steps, deferral)| HandlerVerdict {
            outcome: HandlerOutcome::ALL[outcome],
            reason,
            retry,
            steps: steps
                .into_iter()
                .map(|(name, state)| (name, StepState::ALL[state]))
                .collect(),
            deferral: deferral.map(|(token, deadline_at)| Deferral { token, deadline_at }),
        },
    );
    proptest::option::of(made)
}

#[test]
fn a_record_without_extras_is_written_as_older_releases_read_it() {
    let event = event(&request(1, None, 0), "des_1");
    let mut attempt = completion(&event, EventStatus::Failed, None).attempt;
    let plain = entry::attempt_record(&attempt, EventStatus::Failed);
    assert_eq!(plain.payload[0], 1, "an older release would refuse it");
    attempt.handler = Some(HandlerVerdict::of(HandlerOutcome::SilentDrop));
    let extended = entry::attempt_record(&attempt, EventStatus::Failed);
    assert_eq!(extended.payload[0], 2, "an older release would misread it");
    let mut cut = extended.payload.to_vec();
    cut[0] = 3;
    let unknown = Record::new(extended.kind, Bytes::from(cut));
    assert!(
        entry::read(&unknown).is_err(),
        "an unknown version was read"
    );
}

proptest! {
    #[test]
    fn requests_with_their_branches_come_back(
        request in requests(),
        times in proptest::collection::vec(any::<(u64, Option<u64>, u32)>(), 0..5),
        key in any::<Option<([u8; 16], u64)>>(),
        shared in any::<bool>(),
        said in verdicts(),
    ) {
        let events = times.iter().map(|(at, next, attempts)| EventRecord {
            created_at: *at,
            next_attempt_at: *next,
            attempts: *attempts,
            team_id: if shared { request.team_id.clone() } else { "tm_other".into() },
            event_type: if shared { request.event_type.clone() } else { None },
            ignored_reason: shared.then_some(IgnoredReason::Disabled),
            retry: (!shared).then(|| Lineage {
                kind: RetryKind::Bulk,
                parent_event_id: "evt_0".into(),
            }),
            handler: said.as_ref().map(EventHandler::from),
            operation_id: (attempts % 2 == 1).then(|| "bch_1".into()),
            ..event(&request, "des_1")
        });
        let head = Head { key, repeats: 3, events: events.collect(), request: request.clone() };
        let [payload, record] = entry::request_records(&head, false);
        let both = [payload.clone(), record.clone()];
        prop_assert!(Said::request(head.clone()).is_said_by(&both), "not what is decoded");
        prop_assert_eq!(entry::key_of_head(&record).unwrap(), key);
        let Entry::Payload { headers, body } = entry::read(&payload).unwrap() else {
            panic!("another kind")
        };
        prop_assert_eq!((&headers, &body), (&request.headers, &request.body));
        let Entry::Request(mut back) = entry::read(&record).unwrap() else {
            panic!("another kind")
        };
        (back.request.headers, back.request.body) = (headers, body);
        prop_assert_eq!(*back, head);
    }

    #[test]
    fn attempts_come_back(
        sent in headers(),
        heard in headers(),
        status in any::<Option<u16>>(),
        said in verdicts(),
    ) {
        let event = event(&request(1, None, 0), "des_1");
        let mut one = completion(&event, EventStatus::Scheduled, Some(7)).attempt;
        (one.request_headers, one.response_headers) = (sent, heard);
        one.response_status = status;
        one.handler = said;
        let record = entry::attempt_record(&one, EventStatus::Failed);
        let back = entry::read(&record).unwrap();
        let whole = Entry::Attempt(Box::new(one), EventStatus::Failed);
        prop_assert_eq!(&back, &whole);
        prop_assert!(Said::alone(whole).is_said_by(&[record]), "not what is decoded");
    }

    #[test]
    fn what_was_made_from_an_event_comes_back(
        times in any::<(u64, Option<u64>, u32)>(),
        texts in any::<(String, Option<String>)>(),
    ) {
        let (created_at, next_attempt_at, attempts) = times;
        let (client_ip, event_type) = texts;
        let made = EventRecord {
            created_at,
            next_attempt_at,
            attempts,
            event_type,
            retry: Some(Lineage { kind: RetryKind::Resend, parent_event_id: "evt_0".into() }),
            ..event(&request(1, None, 0), "des_1")
        };
        let record = entry::retry_record(&made);
        let retry = Said::alone(Entry::Retry(Box::new(made.clone())));
        prop_assert!(retry.is_said_by(&[record]), "not what is decoded");
        let repeat = Repeat {
            request_id: made.request_id.clone(),
            team_id: made.team_id.clone(),
            source_id: made.source_id.clone(),
            received_at: created_at,
            client_ip,
            requeued: vec![made],
        };
        let record = entry::repeat_record(&repeat);
        let other = Repeat { received_at: !created_at, ..repeat.clone() };
        prop_assert!(Said::alone(Entry::Repeat(repeat)).is_said_by(std::slice::from_ref(&record)));
        prop_assert!(!Said::alone(Entry::Repeat(other)).is_said_by(&[record]));
    }

    #[test]
    fn no_bytes_make_a_record_panic(kind in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let known = Record::new(kind % 17, [&[1][..], &bytes].concat());
        // Most are errors; some happen to make sense.
        drop(entry::read(&known));
    }
}
