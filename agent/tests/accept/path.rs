//! A sender chooses what follows the receiver's path, never another place on its host.

use hookplane_agent::accept::IngestLimits;

use crate::world::start;

#[tokio::test]
async fn a_path_that_could_climb_is_refused_and_kept_as_evidence() {
    let agent = start(IngestLimits::default()).await;
    let climbing = [
        "/../../admin",
        "/%2e%2e/%2E%2E/admin",
        "/a/.%2e/..%2f..%2fadmin",
        "/%252e%252e/admin",
        "/..\\..\\admin",
        "/a%0d%0aset-cookie:%20x",
    ];
    for path in climbing {
        let path = format!("/src_open{path}");
        let told = agent.send("POST", &path, Vec::new(), b"{}").await;
        assert_eq!(
            (told.status, told.json()["code"].as_str()),
            (400, Some("PATH_INVALID")),
            "{path}"
        );
    }
    let kept = agent.kept().await;
    assert_eq!(kept.len(), climbing.len());
    for request in kept {
        let why = request.rejection.expect("it is kept as rejected");
        assert_eq!(
            (why.cause.as_str(), why.reason.as_str()),
            ("PATH_INVALID", "path_invalid")
        );
        assert!(!why.detail.is_empty(), "operators are not told why");
    }
}

#[tokio::test]
async fn an_odd_path_that_goes_down_is_kept_letter_for_letter() {
    let agent = start(IngestLimits::default()).await;
    let path = "/v1.2//..x/%e2%82%ac%2Fb/...;c=..";
    let told = agent
        .send("POST", &format!("/src_open{path}"), Vec::new(), b"{}")
        .await;
    assert_eq!(told.status, 200);
    assert_eq!(agent.kept().await[0].path, path);
}
