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
