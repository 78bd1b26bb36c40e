//! Promises about lists: pages, filters and counts.

use super::*;

#[tokio::test]
async fn pages_run_from_newest_to_oldest_without_gap_or_overlap() {
    let (_dir, store) = fresh();
    for at in 0..25 {
        let request = request(100 + at, None);
        let events = vec![event(&request, "des_1"), ignored(&request)];
        store.append(new(&request, events), IDS).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut before_id = None;
    loop {
        let query = RequestQuery {
            team_id: TEAM.into(),
            limit: 10,
            before_id,
            ..Default::default()
        };
        let page = store.requests(query, false).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        before_id = Some(last.id.clone());
        seen.extend(page.into_iter().map(|(request, _)| request));
    }
    assert_eq!(seen.len(), 25);
    assert!(
        seen.windows(2).all(|pair| pair[0].id > pair[1].id),
        "the order broke between pages"
    );
    assert!(
        seen.iter().all(|request| request.body.is_empty()),
        "a list carried payloads unasked"
    );
    let events = EventQuery {
        team_id: TEAM.into(),
        limit: 255,
        ..Default::default()
    };
    let listed = store.events(events.clone()).await.unwrap();
    assert_eq!(
        listed.len(),
        25,
        "ignored branches stand in the list unasked"
    );
    let ignored = EventQuery {
        status: Some(EventStatus::Cancelled),
        ..events.clone()
    };
    assert_eq!(store.events(ignored).await.unwrap().len(), 25);
    let foreign = EventQuery {
        team_id: "tm_other".into(),
        ..events
    };
    assert!(
        store.events(foreign).await.unwrap().is_empty(),
        "a team sees another's events"
    );
    let window = RequestQuery {
        team_id: TEAM.into(),
        from: Some(105),
        to: Some(110),
        ..Default::default()
    };
    assert_eq!(store.count_requests(window).await.unwrap().accepted, 5);
}

#[tokio::test]
async fn events_are_found_by_what_their_handler_said_of_the_latest_try() {
    let (dir, store) = fresh();
    let request = request(100, None);
    let (dropped, done) = (event(&request, "des_1"), event(&request, "des_2"));
    let events = vec![dropped.clone(), done.clone(), event(&request, "des_3")];
    store.append(new(&request, events), IDS).await.unwrap();
    let say = |of: &EventRecord, status, outcome| {
        let mut completion = completion(of, status, None);
        let reason = Some("no plan".to_owned());
        completion.attempt.handler = Some(HandlerVerdict {
            reason,
            ..HandlerVerdict::of(outcome)
        });
        completion
    };
    let silent = say(&dropped, EventStatus::Failed, HandlerOutcome::SilentDrop);
    store.complete(silent).await.unwrap();
    let well = say(&done, EventStatus::Successful, HandlerOutcome::Completed);
    store.complete(well).await.unwrap();
    let query = |handler| EventQuery {
        team_id: TEAM.into(),
        handler: Some(handler),
        limit: 10,
        ..Default::default()
    };
    store.close().await;
    for again in ["after a restart", "from an index made anew"] {
        if again.starts_with("from") {
            for file in ["index.db", "index.db-wal", "index.db-shm"] {
                // The log goes with the last connection.
                std::fs::remove_file(dir.path().join("store").join(file)).ok();
            }
        }
        let store = open(dir.path());
        for (outcome, event) in [
            (HandlerOutcome::SilentDrop, &dropped),
            (HandlerOutcome::Completed, &done),
        ] {
            let found = store.events(query(outcome)).await.unwrap();
            let [found] = found.as_slice() else {
                panic!("{again}: {} events are {outcome:?}", found.len());
            };
            assert_eq!(found.id, event.id, "{again}");
            let handler = found.handler.clone().expect("what the handler said");
            assert_eq!(handler.reason.as_deref(), Some("no plan"), "{again}");
        }
        let counted = store.count_events(query(HandlerOutcome::SilentDrop)).await;
        assert_eq!(counted.unwrap().failed, 1, "{again}");
        let none = store.events(query(HandlerOutcome::Unreported)).await;
        assert!(none.unwrap().is_empty(), "{again}");
        store.close().await;
    }
}

#[tokio::test]
async fn what_is_pending_on_a_paused_connection_is_held_and_nothing_else_is() {
    let (_dir, store) = fresh();
    let one = request(100, None);
    let (waits, done, elsewhere) = (
        event(&one, "des_1"),
        event(&one, "des_1"),
        EventRecord {
            connection_id: "web_other".into(),
            ..event(&one, "des_2")
        },
    );
    let events = vec![waits.clone(), done.clone(), elsewhere.clone()];
    store.append(new(&one, events), IDS).await.unwrap();
    store
        .complete(completion(&done, EventStatus::Successful, None))
        .await
        .unwrap();
    let paused = HashSet::from([waits.connection_id.clone()]);
    let of = |status| EventQuery {
        team_id: TEAM.into(),
        status,
        paused: paused.clone(),
        limit: 10,
        ..Default::default()
    };
    let listed = |status| {
        let found = store.events(of(status));
        async {
            found
                .await
                .unwrap()
                .into_iter()
                .map(|event| event.id)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(Some(EventStatus::Hold)).await, [waits.id.as_str()]);
    assert_eq!(
        listed(Some(EventStatus::Queued)).await,
        [elsewhere.id.as_str()]
    );
    assert_eq!(
        listed(Some(EventStatus::Successful)).await,
        [done.id.as_str()]
    );
    let totals = store.count_events(of(None)).await.unwrap();
    assert_eq!(
        (totals.hold, totals.queued, totals.successful),
        (1, 1, 1),
        "{totals:?}"
    );
    let held = store
        .count_events(of(Some(EventStatus::Hold)))
        .await
        .unwrap();
    assert_eq!((held.hold, held.queued), (1, 0), "{held:?}");
    let backlog = store.backlog(&paused).await.unwrap();
    assert_eq!((backlog.hold, backlog.queued), (1, 1), "{backlog:?}");
}
