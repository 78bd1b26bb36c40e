//! Work on a stopped store.

use super::super::offline::{OfflineError, export, rebuild_index, verify};
use super::*;

fn small(folder: &Path) -> JournalStore {
    JournalStore::open(folder, &options(1 << 20)).unwrap()
}

#[tokio::test]
async fn a_stopped_store_is_checked_written_out_and_its_index_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let none = verify(dir.path(), &mut out);
    assert!(matches!(none, Err(OfflineError::NoStore(_))), "{none:?}");
    let store = small(dir.path());
    let (kept, branch) = accept(&store, 10, 100).await;
    let done = completion(&branch, EventStatus::Successful, None);
    store.complete(done).await.unwrap();
    let used = verify(dir.path(), &mut out);
    assert!(matches!(used, Err(OfflineError::InUse)), "{used:?}");
    store.close().await;
    drop(store);

    assert!(verify(dir.path(), &mut out).unwrap());
    let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
    assert!(
        text.contains("request: 1") && text.contains("sound"),
        "{text}"
    );
    export(dir.path(), &mut out).unwrap();
    let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["payload", "request", "attempt"]);
    assert_eq!(lines[1]["id"], kept.id);
    assert_eq!(lines[1]["events"][0]["id"], branch.id);

    out.clear();
    assert!(rebuild_index(dir.path(), &mut out).await.unwrap());
    let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
    assert!(text.contains("wrong sums: 0"), "{text}");
    let store = small(dir.path());
    let event = store.event(TEAM, &branch.id).await.unwrap().unwrap();
    assert_eq!(event.status, EventStatus::Successful);
}

#[tokio::test]
async fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = small(dir.path());
    accept(&store, 10, 5_000).await;
    accept(&store, 20, 5_000).await;
    store.close().await;
    drop(store);
    let path = dir.path().join("journal/0000000001.segment");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4_096 + 1_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut out = Vec::new();
    assert!(!verify(dir.path(), &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("checksum"), "{text}");
}
