//! A caller that speaks REST.

use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::plane::Plane;

/// Status, headers and JSON of the answer; null when it is none.
pub(crate) async fn send(
    plane: &Plane,
    verb: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, HeaderMap, Value) {
    let mut request = Request::builder()
        .method(verb)
        .uri(format!("http://{}{path}", plane.address))
        .header("authorization", format!("Bearer {}", plane.key));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(bytes::Bytes::from(body.to_owned())));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.expect("a request")).await;
    let (head, body) = answer.expect("an answer").into_parts();
    let body = body.collect().await.expect("all of it").to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    (head.status.as_u16(), head.headers, json)
}
