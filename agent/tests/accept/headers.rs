//! The bounds of a head hold in both versions of HTTP.

use bytes::Bytes;
use hookplane_agent::accept::IngestLimits;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::world::{Agent, start};

/// Posts over HTTP/2; status and body.
async fn post(agent: &Agent, headers: Vec<(String, String)>) -> (u16, String) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut request = hyper::Request::post(format!("{}/src_open", agent.base));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::from("{}")).unwrap();
    let answer = client.request(request).await.expect("the agent answers");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn pairs(count: usize, value: &str) -> Vec<(String, String)> {
    (0..count)
        .map(|number| (format!("x-{number}"), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn too_many_headers_are_refused_over_version_two_and_kept_cut() {
    let agent = start(IngestLimits::default()).await;
    // The client adds content-length.
    assert_eq!(post(&agent, pairs(120, "v")).await.0, 200);
    let (status, body) = post(&agent, pairs(300, "v")).await;
    assert_eq!(status, 431, "{body}");
    assert!(body.contains("HEADERS_TOO_LARGE"), "{body}");
    let kept = agent.kept().await;
    let refused = kept.iter().find(|request| request.rejection.is_some());
    let refused = refused.expect("it is kept as rejected");
    assert_eq!(refused.headers.len(), 128);
    let why = refused.rejection.as_ref().unwrap();
    assert_eq!(
        (why.cause.as_str(), why.reason.as_str()),
        ("HEADERS_TOO_LARGE", "headers_too_large")
    );
    assert!(why.detail.starts_with("301 headers"), "{}", why.detail);
}

#[tokio::test]
async fn too_many_headers_are_refused_over_version_one() {
    let agent = start(IngestLimits::default()).await;
    let told = agent
        .send("POST", "/src_open", pairs(120, "v"), b"{}")
        .await;
    assert_eq!(told.status, 200);
    let told = agent
        .send("POST", "/src_open", pairs(130, "v"), b"{}")
        .await;
    assert_eq!(told.status, 431);
}

#[tokio::test]
async fn too_large_a_head_is_refused_over_both_versions() {
    let agent = start(IngestLimits::default()).await;
    let large = pairs(100, &"v".repeat(1_000));
    assert_eq!(post(&agent, large.clone()).await.0, 431);
    let told = agent.send("POST", "/src_open", large, b"{}").await;
    assert_eq!(told.status, 431);
}
