//! A store that fails in part, which must not stop the rest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookplane_agent::store::EventStatus;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_rules::RetryPolicy;

use crate::faulty::Faulty;
use crate::receiver::{Receiver, answer};
use crate::world::{LOOPBACK, configuration, destination, put, run_on};

fn store(dir: &Path) -> JournalStore {
    JournalStore::open(&dir.join("store"), &Options::default()).unwrap()
}

#[tokio::test]
async fn a_delivery_that_panics_is_made_again_and_gives_its_place_back() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let config = configuration(
        vec![destination("des_1", &receiver.url)],
        &RetryPolicy::default(),
    );
    let store = store(dir.path());
    let faulty = Faulty::new(&store);
    faulty.panics.store(true, Ordering::Relaxed);
    let running = run_on(store, Arc::new(faulty), &config, LOOPBACK);
    let event = running.put("des_1").await;
    let event = running.reaches(&event, EventStatus::Successful).await;
    assert_eq!(event.attempts, 1, "the attempt that panicked is not known");
    assert_eq!(receiver.got().len(), 2);
    running.stands("des_1", |one| one.in_flight == 0).await;
    let meter = Arc::clone(&running.meter);
    running.stop().await;
    assert_eq!(meter.deliveries_in_flight(), 0);
}

#[tokio::test]
async fn a_branch_that_cannot_be_read_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let all = ["des_0", "des_1", "des_2"].map(|id| destination(id, &receiver.url));
    let config = configuration(all.into(), &RetryPolicy::default());
    let store = store(dir.path());
    let faulty = Faulty {
        unreadable: "des_1".to_owned(),
        ..Faulty::new(&store)
    };
    let running = run_on(store, Arc::new(faulty), &config, LOOPBACK);
    let broken = running.put("des_1").await;
    for id in ["des_0", "des_2", "des_0", "des_2"] {
        let event = running.put(id).await;
        running.reaches(&event, EventStatus::Successful).await;
    }
    running.reaches(&broken, EventStatus::Queued).await;
    running.stop().await;
}

#[tokio::test]
async fn stopping_the_events_of_deleted_connections_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let gone: Vec<String> = (0..20).map(|number| format!("web_gone_{number}")).collect();
    let to = destination("des_1", &receiver.url);
    let config = configuration(vec![to], &RetryPolicy::default());
    let mut changed = Arc::into_inner(config.swap(Arc::default())).unwrap();
    changed.deleted_connections = gone.iter().cloned().collect();
    config.store(Arc::new(changed));
    let store = store(dir.path());
    for connection in &gone {
        put(&store, "des_1", connection).await;
    }
    let faulty = Arc::new(Faulty {
        cancels_hang: true,
        ..Faulty::new(&store)
    });
    let seen = Arc::clone(&faulty);
    let running = run_on(store, seen, &config, LOOPBACK);
    for _ in 0..5 {
        let event = running.put("des_1").await;
        running.reaches(&event, EventStatus::Successful).await;
    }
    // Whatever hangs, only a few are asked for at once, each of them once.
    assert_eq!(faulty.cancels.load(Ordering::Relaxed), 4);
    assert!(running.stop().await, "a drain waits for what hangs");
}
