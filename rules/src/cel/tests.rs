//! What expressions mean, what is refused, and that nothing hostile is expensive.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn with(text: &str, body: &Value) -> Result<Value, String> {
    let program = Program::compile("cel", text).map_err(|fault| fault.to_string())?;
    let (headers, query) = (json!({"x-a": "1", "x-b": ["2", "3"]}), json!({"q": "7"}));
    let input = Input {
        body: Some(body),
        raw_body: b"",
        headers: &headers,
        query: &query,
        path: "/in/put",
    };
    let given = program
        .evaluate(&input)
        .map_err(|fault| fault.to_string())?;
    let mut room = 1_000_000;
    given
        .into_json(&mut room)
        .map_err(|fault| fault.to_string())
}

fn body() -> Value {
    json!({
        "type": "user.created",
        "n": 3, "big": 9_007_199_254_740_993_i64, "huge": u64::MAX, "half": 0.5,
        "none": null, "yes": true,
        "list": [1, 2, 3], "texts": ["a", "b"],
        "user": {"id": "user_1", "email": "Some@Example.com", "tags": [{"k": "x", "v": 1}, {"k": "y"}]},
    })
}

#[test]
fn expressions_mean_what_the_language_says() {
    let body = body();
    for (text, wanted) in [
        ("body.type", json!("user.created")),
        ("body.big", json!(9_007_199_254_740_993_i64)),
        ("body.huge", json!(u64::MAX)),
        ("body.user.tags[1].k", json!("y")),
        ("body['user']['id']", json!("user_1")),
        ("headers['x-a'] + '-' + query.q + path", json!("1-7/in/put")),
        ("headers['x-b'][1]", json!("3")),
        ("has(body.user.name)", json!(false)),
        (
            "has(body.user.id) && body.user.id.startsWith('user_')",
            json!(true),
        ),
        ("body.n + 1 == 4 ? 'four' : 'other'", json!("four")),
        ("7 / 2", json!(3)),
        ("-7 % 3", json!(-1)),
        ("body.half * 2.0", json!(1.0)),
        ("body.n == 3.0", json!(true)),
        ("body.huge > body.n", json!(true)),
        ("'b' in body.texts", json!(true)),
        ("'id' in body.user", json!(true)),
        ("4 in body.list", json!(false)),
        ("body.list.map(x, x * 2)", json!([2, 4, 6])),
        ("body.list.filter(x, x > 1)", json!([2, 3])),
        ("body.list.map(x, x > 1, x * 10)", json!([20, 30])),
        ("body.list.all(x, x > 0)", json!(true)),
        ("body.list.exists(x, x == 2)", json!(true)),
        ("body.list.exists_one(x, x > 1)", json!(false)),
        ("body.user.tags.map(t, has(t.v) ? t.v : 0)", json!([1, 0])),
        ("body.user.map(k, k)", json!(["email", "id", "tags"])),
        (
            "body.list.map(x, body.list.filter(y, y > x).size())",
            json!([2, 1, 0]),
        ),
        ("size(body.user.email)", json!(16)),
        (
            "body.user.email.lowerAscii().split('@')[1]",
            json!("example.com"),
        ),
        ("['a', 'b'].join(', ')", json!("a, b")),
        ("'abc'.substring(1, 2) + 'abc'.upperAscii()", json!("bABC")),
        ("'a-b-c'.replace('-', '')", json!("abc")),
        ("body.type.matches('^user\\\\.')", json!(true)),
        ("base64.encode('hi')", json!("aGk=")),
        ("string(base64.decode('aGk='))", json!("hi")),
        (
            "json({'b': 1, 'a': [true, null]})",
            json!(r#"{"a":[true,null],"b":1}"#),
        ),
        ("string(body.n) + string(true)", json!("3true")),
        ("int('12') + int(3.9)", json!(15)),
        (
            "{'id': body.user.id, 'list': body.list + [4]}",
            json!({"id": "user_1", "list": [1, 2, 3, 4]}),
        ),
        ("body.none == null", json!(true)),
        ("{'a': 1} == {'a': 1.0}", json!(true)),
        // What one side decides stands, whatever the other one is.
        ("body.nothing == 1 || true", json!(true)),
        ("false && body.nothing == 1", json!(false)),
    ] {
        assert_eq!(with(text, &body), Ok(wanted), "{text}");
    }
}

#[test]
fn what_has_no_value_says_why_and_never_what_stood_there() {
    let body = body();
    for (text, wanted) in [
        ("body.nothing", "there is no `nothing`"),
        ("body.type.nothing", "asked of string"),
        ("body.list[9]", "fewer elements"),
        ("body.type + 1", "`+` does not take string and int"),
        ("body.n / 0", "no result"),
        ("9223372036854775807 + 1", "no result"),
        ("body.n && true", "neither true nor false"),
        ("body.list.map(x, x.y)", "asked of int"),
        ("int(body.user.email)", "cannot read the text"),
        ("{1: 2}", "keys of a map are texts"),
        ("0.0 / 0.0", "not finite"),
        ("body.n.map(x, x)", "does not walk over int"),
        ("body.nothing || false", "there is no `nothing`"),
    ] {
        let fault = with(text, &body).expect_err(text);
        assert!(fault.contains(wanted), "{text}: {fault}");
        assert!(!fault.contains("Example"), "{fault}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_when_it_is_saved() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(300), close.repeat(300));
    let many = |part: &str| vec![part; 900].join(" + ");
    let three = "body.a.map(x, body.a.map(y, body.a.map(z, z)))";
    for (text, wanted) in [
        ("", "is empty"),
        (" ", "is empty"),
        (&"a".repeat(5_000), "4096 are possible"),
        ("1 +", "line 1, column"),
        ("request.body", "does not know `request`"),
        ("now()", "no function `now`"),
        ("body.a.size(1, 2)", "does not take 3 values"),
        ("body.a.matches(body.b)", "written out"),
        ("body.a.matches('(')", "no regular expression"),
        ("body.a.matches('(a{1000}){1000}')", "too large"),
        (three, "inside each other"),
        (&deep("(", ")"), ""),
        (&deep("[", "]"), ""),
        (&many("1"), ""),
        ("Message{a: 1}", ""),
        ("body.a.map(x, y, z, w)", ""),
    ] {
        let fault = Program::compile("cel", text).expect_err(text);
        assert_eq!(fault.path, "cel");
        assert!(fault.message.contains(wanted), "{text}: {fault}");
    }
}

#[test]
fn a_hostile_expression_ends_soon_with_a_limit() {
    let numbers: Vec<u32> = (0..2_000).collect();
    let body = json!({"list": numbers, "text": "a".repeat(100_000)});
    let doubling = format!("['aaaa']{}", ".map(x, x + x)".repeat(60));
    let copies = format!("[body.list]{}", ".map(x, [x, x])".repeat(40));
    let again = "body.list.map(x, body.list.map(y, x * y))";
    for text in [
        again,
        "body.list.all(x, body.list.all(y, x + y >= 0))",
        "body.list.map(x, body.text + body.text)",
        "body.list.map(x, body.text.replace('a', body.text))",
        "body.text.replace('', body.text)",
        "body.list.map(x, body.text.split(''))",
        "body.list.map(x, body.text.matches('a*b'))",
        "body.list.map(x, size(body.text))",
        "body.list.map(x, body.list == body.list)",
        "body.list.map(x, x in body.list)",
        "body.list.map(x, json(body))",
        &doubling,
        &copies,
    ] {
        let fault = with(text, &body).expect_err(text);
        let limits = [
            "too many steps",
            "too many bytes",
            "too large",
            "too deeply",
        ];
        assert!(
            limits.iter().any(|limit| fault.contains(limit)),
            "{text}: {fault}"
        );
    }
    // A limit is no error that `||` makes up for.
    let absorbed = format!("body.list.all(x, {again} != []) || true");
    assert!(with(&absorbed, &body).is_err());
}

#[test]
fn a_body_that_is_no_json_is_a_text_or_bytes() {
    let program = Program::compile("cel", "body.contains('b')").unwrap();
    let nothing = json!({});
    let input = |raw_body| Input {
        body: None,
        raw_body,
        headers: &nothing,
        query: &nothing,
        path: "/",
    };
    assert!(matches!(
        program.evaluate(&input(b"abc")),
        Ok(Val::Bool(true))
    ));
    assert!(program.evaluate(&input(b"\xff")).is_err());
    let size = Program::compile("cel", "size(body)").unwrap();
    assert!(matches!(
        size.evaluate(&input(b"\xff\x00")),
        Ok(Val::Int(2))
    ));
}

#[test]
fn a_body_that_is_too_large_to_be_looked_into_is_left_alone_by_others() {
    let large = vec![b'a'; MAX_LOOKED_INTO_BYTES + 1];
    let nothing = json!({});
    let input = Input {
        body: None,
        raw_body: &large,
        headers: &nothing,
        query: &nothing,
        path: "/",
    };
    let into_it = Program::compile("cel", "size(body)").unwrap();
    assert!(matches!(into_it.evaluate(&input), Err(CelFault::Limit(_))));
    let past_it = Program::compile("cel", "path").unwrap();
    assert!(past_it.evaluate(&input).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        drop(with(&text, &json!({"a": [1, "b", null]})));
    }

    #[test]
    fn nothing_made_of_its_words_makes_it_panic(
        words in prop::collection::vec(prop::sample::select(&[
            "body", ".a", "[0]", "(", ")", "+", "-", "*", "/", "==", "&&", "||", "!", "?", ":", "in", "1", "2u",
            "1.5", "'x'", "b'x'", "null", "true", "{", "}", "[", "]", ",", ".map(x, ", "x", ".exists(x, ", "size(",
            "string(", ".matches('a')", "has(body.a)", ".join()", "headers", "query", "path",
        ][..]), 0..24)
    ) {
        drop(with(&words.concat(), &json!({"a": [1, "b", null]})));
        drop(with(&words.join(" "), &json!({"a": [1, "b", null]})));
    }
}
