//! Promises about what is due: branch by branch, so that nobody waits behind a neighbour.

use super::*;

/// Up to five due events of the usual branch to a destination.
pub(super) async fn due(store: &impl Store, destination: &str, now: u64) -> Vec<DueEvent> {
    let query = DueQuery {
        destination_id: destination.into(),
        connection_id: format!("web_{destination}"),
        now,
        limit: 5,
        ..DueQuery::default()
    };
    store.due(query).await.unwrap()
}

pub(super) fn lane(destination: &str, connection: &str, next_attempt_at: u64) -> PendingLane {
    PendingLane {
        destination_id: destination.into(),
        connection_id: connection.into(),
        next_attempt_at,
    }
}

#[tokio::test]
async fn each_branch_is_told_and_asked_by_itself() {
    let (_dir, store) = fresh();
    for at in [30, 20, 10] {
        let request = request(at, None);
        let mut other = event(&request, "des_1");
        other.connection_id = "web_other".into();
        let mut events = vec![event(&request, "des_2"), other];
        if at == 20 {
            events.push(event(&request, "des_1"));
        }
        store.append(new(&request, events), IDS).await.unwrap();
    }
    let mut lanes = store.pending_lanes().await.unwrap();
    lanes.sort_by(|a, b| {
        (&a.destination_id, &a.connection_id).cmp(&(&b.destination_id, &b.connection_id))
    });
    assert_eq!(
        lanes,
        [
            lane("des_1", "web_des_1", 20),
            lane("des_1", "web_other", 10),
            lane("des_2", "web_des_2", 10)
        ]
    );
    assert_eq!(due(&store, "des_1", 40).await.len(), 1);
    let times: Vec<u64> = due(&store, "des_2", 25)
        .await
        .iter()
        .map(|due| due.event.created_at)
        .collect();
    assert_eq!(times, [10, 20], "not the earliest first, or too early");
}

#[tokio::test]
async fn what_is_under_way_is_passed_over_and_does_not_fill_the_page() {
    let (_dir, store) = fresh();
    let mut ids = Vec::new();
    for at in 0..8 {
        let request = request(at, None);
        let event = event(&request, "des_1");
        ids.push(event.id.clone());
        store.append(new(&request, vec![event]), IDS).await.unwrap();
    }
    let query = DueQuery {
        destination_id: "des_1".into(),
        connection_id: "web_des_1".into(),
        now: 100,
        except: ids[..3].iter().chain(&ids[4..5]).cloned().collect(),
        limit: 2,
    };
    let found = store.due(query).await.unwrap();
    let found: Vec<&str> = found.iter().map(|due| due.event.id.as_str()).collect();
    assert_eq!(found, [&ids[3], &ids[5]]);
}
