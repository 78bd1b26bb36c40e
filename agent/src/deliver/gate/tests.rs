use proptest::prelude::{Just, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn gate(max_in_flight: usize) -> Gate {
    Gate::new(Bounds {
        version: 1,
        max_in_flight,
        rate: None,
    })
}

fn plain(verdict: Verdict) -> Ending {
    Ending {
        verdict,
        hold: None,
    }
}

fn one(gate: &mut Gate, now: Moment, verdict: Verdict) {
    assert!(gate.room(now) > 0, "no room: {gate:?}");
    let pass = gate.begin(now);
    gate.end(pass, plain(verdict), now, 0.5);
}

fn opened(gate: &mut Gate, now: Moment) {
    for _ in 0..10 {
        one(gate, now, Verdict::Failed);
    }
    assert_eq!(gate.standing(now).circuit, Circuit::Open);
}

#[test]
fn ten_failures_in_a_row_open_the_circuit_and_good_probes_close_it() {
    let mut gate = gate(32);
    let now = SECOND;
    for _ in 0..9 {
        one(&mut gate, now, Verdict::Failed);
    }
    one(&mut gate, now, Verdict::Good);
    opened(&mut gate, now);
    assert_eq!(gate.room(now), 0, "an open circuit lets deliveries out");
    assert_eq!(gate.opens_at(now), Some(now + 5 * SECOND));

    let later = now + 5 * SECOND;
    assert_eq!(gate.room(later), 1, "more than one probe at once");
    let probe = gate.begin(later);
    assert_eq!(gate.standing(later).circuit, Circuit::HalfOpen);
    assert_eq!(gate.room(later), 0);
    gate.end(probe, plain(Verdict::Good), later, 0.5);
    assert_eq!(gate.standing(later).circuit, Circuit::HalfOpen);
    one(&mut gate, later, Verdict::Answered);
    assert_eq!(gate.standing(later).circuit, Circuit::Closed);
    assert!(gate.room(later) > 0);
}

#[test]
fn each_failed_probe_doubles_the_wait_up_to_five_minutes_and_never_ends_it() {
    let mut gate = gate(32);
    let mut now = SECOND;
    opened(&mut gate, now);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let next = gate.opens_at(now).expect("it probes again");
        waits.push((next - now).as_secs());
        now = next;
        one(&mut gate, now, Verdict::Failed);
    }
    assert_eq!(waits[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(
        gate.standing(now).open_since,
        Some(SECOND),
        "it forgot since when"
    );
}

#[test]
fn mostly_failing_opens_too_and_answers_about_messages_do_not() {
    let mut mostly = gate(32);
    let mut made = 0;
    while mostly.standing(SECOND).circuit == Circuit::Closed {
        let verdict = if made % 5 == 4 {
            Verdict::Good
        } else {
            Verdict::Failed
        };
        one(&mut mostly, SECOND, verdict);
        made += 1;
        assert!(made < 40, "four failures of five leave it closed");
    }
    assert!(made >= 20, "{made} outcomes are too few to judge");
    let mut picky = gate(32);
    for _ in 0..100 {
        one(&mut picky, SECOND, Verdict::Answered);
        one(&mut picky, SECOND, Verdict::Busy);
    }
    assert_eq!(picky.standing(SECOND).circuit, Circuit::Closed);
}

#[test]
fn deliveries_from_before_the_opening_have_no_say() {
    let mut gate = gate(32);
    let old: Vec<Pass> = (0..4).map(|_| gate.begin(SECOND)).collect();
    for _ in 0..10 {
        let pass = gate.begin(SECOND);
        gate.end(pass, plain(Verdict::Failed), SECOND, 0.5);
    }
    for pass in old {
        gate.end(pass, plain(Verdict::Good), 2 * SECOND, 0.5);
    }
    let standing = gate.standing(2 * SECOND);
    assert_eq!((standing.circuit, standing.in_flight), (Circuit::Open, 0));
}

#[test]
fn a_probe_that_vanishes_makes_place_for_the_next() {
    let mut gate = gate(32);
    opened(&mut gate, SECOND);
    let later = 10 * SECOND;
    let probe = gate.begin(later);
    gate.abandon(probe);
    assert_eq!((gate.room(later), gate.in_flight()), (1, 0));
}

#[test]
fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks_within_a_minute() {
    for (asked, waits) in [(7, 7), (100_000, 60)] {
        let mut gate = gate(32);
        let pass = gate.begin(SECOND);
        let ending = Ending {
            verdict: Verdict::Busy,
            hold: Some(asked * SECOND),
        };
        gate.end(pass, ending, SECOND, 0.5);
        assert_eq!(gate.room(SECOND), 0);
        assert_eq!(gate.standing(SECOND).held_until, Some((1 + waits) * SECOND));
        assert!(gate.room((1 + waits) * SECOND) > 0);
    }
}

#[test]
fn a_changed_configuration_starts_afresh_and_keeps_count() {
    let mut gate = gate(32);
    let before = gate.begin(SECOND);
    opened(&mut gate, SECOND);
    let bounds = |version, max_in_flight| Bounds {
        version,
        max_in_flight,
        rate: None,
    };
    gate.adapt(bounds(1, 2));
    assert_eq!(gate.room(SECOND), 0, "the same version changed something");
    gate.adapt(bounds(2, 2));
    assert_eq!((gate.room(SECOND), gate.in_flight()), (1, 1));
    gate.end(before, plain(Verdict::Failed), SECOND, 0.5);
    assert_eq!((gate.room(SECOND), gate.standing(SECOND).limit), (2, 2));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Wait(u64),
    Begin,
    End(usize, Verdict, Option<u64>),
    Abandon(usize),
    Change,
}

fn acts() -> impl prop::strategy::Strategy<Value = Vec<Act>> {
    use prop::strategy::Strategy as _;
    let verdict = prop_oneof![
        Just(Verdict::Good),
        Just(Verdict::Answered),
        Just(Verdict::Busy),
        Just(Verdict::Failed),
        Just(Verdict::Failed),
    ];
    let act = prop_oneof![
        4 => (0_u64..20_000).prop_map(Act::Wait),
        12 => Just(Act::Begin),
        8 => (any::<usize>(), verdict, prop::option::weighted(0.1, 0_u64..200))
            .prop_map(|(which, verdict, hold)| Act::End(which, verdict, hold)),
        1 => any::<usize>().prop_map(Act::Abandon),
        1 => Just(Act::Change),
    ];
    prop::collection::vec(act, 0..400)
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold_and_the_gate_opens_again(
        acts in acts(), most in 1_usize..40, count in 1_u32..50, draw in any::<f64>(),
    ) {
        let rate = Some(RateLimit { count, period: SECOND });
        let mut bounds = Bounds { version: 1, max_in_flight: most, rate };
        let mut gate = Gate::new(bounds);
        let (mut now, mut under_way) = (SECOND, Vec::new());
        for act in acts {
            match act {
                Act::Wait(millis) => now += Duration::from_millis(millis),
                Act::Begin if gate.room(now) > 0 => under_way.push(gate.begin(now)),
                Act::Begin => {}
                Act::End(which, verdict, hold) if !under_way.is_empty() => {
                    let pass = under_way.swap_remove(which % under_way.len());
                    let hold = hold.map(Duration::from_secs);
                    gate.end(pass, Ending { verdict, hold }, now, draw);
                }
                Act::Abandon(which) if !under_way.is_empty() => {
                    gate.abandon(under_way.swap_remove(which % under_way.len()));
                }
                Act::End(..) | Act::Abandon(_) => {}
                Act::Change => {
                    bounds.version += 1;
                    gate.adapt(bounds);
                }
            }
            prop_assert_eq!(gate.in_flight(), under_way.len());
            prop_assert!(gate.in_flight() <= most);
        }
        for pass in under_way {
            gate.end(pass, plain(Verdict::Failed), now, draw);
        }
        // With nothing under way, waiting for the moment it names is enough.
        let opens = gate.opens_at(now).unwrap_or(now);
        prop_assert!(gate.room(opens) > 0, "stuck: {:?}", gate);
        prop_assert!(opens <= now + Duration::from_secs(361), "too far away");
    }
}
