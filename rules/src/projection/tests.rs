use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{FilterSpec, Input, Verdict};

fn filter(condition: Value) -> Filter {
    Filter::compile(&FilterSpec {
        body: Some(condition),
        ..FilterSpec::default()
    })
    .expect("the filter is valid")
}

fn projection(filters: &[Filter]) -> Projection {
    let mut all = Projection::default();
    for filter in filters {
        all.add_filter(filter);
    }
    all
}

fn verdict(filter: &Filter, body: &Value) -> Verdict {
    filter.evaluate(&Input {
        headers: &Value::Null,
        body: Some(body),
        query: &Value::Null,
        path: "/",
        raw_body: b"",
    })
}

#[test]
fn it_keeps_what_the_rules_look_at_and_nothing_else() {
    let mut wanted = projection(&[
        filter(json!({"type": "a", "data": {"id": {"$exists": true}}})),
        filter(json!({"data": {"$or": [{"n": {"$gt": 1}}, {"$not": {"tags": "x"}}]}})),
        filter(json!({"list": {"first": 1}})),
    ]);
    wanted.add_text(&["event", "type"]);
    wanted.add_text(&["event"]);
    let body = json!({
        "type": {"as": ["it", 1.5, null, true]}, "more": {"type": 1}, "list": [{"first": 1}],
        "data": {"id": "long", "n": 5, "tags": ["x"], "type": 1}, "event": {"type": "t", "x": 1},
    });
    let kept = json!({
        "type": {"as": ["it", 1.5, null, true]}, "list": null,
        "data": {"id": null, "n": 5, "tags": ["x"]}, "event": {"type": "t"},
    });
    assert_eq!(wanted.read(&body.to_string()).unwrap(), kept);
    assert_eq!(
        wanted.read(r#"{"event":"t"}"#).unwrap(),
        json!({"event": "t"})
    );
    assert_eq!(
        wanted.read(r#"{"event":7}"#).unwrap(),
        json!({"event": null})
    );
}

#[test]
fn it_keeps_the_whole_for_a_filter_on_the_whole() {
    let wanted = projection(&[filter(json!({"a": 1})), filter(json!({"$eq": {"b": [2]}}))]);
    let body = json!({"a": {"c": [1, -1, 1.5]}, "b": [2, {"d": null}], "e": "\u{e9}\n"});
    assert_eq!(wanted.read(&body.to_string()).unwrap(), body);
}

#[test]
fn it_reads_nothing_for_filters_that_do_not_look_at_the_body() {
    let on_path = Filter::compile(&FilterSpec {
        path: Some(json!("/a")),
        ..FilterSpec::default()
    });
    assert!(projection(&[on_path.unwrap()]).is_empty());
    assert!(!projection(&[filter(json!({"$exists": true}))]).is_empty());
}

#[test]
fn of_a_key_that_stands_twice_the_last_value_counts() {
    let wanted = projection(&[filter(json!({"a": {"b": 1, "c": 2}}))]);
    for (body, kept) in [
        (r#"{"a":{"b":1},"a":{"c":2}}"#, json!({"a": {"c": 2}})),
        (r#"{"a":{"b":1},"a":7}"#, json!({"a": null})),
        (r#"{"a":7,"\u0061":{"b":1,"b":3}}"#, json!({"a": {"b": 3}})),
    ] {
        assert_eq!(wanted.read(body).unwrap(), kept, "{body}");
    }
}

#[test]
fn what_the_whole_cannot_be_made_of_is_refused_wherever_it_stands() {
    let nest = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"a":1,"x":{open}{close}}}"#)
    };
    let (fits, too_deep) = (nest(126), nest(127));
    for body in [
        r#"{"a":1,"x":1e999}"#,
        r#"{"a":1,"x":[{"y":-1e999}]}"#,
        r#"{"a":1,"x":18446744073709551616}"#,
        r#"{"a":1,"x":"\ud800"}"#,
        r#"{"a":1,"\ud800":2}"#,
        "{\"a\":1,\"x\":\"\u{1}\"}",
        r#"{"a":1,"x":01}"#,
        r#"{"a":1} 2"#,
        r#"{"a":1,"#,
        r#"{"a":1,"x":[1,]}"#,
        "",
        &fits,
        &too_deep,
    ] {
        let whole = serde_json::from_str::<Value>(body).map_err(|error| error.to_string());
        let wanted = projection(&[filter(json!({"a": 1}))]);
        let part = wanted.read(body).map_err(|error| error.to_string());
        assert_eq!(part.as_ref().err(), whole.as_ref().err(), "{body}");
    }
    assert!(projection(&[]).read(&fits).is_ok());
    assert!(projection(&[]).read(&too_deep).is_err());
}

#[test]
fn a_key_that_the_json_library_keeps_for_itself_is_a_key_like_any_other() {
    let key = "$serde_json::private::RawValue";
    let body = format!(r#"{{"a":{{"{key}":"[1]"}},"b":{{"{key}":5}}}}"#);
    let wanted = projection(&[filter(json!({"a": 1}))]);
    assert_eq!(wanted.read(&body).unwrap(), json!({"a": {key: "[1]"}}));
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1.0)].prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ]
}

/// Text of a document, in which a key may stand more than once.
fn document() -> impl Strategy<Value = String> {
    let leaf = plain().prop_map(|value| value.to_string());
    leaf.prop_recursive(5, 48, 4, |inner| {
        let pair = (prop::sample::select(&KEYS[..]), inner.clone())
            .prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
            3 => prop::collection::vec(pair, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

/// A condition with any operator on any field.
fn condition() -> impl Strategy<Value = Value> {
    let whole = || document().prop_map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
    let order = prop::sample::select(&["$gt", "$gte", "$lt", "$lte"][..]);
    let part = prop::sample::select(&["$starts_with", "$ends_with", "$regex", "$contains"][..]);
    let equal = prop::sample::select(&["$eq", "$ne", "$neq"][..]);
    let list = prop::sample::select(&["$in", "$nin"][..]);
    let leaf = prop_oneof![
        plain().prop_filter("says nothing", |value| !value.is_null()),
        (equal, whole()).prop_map(|(name, value)| json!({ name: value })),
        (list, prop::collection::vec(whole(), 1..3)).prop_map(|(name, all)| json!({ name: all })),
        (order, prop_oneof![Just(json!(0)), Just(json!("a"))])
            .prop_map(|(name, value)| json!({ name: value })),
        (part, "[ab]{0,1}").prop_map(|(name, text)| json!({ name: text })),
        plain().prop_map(|value| json!({ "$contains": value })),
        any::<bool>().prop_map(|wanted| json!({ "$exists": wanted })),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = prop::sample::select(&["$or", "$and"][..]);
        prop_oneof![
            3 => prop::collection::btree_map(prop::sample::select(&KEYS[..]), inner.clone(), 1..3)
                .prop_map(|fields| json!(fields)),
            1 => inner.clone().prop_map(|one| json!({ "$not": one })),
            1 => (several, prop::collection::vec(inner.clone(), 1..3))
                .prop_map(|(name, all)| json!({ name: all })),
            1 => (inner, any::<bool>())
                .prop_map(|(one, wanted)| json!({ "$not": one, "$exists": wanted })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_filter_says_of_the_part_what_it_says_of_the_whole(
        conditions in prop::collection::vec(condition(), 1..4),
        text in document(),
    ) {
        let filters: Vec<Filter> = conditions.into_iter().map(filter).collect();
        let whole: Value = serde_json::from_str(&text).expect("JSON");
        let part = projection(&filters).read(&text).expect("JSON");
        for one in &filters {
            let own = projection(std::slice::from_ref(one)).read(&text).expect("JSON");
            let said = verdict(one, &whole);
            prop_assert_eq!(&verdict(one, &part), &said, "{:?} of {} is {}", one, &text, &part);
            prop_assert_eq!(&verdict(one, &own), &said, "{:?} of {} is {}", one, &text, &own);
        }
    }

    #[test]
    fn a_text_is_found_where_a_look_up_in_the_whole_finds_it(
        path in prop::collection::vec(prop::sample::select(&KEYS[..]), 1..4),
        other in condition(),
        text in document(),
    ) {
        let mut wanted = projection(&[filter(other)]);
        wanted.add_text(&path);
        let find = |value: &Value| {
            let found = path.iter().try_fold(value, |value, key| value.get(key));
            found.and_then(Value::as_str).map(str::to_owned)
        };
        let whole: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(find(&wanted.read(&text).expect("JSON")), find(&whole));
    }

    #[test]
    fn the_errors_are_those_of_the_whole(
        one in condition(),
        text in document(),
        cut in 1_usize..64,
    ) {
        let text = &text[..text.len().saturating_sub(cut)];
        let whole = serde_json::from_str::<Value>(text).err().map(|error| error.to_string());
        let part = projection(&[filter(one)]).read(text).err().map(|error| error.to_string());
        prop_assert_eq!(part, whole);
    }
}
