//! What is refused, what the sender is told, and what operators see.

use hookplane_signature::sign;
use hookplane_tests::sender::{SECRET, message_id, now};
use hookplane_tests::{Answer, Receiver, Source, System, until};
use http::Method;
use serde_json::{Value, json};

/// The kept request that one answer names, with the reason that operators see.
async fn kept_of(system: &System, answer: &Answer, reason: &str) -> Value {
    let path = format!("/v1/requests/{}", answer.request_id());
    let row = until(
        &format!("the request refused for `{reason}` can be looked up"),
        || async {
            let (status, row) = system.api().call(Method::GET, &path, None).await;
            status.is_success().then_some(row)
        },
    )
    .await;
    assert_eq!(row["rejection_reason"], reason, "{row}");
    row
}

async fn kept(system: &System, source: &Source, reason: &str) -> Value {
    let path = format!("/v1/requests?status=rejected&source_id={}", source.id);
    until(
        &format!("a request refused for `{reason}` is listed"),
        || async {
            let rows = system.api().list(&path).await;
            rows.into_iter()
                .find(|row| row["rejection_reason"] == reason)
        },
    )
    .await
}

/// The sender hears the status and the code, and nothing that helps a forger.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.json["code"], code, "{}", answer.text);
    for hint in ["mismatch", "secret", "timestamp", "too old", "signature"] {
        assert!(
            !answer.text.contains(hint),
            "the sender is told about the {hint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_signatures_are_kept_with_the_exact_reason() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let body = r#"{"type":"user.created"}"#;
    let good = |at: i64| sign(source.provider, SECRET, &message_id(), at, body.as_bytes());
    let good = |at: i64| good(at).expect("it can be signed");
    let change = |place: usize, value: &str| {
        let mut headers = good(now());
        headers[place].1 = value.to_owned();
        headers
    };
    let without = |place: usize| {
        let mut headers = good(now());
        headers.remove(place);
        headers
    };
    let mut twice = good(now());
    let repeated = twice[2].clone();
    twice.push(repeated);
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let foreign = sign(
        source.provider,
        other,
        &message_id(),
        now(),
        body.as_bytes(),
    );
    let rows = [
        ("signature_mismatch", foreign.expect("signed")),
        ("timestamp_too_old", good(now() - 400)),
        ("timestamp_too_new", good(now() + 400)),
        ("timestamp_malformed", change(1, "17abc")),
        ("timestamp_in_milliseconds", change(1, "1790000000000")),
        ("header_missing", without(0)),
        ("header_missing", without(1)),
        ("header_missing", without(2)),
        ("header_malformed", change(2, "v1")),
        ("header_duplicated", twice),
        ("versions_unsupported", change(2, "v2,AAAA")),
    ];
    for (reason, headers) in rows {
        let answer = source.post(Method::POST, "", &headers, body).await;
        assert_refused(&answer, 401, "SOURCE_AUTH_FAILED");
        let row = kept_of(&system, &answer, reason).await;
        assert_eq!(row["rejection_cause"], "SOURCE_AUTH_FAILED", "{reason}");
        assert!(
            row["rejection_detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{row}"
        );
    }
    assert!(
        receiver.so_far().is_empty(),
        "a refused request was delivered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_answered_with_the_first_id_and_delivered_once() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let body = r#"{"type":"user.created"}"#;
    let first = source.send_as("msg_same", now(), body).await;
    let again = source.send_as("msg_same", now() + 1, body).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (200, 200));
    assert_eq!(first.request_id(), again.request_id());
    source.send_as("msg_other", now(), body).await;
    receiver.got(2).await;
    let trace = system
        .trace_until(&first.request_id(), "the repeat is in the trace", |trace| {
            trace["repeats"]
                .as_array()
                .is_some_and(|repeats| repeats.len() == 1)
        })
        .await;
    assert_eq!(trace["request"]["repeat_count"], 1);
    let ids: Vec<_> = receiver
        .so_far()
        .iter()
        .map(|got| got.header("svix-id").map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 2, "the duplicate was delivered: {ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_large_bodies_unknown_and_disabled_sources_have_answers_of_their_own() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;

    let answer = source.post(Method::GET, "", &[], "").await;
    assert_refused(&answer, 405, "SOURCE_METHOD_NOT_ALLOWED");
    assert!(answer.headers.contains_key("allow"));
    kept(&system, &source, "method").await;

    let answer = source.send(vec![b'x'; (1 << 20) + 1]).await;
    assert_refused(&answer, 413, "BODY_TOO_LARGE");
    kept(&system, &source, "body_too_large").await;

    let mut nobody = source.clone();
    nobody.url = nobody
        .url
        .replace(&source.id, "src_00000000000000000000000000");
    assert_refused(&nobody.send("{}").await, 404, "SOURCE_NOT_FOUND");

    let path = format!("/v1/sources/{}/disable", source.id);
    system.api().ok(Method::PUT, &path, None).await;
    system.settled().await;
    assert_refused(&source.send("{}").await, 403, "SOURCE_DISABLED");
    kept(&system, &source, "disabled").await;

    let path = format!("/v1/sources/{}", source.id);
    let patch = Some(json!({ "status": "enabled" }));
    system.api().ok(Method::PATCH, &path, patch).await;
    system.settled().await;
    assert_eq!(source.send("{}").await.status, 200);
    receiver.got(1).await;
}
