//! What a source's senders authenticate with is neither shown nor passed on.

use hookplane_agent::accept::IngestLimits;
use hookplane_agent::store::Store as _;

use crate::world::{Agent, TEAM, start};

/// Everything kept about all requests, as operators and receivers could see it.
async fn all_evidence(agent: &Agent) -> String {
    let mut text = String::new();
    for request in agent.kept().await {
        let history = agent.store.history(TEAM, &request.id).await.unwrap();
        text.push_str(&format!("{:?}", history.expect("it is kept")));
    }
    text
}

#[tokio::test]
async fn a_key_and_a_password_are_checked_and_then_forgotten() {
    let agent = start(IngestLimits::default()).await;
    // base64 of `partner:p-0-word`
    let basic = "Basic cGFydG5lcjpwLTAtd29yZA==";
    let calls = [
        ("POST", "/src_keyed", "X-Partner-Key", "k-0-partner", 200),
        ("POST", "/src_keyed", "x-partner-key", "k-0-partnex", 401),
        ("GET", "/src_keyed", "x-partner-key", "k-0-partner", 405),
        ("POST", "/src_keyed/..", "x-partner-key", "k-0-partner", 400),
        ("POST", "/src_basic", "authorization", basic, 200),
        (
            "POST",
            "/src_basic",
            "authorization",
            "Basic cGFydG5lcjpw",
            401,
        ),
    ];
    for (method, path, name, value, wanted) in calls {
        let headers = vec![
            (name.to_owned(), value.to_owned()),
            ("x-other".to_owned(), "kept".to_owned()),
        ];
        let told = agent.send(method, path, headers, b"{}").await;
        assert_eq!(told.status, wanted, "{method} {path} {value}");
    }
    let evidence = all_evidence(&agent).await;
    for secret in ["k-0-partne", "cGFydG5lcjpw", "p-0-word"] {
        assert!(!evidence.contains(secret), "{secret} is kept: {evidence}");
    }
    assert_eq!(evidence.matches("[redacted]").count(), calls.len());
    assert_eq!(evidence.matches("kept").count(), calls.len());
}

#[tokio::test]
async fn an_open_source_demands_nothing_so_nothing_is_taken_out() {
    let agent = start(IngestLimits::default()).await;
    let headers = vec![("authorization".to_owned(), "Bearer theirs".to_owned())];
    agent.send("POST", "/src_open", headers, b"{}").await;
    assert!(all_evidence(&agent).await.contains("Bearer theirs"));
}
