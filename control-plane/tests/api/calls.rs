//! Calls that never become whole: they end by a deadline or with the process.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::plane::Plane;

const ENROLL: &str = "/hookplane.agent.v1.EnrolmentService/Enroll";
const CREATE: &str = "/hookplane.v1.SourceService/CreateSource";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn client() -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

fn call(plane: &Plane, path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://{}{path}", plane.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", plane.key))
        .body(body)
        .expect("a request")
}

/// Begins like a message and never goes on.
fn half() -> Body {
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0, 0, 0]))]);
    Body::from_stream(futures::StreamExt::chain(begun, stream::pending()))
}

fn code(headers: &http::HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

#[tokio::test]
async fn a_message_that_does_not_arrive_ends_the_call_with_or_without_a_key() {
    let plane = Plane::with_drain(Duration::from_secs(1)).await;
    for path in [ENROLL, CREATE] {
        let answer = client().request(call(&plane, path, half())).await;
        let answer = answer.expect("an answer");
        assert_eq!(code(answer.headers()), Some("4"), "{path}");
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_stop_ends_calls_that_are_only_half_there_and_open_streams_of_anybody() {
    let plane = Plane::with_drain(Duration::from_secs(60)).await;
    let client = client();
    let begun: Vec<_> = [ENROLL, CREATE]
        .map(|path| client.request(call(&plane, path, half())))
        .into();
    let rest = http::Request::post(format!("http://{}/v1/sources", plane.address))
        .header("authorization", format!("Bearer {}", plane.key))
        .body(half())
        .expect("a request");
    let rest = client.request(rest);
    let watch = call(&plane, WATCH, Body::from(vec![0; 5]));
    let watch = client.request(watch).await.expect("an answer");
    let reflect = client.request(call(&plane, REFLECT, half())).await;
    let reflect = reflect.expect("an answer");

    let halves = futures::future::join(futures::future::join_all(begun), rest);
    let (watch, reflect) = (watch.into_body().collect(), reflect.into_body().collect());
    let streams = futures::future::join(watch, reflect);
    let address = plane.address;
    let stop = async {
        // Behind the calls above on the same connection, so those have begun.
        let ping = http::Request::get(format!("http://{address}/healthz"));
        let ping = client.request(ping.body(Body::empty()).expect("a request"));
        assert_eq!(ping.await.expect("an answer").status(), 200);
        plane.stop().await;
    };
    let ended = async { tokio::join!(halves, streams, stop) };
    // Below the drain and the deadline: it is the stop that ends them.
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
    let ((halves, rest), (watch, reflect), ()) = ended.expect("nothing holds the stop up");
    for half in halves {
        assert_eq!(code(half.expect("an answer").headers()), Some("14"));
    }
    assert_eq!(rest.expect("an answer").status(), 503);
    let watch = watch.expect("it ends as it should");
    assert_eq!(watch.trailers().and_then(code), Some("14"));
    reflect.expect("it ends as it should");
}

#[tokio::test]
async fn a_caller_without_a_key_is_refused_before_the_body() {
    let plane = Plane::on_sqlite().await;
    let untouched = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let request = http::Request::post(format!("http://{}/v1/sources", plane.address));
    let answer = client().request(request.body(untouched).expect("a request"));
    assert_eq!(answer.await.expect("an answer").status(), 401);
}
