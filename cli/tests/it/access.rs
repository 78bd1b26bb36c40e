//! `agents tokens`, `agents revoke` and `agents authorities` against a real control plane.

use hookplane_proto::agent::v1::EnrollRequest;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use tonic::Code;

use crate::plane::Plane;

/// Enrols as an agent does; gives its id.
async fn enrol(plane: &Plane, token: &str, name: &str) -> Result<String, tonic::Status> {
    let mut client = EnrolmentServiceClient::connect(plane.url().to_owned())
        .await
        .unwrap();
    let request = EnrollRequest {
        join_token: token.to_owned(),
        name: name.to_owned(),
        pool: "edge".to_owned(),
        version: "0.1.0".to_owned(),
        credential_hash: format!("{:064x}", name.len()),
        store: 0,
    };
    Ok(client.enroll(request).await?.into_inner().agent_id)
}

#[tokio::test]
async fn a_token_is_shown_once_lets_one_agent_in_and_the_agent_is_revoked_for_good() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let create = ["agents", "tokens", "create", "--name", "for the edge"];
    let made = [&create[..], &["--pool", "edge", "-o", "json"]].concat();
    let made = shell.run(&made).await.json();
    let (id, token) = (
        made["id"].as_str().unwrap(),
        made["token"].as_str().unwrap(),
    );
    assert!(token.starts_with("hpe_"), "{made}");
    let list = ["agents", "tokens", "list"];
    let open = shell.run(&list).await.ok();
    assert!(open.contains(id) && open.contains("open"), "{open}");
    assert!(!open.contains(token), "the secret is shown again: {open}");

    let agent = enrol(&plane, token, "edge-1").await.unwrap();
    let used = shell.run(&list).await.ok();
    assert!(used.contains("used") && used.contains(&agent), "{used}");
    let late = shell.run(&["agents", "tokens", "revoke", id]).await;
    assert!(late.err.contains("agents revoke"), "{late:?}");
    assert_eq!(late.ok(), format!("{id} is used\n"));

    let revoked = shell.run(&["agents", "revoke", &agent]).await;
    assert!(revoked.err.contains("stop its process"), "{revoked:?}");
    assert_eq!(revoked.ok(), format!("{agent} is revoked\n"));
    let shown = shell
        .run(&["agents", "get", &agent, "-o", "json"])
        .await
        .json();
    assert_eq!(shown["state"], "REVOKED", "{shown}");
    let again = enrol(&plane, token, "edge-1").await.unwrap_err();
    assert_ne!(again.code(), Code::Ok, "a revoked agent is in again");
    let unknown = shell.run(&["agents", "revoke", "agt_none"]).await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

#[tokio::test]
async fn a_token_that_nobody_used_is_ended_and_a_time_out_of_bounds_is_a_mistake_in_the_call() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let create = ["agents", "tokens", "create", "--name", "x"];
    let shown = shell.run(&create).await;
    assert!(shown.err.contains("not shown again"), "{shown:?}");
    let listed = shell.run(&["agents", "tokens", "list", "-o", "json"]).await;
    let listed = listed.json();
    let id = listed["models"][0]["id"].as_str().unwrap();
    let ended = shell.run(&["agents", "tokens", "revoke", id]).await.ok();
    assert_eq!(ended, format!("{id} is revoked\n"));
    let short = [&create[..], &["--valid-seconds", "59"]].concat();
    assert_eq!(shell.run(&short).await.code, 2);
}

#[tokio::test]
async fn a_new_authority_signs_and_is_shown_beside_the_old_one() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let rotate = ["agents", "authorities", "rotate"];
    let first = shell
        .run(&[&rotate[..], &["-o", "json"]].concat())
        .await
        .json();
    let overlap = shell
        .run(&[&rotate[..], &["--overlap", "2h"]].concat())
        .await;
    assert!(overlap.ok().ends_with("signs from now on\n"));
    let listed = shell.run(&["agents", "authorities", "list"]).await.ok();
    let line = |word: &str| listed.lines().find(|line| line.contains(word)).unwrap();
    let id = first["id"].as_str().unwrap();
    assert!(line(id).contains("trusted"), "{listed}");
    assert!(!line("signing").contains(id), "{listed}");
    let long = shell
        .run(&[&rotate[..], &["--overlap", "31d"]].concat())
        .await;
    assert_eq!(long.code, 1, "{long:?}");
    assert!(long.err.contains("30 days"), "{long:?}");
}
