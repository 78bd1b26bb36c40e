//! Counts are what counting one by one gives, whatever the window.

use hookplane_journal::io::simulated::SimulatedDisk;

use super::super::index::totals::{self, MINUTE};
use super::*;
use crate::store::{EventQuery, EventTotals, RequestQuery, RequestTotals};

/// Events and requests by time, as the test knows them.
#[derive(Default)]
struct Known {
    events: Vec<(u64, EventStatus)>,
    requests: Vec<(u64, bool)>,
    repeats: Vec<u64>,
}

impl Known {
    fn events(&self, from: u64, to: u64) -> EventTotals {
        let number = |wanted| {
            let there = self.events.iter();
            let there = there.filter(|(at, status)| (from..to).contains(at) && *status == wanted);
            there.count() as u64
        };
        EventTotals {
            scheduled: number(EventStatus::Scheduled),
            queued: number(EventStatus::Queued),
            hold: number(EventStatus::Hold),
            successful: number(EventStatus::Successful),
            failed: number(EventStatus::Failed),
            cancelled: number(EventStatus::Cancelled),
        }
    }

    fn requests(&self, from: u64, to: u64) -> RequestTotals {
        let number = |wanted| {
            let there = self.requests.iter();
            let there =
                there.filter(|(at, rejected)| (from..to).contains(at) && *rejected == wanted);
            there.count() as u64
        };
        RequestTotals {
            accepted: number(false),
            rejected: number(true),
            repeats: self
                .repeats
                .iter()
                .filter(|at| (from..to).contains(at))
                .count() as u64,
        }
    }
}

async fn fill(store: &JournalStore) -> Known {
    let mut known = Known::default();
    for step in 0..60_u64 {
        let at = MINUTE * 100 + step * 13_000;
        let message = format!("msg_{step}");
        let mut one = request(at, Some(&message), 10);
        if step % 7 == 3 {
            one.rejection = Some(crate::store::Rejection {
                cause: "signature".into(),
                reason: "bad".into(),
                detail: "no".into(),
            });
            store.append(new(&one, Vec::new()), IDS).await.unwrap();
            known.requests.push((at, true));
            continue;
        }
        known.requests.push((at, false));
        let branches = [event(&one, "des_1"), event(&one, "des_2")];
        let stored = new(&one, branches.to_vec());
        store.append(stored, IDS).await.unwrap();
        let status = match step % 4 {
            0 => EventStatus::Successful,
            1 => EventStatus::Scheduled,
            _ => EventStatus::Queued,
        };
        if status != EventStatus::Queued {
            let next = (status == EventStatus::Scheduled).then_some(at + 50_000);
            let done = completion(&branches[0], status, next);
            store.complete(done).await.unwrap();
        }
        known.events.push((at, status));
        known.events.push((at, EventStatus::Cancelled));
        if step % 5 == 0 {
            let again = request(at + 70_000, Some(&message), 10);
            store.append(new(&again, Vec::new()), IDS).await.unwrap();
            known.repeats.push(at + 70_000);
        }
    }
    store.cancel_pending("web_des_2", "gone").await.unwrap();
    known
}

async fn check(store: &JournalStore, known: &Known) {
    let start = MINUTE * 100;
    let edges = [
        0,
        start,
        start + 1,
        start + 13_000,
        start + 2 * MINUTE,
        start + 2 * MINUTE + 4_000,
        start + 9 * MINUTE,
        u64::MAX,
    ];
    for from in edges {
        for to in edges.into_iter().filter(|to| *to > from) {
            let events = EventQuery {
                team_id: TEAM.into(),
                from: Some(from),
                to: Some(to),
                ..Default::default()
            };
            let told = store.count_events(events.clone()).await.unwrap();
            assert_eq!(told, known.events(from, to), "{from} to {to}");
            let one_by_one = EventQuery {
                source_id: Some("src_1".into()),
                ..events
            };
            let told = store.count_events(one_by_one).await.unwrap();
            assert_eq!(told, known.events(from, to), "{from} to {to}, read");
            let requests = RequestQuery {
                team_id: TEAM.into(),
                from: Some(from),
                to: Some(to),
                ..Default::default()
            };
            let told = store.count_requests(requests).await.unwrap();
            assert_eq!(told, known.requests(from, to), "{from} to {to}");
        }
    }
    let wrong = store.ask(|db, _| totals::wrong(db)).await.unwrap();
    assert_eq!(wrong, 0);
}

#[tokio::test]
async fn counts_of_any_window_are_what_is_there_before_and_after_retention() {
    let (disk, dir) = (SimulatedDisk::new(1), tempfile::tempdir().unwrap());
    let store = on_disk(&disk, dir.path(), &options(1 << 20));
    let mut known = fill(&store).await;
    check(&store, &known).await;
    store.close().await;
    drop(store);
    let store = on_disk(&disk, dir.path(), &options(1 << 20));
    check(&store, &known).await;

    let before = MINUTE * 104;
    let gone = store.retain(before, before, 1_000).await.unwrap();
    let old = known.requests.iter().filter(|(at, _)| *at < before);
    let kept = old.filter(|(at, _)| {
        let mut events = known.events.iter();
        events.any(|event| {
            event.0 == *at && matches!(event.1, EventStatus::Queued | EventStatus::Scheduled)
        })
    });
    let kept: Vec<u64> = kept.map(|(at, _)| *at).collect();
    known
        .requests
        .retain(|(at, _)| *at >= before || kept.contains(at));
    known
        .events
        .retain(|(at, _)| *at >= before || kept.contains(at));
    // Arrivals go with their request, and by their own age.
    let first = |at: &u64| at - 70_000;
    known
        .repeats
        .retain(|at| *at >= before && (first(at) >= before || kept.contains(&first(at))));
    assert!(gone > 0 && !kept.is_empty());
    check(&store, &known).await;
}
