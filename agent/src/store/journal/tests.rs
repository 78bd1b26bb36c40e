//! Tests of what is special about the store on a journal: crashes, rebuilding, moving, bounds.

mod corpus;
mod counts;
mod crashes;
mod damage;
mod disk;
mod handing;
mod holding;
mod listing;
mod many;
mod moving;
mod offline;
mod pressure;
mod rebuilding;
mod records;
mod starting;
mod stopping;
mod upkeep_crashes;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use hookplane_journal::io::simulated::SimulatedDisk;

use super::{JournalStore, Options};
use crate::ids::{IdMint, Kind};
use crate::store::{
    AttemptRecord, Completion, DueQuery, EventRecord, EventStatus, NewRequest, RequestRecord,
    Store as _, StoreEvent,
};

const TEAM: &str = "tm_1";
const IDS: IdMint = IdMint::new(7);
const LONG: u64 = 1_000_000_000;

/// Small segments and no pauses.
fn options(segment_bytes: u32) -> Options {
    let mut options = Options::default();
    options.journal.segment_bytes = segment_bytes;
    options.journal.batch_bytes = segment_bytes as usize / 2;
    options.journal.spare_segments = 1;
    options.journal.failure_pause = Duration::ZERO;
    options
}

fn on_disk(disk: &SimulatedDisk, folder: &Path, options: &Options) -> JournalStore {
    let index = folder.join("index.db");
    JournalStore::open_on(disk.directory(), &index, options, u64::MAX).expect("the store opens")
}

fn request(at: u64, message_id: Option<&str>, body: usize) -> RequestRecord {
    RequestRecord {
        id: IDS.mint(Kind::Request, at),
        team_id: TEAM.into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: message_id.map(str::to_owned),
        event_type: Some("user.created".into()),
        ingested_at: at,
        client_ip: "127.0.0.1".into(),
        config_revision: 3,
        method: "POST".into(),
        path: "/a".into(),
        query: String::new(),
        headers: vec![("X".into(), Bytes::from_static(b"\xff"))],
        body: Bytes::from(vec![at.to_le_bytes()[0]; body]),
        body_size: body as u64,
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

/// Due events of the usual branch to a destination.
fn lane_due(destination: &str, now: u64, limit: u32) -> DueQuery {
    DueQuery {
        destination_id: destination.into(),
        connection_id: format!("web_{destination}"),
        now,
        limit,
        ..DueQuery::default()
    }
}

fn new(request: &RequestRecord, events: Vec<EventRecord>) -> NewRequest {
    NewRequest {
        request: request.clone(),
        events,
        dedupe_window_millis: LONG,
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
            error_code: None,
            error_message: None,
            requested_url: "http://127.0.0.1/".into(),
            http_method: "POST".into(),
            request_headers: Vec::new(),
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

/// Accepts one request with one event. Asks again while the follower is behind by more of these
/// tiny segments than it may be.
async fn accept(store: &JournalStore, at: u64, body: usize) -> (RequestRecord, EventRecord) {
    let request = request(at, None, body);
    let event = event(&request, "des_1");
    until("the request is stored", async || {
        let new = new(&request, vec![event.clone()]);
        store.append(new, IDS).await.is_ok()
    })
    .await;
    (request, event)
}

/// Accepts one request for a destination and delivers it.
async fn deliver(store: &JournalStore, at: u64, body: usize) {
    let (_, branch) = accept(store, at, body).await;
    let done = completion(&branch, EventStatus::Successful, None);
    store.complete(done).await.expect("the end of a delivery");
}

/// Keeps the index from being written until it is dropped.
fn lock_index(folder: &Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(folder.join("index.db")).expect("a second connection");
    other
        .busy_timeout(Duration::from_secs(20))
        .expect("a timeout");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    other
}

/// Keeps the follower from saying how far it is, until the sender is dropped.
fn hold_up_follower(store: &JournalStore) -> SyncSender<()> {
    let parts = shared(store);
    let (until, dropped) = sync_channel::<()>(1);
    let (begun, heard) = sync_channel(1);
    std::thread::spawn(move || {
        let _pending = parts.pending();
        begun.send(()).unwrap();
        dropped.recv().ok();
    });
    heard.recv().unwrap();
    until
}

/// Waits for a state, at most half a minute.
async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !reached().await {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn shared(store: &JournalStore) -> Arc<super::parts::Parts> {
    Arc::clone(store.parts())
}
