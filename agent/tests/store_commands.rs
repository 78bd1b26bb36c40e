//! The commands that work on a stopped store, run as an operator runs them: what they write and
//! with which code they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{EventRecord, EventStatus, NewRequest, RequestRecord, Store as _};
use serde_json::Value;

const IDS: IdMint = IdMint::new(7);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn index(&self) -> PathBuf {
        self.store().join("index.db")
    }

    fn open(&self) -> JournalStore {
        std::fs::create_dir_all(self.store()).unwrap();
        JournalStore::open(&self.store(), &Options::default()).unwrap()
    }

    /// A closed store with so many requests of one event each.
    async fn filled(requests: u64) -> Self {
        let place = Self::new();
        let store = place.open();
        for at in 0..requests {
            store.append(new(1_000 + at), IDS).await.unwrap();
        }
        store.event("tm_1", "evt_none").await.unwrap();
        store.close().await;
        place
    }

    fn run(&self, command: &str) -> Output {
        let mut binary = Command::new(env!("CARGO_BIN_EXE_hookplane-agent"));
        let binary = binary.arg("--data-dir").arg(self.0.path());
        binary.args(["store", command]).output().unwrap()
    }

    /// Changes a byte of the first record with a body.
    fn damage(&self) {
        let path = self.store().join("journal/0000000001.segment");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4_096 + 1_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

fn new(at: u64) -> NewRequest {
    let request = RequestRecord {
        id: IDS.mint(Kind::Request, at),
        team_id: "tm_1".into(),
        source_id: "src_1".into(),
        rejection: None,
        verified_by: None,
        message_id: Some(format!("msg_{at}")),
        event_type: Some("user.created".into()),
        ingested_at: at,
        client_ip: "127.0.0.1".into(),
        config_revision: 1,
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body: Bytes::from(vec![b'x'; 5_000]),
        body_size: 5_000,
        replay: None,
    };
    let event = EventRecord {
        id: IDS.mint(Kind::Event, at),
        team_id: "tm_1".into(),
        request_id: request.id.clone(),
        connection_id: "web_1".into(),
        source_id: "src_1".into(),
        destination_id: "des_1".into(),
        event_type: None,
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: at,
        last_attempt_at: None,
        next_attempt_at: Some(at),
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    };
    NewRequest {
        request,
        events: vec![event],
        dedupe_window_millis: 1_000_000,
        branch_keys: Vec::new(),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = text(output);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn ends_with(output: &Output, code: i32) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
}

#[tokio::test]
async fn of_a_sound_store_every_command_ends_with_0() {
    let place = Place::filled(3).await;
    let verified = place.run("verify");
    ends_with(&verified, 0);
    let told = text(&verified);
    assert!(
        told.contains("index: whole") && told.contains("request: 3"),
        "{told}"
    );

    let exported = place.run("export");
    ends_with(&exported, 0);
    let requests: Vec<Value> = lines(&exported)
        .into_iter()
        .filter(|line| line["kind"] == "request")
        .collect();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert!(request["key"].is_string() && request["key_expires_at"].is_u64());
        let event = &request["events"][0];
        assert_eq!(event["status"], "QUEUED");
        assert_eq!(event["team_id"], "tm_1");
        assert_eq!(event["source_id"], "src_1");
    }

    std::fs::remove_file(place.index()).unwrap();
    let rebuilt = place.run("rebuild-index");
    ends_with(&rebuilt, 0);
    assert!(place.index().exists());
    ends_with(&place.run("verify"), 0);
}

#[tokio::test]
async fn what_is_lost_is_told_and_every_command_ends_with_1() {
    let place = Place::filled(3).await;
    place.damage();
    let verified = place.run("verify");
    ends_with(&verified, 1);
    assert!(text(&verified).contains("damaged: "), "{verified:?}");
    let exported = place.run("export");
    ends_with(&exported, 1);
    assert!(
        lines(&exported).iter().any(|line| line["kind"] == "lost"),
        "what is lost is not in the export"
    );
    let rebuilt = place.run("rebuild-index");
    ends_with(&rebuilt, 1);
    let told = text(&rebuilt);
    assert!(
        told.contains("damaged: ") && !told.contains("damages: 0"),
        "{told}"
    );
}

#[tokio::test]
async fn an_index_that_does_not_agree_with_the_journal_is_told_and_mended() {
    let place = Place::filled(5).await;
    let spoil = |index: &Path, sql: &str| {
        let db = rusqlite::Connection::open(index).unwrap();
        db.execute_batch(sql).unwrap();
    };
    for sql in [
        "UPDATE event SET due_at = NULL WHERE id = (SELECT max(id) FROM event)",
        "UPDATE total SET count = count + 1 WHERE what = 101",
        "UPDATE fact SET value = value + 1000000 WHERE name = 'resume'",
    ] {
        spoil(&place.index(), sql);
        let verified = place.run("verify");
        ends_with(&verified, 1);
        assert!(text(&verified).contains("rebuild-index"), "{sql}");
        ends_with(&place.run("rebuild-index"), 0);
        ends_with(&place.run("verify"), 0);
    }
    let mark = place.store().join("index.broken");
    std::fs::write(&mark, "").unwrap();
    ends_with(&place.run("verify"), 1);
    ends_with(&place.run("rebuild-index"), 0);
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_store_in_use_or_none_at_all_is_left_alone() {
    let place = Place::filled(1).await;
    let store = place.open();
    for command in ["verify", "export", "rebuild-index"] {
        ends_with(&place.run(command), 1);
        ends_with(&Place::new().run(command), 1);
    }
    assert!(
        place.index().exists(),
        "the index of a running agent is gone"
    );
    store.append(new(9_000), IDS).await.unwrap();
    assert!(store.event("tm_1", "evt_none").await.is_ok());
}
