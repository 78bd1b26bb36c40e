//! Destinations that cannot hurt each other, and are not hurt themselves.

use std::sync::Arc;
use std::time::Duration;

use hookplane_agent::config::{Destination, RateLimit};
use hookplane_agent::deliver::Circuit;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{EventStatus, Store as _};
use hookplane_rules::{RetryPolicy, Strategy};
use tokio::sync::Semaphore;

use crate::receiver::{Act, Receiver, answer};
use crate::world::{LOOPBACK, Running, TEAM, configuration, destination, put, run};

fn wide(id: &str, url: &str) -> Destination {
    Destination {
        max_in_flight: 32,
        ..destination(id, url)
    }
}

async fn pending_with_attempts(running: &Running, ids: &[String]) -> (usize, u32) {
    let (mut pending, mut attempts) = (0, 0);
    for id in ids {
        let event = running.store.event(TEAM, id).await.unwrap().unwrap();
        if matches!(event.status, EventStatus::Queued | EventStatus::Scheduled) {
            pending += 1;
            attempts += event.attempts;
        }
    }
    (pending, attempts)
}

#[tokio::test]
async fn an_open_circuit_spends_no_attempts_and_closes_after_good_probes() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(500)]).await;
    let retry = RetryPolicy::new(Strategy::Linear, 50, 1_000, &[]).unwrap();
    let config = configuration(vec![destination("des_1", &receiver.url)], &retry);
    let running = run(dir.path(), &config, LOOPBACK);
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(running.put("des_1").await.id);
    }
    let open = running
        .stands("des_1", |one| {
            one.circuit == Circuit::Open && one.in_flight == 0
        })
        .await;
    assert!(open.open_since.is_some() && open.next_probe_at > open.open_since);
    let tried = receiver.got().len();
    assert!((10..=12).contains(&tried), "{tried} tries before it opened");
    let (pending, attempts) = pending_with_attempts(&running, &ids).await;
    assert_eq!(pending, 40, "an event failed while the circuit was open");
    assert_eq!(attempts as usize, tried, "waiting was counted as trying");

    receiver.now(answer(200));
    running
        .stands("des_1", |one| one.circuit == Circuit::Closed)
        .await;
    for id in &ids {
        let event = running.store.event(TEAM, id).await.unwrap().unwrap();
        running.reaches(&event, EventStatus::Successful).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn changing_a_destination_tries_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, good) = (
        Receiver::start(vec![answer(500)]).await,
        Receiver::start(vec![answer(200)]).await,
    );
    let config = configuration(
        vec![destination("des_1", &bad.url)],
        &RetryPolicy::default(),
    );
    let running = run(dir.path(), &config, LOOPBACK);
    for _ in 0..20 {
        running.put("des_1").await;
    }
    running
        .stands("des_1", |one| one.circuit == Circuit::Open)
        .await;
    let moved = Destination {
        version: 2,
        ..destination("des_1", &good.url)
    };
    config.store(configuration(vec![moved], &RetryPolicy::default()).load_full());
    good.called(8).await;
    running.stop().await;
}

#[tokio::test]
async fn a_rate_limit_holds_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, free) = (
        Receiver::start(vec![answer(200)]).await,
        Receiver::start(vec![answer(200)]).await,
    );
    let limited = Destination {
        rate: Some(RateLimit {
            count: 30,
            period: Duration::from_secs(3_600),
        }),
        ..wide("des_limited", &slow.url)
    };
    let config = configuration(
        vec![limited, wide("des_free", &free.url)],
        &RetryPolicy::default(),
    );
    let running = run(dir.path(), &config, LOOPBACK);
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(running.put("des_limited").await.id);
        running.put("des_free").await;
    }
    free.called(40).await;
    let held = running
        .stands("des_limited", |one| {
            one.held_until.is_some() && one.in_flight == 0
        })
        .await;
    assert_eq!(held.circuit, Circuit::Closed);
    // A tenth of the hour's thirty may go at once; the next one minutes later.
    assert_eq!(slow.got().len(), 3);
    assert_eq!(pending_with_attempts(&running, &ids).await, (37, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_branch_with_many_due_events_shares_its_destination_with_one_that_has_few() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let store = JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap();
    for _ in 0..200 {
        put(&store, "des_1", "web_des_1").await;
    }
    let mut few = Vec::new();
    for _ in 0..5 {
        few.push(put(&store, "des_1", "web_other_des_1").await);
    }
    store.close().await;
    let config = configuration(
        vec![destination("des_1", &receiver.url)],
        &RetryPolicy::default(),
    );
    let running = run(dir.path(), &config, LOOPBACK);
    for event in &few {
        running.reaches(event, EventStatus::Successful).await;
    }
    receiver.called(205).await;
    let order: Vec<String> = receiver
        .got()
        .iter()
        .map(|one| {
            one.headers["hookplane-event-id"]
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let last = few
        .iter()
        .map(|event| order.iter().position(|id| *id == event.id).unwrap());
    let last = last.max().unwrap();
    assert!(
        last < 20,
        "the last of five came after {last} of the others"
    );
    running.stop().await;
}

/// G11: the healthy destination gets everything while its neighbours get what they bear.
#[tokio::test]
async fn hanging_failing_and_slow_destinations_take_nothing_from_a_healthy_one() {
    const EACH: usize = 150;
    let dir = tempfile::tempdir().unwrap();
    let permits = Arc::new(Semaphore::new(0));
    let hanging = Receiver::start(vec![Act::Hang]).await;
    let failing = Receiver::start(vec![answer(500)]).await;
    let slow = Receiver::start(vec![Act::Permitted(Arc::clone(&permits))]).await;
    let healthy = Receiver::start(vec![answer(200)]).await;
    let bad = [
        ("des_a_hanging", &hanging),
        ("des_b_failing", &failing),
        ("des_c_slow", &slow),
    ];
    let store = JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap();
    for (id, _) in bad {
        for _ in 0..EACH {
            put(&store, id, &format!("web_{id}")).await;
        }
    }
    let mut events = Vec::new();
    for _ in 0..EACH {
        events.push(put(&store, "des_d_healthy", "web_des_d_healthy").await);
    }
    store.close().await;
    let mut all = vec![wide("des_d_healthy", &healthy.url)];
    all.extend(bad.map(|(id, receiver)| wide(id, &receiver.url)));
    let running = run(
        dir.path(),
        &configuration(all, &RetryPolicy::default()),
        LOOPBACK,
    );
    // A hundred times slower: one answer for a hundred of the healthy one.
    healthy.called(100).await;
    permits.add_permits(1);
    for event in &events {
        running.reaches(event, EventStatus::Successful).await;
    }
    assert_eq!(healthy.got().len(), EACH, "something was sent twice");
    let called = [&hanging, &failing, &slow].map(|one| one.got().len());
    assert!(called[0] <= 4, "{} hang at once", called[0]);
    assert!(
        called[1] <= 40,
        "{} failed before it was left alone",
        called[1]
    );
    assert!(called[2] <= 7, "{} went to the slow one", called[2]);
    running
        .stands("des_b_failing", |one| one.circuit == Circuit::Open)
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_crowd_of_hanging_destinations_leaves_places_for_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (hanging, healthy) = (
        Receiver::start(vec![Act::Hang]).await,
        Receiver::start(vec![answer(200)]).await,
    );
    let mut all: Vec<Destination> = (0..300)
        .map(|number| wide(&format!("des_{number:03}"), &hanging.url))
        .collect();
    let store = JournalStore::open(&dir.path().join("store"), &Options::default()).unwrap();
    for to in &all {
        for _ in 0..4 {
            put(&store, &to.id, &format!("web_{}", to.id)).await;
        }
    }
    store.close().await;
    all.push(wide("des_healthy", &healthy.url));
    let running = run(
        dir.path(),
        &configuration(all, &RetryPolicy::default()),
        LOOPBACK,
    );
    hanging.called(700).await;
    let mut last = None;
    for _ in 0..20 {
        last = Some(running.put("des_healthy").await);
    }
    running
        .reaches(&last.unwrap(), EventStatus::Successful)
        .await;
    assert!(hanging.got().len() <= 768 + 8, "the kept places were taken");
    running.stop().await;
}

#[tokio::test]
async fn a_wish_to_be_disabled_is_shown_and_deliveries_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let wish = Act::Answer(
        200,
        vec![("webhook-delivery", "disable".into())],
        Vec::new(),
    );
    let receiver = Receiver::start(vec![wish, answer(200)]).await;
    let config = configuration(
        vec![destination("des_1", &receiver.url)],
        &RetryPolicy::default(),
    );
    let running = run(dir.path(), &config, LOOPBACK);
    running.put("des_1").await;
    running
        .stands("des_1", |one| one.disable_requested_at.is_some())
        .await;
    let next = running.put("des_1").await;
    running.reaches(&next, EventStatus::Successful).await;
    running.stop().await;
}
