//! Promises about what handlers report of their work, apart from their answers.

use super::*;
use crate::store::{EventHandler, HandlerOutcome, HandlerReport, Noted};

fn report(event: &EventRecord, attempt: u32, outcome: HandlerOutcome) -> HandlerReport {
    HandlerReport {
        source_id: event.source_id.clone(),
        event_id: event.id.clone(),
        attempt,
        handler: EventHandler {
            outcome,
            reason: Some("no plan".to_owned()),
        },
    }
}

#[tokio::test]
async fn a_report_is_kept_with_its_event_once_the_try_ended_and_never_over_an_earlier_word() {
    let (dir, store) = fresh();
    let of = request(1, None);
    let one = event(&of, "des_1");
    store
        .append(new(&of, vec![one.clone()]), IDS)
        .await
        .unwrap();
    let failed = report(&one, 1, HandlerOutcome::Failed);
    let noted = |store: &JournalStore, report: HandlerReport| {
        let store = store.clone();
        async move { store.note_handler(TEAM, report, 9).await.unwrap() }
    };
    assert_eq!(noted(&store, failed.clone()).await, Noted::UnderWay);
    let ended = completion(&one, EventStatus::Successful, None);
    store.complete(ended).await.unwrap();
    let foreign = store.note_handler("tm_2", failed.clone(), 9).await;
    assert_eq!(foreign.unwrap(), Noted::NotFound, "another team reported");
    let elsewhere = HandlerReport {
        source_id: "src_other".to_owned(),
        ..failed.clone()
    };
    assert_eq!(noted(&store, elsewhere).await, Noted::NotFound);

    assert_eq!(noted(&store, failed.clone()).await, Noted::Kept);
    let later = report(&one, 0, HandlerOutcome::Completed);
    assert_eq!(noted(&store, later).await, Noted::Settled);
    let kept = store.event(TEAM, &one.id).await.unwrap().unwrap();
    assert_eq!(kept.handler, Some(failed.handler.clone()));
    assert_eq!(kept.status, EventStatus::Successful, "its status changed");
    let query = EventQuery {
        handler: Some(HandlerOutcome::Failed),
        ..EventQuery::default()
    };
    let query = EventQuery {
        team_id: TEAM.to_owned(),
        limit: 10,
        ..query
    };
    let found = store.events(query).await.unwrap();
    assert_eq!(found.len(), 1, "it is not found by what was reported");
    assert_eq!(store.imbalance().await.unwrap(), 0);

    store.close().await;
    let store = open(dir.path());
    let kept = store.event(TEAM, &one.id).await.unwrap().unwrap();
    assert_eq!(kept.handler, Some(failed.handler), "a restart forgot it");
}
