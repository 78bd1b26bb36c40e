//! Evidence of any size is found: an answer fits its message, or is refused by itself.

use hookplane_agent::clock::{Clock as _, SystemClock};
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{
    AttemptRecord, Completion, EventRecord, EventStatus, NewRequest, RequestRecord, Store as _,
};
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1;

use crate::control_plane::{ControlPlane, Known};
use crate::world::*;

const IDS: IdMint = IdMint::new(1);
const MIB: usize = 1_024 * 1_024;

fn request(now: u64, headers: usize) -> RequestRecord {
    RequestRecord {
        id: IDS.mint(Kind::Request, now),
        team_id: TEAM.into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: Some("msg_1".into()),
        event_type: None,
        ingested_at: now,
        client_ip: "192.0.2.1".into(),
        config_revision: 1,
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![("x-large".into(), vec![b'h'; headers].into())],
        body: "{}".into(),
        body_size: 2,
        replay: None,
    }
}

/// Successful, so that nothing is due when the agent starts.
fn event(of: &RequestRecord) -> EventRecord {
    EventRecord {
        id: IDS.mint(Kind::Event, of.ingested_at),
        team_id: TEAM.into(),
        request_id: of.id.clone(),
        connection_id: "web_1".into(),
        source_id: of.source_id.clone(),
        destination_id: "des_1".into(),
        event_type: None,
        status: EventStatus::Successful,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: of.ingested_at,
        last_attempt_at: None,
        next_attempt_at: None,
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    }
}

fn attempt(of: &EventRecord, number: u32) -> Completion {
    let started_at = of.created_at + u64::from(number);
    let headers = |count| vec![("x-padding".to_owned(), vec![b'p'; 100].into()); count];
    Completion {
        status: EventStatus::Successful,
        attempt: AttemptRecord {
            id: IDS.mint(Kind::Attempt, started_at),
            team_id: TEAM.into(),
            event_id: of.id.clone(),
            request_id: of.request_id.clone(),
            connection_id: of.connection_id.clone(),
            source_id: of.source_id.clone(),
            destination_id: of.destination_id.clone(),
            number,
            trigger: "retry".into(),
            successful: false,
            response_status: Some(500),
            error_code: Some("http_status".into()),
            error_message: None,
            requested_url: format!("http://receiver.example/{}", "u".repeat(2_000)),
            http_method: "POST".into(),
            request_headers: headers(100),
            response_headers: headers(1_000),
            response_body: vec![b'b'; 64 * 1_024].into(),
            response_truncated: false,
            started_at,
            responded_at: Some(started_at),
            latency_micros: 1,
            decision: "again".into(),
            next_attempt_at: None,
            handler: None,
            sent_body: None,
        },
    }
}

/// A request that was sent again and tried again very often, one with headers that nothing
/// can carry, and an ordinary one.
async fn fill(store: &JournalStore) -> (AttemptRecord, String, String) {
    let now = SystemClock.now_millis();
    let new = |request: RequestRecord, events| NewRequest {
        request,
        events,
        dedupe_window_millis: 3_600_000,
        branch_keys: Vec::new(),
    };
    let busy = request(now, 10);
    let branch = event(&busy);
    store
        .append(new(busy.clone(), vec![branch.clone()]), IDS)
        .await
        .unwrap();
    let mut last = None;
    for number in 1..=250 {
        let completion = attempt(&branch, number);
        last = Some(completion.attempt.clone());
        store.complete(completion).await.unwrap();
    }
    for later in 1..=250 {
        let again = request(now + later, 10);
        store.append(new(again, Vec::new()), IDS).await.unwrap();
    }
    let other = |headers| RequestRecord {
        message_id: None,
        ..request(now, headers)
    };
    let (large, small) = (other(5 * MIB), other(10));
    for request in [&large, &small] {
        store
            .append(new(request.clone(), Vec::new()), IDS)
            .await
            .unwrap();
    }
    (last.unwrap(), large.id, small.id)
}

#[tokio::test]
async fn a_history_that_fits_no_message_is_told_newest_first_and_says_so() {
    let place = Place::new();
    std::fs::create_dir_all(place.data_dir()).unwrap();
    let store = JournalStore::open(&place.data_dir().join("store"), &Options::default()).unwrap();
    let (last, ..) = fill(&store).await;
    store.close().await;
    let mut control_plane = ControlPlane::start(&Known::default(), TOKEN).await;
    let agent = place.run(&control_plane).await;
    let mut questions = control_plane.commands().await;

    let command = Command::GetRequestTrace(v1::GetRequestTraceRequest {
        id: last.request_id.clone(),
    });
    let Answer::GetRequestTrace(trace) = questions.ask(TEAM, command).await else {
        panic!("no trace");
    };
    assert!(
        trace.truncated,
        "a part of the history is passed off as all"
    );
    assert_eq!(trace.attempts_count, 250);
    assert_eq!(trace.request.unwrap().repeat_count, 250);
    let attempts = &trace.events[0].attempts;
    let newest = attempts.last().unwrap();
    assert_eq!(newest.id, last.id, "the newest attempt is missing");
    assert_eq!(newest.response_body.len(), 64 * 1_024);
    assert_eq!(attempts.len(), 200);
    assert!(
        attempts.is_sorted_by_key(|attempt| attempt.attempt_number),
        "attempts are out of order"
    );
    assert!(attempts[0].response_body.is_empty() && attempts[0].response_truncated);
    assert_eq!(
        trace.repeats.len(),
        100,
        "so many arrivals are kept one by one"
    );
    assert_eq!(trace.timeline[0].kind, "request.accepted");

    let command = Command::GetAttempt(v1::GetAttemptRequest {
        id: last.id.clone(),
    });
    let Answer::GetAttempt(found) = questions.ask(TEAM, command).await else {
        panic!("no attempt");
    };
    let bytes: usize = found.response_headers.iter().map(|h| h.value.len()).sum();
    assert!((10_000..=16_384).contains(&bytes), "{bytes}");
    assert!(found.response_truncated, "the headers are cut in silence");
    agent.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_fails_alone() {
    let place = Place::new();
    std::fs::create_dir_all(place.data_dir()).unwrap();
    let store = JournalStore::open(&place.data_dir().join("store"), &Options::default()).unwrap();
    let (_, large, small) = fill(&store).await;
    store.close().await;
    let mut control_plane = ControlPlane::start(&Known::default(), TOKEN).await;
    let agent = place.run(&control_plane).await;
    let mut questions = control_plane.commands().await;

    let look_up = |id: &str| Command::GetRequest(v1::GetRequestRequest { id: id.into() });
    match questions.ask(TEAM, look_up(&large)).await {
        Answer::Error(error) => {
            assert_eq!(error.code, i32::from(tonic::Code::ResourceExhausted));
            assert!(!error.hint.is_empty());
        }
        other => panic!("{} bytes were sent", format!("{other:?}").len()),
    }
    // On the same stream.
    let Answer::GetRequest(found) = questions.ask(TEAM, look_up(&small)).await else {
        panic!("the next question has no answer");
    };
    assert_eq!(found.id, small);
    agent.stop().await;
}
