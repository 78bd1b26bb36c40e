//! A damaged page of the index, whichever it is: it is noticed by who needs it, and the next start
//! makes the index again.

use std::path::{Path, PathBuf};

use hookplane_journal::io::simulated::SimulatedDisk;

use super::rebuilding::{live, told};
use super::*;
use crate::store::StoreError;

/// The first page of every table and index.
fn pages(index: &Path) -> (usize, Vec<(String, usize)>) {
    let db = rusqlite::Connection::open(index).unwrap();
    let size: i64 = db
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .unwrap();
    let mut find = db
        .prepare("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0")
        .unwrap();
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
    let mut pages = vec![("the schema".to_owned(), 1)];
    for found in found.unwrap() {
        let (name, page) = found.unwrap();
        pages.push((name, usize::try_from(page).unwrap()));
    }
    (usize::try_from(size).unwrap(), pages)
}

/// Everything that meets an index: repeats, what is due, ends of deliveries, lists, retention.
async fn work(store: &JournalStore) -> Result<(), StoreError> {
    let again = request(800, Some("msg_3"), 100);
    let repeated = store.append(new(&again, Vec::new()), IDS).await;
    let due = store.due(lane_due("des_1", 10_000, 100)).await;
    for due in due.iter().flatten() {
        let done = completion(&due.event, EventStatus::Failed, None);
        store.complete(done).await?;
    }
    let fresh = request(900, None, 10);
    store.append(new(&fresh, Vec::new()), IDS).await?;
    // Each of them before one that failed ends this.
    store.retain(103, 103, 10).await?;
    due?;
    repeated.map(drop)
}

#[tokio::test]
async fn whichever_page_is_damaged_the_next_start_makes_the_index_again() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let options = options(64 << 10);
    let path = dir.path().join("index.db");
    let mark: PathBuf = path.with_extension("broken");
    let store = on_disk(&disk, dir.path(), &options);
    live(&store).await;
    let before = told(&store).await;
    store.close().await;
    drop(store);
    // Closed behind this look, the file is whole without a log.
    let (size, pages) = pages(&path);
    let sound = std::fs::read(&path).unwrap();
    assert!(pages.len() > 20, "{pages:?}");
    for (name, page) in pages {
        let mut bytes = sound.clone();
        bytes[(page - 1) * size..][..size].fill(0xa5);
        super::super::index::remove(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();

        let copy = SimulatedDisk::new(2);
        for name in disk.names() {
            copy.put(&name, disk.bytes_of(&name).unwrap());
        }
        let store = on_disk(&copy, dir.path(), &options);
        let noticed = async {
            while !mark.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // A real process ends as soon as there is the mark.
        tokio::select! {
            () = noticed => {}
            _ = work(&store) => {}
        }
        store.close().await;
        drop(store);
        let store = on_disk(&copy, dir.path(), &options);
        assert!(!mark.exists(), "{name}: the mark stays");
        let worked = work(&store).await;
        assert!(worked.is_ok(), "{name}: {worked:?}");
        let listed = told(&store).await;
        assert!(listed.len() > before.len() / 2, "{name}");
        assert_eq!(store.imbalance().await.unwrap(), 0, "{name}");
        store.close().await;
        assert!(!mark.exists(), "{name}: still broken");
    }
}
