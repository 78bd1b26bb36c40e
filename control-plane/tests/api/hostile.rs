//! What no honest client sends: huge, bottomless, garbled, unknown, never reading.
//! Each is answered in words, and the next call is served as if nothing had been.

use bytes::Bytes;
use hookplane_proto::v1;
use hookplane_proto::v1::source_service_client::SourceServiceClient;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;
use tonic::Code;

use super::plane::{Plane, clerk};

const LARGE: usize = 10 * 1_024 * 1_024;

/// Status and text of a REST call.
async fn post(plane: &Plane, body: Vec<u8>) -> (u16, String) {
    let request = http::Request::post(format!("http://{}/v1/sources", plane.address))
        .header("authorization", format!("Bearer {}", plane.key))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a whole answer");
    (
        status,
        String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
}

/// The gRPC status code of a message of these bytes.
async fn send(plane: &Plane, message: &[u8]) -> String {
    let length = u32::try_from(message.len()).expect("it fits a frame");
    let frame = [&[0][..], &length.to_be_bytes(), message].concat();
    let path = "hookplane.v1.SourceService/CreateSource";
    let request = http::Request::post(format!("http://{}/{path}", plane.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", plane.key))
        .body(Full::new(Bytes::from(frame)))
        .expect("a request");
    let answer = plane.raw.request(request).await.expect("an answer");
    let code = answer.headers().get("grpc-status").cloned();
    let code = code.expect("a call that fails says so in its head");
    code.to_str().expect("a number").to_owned()
}

async fn goes_on(plane: &Plane, name: &str) {
    let made = plane.create_source(clerk(name)).await;
    made.expect("the next call is served");
}

#[tokio::test]
async fn a_name_of_ten_megabytes_is_refused() {
    let plane = Plane::on_sqlite().await;
    let name = "n".repeat(LARGE);
    let (status, text) = post(&plane, format!(r#"{{"name":"{name}"}}"#).into_bytes()).await;
    assert_eq!(status, 413, "{text}");
    let refused = plane
        .create_source(clerk(&name))
        .await
        .expect_err("too large");
    assert!(
        matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{refused:?}"
    );
    let long = "n".repeat(100_000);
    let refused = plane
        .create_source(clerk(&long))
        .await
        .expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().len() < 1_000, "the name is repeated");
    goes_on(&plane, "Clerk").await;
}

#[tokio::test]
async fn json_ten_thousand_levels_deep_is_refused() {
    let plane = Plane::on_sqlite().await;
    for (open, close) in [("[", "]"), (r#"{"config":"#, "}")] {
        let body = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let (status, text) = post(&plane, body.into_bytes()).await;
        assert_eq!(status, 400, "{text}");
    }
    let labels = format!(
        r#"{{"labels":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(post(&plane, labels.into_bytes()).await.0, 400);
    goes_on(&plane, "Clerk").await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let plane = Plane::on_sqlite().await;
    let (status, text) = post(&plane, b"{\"name\":\"\xff\xfe\"}".to_vec()).await;
    assert_eq!(status, 400, "{text}");
    // Field 1 of the request is the source, field 3 of the source is its name.
    let source = [0x1a, 0x02, 0xff, 0xfe];
    let request = [&[0x0a, 0x04][..], &source].concat();
    assert_ne!(send(&plane, &request).await, "0");
    assert_ne!(send(&plane, &[0xff; 64]).await, "0");
    goes_on(&plane, "Clerk").await;
}

#[tokio::test]
async fn an_enum_value_that_nobody_knows_is_refused_by_its_field() {
    let plane = Plane::on_sqlite().await;
    for (field, source) in [
        (
            "type",
            v1::Source {
                r#type: 9_999,
                ..clerk("a")
            },
        ),
        (
            "status",
            v1::Source {
                status: -7,
                ..clerk("b")
            },
        ),
    ] {
        let refused = plane.create_source(source).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{}", refused.message());
    }
    let (status, text) = post(&plane, br#"{"name":"c","type":"NOBODY"}"#.to_vec()).await;
    assert_eq!(status, 400, "{text}");
    let unknown = v1::CreateSourceRequest {
        source: Some(clerk("d")),
        ..v1::CreateSourceRequest::default()
    };
    // A field of a later release is no fault.
    let mut bytes = unknown.encode_to_vec();
    bytes.extend_from_slice(&[0xa2, 0x06, 0x01, b'x']);
    let length = bytes.len();
    assert!(v1::CreateSourceRequest::decode(&bytes[..length]).is_ok());
    goes_on(&plane, "e").await;
}

#[tokio::test]
async fn a_stream_that_is_never_read_holds_up_nobody() {
    let plane = Plane::on_sqlite().await;
    let bearer = Plane::bearer(&plane.key);
    // A connection of its own: what is not read must not be read by chance.
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", plane.address));
    let channel = channel
        .expect("a URL")
        .initial_stream_window_size(1_024)
        .connect_lazy();
    let mut deaf = SourceServiceClient::with_interceptor(channel, bearer);
    let mut unread = Vec::new();
    for _ in 0..8 {
        let asked = v1::WatchSourcesRequest::default();
        unread.push(deaf.watch_sources(asked).await.expect("it opens"));
    }
    for number in 0..40 {
        let source = v1::Source {
            description: "d".repeat(1_000),
            ..clerk(&format!("source {number}"))
        };
        plane
            .create_source(source)
            .await
            .expect("nobody waits for the deaf");
    }
    // Also the end is not held up.
    plane.stop().await;
    drop(unread);
}
