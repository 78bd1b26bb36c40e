use proptest::prelude::{any, prop_assert, proptest};

use super::*;

fn answered(status: u16) -> Outcome {
    Outcome::Answered {
        status,
        retry_after: None,
        stop_requested: false,
    }
}

fn no_answer(code: &str, permanent: bool) -> Outcome {
    Outcome::NoAnswer {
        code: code.into(),
        permanent,
    }
}

fn after(decision: Decision) -> Duration {
    match decision {
        Decision::Retry { after, .. } => after,
        other => panic!("a retry was due, got {other:?}"),
    }
}

fn made(attempts_made: u32) -> History {
    History {
        attempts_made,
        retries_allowed_override: None,
    }
}

#[test]
fn the_default_policy_makes_eight_tries_over_about_28_hours() {
    let policy = RetryPolicy::default();
    let total: u64 = (1..=7)
        .map(|n| after(policy.decide(&made(n), &answered(500), 0.5)).as_secs())
        .sum();
    assert!(
        (98_000..101_000).contains(&total),
        "the tries span {total} s"
    );
    assert!(matches!(
        policy.decide(&made(8), &answered(500), 0.5),
        Decision::GiveUp { .. }
    ));
}

#[test]
fn only_2xx_succeeds_and_redirects_are_failures() {
    let policy = RetryPolicy::default();
    for status in [200, 204, 299] {
        assert_eq!(
            policy.decide(&made(1), &answered(status), 0.0),
            Decision::Succeeded
        );
    }
    for status in [301, 302, 400, 404, 500] {
        let decision = policy.decide(&made(1), &answered(status), 0.0);
        assert!(
            matches!(decision, Decision::Retry { .. }),
            "{status}: {decision:?}"
        );
    }
}

#[test]
fn gone_stopped_and_hopeless_deliveries_end_at_once() {
    let policy = RetryPolicy::default();
    let stopped = Outcome::Answered {
        status: 500,
        retry_after: None,
        stop_requested: true,
    };
    for outcome in [answered(410), stopped, no_answer("address_refused", true)] {
        let decision = policy.decide(&made(1), &outcome, 0.0);
        assert!(
            matches!(decision, Decision::GiveUp { .. }),
            "{outcome:?}: {decision:?}"
        );
    }
}

#[test]
fn a_policy_retries_only_the_statuses_it_names_and_always_silence() {
    let codes = ["429".to_owned(), "500-599".to_owned()];
    let policy = RetryPolicy::new(Strategy::Exponential, 5, 1_000, &codes).unwrap();
    assert!(matches!(
        policy.decide(&made(1), &answered(400), 0.0),
        Decision::GiveUp { .. }
    ));
    for outcome in [
        answered(429),
        answered(503),
        no_answer("connect_refused", false),
    ] {
        assert!(matches!(
            policy.decide(&made(1), &outcome, 0.0),
            Decision::Retry { .. }
        ));
    }
}

#[test]
fn delays_grow_as_the_strategy_says_up_to_a_day() {
    let exponential = RetryPolicy::new(Strategy::Exponential, 50, 1_000, &[]).unwrap();
    let linear = RetryPolicy::new(Strategy::Linear, 50, 1_000, &[]).unwrap();
    let seconds = |policy: &RetryPolicy, n| {
        after(policy.decide(&made(n), &answered(500), 0.5))
            .as_secs_f64()
            .round() as u64
    };
    assert_eq!([1, 2, 3, 4].map(|n| seconds(&exponential, n)), [1, 2, 4, 8]);
    assert_eq!([1, 2, 3, 4].map(|n| seconds(&linear, n)), [1, 2, 3, 4]);
    assert_eq!(seconds(&exponential, 50), 86_400);
}

#[test]
fn retry_after_lengthens_the_wait_to_at_most_twice() {
    let policy = RetryPolicy::new(Strategy::Linear, 5, 10_000, &[]).unwrap();
    for (asked, expected) in [(1, 10), (15, 15), (9_999, 20)] {
        let outcome = Outcome::Answered {
            status: 503,
            retry_after: Some(Duration::from_secs(asked)),
            stop_requested: false,
        };
        let wait = after(policy.decide(&made(1), &outcome, 0.5));
        assert_eq!(wait.as_secs(), expected, "asked for {asked} s");
    }
}

#[test]
fn an_override_of_zero_makes_a_manual_try_the_last() {
    let history = History {
        attempts_made: 1,
        retries_allowed_override: Some(0),
    };
    let decision = RetryPolicy::default().decide(&history, &answered(500), 0.0);
    assert!(matches!(decision, Decision::GiveUp { .. }), "{decision:?}");
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let codes = |text: &str| vec![text.to_owned()];
    let cases = [
        (RetryPolicy::new(Strategy::Linear, 51, 1_000, &[]), "count"),
        (RetryPolicy::new(Strategy::Linear, 1, 999, &[]), "interval"),
        (
            RetryPolicy::new(Strategy::Linear, 1, 86_400_001, &[]),
            "interval",
        ),
        (
            RetryPolicy::new(Strategy::Linear, 1, 0, &codes("5xx")),
            "response_status_codes[0]",
        ),
        (
            RetryPolicy::new(Strategy::Linear, 1, 0, &codes("599-500")),
            "response_status_codes[0]",
        ),
        (
            RetryPolicy::new(Strategy::Linear, 1, 0, &codes("!404")),
            "response_status_codes[0]",
        ),
    ];
    for (result, field) in cases {
        assert_eq!(result.unwrap_err().path, field);
    }
}

proptest! {
    #[test]
    fn jitter_stays_within_a_fifth_and_nothing_panics(
        attempts in any::<u32>(), status in any::<u16>(), draw in any::<f64>(), count in 0_u32..=50,
        interval in 1_000_u64..=86_400_000,
    ) {
        let policy = RetryPolicy::new(Strategy::Exponential, count, interval, &[]).unwrap();
        if let Decision::Retry { after, .. } = policy.decide(&made(attempts), &answered(status), draw) {
            prop_assert!(after <= Duration::from_millis(MAX_DELAY_MS).mul_f64(1.2001));
            prop_assert!(after >= Duration::from_millis(interval).mul_f64(0.7999));
        }
    }
}
