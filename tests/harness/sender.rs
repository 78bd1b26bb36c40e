//! A provider that signs and posts to a source's URL.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hookplane_signature::{Provider, sign};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A secret of the form Svix gives out.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A configured source, and the secret its provider signs with.
#[derive(Clone, Debug)]
pub struct Source {
    pub id: String,
    /// Where an agent takes it: the agent's own address, not the advertised one.
    pub url: String,
    pub provider: Provider,
    pub secret: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What the sender was told.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub json: Value,
    pub text: String,
}

impl Answer {
    /// # Panics
    /// When it names no request.
    #[must_use]
    pub fn request_id(&self) -> String {
        let id = self.json["request_id"].as_str();
        id.unwrap_or_else(|| panic!("no request id in {}", self.text))
            .to_owned()
    }
}

/// Unix seconds of the machine.
#[must_use]
pub fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the agents run by the machine's clock too"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292 billion")
}

/// A message id that nobody else uses.
#[must_use]
pub fn message_id() -> String {
    format!("msg_{:016x}", rand::random::<u64>())
}

impl Source {
    #[must_use]
    pub fn new(id: &str, ingest: &str, provider: Provider, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            url: format!("http://{ingest}/{id}"),
            provider,
            secret: secret.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// The same source at another agent.
    #[must_use]
    pub fn at(&self, ingest: &str) -> Self {
        Self::new(&self.id, ingest, self.provider, &self.secret)
    }

    /// A genuine message.
    pub async fn send(&self, body: impl Into<Bytes>) -> Answer {
        self.send_as(&message_id(), now(), body).await
    }

    /// A genuine message with a given id and time.
    pub async fn send_as(&self, id: &str, at: i64, body: impl Into<Bytes>) -> Answer {
        let body = body.into();
        let headers = sign(self.provider, &self.secret, id, at, &body).expect("it can be signed");
        self.post(Method::POST, "", &headers, body).await
    }

    /// Anything at all.
    pub async fn post(
        &self,
        method: Method,
        below: &str,
        headers: &[(String, String)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let answer = self.try_post(method, below, headers, body.into()).await;
        answer.expect("the agent answers")
    }

    /// The same; `None` when the agent is away.
    pub async fn try_post(
        &self,
        method: Method,
        below: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Option<Answer> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{below}", self.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(body)).expect("a request");
        let answer = self.client.request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        Some(Answer {
            status: head.status,
            headers: head.headers,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}
