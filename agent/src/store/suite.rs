//! One suite for every implementation of the store: each test states a promise of `store`.

mod handlers;
mod lanes;
mod pages;
mod recovery;
mod repeats;
mod same_events;
mod upkeep;

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use lanes::{due, lane};

use super::journal::{JournalStore, Options};
use super::*;
use crate::ids::{IdMint, Kind};

const TEAM: &str = "tm_1";
const IDS: IdMint = IdMint::new(7);
const WINDOW: u64 = 1_000;

/// Small, so that tests need little space and reach its bounds.
fn options() -> Options {
    let mut options = Options::default();
    options.journal.segment_bytes = 1 << 20;
    options.journal.batch_bytes = 512 << 10;
    options.journal.spare_segments = 1;
    options
}

fn open(dir: &Path) -> JournalStore {
    JournalStore::open(&dir.join("store"), &options()).expect("the store opens")
}

fn fresh() -> (TempDir, JournalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

fn request(at: u64, message_id: Option<&str>) -> RequestRecord {
    RequestRecord {
        id: IDS.mint(Kind::Request, at),
        team_id: TEAM.into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: Some("clerk v1 secret 1 of 1".into()),
        message_id: message_id.map(str::to_owned),
        event_type: Some("user.created".into()),
        ingested_at: at,
        client_ip: "127.0.0.1".into(),
        config_revision: 3,
        method: "POST".into(),
        path: "/a".into(),
        query: "x=1".into(),
        headers: vec![
            ("X-B".into(), Bytes::from_static(b"2")),
            ("x-a".into(), Bytes::from_static(b"\xff\x00")),
            ("X-B".into(), Bytes::from_static(b"")),
        ],
        body: Bytes::from_static(b"\x00binary\xff"),
        body_size: 8,
        replay: None,
    }
}

fn event(request: &RequestRecord, destination: &str) -> EventRecord {
    EventRecord {
        id: IDS.mint(Kind::Event, request.ingested_at),
        team_id: TEAM.into(),
        request_id: request.id.clone(),
        connection_id: format!("web_{destination}"),
        source_id: request.source_id.clone(),
        destination_id: destination.into(),
        event_type: request.event_type.clone(),
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: request.ingested_at,
        last_attempt_at: None,
        next_attempt_at: Some(request.ingested_at),
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    }
}

fn ignored(request: &RequestRecord) -> EventRecord {
    EventRecord {
        status: EventStatus::Cancelled,
        ignored_reason: Some(IgnoredReason::Filtered),
        ignored_detail: Some("body.type".into()),
        next_attempt_at: None,
        ..event(request, "des_ignored")
    }
}

fn new(request: &RequestRecord, events: Vec<EventRecord>) -> NewRequest {
    NewRequest {
        request: request.clone(),
        events,
        dedupe_window_millis: WINDOW,
        branch_keys: Vec::new(),
    }
}

fn completion(event: &EventRecord, status: EventStatus, next: Option<u64>) -> Completion {
    let at = event.created_at + 10;
    Completion {
        status,
        attempt: AttemptRecord {
            id: IDS.mint(Kind::Attempt, at),
            team_id: TEAM.into(),
            event_id: event.id.clone(),
            request_id: event.request_id.clone(),
            connection_id: event.connection_id.clone(),
            source_id: event.source_id.clone(),
            destination_id: event.destination_id.clone(),
            number: event.attempts + 1,
            trigger: "initial".into(),
            successful: status == EventStatus::Successful,
            response_status: Some(500),
            error_code: Some("http_status".into()),
            error_message: None,
            requested_url: "http://127.0.0.1/".into(),
            http_method: "POST".into(),
            request_headers: vec![("a".into(), Bytes::from_static(b"b"))],
            response_headers: Vec::new(),
            response_body: Bytes::from_static(b"no"),
            response_truncated: false,
            started_at: at,
            responded_at: Some(at + 1),
            latency_micros: 1_000,
            decision: "as told".into(),
            next_attempt_at: next,
            handler: None,
            sent_body: None,
        },
    }
}

async fn totals(store: &JournalStore) -> EventTotals {
    store
        .count_events(EventQuery {
            team_id: TEAM.into(),
            ..EventQuery::default()
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_appended_reads_back_exactly_even_after_reopening() {
    let (dir, store) = fresh();
    let accepted = request(10, Some("msg_1"));
    let (routed, skipped) = (event(&accepted, "des_1"), ignored(&accepted));
    let appended = store
        .append(new(&accepted, vec![routed.clone(), skipped.clone()]), IDS)
        .await;
    assert_eq!(appended.unwrap(), Appended::New);
    let mut refused = request(11, None);
    refused.body = Bytes::new();
    refused.rejection = Some(Rejection {
        cause: "SOURCE_AUTH_FAILED".into(),
        reason: "timestamp_too_old".into(),
        detail: "signed 400 s ago".into(),
    });
    store.append(new(&refused, Vec::new()), IDS).await.unwrap();
    store.close().await;
    drop(store);

    let store = open(dir.path());
    let history = store
        .history(TEAM, &accepted.id)
        .await
        .unwrap()
        .expect("the request is kept");
    assert_eq!(
        history.request, accepted,
        "header order, repeats or bytes changed"
    );
    let kept: BTreeSet<_> = history.events.iter().map(|event| &event.id).collect();
    assert_eq!(kept, BTreeSet::from([&routed.id, &skipped.id]));
    assert_eq!(
        history.counts,
        RequestCounts {
            events: 1,
            ignored: 1,
            repeats: 0
        }
    );
    let (back, _) = store
        .request(TEAM, &refused.id)
        .await
        .unwrap()
        .expect("refusals are kept");
    assert_eq!(back, refused);
    let due = due(&store, "des_1", 10).await;
    assert_eq!(
        due.len(),
        1,
        "the pending event is due again after a restart"
    );
    assert_eq!((&*due[0].event, &*due[0].request), (&routed, &accepted));
}

#[tokio::test]
async fn of_two_at_once_with_one_message_id_exactly_one_is_new() {
    let (_dir, store) = fresh();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tries.spawn(async move {
            let request = request(10, Some("msg_same"));
            let events = vec![event(&request, "des_1")];
            let appended = store.append(new(&request, events), IDS).await.unwrap();
            (request.id, appended)
        });
    }
    let (mut winners, mut pointed) = (Vec::new(), BTreeSet::new());
    while let Some(done) = tries.join_next().await {
        match done.unwrap() {
            (id, Appended::New) => winners.push(id),
            (
                _,
                Appended::Repeat {
                    first_request_id,
                    requeued,
                },
            ) => {
                assert!(requeued.is_empty(), "a pending branch was queued twice");
                pointed.insert(first_request_id);
            }
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?} all won");
    assert_eq!(
        pointed,
        BTreeSet::from_iter(winners.clone()),
        "repeats name the winner"
    );
    assert_eq!(
        totals(&store).await.queued,
        1,
        "one message makes one event"
    );
    let (_, counts) = store.request(TEAM, &winners[0]).await.unwrap().unwrap();
    assert_eq!(counts.repeats, 19, "each repeat is kept as evidence");
}

#[tokio::test]
async fn a_repeat_counts_only_inside_its_window_and_source() {
    let (_dir, store) = fresh();
    let append = |at, source: &'static str| {
        let mut request = request(at, Some("msg_1"));
        request.source_id = source.into();
        let store = store.clone();
        async move { store.append(new(&request, Vec::new()), IDS).await.unwrap() }
    };
    assert_eq!(append(10, "src_1").await, Appended::New);
    assert_eq!(
        append(20, "src_2").await,
        Appended::New,
        "another source is another message"
    );
    assert!(matches!(
        append(10 + WINDOW - 1, "src_1").await,
        Appended::Repeat { .. }
    ));
    assert_eq!(
        append(10 + WINDOW, "src_1").await,
        Appended::New,
        "the window has passed"
    );
}

#[tokio::test]
async fn a_resend_heals_exactly_the_branch_that_failed_for_good() {
    let (_dir, store) = fresh();
    let first = request(10, Some("msg_1"));
    let (dead, fine) = (event(&first, "des_dead"), event(&first, "des_fine"));
    // Failed at a rule, so there is nothing to send.
    let mut untried = event(&first, "des_untried");
    untried.status = EventStatus::Failed;
    untried.next_attempt_at = None;
    store
        .append(new(&first, vec![dead.clone(), fine.clone(), untried]), IDS)
        .await
        .unwrap();
    store
        .complete(completion(&dead, EventStatus::Failed, None))
        .await
        .unwrap();
    store
        .complete(completion(&fine, EventStatus::Successful, None))
        .await
        .unwrap();

    let again = store
        .append(new(&request(20, Some("msg_1")), Vec::new()), IDS)
        .await
        .unwrap();
    let Appended::Repeat {
        first_request_id,
        requeued,
    } = again
    else {
        panic!("{again:?}")
    };
    assert_eq!(first_request_id, first.id);
    assert_eq!(
        requeued.len(),
        1,
        "only the dead branch is queued: {requeued:?}"
    );
    assert_eq!(requeued[0].destination_id, "des_dead");
    let lineage = requeued[0]
        .retry
        .as_ref()
        .expect("it tells where it comes from");
    assert_eq!(
        (lineage.kind, &lineage.parent_event_id),
        (RetryKind::Resend, &dead.id)
    );

    let third = store
        .append(new(&request(30, Some("msg_1")), Vec::new()), IDS)
        .await
        .unwrap();
    let Appended::Repeat { requeued, .. } = third else {
        panic!("{third:?}")
    };
    assert!(
        requeued.is_empty(),
        "a branch that is being healed was queued again"
    );
    let history = store.history(TEAM, &first.id).await.unwrap().unwrap();
    assert_eq!(history.repeats.len(), 2);
    assert_eq!(history.repeats[0].requeued_event_ids.len(), 1);
}

#[tokio::test]
async fn an_event_leaves_pending_once_and_a_known_attempt_changes_nothing() {
    let (_dir, store) = fresh();
    let first = request(10, None);
    let event = event(&first, "des_1");
    store
        .append(new(&first, vec![event.clone()]), IDS)
        .await
        .unwrap();

    let retry = completion(&event, EventStatus::Scheduled, Some(500));
    store.complete(retry.clone()).await.unwrap();
    assert!(
        due(&store, "des_1", 499).await.is_empty(),
        "a retry came too early"
    );
    let due = due(&store, "des_1", 500).await;
    assert_eq!(due[0].event.attempts, 1);
    assert_eq!(
        store.pending_lanes().await.unwrap(),
        [lane("des_1", "web_des_1", 500)]
    );

    let done = completion(&due[0].event, EventStatus::Successful, None);
    store.complete(done).await.unwrap();
    store.complete(retry).await.unwrap();
    let kept = store.event(TEAM, &event.id).await.unwrap().unwrap();
    assert_eq!(
        kept.status,
        EventStatus::Successful,
        "an old attempt moved a final event"
    );
    assert!(store.pending_lanes().await.unwrap().is_empty());
    assert_eq!(
        store
            .history(TEAM, &first.id)
            .await
            .unwrap()
            .unwrap()
            .attempts
            .len(),
        2
    );
}

#[tokio::test]
async fn only_ended_events_can_be_retried_and_the_copy_names_its_parent() {
    let (_dir, store) = fresh();
    let first = request(10, None);
    let (event, skipped) = (event(&first, "des_1"), ignored(&first));
    store
        .append(new(&first, vec![event.clone(), skipped.clone()]), IDS)
        .await
        .unwrap();
    let retry = |id: String| {
        let store = store.clone();
        async move {
            store
                .retry_event(TEAM, &id, IDS.mint(Kind::Event, 50), 50)
                .await
        }
    };
    assert!(matches!(
        retry(event.id.clone()).await,
        Err(RetryError::Pending(_))
    ));
    assert!(matches!(
        retry(skipped.id.clone()).await,
        Err(RetryError::Ignored)
    ));
    assert!(matches!(
        retry("evt_none".into()).await,
        Err(RetryError::NotFound)
    ));
    let foreign = store
        .retry_event("tm_other", &event.id, "evt_x".into(), 50)
        .await;
    assert!(
        matches!(foreign, Err(RetryError::NotFound)),
        "another team reached the event"
    );

    store
        .complete(completion(&event, EventStatus::Failed, None))
        .await
        .unwrap();
    let made = retry(event.id.clone())
        .await
        .expect("a failed event can be retried");
    assert_eq!(made.retry.unwrap().parent_event_id, event.id);
    let due = due(&store, "des_1", 50).await;
    assert_eq!(
        due[0].request.body, first.body,
        "a retry sends the same bytes"
    );
}

#[tokio::test]
async fn cancelling_a_connection_stops_its_pending_events_only() {
    let (_dir, store) = fresh();
    let first = request(10, None);
    let (gone, stays) = (event(&first, "des_gone"), event(&first, "des_stays"));
    store
        .append(new(&first, vec![gone.clone(), stays]), IDS)
        .await
        .unwrap();
    assert_eq!(store.pending_connections().await.unwrap().len(), 2);
    let stopped = store
        .cancel_pending(&gone.connection_id, "connection deleted")
        .await
        .unwrap();
    assert_eq!(stopped, 1);
    // A try that was under way still ends; the event stays stopped.
    store
        .complete(completion(&gone, EventStatus::Successful, None))
        .await
        .unwrap();
    let kept = store.event(TEAM, &gone.id).await.unwrap().unwrap();
    assert_eq!(kept.status, EventStatus::Cancelled);
    assert_eq!(kept.ignored_reason, Some(IgnoredReason::Operator));
    let books = totals(&store).await;
    assert_eq!((books.queued, books.cancelled, books.successful), (1, 1, 0));
}
