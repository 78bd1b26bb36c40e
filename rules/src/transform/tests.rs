//! What a transformation may give, and that what the agent evaluates is what was saved.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn apply(code: &str, body: &Value) -> Result<Transformed, String> {
    let spec = TransformSpec {
        code: code.to_owned(),
    };
    let transform = Transform::compile(&spec).map_err(|fault| fault.to_string())?;
    let (headers, query) = (json!({"x-a": "1"}), json!({}));
    let raw = body.to_string();
    transform.apply(&Input {
        body: Some(body),
        raw_body: raw.as_bytes(),
        headers: &headers,
        query: &query,
        path: "/",
    })
}

#[test]
fn parts_that_are_named_change_and_the_others_stay() {
    let body = json!({"data": {"id": "user_1", "n": 9_007_199_254_740_993_i64}, "type": "a"});
    let code = "{'body': {'user': body.data}, 'headers': {'X-Kind': body.type, 'x-a': null, 'x-two': ['1', '2']},
        'path': '/users', 'query': {'id': body.data.id, 'q': 'a b&c'}}";
    let made = apply(code, &body).unwrap();
    let text = r#"{"user":{"id":"user_1","n":9007199254740993}}"#;
    assert_eq!(made.body.as_deref(), Some(text.as_bytes()));
    assert!(made.body_is_json);
    let headers: Vec<(String, Vec<String>)> =
        [("x-kind", &["a"][..]), ("x-a", &[]), ("x-two", &["1", "2"])]
            .map(|(name, values)| {
                (
                    name.to_owned(),
                    values.iter().map(|&one| one.to_owned()).collect(),
                )
            })
            .into();
    let mut told = made.headers.clone();
    told.sort();
    let mut wanted = headers;
    wanted.sort();
    assert_eq!(told, wanted);
    assert_eq!(made.path.as_deref(), Some("/users"));
    assert_eq!(made.query.as_deref(), Some("id=user%5F1&q=a%20b%26c"));
    assert_eq!(apply("{}", &body), Ok(Transformed::default()));
    let text = apply("{'body': 'plain ' + body.type}", &body).unwrap();
    assert_eq!(
        (text.body.as_deref(), text.body_is_json),
        (Some(&b"plain a"[..]), false)
    );
}

#[test]
fn what_cannot_be_sent_is_told_by_its_part_without_its_value() {
    let body = json!({"secret": "s3cret\n", "list": [1]});
    for (code, wanted) in [
        ("body", "no map"),
        ("{'bodies': 1}", "`bodies` is no part"),
        ("{'headers': []}", "`headers` is no map"),
        ("{'headers': {'a b': 'x'}}", "`a b` is no name"),
        ("{'headers': {'x': body.secret}}", "`headers.x` is no line"),
        ("{'headers': {'x': {}}}", "`headers.x`"),
        ("{'path': 'users'}", "`path` begins with"),
        ("{'path': '/a?b'}", "`path` begins with"),
        ("{'path': 1}", "`path` is no text"),
        ("{'query': 'a b'}", "`query` has at most"),
        ("{'query': {'a': {}}}", "`query.a`"),
        ("{'body': 0.0 / 0.0}", "not finite"),
        ("{'body': body.nothing}", "there is no `nothing`"),
    ] {
        let fault = apply(code, &body).expect_err(code);
        assert!(fault.contains(wanted), "{code}: {fault}");
        assert!(!fault.contains("s3cret"), "{fault}");
    }
}

#[test]
fn a_body_has_a_bound() {
    let body = json!({"text": "a".repeat(1_000_000)});
    let twice = "{'body': body.text + body.text}";
    assert!(
        apply(twice, &body)
            .unwrap_err()
            .contains("more than 1048576 bytes")
    );
    let list = "{'body': [body.text, body.text]}";
    assert!(apply(list, &body).unwrap_err().contains("too large"));
}

proptest! {
    #[test]
    fn what_is_saved_and_read_again_gives_the_same(id in ".{0,8}", n in any::<i64>()) {
        let code = "{'body': {'id': body.id, 'next': body.n == 9223372036854775807 ? 0 : body.n + 1},
            'headers': {'x-id': string(size(body.id))}}";
        let spec = TransformSpec { code: code.to_owned() };
        let again: TransformSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        prop_assert_eq!(&again, &spec);
        let body = json!({"id": id, "n": n, "more": [1, 2]});
        let one = apply(&spec.code, &body);
        prop_assert!(one.is_ok());
        prop_assert_eq!(apply(&again.code, &body), one);
    }
}
