//! Bounds of what is in memory: shares, room, and what leaves.

use super::*;
use crate::store::EventStatus;

fn waiting(lane: usize, at: u64, message: usize) -> Waiting {
    let event = EventRecord {
        id: format!("evt_{lane:06}_{at:010}"),
        team_id: "tm_1".into(),
        request_id: "req_1".into(),
        connection_id: format!("web_{lane}"),
        source_id: "src_1".into(),
        destination_id: format!("des_{lane}"),
        event_type: None,
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: Some("x".repeat(message)),
        ignored_reason: None,
        ignored_detail: None,
        created_at: at,
        last_attempt_at: None,
        next_attempt_at: Some(at),
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    };
    Waiting {
        event: Arc::new(event),
        place: None,
    }
}

fn lane(number: usize) -> Lane {
    Lane::of(&waiting(number, 0, 0).event)
}

/// Lanes with a long backlog in the index.
fn outside(lanes: usize) -> Horizons {
    let mut horizons = Horizons::default();
    for number in 0..lanes {
        horizons.outside(lane(number), (0, String::new()));
    }
    horizons
}

/// One round of the follower; every lane has more than it is asked for.
fn fill(horizons: &mut Horizons, message: usize) {
    for low in horizons.low() {
        let number = low.lane.destination_id[4..].parse().unwrap();
        let from = low.boundary.0;
        let found = (from..).take(low.room);
        let found: Vec<_> = found.map(|at| waiting(number, at, message)).collect();
        let end = from + low.room as u64;
        horizons.fill(&low, found, Some((end, String::new())));
    }
}

fn held(horizons: &Horizons, number: usize) -> usize {
    let (found, _) = horizons.due(&lane(number), u64::MAX, usize::MAX, |_| true);
    found.len()
}

/// The running sums are what a count finds.
fn check(horizons: &Horizons) {
    let mut sum = 0;
    for (lane, horizon) in &horizons.of {
        let counted = horizon.waiting.values();
        let counted: usize = counted.map(|one| places(&one.event)).sum();
        assert_eq!(counted, horizon.places);
        sum += counted;
        let low = horizon.boundary.is_some() && horizon.places < LOW;
        assert_eq!(low, horizons.low.contains(lane));
    }
    assert_eq!(sum, horizons.places);
    let events: usize = horizons.of.values().map(|one| one.waiting.len()).sum();
    assert_eq!(events, horizons.known.len());
}

#[test]
fn room_is_shared_out_so_that_every_lane_gets_some_and_all_stay_within_the_bound() {
    for lanes in [1, 50, 1_000, 10_000] {
        let mut horizons = outside(lanes);
        fill(&mut horizons, 0);
        check(&horizons);
        let least = (0..lanes).map(|number| held(&horizons, number)).min();
        let fair = MOST_TOGETHER / 2 / lanes;
        assert!(
            least.unwrap() >= fair.clamp(2, LOW),
            "{lanes} lanes: {least:?}"
        );
        assert!(horizons.places <= horizons.together(), "{lanes} lanes");
    }
}

#[test]
fn lanes_that_nobody_empties_take_nothing_that_another_needs() {
    let mut horizons = outside(50);
    for _ in 0..3 {
        fill(&mut horizons, 0);
    }
    for at in 0..20_000 {
        horizons.insert(waiting(99, at, 0));
    }
    check(&horizons);
    assert!(horizons.places <= horizons.together());
    // Half of its backlog is sent, again and again.
    for _ in 0..20 {
        let (found, _) = horizons.due(&lane(99), u64::MAX, 128, |_| true);
        assert!(!found.is_empty(), "it ran dry beside full lanes");
        for one in found {
            horizons.remove(&one.event.id);
        }
        fill(&mut horizons, 0);
    }
    check(&horizons);
}

#[test]
fn a_look_waits_only_when_a_filling_will_come() {
    let mut horizons = outside(2_000);
    for _ in 0..3 {
        fill(&mut horizons, 0);
    }
    for number in 0..2_000 {
        let (_, more) = horizons.due(&lane(number), u64::MAX, usize::MAX, |_| true);
        let wants = horizons.low().iter().any(|low| *low.lane == lane(number));
        assert_eq!(more, wants, "lane {number}");
    }
    assert!(horizons.low().is_empty(), "filling never comes to rest");
}

#[test]
fn large_events_take_more_room() {
    let mut horizons = outside(100);
    for _ in 0..3 {
        fill(&mut horizons, 40_000);
        check(&horizons);
        assert!(horizons.places <= horizons.together());
    }
    assert!((0..100).all(|number| held(&horizons, number) >= 1));
}

#[test]
fn what_leaves_memory_is_what_is_due_last() {
    let mut horizons = Horizons::default();
    for at in 0..MOST as u64 + 1_000 {
        horizons.insert(waiting(1, at, 0));
    }
    check(&horizons);
    let (found, _) = horizons.due(&lane(1), u64::MAX, usize::MAX, |_| true);
    let times: Vec<_> = found.iter().map(|one| one.event.created_at).collect();
    assert_eq!(times, (0..times.len() as u64).collect::<Vec<_>>());
    let boundary = horizons.of[&lane(1)].boundary.clone().unwrap();
    assert_eq!(boundary.0, times.len() as u64);
}
