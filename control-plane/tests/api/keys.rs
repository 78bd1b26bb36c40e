//! What keys may do and for how long: scopes, limits, expiry, rotation, revocation.

use std::time::Duration;

use hookplane_control_plane::auth::rules::{Demand, demand};
use hookplane_control_plane::domain::{Scope, Scopes};
use hookplane_proto::v1;
use hookplane_proto::v1::request_service_client::RequestServiceClient;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::authorisation::{call, every_method};
use super::plane::{Plane, clerk};

/// Nothing in a test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const DENIED: &str = "7";

async fn made(plane: &Plane, asked: v1::CreateApiKeyRequest) -> v1::ApiKey {
    let made = plane.keys().create_api_key(asked).await;
    made.expect("the key is right").into_inner()
}

fn named(name: &str, scopes: &[&str]) -> v1::CreateApiKeyRequest {
    v1::CreateApiKeyRequest {
        name: name.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..v1::CreateApiKeyRequest::default()
    }
}

async fn lists(plane: &Plane, key: &str) -> Result<(), Status> {
    let asked = v1::ListSourcesRequest::default();
    plane.sources_with(key).list_sources(asked).await.map(drop)
}

/// `hence` seconds from now.
fn time(hence: i64) -> prost_types::Timestamp {
    use hookplane_control_plane::clock::{Clock as _, SystemClock};
    let seconds = SystemClock.now_millis() / 1_000 + hence;
    prost_types::Timestamp { seconds, nanos: 0 }
}

#[tokio::test]
async fn a_scope_opens_the_methods_that_the_table_names_and_no_other() {
    let plane = Plane::on_sqlite().await;
    for scope in Scope::ALL {
        let key = made(&plane, named(scope.as_str(), &[scope.as_str()]))
            .await
            .key;
        let own: Scopes = [scope].into_iter().collect();
        for path in every_method() {
            let Demand::Key(needed) = demand(&path) else {
                continue;
            };
            let code = call(&plane, &path, Some(&format!("Bearer {key}"))).await;
            assert_eq!(
                code == DENIED,
                !own.has(needed),
                "{path} with {scope}: {code}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_grants_more_than_he_has_or_lays_hands_on_a_key_that_can_do_more() {
    let plane = Plane::on_sqlite().await;
    let clerk = made(&plane, named("clerk", &["keys:admin", "config:read"])).await;
    let mut keys = plane.keys_with(&clerk.key);
    let more = keys.create_api_key(named("more", &["config:write"])).await;
    let refused = more.expect_err("it has not the scope itself");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("config:write"),
        "{}",
        refused.message()
    );
    let same = keys.create_api_key(named("same", &[])).await;
    let same = same.expect("as the one that made it").into_inner();
    assert_eq!(same.scopes, ["config:read", "keys:admin"]);

    let all = plane
        .keys()
        .list_api_keys(v1::ListApiKeysRequest::default())
        .await;
    let all = all.expect("a page").into_inner().models;
    let first = all
        .iter()
        .find(|key| key.name == "first key")
        .expect("it is there");
    assert_eq!(
        first.scopes.len(),
        Scope::ALL.len(),
        "the first key has all"
    );
    let id = first.id.clone();
    let stolen = keys.rotate_api_key(v1::RotateApiKeyRequest {
        id: id.clone(),
        previous_valid_until: None,
    });
    assert_eq!(
        stolen.await.expect_err("it can do more").code(),
        Code::PermissionDenied
    );
    let changed = keys.update_api_key(v1::UpdateApiKeyRequest {
        id,
        scopes: vec!["config:read".to_owned()],
        ..v1::UpdateApiKeyRequest::default()
    });
    assert_eq!(
        changed.await.expect_err("it can do more").code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    for plane in Plane::on_each_database().await {
        let key = made(&plane, named("pipeline", &["config:read"])).await;
        let rotate = async |until| {
            let asked = v1::RotateApiKeyRequest {
                id: key.id.clone(),
                previous_valid_until: until,
            };
            let rotated = plane.keys().rotate_api_key(asked).await;
            rotated.expect("it is in force").into_inner()
        };
        let second = rotate(None).await;
        assert_eq!(second.id, key.id);
        assert!(second.previous_valid_until.is_some() && second.rotated_at.is_some());
        lists(&plane, &key.key)
            .await
            .expect("the old one is valid for a day");
        lists(&plane, &second.key)
            .await
            .expect("the new one is valid");
        let third = rotate(Some(time(-1))).await;
        lists(&plane, &third.key)
            .await
            .expect("the new one is valid");
        for old in [&key.key, &second.key] {
            let refused = lists(&plane, old).await.expect_err("its time has passed");
            assert_eq!(refused.code(), Code::Unauthenticated);
        }
    }
}

#[tokio::test]
async fn a_key_ends_when_its_time_has_come() {
    let plane = Plane::on_sqlite().await;
    let asked = v1::CreateApiKeyRequest {
        expires_at: Some(time(2)),
        ..named("short", &["config:read"])
    };
    let key = made(&plane, asked).await;
    lists(&plane, &key.key)
        .await
        .expect("its time has not come");
    let refused = timeout(PATIENCE, async {
        loop {
            match lists(&plane, &key.key).await {
                Ok(()) => sleep(Duration::from_millis(50)).await,
                Err(refused) => return refused,
            }
        }
    });
    let refused = refused.await.expect("it ends");
    assert_eq!(refused.code(), Code::Unauthenticated);
    let shown = plane
        .keys()
        .get_api_key(v1::GetApiKeyRequest { id: key.id })
        .await;
    assert_eq!(
        shown.expect("it is kept").into_inner().status(),
        v1::ApiKeyStatus::Expired
    );
}

#[tokio::test]
async fn a_key_that_calls_too_often_is_told_when_to_come_again() {
    let plane = Plane::on_sqlite().await;
    let asked = v1::CreateApiKeyRequest {
        rate_limit_per_minute: Some(2),
        ..named("slow", &["config:read"])
    };
    let key = made(&plane, asked).await.key;
    for _ in 0..2 {
        lists(&plane, &key).await.expect("within its pace");
    }
    let refused = lists(&plane, &key).await.expect_err("too often");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let wait = refused
        .get_details_retry_info()
        .and_then(|info| info.retry_delay);
    let wait = wait.expect("it says when");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(60),
        "{wait:?}"
    );
    let answer = rest(&plane, &key, "GET", "/v1/sources", String::new()).await;
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    lists(&plane, &plane.key)
        .await
        .expect("other keys are not held up");
}

#[tokio::test]
async fn a_body_larger_than_the_key_allows_is_refused_over_grpc_and_rest() {
    let plane = Plane::on_sqlite().await;
    let asked = v1::CreateApiKeyRequest {
        max_body_bytes: Some(2_048),
        ..named("small", &["config:write"])
    };
    let key = made(&plane, asked).await.key;
    let mut source = clerk("Clerk");
    let small = v1::CreateSourceRequest {
        source: Some(source.clone()),
        ..v1::CreateSourceRequest::default()
    };
    let mut sources = plane.sources_with(&key);
    sources.create_source(small).await.expect("it is small");
    source.description = "d".repeat(4_096);
    let large = v1::CreateSourceRequest {
        source: Some(source),
        ..v1::CreateSourceRequest::default()
    };
    let refused = sources.create_source(large).await.expect_err("too large");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("2048"), "{}", refused.message());
    let body = format!(r#"{{"name":"x","description":"{}"}}"#, "d".repeat(4_096));
    let answer = rest(&plane, &key, "POST", "/v1/sources", body).await;
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn an_open_stream_ends_when_its_key_is_revoked() {
    let plane = Plane::on_sqlite().await;
    let key = made(&plane, named("watcher", &["events:read"])).await;
    let bearer = Plane::bearer(&key.key);
    let mut requests = RequestServiceClient::with_interceptor(plane.channel.clone(), bearer);
    let asked = v1::TailRequestsRequest::default();
    let mut tail = requests
        .tail_requests(asked)
        .await
        .expect("it opens")
        .into_inner();
    let revoke = v1::RevokeApiKeyRequest { id: key.id };
    plane
        .keys()
        .revoke_api_key(revoke)
        .await
        .expect("it is in force");
    let ended = timeout(PATIENCE, tail.message()).await.expect("it ends");
    let ended = ended.expect_err("with the reason");
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept() {
    let plane = Plane::on_sqlite().await;
    let key = made(&plane, named("used", &["config:read"])).await;
    assert_eq!(key.last_used_at, None);
    lists(&plane, &key.key).await.expect("it is in force");
    // Notes are written when the control plane stops at the latest.
    let plane = plane.restart().await;
    let shown = plane
        .keys()
        .get_api_key(v1::GetApiKeyRequest { id: key.id })
        .await;
    let shown = shown.expect("it is there").into_inner();
    assert!(shown.last_used_at.is_some());
}

#[tokio::test]
async fn a_key_made_before_there_were_scopes_keeps_everything() {
    use sea_orm::ConnectionTrait as _;
    let plane = Plane::on_sqlite().await;
    let database = sea_orm::Database::connect(&plane.database)
        .await
        .expect("it opens");
    database
        .execute_unprepared("UPDATE api_keys SET scopes = NULL")
        .await
        .expect("a row as the release before wrote it");
    lists(&plane, &plane.key).await.expect("it can read");
    made(&plane, named("new", &["installation:admin"])).await;
}

async fn rest(
    plane: &Plane,
    key: &str,
    verb: &str,
    path: &str,
    body: String,
) -> http::Response<hyper::body::Incoming> {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let request = http::Request::builder()
        .method(verb)
        .uri(format!("http://{}{path}", plane.address))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from(body)))
        .expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.expect("an answer")
}
