//! Searches over a real store: what they find, keep, and where they stop.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::command::SEARCHES;
use crate::command::testing::{Ticking, desk};
use crate::ids::{IdMint, Kind};
use crate::store::NewRequest;
use crate::store::Store as _;
use crate::store::journal::JournalStore;

const IDS: IdMint = IdMint::new(1);
const MIB: usize = 1_024 * 1_024;

fn request(at: u64, body: impl Into<Bytes>) -> RequestRecord {
    let body = body.into();
    RequestRecord {
        id: IDS.mint(Kind::Request, at),
        team_id: "tm_1".into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: None,
        event_type: None,
        ingested_at: at,
        client_ip: "192.0.2.1".into(),
        config_revision: 1,
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![("x-kind".into(), Bytes::from_static(b"Invoice"))],
        body_size: body.len() as u64,
        replay: None,
        body,
    }
}

/// Stores a request with each of the bodies and gives their ids, newest first.
async fn store(store: &JournalStore, bodies: Vec<Bytes>) -> Vec<String> {
    let mut ids = Vec::new();
    for (at, body) in bodies.into_iter().enumerate() {
        let request = request(1_000 + at as u64, body);
        ids.push(request.id.clone());
        let new = NewRequest {
            request,
            events: Vec::new(),
            dedupe_window_millis: 0,
            branch_keys: Vec::new(),
        };
        store.append(new, IDS).await.unwrap();
    }
    ids.reverse();
    ids
}

fn all() -> RequestQuery {
    RequestQuery {
        team_id: "tm_1".into(),
        limit: 255,
        ..RequestQuery::default()
    }
}

fn needle(text: &str) -> Needle {
    Needle::parse(text).unwrap().expect("something to look for")
}

#[test]
fn letters_of_ascii_match_in_either_case_and_others_as_they_are_written() {
    let school = request(1, "à l'École normale");
    for text in ["École", "ÉCOLE", "l'École N", "invoice", "INVOICE", "post"] {
        assert!(needle(text).is_in(&school), "{text}");
    }
    for text in ["école", "Écoles", "receipt"] {
        assert!(!needle(text).is_in(&school), "{text}");
    }
    assert!(Needle::parse(" ").unwrap().is_none());
}

#[tokio::test]
async fn payloads_are_kept_only_if_asked_for_and_end_the_page_at_a_number_of_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, desk) = desk(&folder, 0);
    let bodies = vec![Bytes::from(vec![b'a'; 7 * MIB]); 3];
    let ids = store(&journal, bodies).await;
    let found = requests(&desk, all(), needle("invoice"), false)
        .await
        .unwrap();
    assert_eq!((found.rows.len(), found.stopped_at), (3, None));
    for (request, _) in &found.rows {
        assert!(request.body.is_empty() && request.headers.is_empty());
    }
    let found = requests(&desk, all(), needle("invoice"), true)
        .await
        .unwrap();
    let kept: Vec<_> = found.rows.iter().map(|(one, _)| &one.id).collect();
    assert_eq!(kept, [&ids[0], &ids[1]]);
    assert_eq!(found.rows[0].0.body.len(), render::MAX_BODY);
    assert_eq!(found.stopped_at.as_ref(), Some(&ids[1]));
    let rest = RequestQuery {
        before_id: found.stopped_at,
        ..all()
    };
    let found = requests(&desk, rest, needle("invoice"), true)
        .await
        .unwrap();
    assert_eq!((found.rows.len(), found.stopped_at), (1, None));
    journal.close().await;
}

#[tokio::test]
async fn the_time_is_looked_at_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, desk) = desk(&folder, MAX_MILLIS - 500);
    let ids = store(&journal, vec![Bytes::from_static(b"{}"); 4]).await;
    let found = requests(&desk, all(), needle("nobody sent this"), false)
        .await
        .unwrap();
    assert!(found.rows.is_empty());
    assert_eq!(found.stopped_at.as_ref(), Some(&ids[1]));
    journal.close().await;
}

#[tokio::test(start_paused = true)]
async fn searches_past_the_bound_wait_for_their_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, desk) = desk(&folder, 0);
    let taken = u32::try_from(SEARCHES).unwrap();
    let turns = desk.searches.0.acquire_many(taken).await.unwrap();
    let search = requests(&desk, all(), needle("a"), false);
    let waited = tokio::time::timeout(Duration::from_secs(3_600), search).await;
    assert!(waited.is_err(), "it did not wait");
    drop(turns);
    journal.close().await;
}

#[test]
fn a_search_that_nobody_waits_for_ends_with_the_next_request() {
    let scan = Arc::new(Mutex::new(Scan {
        needle: needle("a"),
        with_data: false,
        limit: 10,
        clock: Arc::new(Ticking(AtomicU64::new(0), 0)),
        until: 1,
        rows: Vec::new(),
        kept: 0,
    }));
    let mut look = look(&scan);
    let counts = RequestCounts::default();
    assert!(look(request(1, "a"), counts).is_continue());
    drop(scan);
    assert!(look(request(2, "a"), counts).is_break());
}
