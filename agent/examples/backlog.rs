//! How a store with a long backlog starts: time to the first accept and the first due event, and
//! the memory it takes.
//!
//! `cargo run --release -p hookplane-agent --example backlog [folder] [events]`
//! The folder is kept, so that a second run only starts.

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{
    AttemptRecord, Completion, EventRecord, EventStatus, NewRequest, RequestRecord, Store,
};
use tokio::task::JoinSet;

const IDS: IdMint = IdMint::new(7);
const BODY: usize = 1_500;
const BRANCHES: u64 = 4;
const AT_ONCE: usize = 512;
const SENT: usize = 20_000;
const LATER: u64 = u64::MAX >> 1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or("target/backlog".into()));
    let wanted: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let mut out = io::stdout().lock();
    let store = JournalStore::open(&folder, &Options::default())?;
    let held = store.backlog(&HashSet::new()).await?.queued;
    if held < wanted {
        let began = Instant::now();
        fill(&store, held, wanted).await?;
        let rate = (wanted - held) as f64 / began.elapsed().as_secs_f64();
        writeln!(out, "filled to {wanted} pending, {rate:.0} events/s")?;
        writeln!(out, "resident memory: {}", resident()?)?;
        let began = Instant::now();
        store.event("tm_1", "evt_none").await?;
        writeln!(out, "index caught up after {:?}", began.elapsed())?;
    }
    store.close().await;
    drop(store);

    let began = Instant::now();
    let store = JournalStore::open(&folder, &Options::default())?;
    store.append(new(LATER, 0), IDS).await?;
    writeln!(out, "first accept after {:?}", began.elapsed())?;
    let due = store.due(due()).await?.len();
    writeln!(out, "first {due} due after {:?}", began.elapsed())?;
    let waiting = store.pending_lanes().await?.len();
    writeln!(out, "{waiting} destinations after {:?}", began.elapsed())?;
    writeln!(out, "resident memory: {}", resident()?)?;
    let began = Instant::now();
    let sent = send(&store).await?;
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    writeln!(out, "{sent} taken out, {rate:.0} events/s")?;
    writeln!(out, "resident memory: {}", resident()?)?;
    store.close().await;
    Ok(())
}

async fn fill(store: &JournalStore, from: u64, to: u64) -> Result<(), Box<dyn Error>> {
    let mut tasks = JoinSet::new();
    let mut at = from;
    while at < to {
        if tasks.len() >= AT_ONCE
            && let Some(done) = tasks.join_next().await
        {
            done?;
        }
        let (store, new) = (store.clone(), new(at, BRANCHES));
        at += BRANCHES;
        tasks.spawn(async move {
            while store.append(new.clone(), IDS).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(())
}

/// Ends deliveries as they become due.
async fn send(store: &JournalStore) -> Result<usize, Box<dyn Error>> {
    let mut sent = 0;
    while sent < SENT {
        let due = store.due(due()).await?;
        if due.is_empty() {
            break;
        }
        sent += due.len();
        let mut ends = JoinSet::new();
        for due in due {
            let (store, done) = (store.clone(), completion(&due.event));
            ends.spawn(async move { store.complete(done).await });
        }
        while let Some(done) = ends.join_next().await {
            done??;
        }
    }
    Ok(sent)
}

fn resident() -> io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let line = line.unwrap_or("unknown").replace("VmRSS:", "");
    Ok(line.trim().to_owned())
}

fn new(at: u64, branches: u64) -> NewRequest {
    let request = RequestRecord {
        id: IDS.mint(Kind::Request, at),
        team_id: "tm_1".into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: Some(format!("msg_{at}_{}", rand::random::<u64>())),
        event_type: Some("user.created".into()),
        ingested_at: at,
        client_ip: "127.0.0.1".into(),
        config_revision: 1,
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![(
            "content-type".into(),
            Bytes::from_static(b"application/json"),
        )],
        body: Bytes::from(vec![b'x'; BODY]),
        body_size: BODY as u64,
        replay: None,
    };
    let events = (1..=branches).map(|branch| event(&request, branch));
    NewRequest {
        events: events.collect(),
        request,
        dedupe_window_millis: 3 * 86_400_000,
        branch_keys: Vec::new(),
    }
}

fn event(request: &RequestRecord, branch: u64) -> EventRecord {
    EventRecord {
        id: IDS.mint(Kind::Event, request.ingested_at),
        team_id: request.team_id.clone(),
        request_id: request.id.clone(),
        connection_id: format!("web_{branch}"),
        source_id: request.source_id.clone(),
        destination_id: format!("des_{branch}"),
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

fn completion(event: &EventRecord) -> Completion {
    let at = event.created_at;
    Completion {
        status: EventStatus::Successful,
        attempt: AttemptRecord {
            id: IDS.mint(Kind::Attempt, at),
            team_id: event.team_id.clone(),
            event_id: event.id.clone(),
            request_id: event.request_id.clone(),
            connection_id: event.connection_id.clone(),
            source_id: event.source_id.clone(),
            destination_id: event.destination_id.clone(),
            number: event.attempts + 1,
            trigger: "initial".into(),
            successful: true,
            response_status: Some(200),
            error_code: None,
            error_message: None,
            requested_url: "http://127.0.0.1/".into(),
            http_method: "POST".into(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            started_at: at,
            responded_at: Some(at),
            latency_micros: 1_000,
            decision: "delivered".into(),
            next_attempt_at: None,
            handler: None,
            sent_body: None,
        },
    }
}

fn due() -> hookplane_agent::store::DueQuery {
    hookplane_agent::store::DueQuery {
        destination_id: "des_1".into(),
        connection_id: "web_1".into(),
        now: LATER,
        limit: 255,
        ..hookplane_agent::store::DueQuery::default()
    }
}
