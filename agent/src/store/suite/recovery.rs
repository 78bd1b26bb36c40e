//! Promises about what people do after something went wrong: stop, look, replay.

use super::*;

#[tokio::test]
async fn a_person_stops_one_pending_event_and_no_ended_one() {
    let (dir, store) = fresh();
    let of = request(1, None);
    let (stopped, other) = (event(&of, "des_1"), event(&of, "des_2"));
    let events = vec![stopped.clone(), other.clone()];
    store.append(new(&of, events), IDS).await.unwrap();
    let ended = store.cancel_event(TEAM, &stopped.id, "not wanted", 5).await;
    let ended = ended.expect("a pending event is stopped");
    assert_eq!(ended.status, EventStatus::Cancelled);
    assert_eq!(ended.ignored_reason, Some(IgnoredReason::Operator));
    assert_eq!(ended.ignored_detail.as_deref(), Some("not wanted"));
    assert!(due(&store, "des_1", 9).await.is_empty(), "it is still due");
    assert_eq!(
        due(&store, "des_2", 9).await.len(),
        1,
        "its sibling was stopped"
    );
    let again = store.cancel_event(TEAM, &stopped.id, "", 6).await;
    assert!(matches!(
        again,
        Err(CancelError::Ended(EventStatus::Cancelled))
    ));
    let foreign = store.cancel_event("tm_2", &other.id, "", 6).await;
    assert!(
        matches!(foreign, Err(CancelError::NotFound)),
        "another team stopped it"
    );
    store.close().await;
    let store = open(dir.path());
    let kept = store.event(TEAM, &stopped.id).await.unwrap().unwrap();
    assert_eq!(kept.status, EventStatus::Cancelled, "a restart forgot it");
    let again = store
        .retry_event(TEAM, &stopped.id, IDS.mint(Kind::Event, 7), 7)
        .await;
    again.expect("what a person stopped can be sent again");
}

#[tokio::test]
async fn a_try_that_was_under_way_is_kept_and_its_stopped_event_stays_stopped() {
    let (_dir, store) = fresh();
    let of = request(1, None);
    let one = event(&of, "des_1");
    store
        .append(new(&of, vec![one.clone()]), IDS)
        .await
        .unwrap();
    store.cancel_event(TEAM, &one.id, "", 5).await.unwrap();
    let ended = completion(&one, EventStatus::Scheduled, Some(9));
    let attempt = ended.attempt.id.clone();
    store.complete(ended).await.unwrap();
    let kept = store.event(TEAM, &one.id).await.unwrap().unwrap();
    assert_eq!(kept.status, EventStatus::Cancelled, "its try revived it");
    assert_eq!(kept.attempts, 1, "the try is not counted");
    assert!(store.attempt(TEAM, &attempt).await.unwrap().is_some());
    assert!(
        due(&store, "des_1", 99).await.is_empty(),
        "it is due again after it was stopped"
    );
}

#[tokio::test]
async fn failures_are_grouped_by_cause_until_somebody_sends_them_again() {
    let (_dir, store) = fresh();
    let mut failed = Vec::new();
    for at in 1..=3 {
        let of = request(at, None);
        let one = event(&of, "des_1");
        store
            .append(new(&of, vec![one.clone()]), IDS)
            .await
            .unwrap();
        let ended = completion(&one, EventStatus::Failed, None);
        store.complete(ended).await.unwrap();
        failed.push(one);
    }
    let query = EventQuery {
        team_id: TEAM.to_owned(),
        status: Some(EventStatus::Failed),
        unretried: true,
        ..EventQuery::default()
    };
    let groups = store.group_events(query.clone()).await.unwrap();
    assert_eq!(groups.len(), 1, "one cause is one group: {groups:?}");
    assert_eq!(groups[0].count, 3);
    assert_eq!(groups[0].oldest_id, failed[0].id);
    assert_eq!(groups[0].newest_id, failed[2].id);
    let new_id = IDS.mint(Kind::Event, 9);
    store
        .retry_event(TEAM, &failed[2].id, new_id, 9)
        .await
        .unwrap();
    let groups = store.group_events(query.clone()).await.unwrap();
    assert_eq!(groups[0].count, 2, "what was sent again is still there");
    assert_eq!(groups[0].newest_id, failed[1].id);
    let foreign = EventQuery {
        team_id: "tm_2".to_owned(),
        ..query
    };
    assert!(store.group_events(foreign).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_replay_is_no_repeat_and_names_its_origin() {
    let (_dir, store) = fresh();
    let first = request(1, Some("msg_1"));
    let id = first.id.clone();
    store.append(new(&first, Vec::new()), IDS).await.unwrap();
    let mut again = request(2, Some("msg_1"));
    again.replay = Some(Replay {
        parent_request_id: id.clone(),
        modified: true,
        operation_id: None,
    });
    let new_id = again.id.clone();
    let appended = store.append(new(&again, Vec::new()), IDS).await.unwrap();
    assert_eq!(appended, Appended::New, "a replay was taken for a repeat");
    let replays = store.replays_of(&id).await.unwrap();
    assert_eq!(replays, std::slice::from_ref(&new_id));
    assert!(store.replays_of(&new_id).await.unwrap().is_empty());
    let (kept, _) = store.request(TEAM, &new_id).await.unwrap().unwrap();
    assert_eq!(kept.replay, again.replay, "the origin is lost");
}

#[tokio::test]
async fn a_bulk_operation_sees_its_targets_in_order_and_what_it_made_of_each() {
    let (_dir, store) = fresh();
    let operation = hookplane_proto::id::Id::new(Kind::BulkOperation, 1, 0, 7).to_string();
    let mut failed = Vec::new();
    for at in 1..=4 {
        let request = request(at, None);
        let one = event(&request, "des_1");
        store
            .append(new(&request, vec![one.clone()]), IDS)
            .await
            .unwrap();
        let ended = completion(&one, EventStatus::Failed, None);
        store.complete(ended).await.unwrap();
        failed.push(one.id);
    }
    let mint = |at| IDS.mint(Kind::Event, at);
    store
        .retry_event(TEAM, &failed[0], mint(10), 10)
        .await
        .unwrap();
    let made = store
        .retry_in_bulk(TEAM, &failed[1], (mint(11), &operation), 11)
        .await
        .unwrap();
    assert_eq!(made.operation_id.as_ref(), Some(&operation));
    let query = || EventQuery {
        team_id: TEAM.to_owned(),
        status: Some(EventStatus::Failed),
        ..EventQuery::default()
    };
    let page = |after_id: Option<&String>, limit| TargetPage {
        operation_id: operation.clone(),
        after_id: after_id.cloned(),
        limit,
    };
    let targets = store.target_events(query(), page(None, 3)).await.unwrap();
    let told: Vec<_> = targets
        .iter()
        .map(|target| (target.id.as_str(), target.sent_again))
        .collect();
    let wanted = [
        (failed[0].as_str(), SentAgain::Otherwise),
        (failed[1].as_str(), SentAgain::ByIt),
        (failed[2].as_str(), SentAgain::Never),
    ];
    assert_eq!(told, wanted);
    let rest = page(Some(&failed[2]), 3);
    let rest = store.target_events(query(), rest).await.unwrap();
    assert_eq!(rest.len(), 1, "the page after the third: {rest:?}");
    let foreign = EventQuery {
        team_id: "tm_2".to_owned(),
        ..query()
    };
    let foreign = store.target_events(foreign, page(None, 3)).await.unwrap();
    assert!(foreign.is_empty(), "another team's events are targets");

    let counted = store.count_operation(&operation, true).await.unwrap();
    assert_eq!((counted.queued, counted.successful), (1, 0));
    store
        .complete(completion(&made, EventStatus::Successful, None))
        .await
        .unwrap();
    let counted = store.count_operation(&operation, true).await.unwrap();
    assert_eq!((counted.queued, counted.successful), (0, 1));
    let made_by_it = EventQuery {
        operation_id: Some(operation.clone()),
        status: None,
        limit: 10,
        ..query()
    };
    let listed = store.events(made_by_it).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, made.id);
    assert_eq!(listed[0].operation_id, Some(operation));
}
