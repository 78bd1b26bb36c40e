//! Why a request was refused, proven by what would have been believed.

use hookplane_signature::{Provider, sign};
use hookplane_tests::process::binary;
use hookplane_tests::sender::now;
use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

async fn diagnosis(system: &System, request: &str) -> Value {
    let path = format!("/v1/requests/{request}/diagnosis");
    until("the refused request can be looked at", || async {
        let (status, told) = system.api().call(Method::GET, &path, None).await;
        (status.as_u16() != 404).then_some(told)
    })
    .await
}

/// The newest refused request of a source.
async fn refused(system: &System, source: &str, count: usize) -> String {
    let path = format!("/v1/requests?status=rejected&source_id={source}");
    until("the refusal is kept", || async {
        let rows = system.api().list(&path).await;
        let id = rows.first()?["id"].as_str()?.to_owned();
        (rows.len() == count).then_some(id)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_traced_to_the_body_the_secret_or_the_clock_and_never_accepted() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    system.source("billing", Provider::Clerk, OTHER).await;
    system.settled().await;
    let signed = br#"{"type": "user.created", "data": {"name": "J\u00fcrgen", "n": 1.0}}"#;
    let came = r#"{"type":"user.created","data":{"name":"Jürgen","n":1.0}}"#;
    let cases: [(&str, &[u8], i64, &str, &str); 4] = [
        (
            &source.secret,
            signed,
            now(),
            "body_reserialised",
            "as Python writes it",
        ),
        (
            OTHER,
            came.as_bytes(),
            now(),
            "secret_of_another_source",
            "`billing`",
        ),
        (
            &source.secret,
            came.as_bytes(),
            now() - 3_600,
            "time",
            "before the request came",
        ),
        (
            &source.secret,
            b"something else",
            now(),
            "signature_mismatch",
            "no hypothesis",
        ),
    ];
    for (place, (secret, signed, at, cause, evidence)) in cases.into_iter().enumerate() {
        let id = format!("msg_{place}");
        let headers = sign(Provider::Clerk, secret, &id, at, signed).expect("signed");
        let answer = source.post(Method::POST, "", &headers, came).await;
        assert_eq!(answer.status, 401, "{cause}");
        let request = refused(&system, &source.id, place + 1).await;
        let told = diagnosis(&system, &request).await;
        assert_eq!(told["cause"], cause, "{told}");
        assert_eq!(told["proven"], cause != "signature_mismatch", "{told}");
        let text = told["evidence"].as_str().unwrap_or_default();
        assert!(text.contains(evidence), "{told}");
        let whole = told.to_string();
        for hidden in [source.secret.as_str(), OTHER, "Jürgen", "user.created"] {
            assert!(!whole.contains(hidden), "{told}");
        }
    }
    assert!(receiver.so_far().is_empty(), "a diagnosis let something in");

    // The last one by the command, and what was accepted has nothing to diagnose.
    let request = refused(&system, &source.id, 4).await;
    let output = Command::new(binary("hookplane"))
        .args(["diagnose", &request])
        .env_clear()
        .env("HOOKPLANE_API_URL", &system.api().url)
        .env("HOOKPLANE_API_KEY", &system.api().key)
        .output()
        .await
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("signature_mismatch (not proven)"), "{text}");
    assert!(text.contains("body_reserialised"), "{text}");
    let accepted = source.send(r#"{"type":"a"}"#).await.request_id();
    receiver.got(1).await;
    let path = format!("/v1/requests/{accepted}/diagnosis");
    let (status, told) = system.api().call(Method::GET, &path, None).await;
    assert!(status.is_client_error(), "{told}");
}
