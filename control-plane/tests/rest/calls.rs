//! Calls that go well: what the service sees, and what the caller gets.

use axum::body::Body;
use hookplane_proto::v1;
use hookplane_proto::v1::source_auth::Scheme;
use hookplane_proto::v1::source_service_client::SourceServiceClient;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::api::{Api, request};
use crate::services::{GOOD_KEY, Peer};

/// As FastHook's users send it.
const CLERK: &str = r#"{"name":"Clerk production","type":"CLERK","config":{"auth_type":"PROVIDER_SIGNATURE","auth":{"provider":"CLERK","webhook_signing_secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},"allowed_http_methods":["POST","PUT","PATCH","DELETE"]}}"#;

#[tokio::test]
async fn the_published_call_creates_a_source() {
    for path in ["/v1/sources", "/sources"] {
        let api = Api::new();
        let answer = api.call("POST", path, CLERK).await.json(200);

        let seen = api.echo.last::<v1::CreateSourceRequest>().source.unwrap();
        assert_eq!(seen.name, "Clerk production");
        assert_eq!(seen.r#type(), v1::SourceType::Clerk);
        let config = seen.config.unwrap();
        assert_eq!(config.allowed_http_methods.len(), 4);
        let Some(Scheme::ProviderSignature(auth)) = config.auth.unwrap().scheme else {
            panic!("should be the signature of a provider");
        };
        assert_eq!(auth.provider(), v1::SourceType::Clerk);
        assert_eq!(
            auth.webhook_signing_secrets,
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        );

        assert_eq!(answer["id"], "src_1");
        assert_eq!(answer["url"], "http://127.0.0.1:8088/src_1");
        assert_eq!(answer["type"], "CLERK");
        assert_eq!(answer["disabled_at"], Value::Null);
        let auth = &answer["config"]["auth"];
        assert_eq!(auth["webhook_signing_secret"], "whsec_••••");
        assert!(!answer.to_string().contains("MfKQ9"), "the secret shows");
    }
}

#[tokio::test]
async fn what_was_shown_can_be_sent_back_whole() {
    let api = Api::new();
    let shown = api.call("POST", "/v1/sources", CLERK).await.json(200);
    let again = api.call("PUT", "/v1/sources/src_1", shown.to_string());
    assert_eq!(again.await.json(200), shown);
    let seen: v1::ReplaceSourceRequest = api.echo.last();
    assert_eq!(seen.id, "src_1");
    assert_eq!(seen.source.unwrap().name, "Clerk production");
}

#[tokio::test]
async fn a_connection_is_created_with_its_rules() {
    let api = Api::new();
    let rules = json!([
        {"type": "filter", "body": {"type": {"$in": ["user.created", "user.updated"]}}},
        {"type": "retry", "strategy": "exponential", "count": 5, "interval": 60000,
         "response_status_codes": ["429", "500-599"]},
    ]);
    let body = json!({
        "name": "users", "source": {"id": "src_1"}, "destination_id": "des_1", "rules": rules,
    });
    let answer = api.call("POST", "/connections", body.to_string()).await;
    assert_eq!(answer.json(200)["rules"], rules);
    let seen = api.echo.last::<v1::CreateConnectionRequest>();
    let seen = seen.connection.unwrap();
    assert_eq!((seen.source_id.as_str(), seen.rules.len()), ("src_1", 2));
}

#[tokio::test]
async fn each_verb_reaches_its_method() {
    let api = Api::new();
    api.call("PUT", "/v1/sources", CLERK).await.json(200);
    api.echo.last::<v1::UpsertSourceRequest>();
    let answer = api.call("DELETE", "/v1/sources/src_9", "").await.json(200);
    assert_eq!(answer, json!({"id": "src_9"}));
    for verb in ["PUT", "POST"] {
        for body in ["", "{}", " {} "] {
            let path = "/sources/src_7/enable";
            assert_eq!(api.call(verb, path, body).await.json(200)["id"], "src_7");
            assert_eq!(api.echo.last::<v1::EnableSourceRequest>().id, "src_7");
        }
    }
    let head = api.call("HEAD", "/v1/sources/src_1", "").await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn query_parameters_fill_the_fields_of_the_request() {
    let api = Api::new();
    let path = "/v1/requests?limit=5&verified=true&status=rejected&from=now-1h&cursor=a%2Bb";
    api.get(path).await.json(200);
    let seen: v1::ListRequestsRequest = api.echo.last();
    assert_eq!((seen.limit, seen.verified), (5, Some(true)));
    assert_eq!(seen.status(), v1::RequestStatus::Rejected);
    assert_eq!(
        (seen.from.as_str(), seen.page_token.as_str()),
        ("now-1h", "a+b")
    );

    api.get("/v1/requests").await.json(200);
    assert_eq!(api.echo.last::<v1::ListRequestsRequest>().verified, None);
}

#[tokio::test]
async fn lists_have_the_envelope_that_clients_know() {
    let api = Api::new();
    let answer = api.get("/v1/sources?limit=2&order_by=name&dir=asc").await;
    let answer = answer.json(200);
    let pagination = json!({"order_by": "name", "dir": "asc", "limit": 2, "next": "page-2"});
    assert_eq!(answer["pagination"], pagination);
    assert_eq!(
        (&answer["count"], &answer["next_cursor"]),
        (&json!(1), &json!("page-2"))
    );
    assert_eq!(answer["models"][0]["labels"], json!({}));
}

#[tokio::test]
async fn metadata_and_extensions_reach_the_service_and_the_rest_stays_behind() {
    let api = Api::new();
    let mut sent = request("POST", "/v1/sources")
        .header("authorization", GOOD_KEY)
        .header("traceparent", "00-1-2-01")
        .header("content-length", CLERK.len())
        .header("transfer-encoding", "chunked")
        .header("te", "gzip")
        .header("grpc-timeout", "1n")
        .header("grpc-encoding", "gzip")
        .header("x-bytes-bin", "%%%")
        .body(Body::from(CLERK))
        .unwrap();
    sent.extensions_mut().insert(Peer("10.0.0.1"));
    let answer = api.send(sent).await;
    answer.json(200);
    assert_eq!(answer.headers["x-ratelimit-remaining"], "99");
    assert_eq!(answer.headers["cache-control"], "no-store");

    let seen = api.echo.metadata();
    assert_eq!(seen.get("traceparent").unwrap(), "00-1-2-01");
    assert_eq!(seen.get("authorization").unwrap(), GOOD_KEY);
    let headers = seen.into_headers();
    for name in [
        "content-length",
        "transfer-encoding",
        "grpc-timeout",
        "x-bytes-bin",
    ] {
        assert!(!headers.contains_key(name), "{name} went along");
    }
    assert_eq!(api.echo.peer(), Some(Peer("10.0.0.1")));
}

#[tokio::test]
async fn grpc_passes_through_the_same_router() {
    let api = Api::new();
    let channel = api
        .router
        .clone()
        .map_request(|request: Request<tonic::body::Body>| request.map(Body::new));
    let mut client = SourceServiceClient::new(channel);
    let mut call = tonic::Request::new(v1::GetSourceRequest {
        id: "src_5".to_owned(),
    });
    let refused = client.get_source(tonic::Request::new(call.get_ref().clone()));
    assert_eq!(
        refused.await.unwrap_err().code(),
        tonic::Code::Unauthenticated
    );
    let key = GOOD_KEY.parse().unwrap();
    call.metadata_mut().insert("authorization", key);
    let answer = client.get_source(call).await.unwrap();
    assert_eq!(answer.get_ref().id, "src_5");
}
