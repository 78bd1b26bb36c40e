//! Starts that cannot be, and what a start leaves on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::server::{ControlPlane, StartError};
use hookplane_control_plane::settings::Settings;
use hookplane_proto::agent::v1::EnrollRequest;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use hookplane_proto::v1::CreateAgentTokenRequest;
use tonic_types::StatusExt as _;

use super::plane::{Plane, clerk};

async fn start(settings: Settings) -> Result<ControlPlane, StartError> {
    let api = ([127, 0, 0, 1], 0).into();
    ControlPlane::start(Settings { api, ..settings }, Arc::new(SystemClock)).await
}

/// The error with its causes.
fn told(error: &StartError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        text += &format!(": {one}");
        cause = one.source();
    }
    text
}

#[tokio::test]
async fn a_second_process_on_one_folder_is_refused_with_what_to_do() {
    let plane = Plane::on_sqlite().await;
    let second = start(Settings::in_dir(plane.dir.path())).await;
    let text = told(&second.err().expect("the folder is taken"));
    assert!(
        text.contains("another process uses the data folder"),
        "{text}"
    );
    assert!(plane.dir.path().join("runtime.json").exists());
    plane
        .create_source(clerk("Clerk"))
        .await
        .expect("the first goes on");
    plane.restart().await.stop().await;
}

#[tokio::test]
async fn the_database_is_for_its_owner_only_with_all_that_belongs_to_it() {
    let plane = Plane::on_sqlite().await;
    plane.create_source(clerk("Clerk")).await.expect("right");
    let mut seen = 0;
    for entry in std::fs::read_dir(plane.dir.path()).expect("the folder") {
        let entry = entry.expect("a file");
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("control-plane.db")
        {
            let mode = entry.metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
            seen += 1;
        }
    }
    assert!(seen > 1, "the journal is beside the database");
}

#[tokio::test]
async fn where_no_join_token_is_shared_none_is_made_and_only_tokens_for_one_agent_open() {
    let plane = Plane::without_join_token().await;
    assert!(!plane.dir.path().join("join.token").exists());
    let request = |join_token: &str| EnrollRequest {
        join_token: join_token.to_owned(),
        name: "edge-1".to_owned(),
        credential_hash: "0".repeat(64),
        ..EnrollRequest::default()
    };
    let mut client = EnrolmentServiceClient::new(plane.channel.clone());
    for shared in ["", "hpj_anything"] {
        let refused = client.enroll(request(shared)).await.expect_err("no token");
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        let reason = refused.get_details_error_info().map(|info| info.reason);
        assert_eq!(reason.as_deref(), Some("JOIN_TOKEN_OFF"));
    }
    let asked = CreateAgentTokenRequest {
        name: "for the edge".to_owned(),
        ..CreateAgentTokenRequest::default()
    };
    let made = plane.access().create_agent_token(asked).await;
    let token = made.expect("a token").into_inner().token;
    client.enroll(request(&token)).await.expect("an agent");
    plane.stop().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_told_by_its_cause() {
    let dir = tempfile::tempdir().expect("a folder");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let settings = Settings {
        database: format!("postgres://hookplane:hush@{address}/none"),
        ..Settings::in_dir(dir.path())
    };
    let text = told(&start(settings).await.err().expect("nobody listens"));
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("hush"), "{text}");
}
