use proptest::prelude::*;
use serde_json::json;

use super::*;

fn body_filter(condition: Value) -> Filter {
    Filter::compile(&FilterSpec {
        body: Some(condition),
        ..FilterSpec::default()
    })
    .expect("the filter is valid")
}

fn matches_body(condition: Value, body: &Value) -> bool {
    let none = json!({});
    let input = Input {
        headers: &none,
        body: Some(body),
        query: &none,
        path: "/",
        raw_body: b"",
    };
    body_filter(condition).evaluate(&input) == Verdict::Match
}

#[test]
fn each_operator_passes_what_it_names_and_stops_the_rest() {
    let body = json!({
        "type": "user.created", "n": 5, "f": 1.0, "tags": ["a", "b"], "nested": {"in": 3},
        "null": null, "big": 9_007_199_254_740_993_u64, "flag": true,
    });
    let passing = [
        json!({"type": "user.created"}),
        json!({"type": {"$in": ["user.created", "user.updated"]}}),
        json!({"type": {"in": ["user.created"]}}),
        json!({"type": {"$starts_with": "user."}}),
        json!({"type": {"$ends_with": ".created"}}),
        json!({"type": {"$contains": "er.cr"}}),
        json!({"type": {"$regex": "^user\\.(created|updated)$"}}),
        json!({"type": {"$ne": "x", "$exists": true}}),
        json!({"type": {"$nin": ["x"]}}),
        json!({"n": {"$gt": 4, "$lt": 5.5}}),
        json!({"n": {"$gte": 5, "$lte": 5}}),
        json!({"f": 1}),
        json!({"tags": "a"}),
        json!({"tags": ["a", "b"]}),
        json!({"tags": {"$contains": "b"}}),
        json!({"nested": {"in": 3, "other": {"$exists": false}}}),
        json!({"null": null}),
        json!({"missing": {"$exists": false}}),
        json!({"missing": {"$ne": 1}}),
        json!({"$or": [{"n": 1}, {"flag": true}]}),
        json!({"$and": [{"n": 5}, {"$not": {"flag": false}}]}),
        json!({"big": {"$gt": 9_007_199_254_740_992_u64}}),
    ];
    for condition in passing {
        assert!(
            matches_body(condition.clone(), &body),
            "{condition} should match"
        );
    }
    let failing = [
        json!({"type": "user"}),
        json!({"type": {"$in": ["user.updated"]}}),
        json!({"type": {"$gt": 3}}),
        json!({"n": "5"}),
        json!({"n": {"$starts_with": "5"}}),
        json!({"tags": {"$contains": "c"}}),
        json!({"missing": null}),
        json!({"missing": {"$gte": 0}}),
        json!({"$or": [{"n": 1}, {"flag": false}]}),
        json!({"big": 9_007_199_254_740_992_u64}),
    ];
    for condition in failing {
        assert!(
            !matches_body(condition.clone(), &body),
            "{condition} should not match"
        );
    }
}

#[test]
fn an_expression_passes_what_it_is_true_for_and_what_it_cannot_decide_is_told_apart() {
    let (headers, query) = (json!({"x-a": "1"}), json!({}));
    let verdict = |cel: &str, body: Option<&Value>| {
        let spec = FilterSpec {
            cel: Some(cel.to_owned()),
            ..FilterSpec::default()
        };
        Filter::compile(&spec).unwrap().evaluate(&Input {
            headers: &headers,
            body,
            query: &query,
            path: "/in",
            raw_body: b"plain text",
        })
    };
    let body = json!({"n": 5, "tags": ["a"]});
    let no = |detail: &str| Verdict::NoMatch {
        detail: detail.to_owned(),
    };
    for (cel, wanted) in [
        ("body.n > 4 && headers['x-a'] == '1'", Verdict::Match),
        (
            "body.tags.exists(t, t == 'a') && path.startsWith('/')",
            Verdict::Match,
        ),
        ("body.n > 5", no("cel")),
        ("body.missing == 1", no("cel: there is no `missing`")),
        ("body.tags[3] == 'a'", no("cel: a list has fewer elements")),
        ("has(body.missing) || body.n == 5", Verdict::Match),
    ] {
        assert_eq!(verdict(cel, Some(&body)), wanted, "{cel}");
    }
    for (cel, told) in [
        ("body.n", "neither true nor false"),
        ("body.n + 'x' == 'y'", "`+` does not take"),
        ("body.n.size() > 1", "`size` does not take int"),
    ] {
        let Verdict::Undecidable { detail } = verdict(cel, Some(&body)) else {
            panic!("{cel} has an answer");
        };
        assert!(detail.contains(told), "{cel}: {detail}");
    }
    assert_eq!(verdict("body.contains('text')", None), Verdict::Match);
    let bad = FilterSpec {
        cel: Some("now()".to_owned()),
        ..FilterSpec::default()
    };
    assert_eq!(Filter::compile(&bad).unwrap_err().path, "cel");
}

#[test]
fn all_parts_given_have_to_match_and_the_first_failure_is_named() {
    let spec = FilterSpec {
        headers: Some(json!({"$or": [{"X-Kind": {"$starts_with": "a"}}]})),
        query: Some(json!({"env": "prod"})),
        path: Some(json!("/in/clerk")),
        body: Some(json!({"data": {"id": {"$exists": true}}})),
        cel: None,
    };
    let filter = Filter::compile(&spec).unwrap();
    let (headers, query) = (json!({"x-kind": ["z", "abc"]}), json!({"env": "prod"}));
    let body = json!({"data": {"id": "user_1"}});
    let input = |body, path| Input {
        headers: &headers,
        body,
        query: &query,
        path,
        raw_body: b"",
    };
    assert_eq!(
        filter.evaluate(&input(Some(&body), "/in/clerk")),
        Verdict::Match
    );
    let detail = |input| match filter.evaluate(&input) {
        Verdict::NoMatch { detail } => detail,
        other => panic!("{input:?} should not match: {other:?}"),
    };
    let other = json!({"data": {}});
    assert_eq!(detail(input(Some(&other), "/in/clerk")), "body.data.id");
    assert_eq!(detail(input(Some(&body), "/else")), "path");
    assert_eq!(detail(input(None, "/in/clerk")), "body: is not JSON");
}

#[test]
fn faults_are_named_with_their_place() {
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!({ "a": deep });
    }
    let cases = [
        (json!({"a": {"$equals": 1}}), "body.a.$equals"),
        (json!({"a": {"$in": 1}}), "body.a.$in"),
        (json!({"a": {"$in": []}}), "body.a.$in"),
        (json!({"a": {"$gte": true}}), "body.a.$gte"),
        (json!({"a": {"$regex": "("}}), "body.a.$regex"),
        (
            json!({"a": {"$regex": "(?:a{1000}){1000}"}}),
            "body.a.$regex",
        ),
        (json!({"a": {"$exists": "yes"}}), "body.a.$exists"),
        (json!({"$or": [{"a": {"$nope": 1}}]}), "body.$or[0].a.$nope"),
        (json!({"a": {"$gt": 1, "b": 2}}), "body.a.$gt"),
        (json!({}), "body"),
        (json!(null), "body"),
    ];
    for (condition, place) in cases {
        let spec = FilterSpec {
            body: Some(condition.clone()),
            ..FilterSpec::default()
        };
        let error = Filter::compile(&spec).expect_err("the filter has a fault");
        assert_eq!(error.path, place, "{condition}: {error}");
    }
    for large in [deep, json!({"a": {"$in": vec![1; 600]}})] {
        let spec = FilterSpec {
            body: Some(large),
            ..FilterSpec::default()
        };
        assert!(
            Filter::compile(&spec).is_err(),
            "a filter past the limits is taken"
        );
    }
    assert!(
        Filter::compile(&FilterSpec::default()).is_err(),
        "a filter without parts is taken"
    );
}

#[test]
fn a_filter_is_refused_once_its_text_is_larger_than_the_bound() {
    let with = |length: usize| FilterSpec {
        path: Some(json!("x".repeat(length))),
        ..FilterSpec::default()
    };
    let frame = serde_json::to_vec(&with(0)).expect("it is JSON").len();
    assert!(Filter::compile(&with(MAX_FILTER_BYTES - frame)).is_ok());
    let error = Filter::compile(&with(MAX_FILTER_BYTES - frame + 1)).expect_err("one too many");
    assert_eq!(error.path, "filter");
    assert!(error.message.contains("32769 bytes"), "{error}");
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-c$]{0,3}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            "[a-c]",
            prop::sample::select(&["$in", "$gt", "$not", "$or", "in", "$regex", "$contains"][..])
                .prop_map(str::to_owned),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::hash_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_compiles_or_is_refused_and_not_negates(condition in any_json(), body in any_json()) {
        let spec = FilterSpec { body: Some(condition.clone()), ..FilterSpec::default() };
        if Filter::compile(&spec).is_ok() {
            let plain = matches_body(condition.clone(), &body);
            let negated = matches_body(json!({"$not": condition}), &body);
            prop_assert_ne!(plain, negated);
        }
    }
}
