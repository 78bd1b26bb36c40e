//! Real agents that come in with a token, and are thrown out.

use hookplane_tests::process::Process;
use hookplane_tests::{System, until};
use http::Method;
use serde_json::{Value, json};

async fn agent(system: &System, name: &str) -> Process {
    let folder = system.dir().join(name);
    let path = |file: &str| system.dir().join(file).to_string_lossy().into_owned();
    let arguments = [
        "--control-plane".to_owned(),
        format!("http://{}", system.control_plane_address()),
        "--join-token-file".to_owned(),
        path("enrolment.token"),
        "--name".to_owned(),
        name.to_owned(),
        "--data-dir".to_owned(),
        path(name),
        "--ingest".to_owned(),
        "127.0.0.1:0".to_owned(),
        "--admin".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    Process::start("hookplane-agent", &folder, "runtime.json", &arguments).await
}

async fn shown(system: &System, name: &str, state: &str) -> Value {
    until("the fleet shows the agent in the state", || async {
        let agents = system.api().list("/v1/agents").await;
        let one = agents.into_iter().find(|one| one["name"] == name)?;
        (one["state"] == state).then_some(one)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_comes_in_with_a_token_and_is_told_when_it_is_revoked() {
    let system = System::with_agents(0).await;
    let asked = json!({ "name": "for the edge" });
    let (status, made) = system
        .api()
        .call(Method::POST, "/v1/agent-tokens", Some(asked))
        .await;
    assert!(status.is_success(), "{made}");
    let token = made["token"].as_str().expect("a token");
    std::fs::write(system.dir().join("enrolment.token"), token).expect("a file");
    let first = agent(&system, "edge-1").await;
    let id = shown(&system, "edge-1", "CONNECTED").await["id"].clone();
    let second = agent(&system, "edge-2").await;
    until("the second agent says why it stays out", || async {
        second.log().contains("was used before").then_some(())
    })
    .await;

    let path = format!("/v1/agents/{}/revoke", id.as_str().expect("an id"));
    let (status, told) = system.api().call(Method::POST, &path, None).await;
    assert!(status.is_success(), "{told}");
    until("the agent says that it was revoked", || async {
        first.log().contains("the agent was revoked").then_some(())
    })
    .await;
    let revoked = shown(&system, "edge-1", "REVOKED").await;
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    let tokens = system.api().list("/v1/agent-tokens").await;
    assert_eq!(tokens[0]["status"], "USED", "{tokens:?}");
    assert_eq!(tokens[0]["used_by_agent_id"], id);
}
