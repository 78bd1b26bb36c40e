//! Every method there is, as the descriptors tell: refused without a key and with a wrong one.

use std::sync::Arc;

use bytes::Bytes;
use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::Settings;
use hookplane_proto::v1;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic_types::StatusExt as _;

use super::plane::{Plane, clerk};

/// Methods that need no key, each with the reason.
const OPEN: [(&str, &str); 1] = [(
    "/hookplane.agent.v1.EnrolmentService/Enroll",
    "the join token is inside the message",
)];

pub(crate) fn every_method() -> Vec<String> {
    let pool = hookplane_proto::descriptor_pool();
    let methods = pool.services().flat_map(|service| {
        let name = service.full_name().to_owned();
        let methods: Vec<_> = service.methods().collect();
        methods
            .into_iter()
            .map(move |method| format!("/{name}/{}", method.name()))
    });
    methods
        .filter(|path| OPEN.iter().all(|(open, _)| open != path))
        .collect()
}

/// The gRPC status code of an empty call.
pub(crate) async fn call(plane: &Plane, path: &str, authorization: Option<&str>) -> String {
    let mut request = http::Request::post(format!("http://{}{path}", plane.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let empty = Full::new(Bytes::from_static(&[0; 5]));
    let answer = plane
        .raw
        .request(request.body(empty).expect("a request"))
        .await
        .expect("an answer");
    let code = answer.headers().get("grpc-status");
    code.and_then(|code| code.to_str().ok())
        .unwrap_or("0")
        .to_owned()
}

#[tokio::test]
async fn every_method_is_refused_without_a_key_and_with_a_wrong_one() {
    let plane = Plane::on_sqlite().await;
    let methods = every_method();
    assert!(
        methods.len() > 40,
        "the walk found {} methods only",
        methods.len()
    );
    let wrong_key = format!("Bearer hpk_{}", "0".repeat(64));
    let wrong_credential = format!("Bearer hpa_{}", "0".repeat(64));
    for path in methods {
        for authorization in [
            None,
            Some(wrong_key.as_str()),
            Some(wrong_credential.as_str()),
            Some("Bearer"),
            Some("Basic aGk6aGk="),
        ] {
            let code = call(&plane, &path, authorization).await;
            assert_eq!(code, "16", "{path} with {authorization:?}");
        }
    }
}

#[tokio::test]
async fn an_api_key_opens_no_method_of_agents_and_unknown_methods_stay_closed() {
    let plane = Plane::on_sqlite().await;
    let key = format!("Bearer {}", plane.key);
    for path in every_method() {
        if path.starts_with("/hookplane.agent.v1.") {
            assert_eq!(call(&plane, &path, Some(&key)).await, "16", "{path}");
        }
    }
    for path in ["/hookplane.v2.SourceService/GetSource", "/anything/else"] {
        assert_eq!(call(&plane, path, Some(&key)).await, "12", "{path}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_call_on() {
    let plane = Plane::on_sqlite().await;
    let name = "pipeline".to_owned();
    let made = plane
        .keys()
        .create_api_key(v1::CreateApiKeyRequest {
            name,
            ..v1::CreateApiKeyRequest::default()
        })
        .await;
    let made = made.expect("it is right").into_inner();
    assert!(
        made.key.starts_with("hpk_") && made.masked_key.contains('…'),
        "{}",
        made.masked_key
    );
    let mut with_it = plane.sources_with(&made.key);
    with_it
        .list_sources(v1::ListSourcesRequest::default())
        .await
        .expect("the key works");
    let id = made.id.clone();
    plane
        .keys()
        .revoke_api_key(v1::RevokeApiKeyRequest { id })
        .await
        .expect("it exists");
    let refused = with_it
        .list_sources(v1::ListSourcesRequest::default())
        .await;
    assert_eq!(
        refused.expect_err("it is revoked").code(),
        tonic::Code::Unauthenticated
    );
    let listed = plane
        .keys()
        .list_api_keys(v1::ListApiKeysRequest::default())
        .await;
    let listed = listed.expect("a page").into_inner().models;
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|key| key.key.is_empty()),
        "a list shows keys"
    );
}

#[tokio::test]
async fn the_first_key_is_made_once_and_its_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let plane = Plane::on_sqlite().await;
    let path = plane.dir.path().join("admin.key");
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = plane.key.clone();
    let plane = plane.restart().await;
    assert_eq!(plane.key, before, "a restart made another first key");
    plane
        .create_source(clerk("Clerk"))
        .await
        .expect("the key still works");
}

#[tokio::test]
async fn a_first_key_that_cannot_be_written_is_not_in_force_and_comes_with_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = || Settings {
        api: ([127, 0, 0, 1], 0).into(),
        ..Settings::in_dir(dir.path())
    };
    let misplaced = Settings {
        admin_key_file: dir.path().join("no such folder/admin.key"),
        ..settings()
    };
    let failed = ControlPlane::start(misplaced, Arc::new(SystemClock)).await;
    let fault = failed.err().expect("the key has no place").to_string();
    assert!(fault.contains("no such folder"), "{fault}");
    let plane = ControlPlane::start(settings(), Arc::new(SystemClock)).await;
    let plane = plane.expect("it starts");
    let path = plane.admin_key_file().expect("now there is a key");
    let key = std::fs::read_to_string(path).expect("it can be read");
    assert!(key.starts_with("hpk_"), "{key}");
}

#[tokio::test]
async fn the_last_key_cannot_be_revoked() {
    for plane in Plane::on_each_database().await {
        let list = async || {
            let asked = v1::ListApiKeysRequest::default();
            let page = plane.keys().list_api_keys(asked).await.expect("a page");
            page.into_inner().models
        };
        let revoke = async |id: String| {
            let asked = v1::RevokeApiKeyRequest { id };
            plane.keys().revoke_api_key(asked).await
        };
        let first = list().await.remove(0).id;
        let refused = revoke(first.clone()).await.expect_err("it is the last");
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        let info = refused.get_error_details().error_info().cloned();
        let info = info.expect("a reason");
        assert_eq!(info.reason, "LAST_API_KEY");
        assert!(info.metadata["hint"].contains("another key first"));

        let asked = v1::CreateApiKeyRequest {
            name: "second".to_owned(),
            ..v1::CreateApiKeyRequest::default()
        };
        let second = plane.keys().create_api_key(asked).await.expect("right");
        revoke(second.into_inner().id).await.expect("one is left");
        assert!(revoke(first).await.is_err(), "a revoked key counts as one");
    }
}

#[tokio::test]
async fn refused_calls_are_counted_by_method_and_unknown_paths_as_one() {
    let plane = Plane::on_sqlite().await;
    let get = "/hookplane.v1.SourceService/GetSource";
    call(&plane, get, None).await;
    call(&plane, "/hookplane.v1.SourceService/Guess1", None).await;
    call(&plane, "/anything/guessed", None).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let url = |path: &str| -> http::Uri {
        format!("http://{}{path}", plane.address)
            .parse()
            .expect("a URL")
    };
    let refused = client.get(url("/v1/sources")).await.expect("an answer");
    assert_eq!(refused.status(), 401);
    let metrics = client.get(url("/metrics")).await.expect("an answer");
    let metrics = http_body_util::BodyExt::collect(metrics.into_body()).await;
    let metrics = metrics.expect("all of it").to_bytes();
    let text = String::from_utf8_lossy(&metrics);
    for line in [
        r#"hookplane_api_calls_total{method="hookplane.v1.SourceService/GetSource",code="16"} 1"#,
        r#"hookplane_api_calls_total{method="hookplane.v1.SourceService/ListSources",code="16"} 1"#,
        r#"hookplane_api_calls_total{method="unknown",code="16"} 1"#,
        r#"hookplane_api_calls_total{method="unknown",code="12"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("uess"), "a caller chose a label");
}
