//! Each hypothesis with a request for which it is the truth, and that nothing of it is told.

use super::*;
use crate::{AuthSpec, Provider, Term, sign};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const NOW: i64 = 1_700_000_000;
const BODY: &str = r#"{"type":"user.created","data":{"name":"J\u00fcrgen <a&b/c>","list":[1,2.50,{}],"none":null}}"#;

fn verifier(secrets: &[&str], terms: &[Term]) -> Verifier {
    let secrets = secrets.iter().map(|&text| text.to_owned()).collect();
    Verifier::with_terms(Provider::Clerk, AuthSpec::Provider { secrets }, 300, terms).unwrap()
}

/// What is said of a body that came where another one was signed.
fn said(
    verifier: &Verifier,
    (secret, signed, at): (&str, &[u8], i64),
    came: &[u8],
    others: &[Other<'_>],
) -> Diagnosis {
    let headers = sign(Provider::Clerk, secret, "msg_1", at, signed).unwrap();
    let inbound = Inbound {
        headers: &headers,
        body: came,
    };
    let refusal = verifier.verify(&inbound, NOW).expect_err("it is refused");
    let said = diagnose(verifier, &inbound, NOW, &refusal, others);
    let told = format!("{said:?}");
    for hidden in [SECRET, OTHER, "MfKQ9r8", "user.created", "rgen"] {
        assert!(!told.contains(hidden), "{told}");
    }
    let signature = headers
        .iter()
        .find(|(name, _)| name == "svix-signature")
        .unwrap();
    assert!(
        !told.contains(signature.1.trim_start_matches("v1,")),
        "{told}"
    );
    said
}

/// What one body becomes on the way.
fn changed_into(signed: &[u8], came: &[u8]) -> Diagnosis {
    said(&verifier(&[SECRET], &[]), (SECRET, signed, NOW), came, &[])
}

#[test]
fn a_body_that_was_written_anew_is_traced_to_how_it_was_signed() {
    let value: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    // As it comes: parsed and written by something that keeps the order of keys.
    let came = r#"{"type":"user.created","data":{"name":"Jürgen <a&b/c>","list":[1,2.50,{}],"none":null}}"#;
    let python = r#"{"type": "user.created", "data": {"name": "J\u00fcrgen <a&b/c>", "list": [1, 2.50, {}], "none": null}}"#;
    let spaced = r#"{"type": "user.created", "data": {"name": "Jürgen <a&b/c>", "list": [1, 2.50, {}], "none": null}}"#;
    let go = r#"{"type":"user.created","data":{"name":"Jürgen \u003ca\u0026b/c\u003e","list":[1,2.50,{}],"none":null}}"#;
    let php = r#"{"type":"user.created","data":{"name":"J\u00fcrgen <a&b\/c>","list":[1,2.50,{}],"none":null}}"#;
    for (signed, how) in [
        (BODY, "ASCII escapes"),
        (python, "as Python writes it"),
        (spaced, "with spaces"),
        (go, "as Go writes it"),
        (php, "as PHP writes it"),
    ] {
        let said = changed_into(signed.as_bytes(), came.as_bytes());
        assert_eq!(
            (said.cause, said.proven),
            ("body_reserialised", true),
            "{said:?}"
        );
        assert!(said.evidence.contains(how), "{how}: {said:?}");
        assert!(said.ruled_out.contains(&"time"), "{said:?}");
    }
    // Keys are sorted by our own library, so both forms are of the sorted value.
    let compact = value.to_string();
    let said = changed_into(pretty.as_bytes(), compact.as_bytes());
    assert!(said.evidence.contains("indented by 2 spaces"), "{said:?}");
    let said = changed_into(compact.as_bytes(), pretty.as_bytes());
    assert!(
        said.evidence.contains("as JavaScript writes it"),
        "{said:?}"
    );
    let said = changed_into(format!("{pretty}\n").as_bytes(), compact.as_bytes());
    assert!(said.evidence.contains("and a line end"), "{said:?}");
}

#[test]
fn other_changes_of_a_body_are_undone_and_named() {
    let text = "name=J\u{fc}rgen\n";
    let latin: Vec<u8> = text.chars().map(|one| u32::from(one) as u8).collect();
    let double: String = text.bytes().map(char::from).collect();
    let wrapped = serde_json::to_string(BODY).unwrap();
    let base64 = STANDARD.encode(text);
    let marked = format!("\u{feff}{text}");
    for (signed, came, cause) in [
        (text.as_bytes(), text.trim_end().as_bytes(), "body_newline"),
        (text.trim_end().as_bytes(), text.as_bytes(), "body_newline"),
        (b"a\r\nb", b"a\nb", "body_line_ends"),
        (b"a\nb", b"a\r\nb", "body_line_ends"),
        (b"plain", b"  plain \n", "body_whitespace"),
        (text.as_bytes(), marked.as_bytes(), "body_byte_order_mark"),
        (marked.as_bytes(), text.as_bytes(), "body_byte_order_mark"),
        (text.as_bytes(), &latin, "body_encoding"),
        (text.as_bytes(), double.as_bytes(), "body_encoding"),
        (BODY.as_bytes(), wrapped.as_bytes(), "body_wrapped"),
        (text.as_bytes(), base64.as_bytes(), "body_wrapped"),
        (base64.as_bytes(), text.as_bytes(), "body_wrapped"),
    ] {
        let said = changed_into(signed, came);
        assert_eq!((said.cause, said.proven), (cause, true), "{said:?}");
    }
}

#[test]
fn secrets_and_clocks_are_told_apart_from_bodies() {
    let body = BODY.as_bytes();
    let own = verifier(&[SECRET], &[]);
    for (at, told) in [(NOW - 400, "400 s before"), (NOW + 900, "900 s after")] {
        let said = said(&own, (SECRET, body, at), body, &[]);
        assert_eq!((said.cause, said.proven), ("time", true));
        assert!(said.evidence.contains(told), "{said:?}");
    }
    let foreign = verifier(&[OTHER], &[]);
    let open = Verifier::new(Provider::Webhook, AuthSpec::None, 300).unwrap();
    let others = [
        Other {
            name: "open",
            verifier: &open,
        },
        Other {
            name: "billing",
            verifier: &foreign,
        },
    ];
    let found = said(&own, (OTHER, body, NOW), body, &others);
    assert_eq!(found.cause, "secret_of_another_source");
    assert!(found.evidence.contains("`billing`"), "{found:?}");

    let ended = Term {
        version: 1,
        not_before: None,
        expires_at: Some(NOW - 1),
    };
    let rotated = verifier(&[OTHER, SECRET], &[ended, Term::default()]);
    let found = said(&rotated, (OTHER, body, NOW), body, &[]);
    assert_eq!(found.cause, "secret_out_of_term");

    for text in [SECRET, SECRET.trim_start_matches("whsec_")] {
        // Signed with the text itself: as a secret it is the base64 of the text.
        let as_secret = format!("whsec_{}", STANDARD.encode(text));
        let found = said(&own, (&as_secret, body, NOW), body, &[]);
        assert_eq!(found.cause, "secret_undecoded", "{found:?}");
    }
}

#[test]
fn what_nothing_explains_says_what_was_ruled_out() {
    let found = changed_into(BODY.as_bytes(), br#"{"type":"user.deleted"}"#);
    assert_eq!((found.cause, found.proven), ("signature_mismatch", false));
    for cause in [
        "time",
        "secret_undecoded",
        "body_reserialised",
        "body_newline",
        "body_wrapped",
    ] {
        assert!(found.ruled_out.contains(&cause), "{found:?}");
    }
    let empty = changed_into(BODY.as_bytes(), b"");
    assert!(empty.evidence.contains("empty"), "{empty:?}");
}

#[test]
fn a_refusal_that_says_it_all_is_the_diagnosis() {
    let own = verifier(&[SECRET], &[]);
    let headers: Vec<(String, String)> = Vec::new();
    let inbound = Inbound {
        headers: &headers,
        body: b"{}",
    };
    let refusal = own.verify(&inbound, NOW).unwrap_err();
    let found = diagnose(&own, &inbound, NOW, &refusal, &[]);
    assert_eq!((found.cause, found.proven), ("header_missing", false));
}

#[test]
fn a_large_body_and_many_sources_cost_a_bounded_number_of_signatures() {
    let large = format!("[{}0]", "0,".repeat(MAX_DIAGNOSED_BYTES));
    let found = changed_into(b"[0]", large.as_bytes());
    assert!(found.evidence.contains("too large"), "{found:?}");
    let foreign = verifier(&[OTHER], &[]);
    let others = [Other {
        name: "x",
        verifier: &foreign,
    }; 500];
    let own = verifier(&[SECRET], &[]);
    let third = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let found = said(
        &own,
        (third, BODY.as_bytes(), NOW),
        BODY.as_bytes(),
        &others,
    );
    assert!(!found.proven);
    let untried = "secret_of_another_source";
    assert!(!found.ruled_out.contains(&untried), "{found:?}");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(!changed_into(b"x", deep.as_bytes()).proven);
    for broken in [
        &b"{\"a\":"[..],
        b"\"",
        b"{\"a\\",
        b"\xff\xfe",
        b"]",
        b"{}}",
        b"{\"\\ud800\":1}",
    ] {
        assert!(!changed_into(b"x", broken).proven);
    }
}
