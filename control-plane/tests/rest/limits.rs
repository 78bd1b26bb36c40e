//! Bounds: bodies, messages and waits.

use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use hookplane_control_plane::rest::Limits;
use serde_json::json;

use crate::api::{Api, request, short_limits};
use crate::services::Echo;

/// Kibibytes of blanks, one by one.
fn chunks(count: usize) -> Body {
    let chunk = Bytes::from_static(&[b' '; 1024]);
    let chunks = std::iter::repeat_n(chunk, count).map(Ok::<_, std::io::Error>);
    Body::from_stream(stream::iter(chunks))
}

#[tokio::test]
async fn a_body_above_the_cap_is_refused_with_or_without_its_length() {
    let api = Api::with(Echo::default(), short_limits());
    let declared = api
        .call("POST", "/v1/sources", vec![b'x'; 4 * 1024 + 1])
        .await;
    assert_eq!(declared.json(413)["code"], "BODY_TOO_LARGE");
    let streamed = api.call("POST", "/v1/sources", chunks(5)).await;
    assert_eq!(streamed.json(413)["code"], "BODY_TOO_LARGE");
    assert_eq!(api.echo.calls(), 0);
    // Exactly the cap is read, and found to be blank.
    api.call("POST", "/v1/sources", chunks(4)).await.json(400);
}

#[tokio::test]
async fn a_body_that_grows_beyond_the_cap_as_a_message_is_refused() {
    let api = Api::with(Echo::default(), short_limits());
    let numbers = vec![json!(1); 1_500];
    let body = json!({"rules": [{"type": "filter", "body": numbers}]}).to_string();
    assert!(body.len() < 4 * 1024, "the body itself is within the cap");
    let answer = api.call("POST", "/v1/connections", body).await;
    assert_eq!(answer.json(413)["code"], "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends() {
    let echo = Echo {
        hangs: true,
        ..Echo::default()
    };
    let api = Api::with(echo, short_limits());
    let answer = api.get("/v1/sources/x").await.json(504);
    assert_eq!(answer["code"], "DEADLINE_EXCEEDED");
    assert_eq!(api.echo.calls(), 1);
    // A stream that does not begin is no exception.
    api.get("/v1/requests/tail").await.json(504);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_ends() {
    let api = Api::with(Echo::default(), short_limits());
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = api.call("POST", "/v1/sources", never).await.json(408);
    assert_eq!(answer["code"], "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn no_byte_of_a_body_is_read_for_a_caller_without_rights() {
    let api = Api::new();
    let untouched = stream::poll_fn(|_| -> Poll<Option<Result<Bytes, std::io::Error>>> {
        panic!("the body was asked for")
    });
    let call = request("POST", "/v1/sources");
    let answer = api.send(call.body(Body::from_stream(untouched)).unwrap());
    answer.await.json(401);
}

#[tokio::test]
async fn all_bodies_together_have_a_bound_and_what_is_beyond_may_come_again() {
    let limits = Limits {
        call: Duration::from_secs(60),
        ..short_limits()
    };
    let api = Api::with(Echo::default(), limits);
    let (more, held) = tokio::sync::mpsc::channel::<Bytes>(1);
    let held = stream::unfold(held, |mut held| async {
        held.recv().await.map(|chunk| (chunk, held))
    });
    let slow = Body::from_stream(held.map(Ok::<_, std::io::Error>));
    let (slow, refused) = tokio::join!(api.call("POST", "/v1/sources", slow), async {
        more.send(Bytes::from_static(&[b' '; 4_000])).await.unwrap();
        // Taken when there is room for the next one.
        more.reserve()
            .await
            .unwrap()
            .send(Bytes::from_static(b"{}"));
        let refused = api.call("POST", "/v1/sources", chunks(3)).await;
        api.call("POST", "/v1/sources", chunks(1)).await.json(400);
        drop(more);
        refused
    });
    slow.json(200);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json(503)["code"], "TOO_MANY_BODIES");
    // With the call its room came back.
    api.call("POST", "/v1/sources", chunks(3)).await.json(400);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_fault() {
    let api = Api::new();
    let broken = stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let answer = api
        .call("POST", "/v1/sources", Body::from_stream(broken))
        .await;
    assert_eq!(answer.json(400)["message"], "the body broke off");
}

#[tokio::test]
async fn large_answers_arrive_whole_and_enormous_ones_are_refused_in_words() {
    let with_padding = |padding| {
        let echo = Echo {
            padding,
            ..Echo::default()
        };
        let limits = Limits {
            call: Duration::from_secs(60),
            ..Limits::default()
        };
        Api::with(echo, limits)
    };
    let large = with_padding(6 * 1024 * 1024).get("/v1/sources/x").await;
    let description = large.json(200)["description"].as_str().unwrap().len();
    assert_eq!(description, 6 * 1024 * 1024);
    let enormous = with_padding(65 * 1024 * 1024).get("/v1/sources/x").await;
    assert_eq!(enormous.json(400)["code"], "OUT_OF_RANGE");
}
