//! Two planes, several agents: who holds what, who answers, who is away.

use hookplane_tests::process::{Process, binary};
use hookplane_tests::{Receiver, System, until};
use http::Method;
use serde_json::json;

const BODY: &str = r#"{"type":"user.created"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_serve_the_same_source_and_lists_show_both() {
    let mut system = System::with_agents(2).await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    let other = source.at(&system.ingest(1));
    let (one, two) = (source.send(BODY).await, other.send(BODY).await);
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    receiver.got(2).await;
    let listed = system.api().list("/v1/requests").await;
    assert_eq!(listed.len(), 2);
    let agents: Vec<_> = listed.iter().map(|row| row["agent_id"].clone()).collect();
    assert_ne!(agents[0], agents[1]);

    system.stop_agent(1).await;
    let page = until("the missing agent is named", || async {
        let page = system.api().get("/v1/requests").await;
        (page["partial"] == true).then_some(page)
    })
    .await;
    assert_eq!(page["models"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["unreachable"][0]["name"], "agent-1");
    let path = format!("/v1/requests/{}", two.request_id());
    let (status, answer) = system.api().call(Method::GET, &path, None).await;
    assert_eq!(status, 503, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .is_some_and(|text| text.contains("agent-1")),
        "{answer}"
    );
    let trace = system.api().get(&format!("{path}/trace")).await;
    assert_eq!(trace["partial"], true, "{trace}");
    assert_eq!(trace["unreachable"][0]["name"], "agent-1");
    let path = format!("/v1/requests/{}", one.request_id());
    assert_eq!(
        system.api().get(&path).await["id"],
        one.request_id().as_str()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_tells_which_revision_each_agent_holds() {
    let system = System::with_agents(2).await;
    system.clerk("Clerk").await;
    system.settled().await;
    let status = system.api().get("/v1/status").await;
    let agents = system.api().list("/v1/agents").await;
    assert_eq!(agents.len(), 2);
    for agent in agents {
        assert_eq!(agent["revision"], status["revision"], "{agent}");
        assert_eq!(agent["epoch"], status["epoch"], "{agent}");
        assert_eq!(agent["digest"].as_str().map(str::len), Some(64), "{agent}");
        assert_eq!(agent["refused"], json!([]), "{agent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_planes_speak_tls_and_an_agent_with_another_authority_stays_out() {
    let system = System::with_tls().await;
    until("the agent holds a configuration", || async {
        let admin = format!("http://{}", system.agent(0).address("admin"));
        let (status, _) = hookplane_tests::Api::new(admin, String::new())
            .call(Method::GET, "/readyz", None)
            .await;
        status.is_success().then_some(())
    })
    .await;

    let stranger = tempfile::tempdir().expect("a folder");
    let other = hookplane_tests::tls::certificates(stranger.path());
    let data_dir = stranger.path().join("agent");
    let address = system.control_plane_address();
    let arguments = [
        "--control-plane".to_owned(),
        format!("https://{address}"),
        "--control-plane-ca".to_owned(),
        other.authority.to_string_lossy().into_owned(),
        "--join-token-file".to_owned(),
        system
            .dir()
            .join("control-plane/join.token")
            .to_string_lossy()
            .into_owned(),
        "--data-dir".to_owned(),
        data_dir.to_string_lossy().into_owned(),
        "--ingest".to_owned(),
        "127.0.0.1:0".to_owned(),
        "--admin".to_owned(),
        "127.0.0.1:0".to_owned(),
    ];
    let agent = Process::start("hookplane-agent", &data_dir, "runtime.json", &arguments).await;
    until(
        "the stranger says that it does not trust the certificate",
        || async {
            agent
                .log()
                .to_lowercase()
                .contains("certificate")
                .then_some(())
        },
    )
    .await;
    let admin =
        hookplane_tests::Api::new(format!("http://{}", agent.address("admin")), String::new());
    let (status, reasons) = admin.call(Method::GET, "/readyz", None).await;
    assert_eq!(status, 503, "{reasons}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_others_reach_does_not_speak_plain_text_unasked() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = tokio::process::Command::new(binary("hookplane-control-plane"))
        .args(["--api", "0.0.0.0:0", "--data-dir"])
        .arg(dir.path())
        .env_clear()
        .output()
        .await
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("insecure_api"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_to_a_control_plane_elsewhere_has_to_be_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = tokio::process::Command::new(binary("hookplane-agent"))
        .args(["--control-plane", "http://192.0.2.1:8080", "--data-dir"])
        .arg(dir.path())
        .env_clear()
        .output()
        .await
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("insecure"), "{text}");
}
