use proptest::prelude::{any, prop_assert, proptest};

use super::*;

fn answered(status: u16) -> Outcome {
    Outcome::Answered {
        status,
        retry_after: None,
        control: None,
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
        control: Some(DeliveryControl::AbortMessage),
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
            control: None,
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

fn listed(delays_ms: &[u64]) -> RetrySpec {
    RetrySpec {
        strategy: Strategy::List,
        delays_ms: delays_ms.to_vec(),
        jitter_percent: Some(0),
        ..RetrySpec::default()
    }
}

#[test]
fn a_list_of_delays_is_followed_to_its_end() {
    let policy = RetryPolicy::compile(&listed(&[1_000, 60_000, 5_000])).unwrap();
    let waits = [1, 2, 3].map(|n| after(policy.decide(&made(n), &answered(500), 0.9)).as_secs());
    assert_eq!(waits, [1, 60, 5], "a delay was not taken as it stands");
    let end = policy.decide(&made(4), &answered(500), 0.9);
    assert!(matches!(end, Decision::GiveUp { .. }), "{end:?}");
    let more = History {
        attempts_made: 9,
        retries_allowed_override: Some(20),
    };
    assert_eq!(
        after(policy.decide(&more, &answered(500), 0.9)).as_secs(),
        5
    );
}

#[test]
fn give_up_codes_are_stronger_than_retried_ones() {
    let policy = RetryPolicy::compile(&RetrySpec {
        count: 3,
        response_status_codes: vec!["400-599".into()],
        give_up_status_codes: vec!["422".into(), "501-505".into()],
        ..RetrySpec::default()
    })
    .unwrap();
    for status in [422, 501, 505] {
        let decision = policy.decide(&made(1), &answered(status), 0.5);
        let Decision::GiveUp { reason } = &decision else {
            panic!("{status}: {decision:?}")
        };
        assert!(reason.contains(&status.to_string()), "{reason}");
    }
    let decision = policy.decide(&made(1), &answered(500), 0.5);
    assert!(matches!(decision, Decision::Retry { .. }), "{decision:?}");
}

#[test]
fn a_wish_to_be_disabled_is_told_and_not_obeyed() {
    assert_eq!(
        [" Disable ", "abort-message", "later"].map(DeliveryControl::parse),
        [
            Some(DeliveryControl::Disable),
            Some(DeliveryControl::AbortMessage),
            None
        ]
    );
    let outcome = Outcome::Answered {
        status: 500,
        retry_after: None,
        control: Some(DeliveryControl::Disable),
    };
    let decision = RetryPolicy::default().decide(&made(1), &outcome, 0.5);
    let Decision::Retry { reason, .. } = decision else {
        panic!("obeyed: {decision:?}")
    };
    assert!(reason.contains("asked to be disabled"), "{reason}");
}

#[test]
fn the_jitter_is_as_wide_as_the_policy_says() {
    let wait = |jitter_percent, draw| {
        let policy = RetryPolicy::compile(&RetrySpec {
            count: 1,
            interval_ms: 10_000,
            jitter_percent,
            ..RetrySpec::default()
        })
        .unwrap();
        after(policy.decide(&made(1), &answered(500), draw)).as_millis()
    };
    assert_eq!((wait(Some(0), 0.0), wait(Some(0), 1.0)), (10_000, 10_000));
    assert_eq!((wait(Some(50), 0.0), wait(Some(50), 1.0)), (5_000, 15_000));
    assert_eq!((wait(None, 0.0), wait(None, 1.0)), (8_000, 12_000));
}

#[test]
fn contradictions_in_a_policy_are_refused_by_field() {
    let computed = |change: fn(&mut RetrySpec)| {
        let mut spec = RetrySpec::default();
        change(&mut spec);
        spec
    };
    let of_list = |change: fn(&mut RetrySpec)| {
        let mut spec = listed(&[1_000, 2_000]);
        change(&mut spec);
        spec
    };
    let cases = [
        (computed(|spec| spec.delays_ms = vec![1_000]), "delays"),
        (
            computed(|spec| spec.jitter_percent = Some(51)),
            "jitter_percent",
        ),
        (
            computed(|spec| spec.give_up_status_codes = vec!["404".into(), "4xx".into()]),
            "give_up_status_codes[1]",
        ),
        (of_list(|spec| spec.delays_ms.clear()), "delays"),
        (of_list(|spec| spec.delays_ms = vec![1_000; 51]), "delays"),
        (of_list(|spec| spec.delays_ms[1] = 999), "delays[1]"),
        (of_list(|spec| spec.count = 3), "count"),
        (of_list(|spec| spec.interval_ms = 1_000), "interval"),
    ];
    for (spec, field) in cases {
        let found = RetryPolicy::compile(&spec).unwrap_err();
        assert_eq!(found.path, field, "{spec:?}");
    }
    assert!(RetryPolicy::compile(&of_list(|spec| spec.count = 2)).is_ok());
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
