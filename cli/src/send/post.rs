//! One webhook out, one answer back.

use bytes::Bytes;
use hookplane_agent::clock::{Clock as _, SystemClock};
use hookplane_signature::{hmac_header, sign};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::target::{Signing, Target};
use crate::failure::Failure;
use crate::resources::pair;
use crate::samples::Sample;

/// Most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What the receiver said to one webhook.
pub(super) struct Answer {
    pub(super) accepted: bool,
    /// `401 SOURCE_AUTH_FAILED`, or what went wrong on the way.
    pub(super) outcome: String,
    pub(super) request_id: Option<String>,
    pub(super) latency: Duration,
}

/// Signs and posts to one address over kept connections.
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Target,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl Poster {
    pub(super) fn new(
        target: Target,
        headers: &[String],
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let uri: Uri = target.url.parse().map_err(|_| not_a_url(&target.url))?;
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(not_a_url(&target.url));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            headers: headers
                .iter()
                .map(|text| header(text))
                .collect::<Result<_, _>>()?,
            target,
            uri,
            timeout,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.target.url
    }

    /// # Errors
    /// Only when the sample cannot be signed; a failed call is an answer.
    pub(super) async fn post(&self, sample: &Sample) -> Result<Answer, Failure> {
        let request = self.request(sample)?;
        let started = Instant::now();
        let exchange = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        let latency = started.elapsed();
        let (status, body) = match exchange {
            Ok(Ok(answered)) => answered,
            Ok(Err(outcome)) => return Ok(failed(outcome, latency)),
            Err(_) => return Ok(failed("timeout".to_owned(), latency)),
        };
        let told: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let outcome = match told["code"].as_str() {
            Some(code) => format!("{} {code}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        Ok(Answer {
            accepted: status.is_success(),
            outcome,
            request_id: told["request_id"].as_str().map(str::to_owned),
            latency,
        })
    }

    fn request(&self, sample: &Sample) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::post(self.uri.clone())
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(
                http::header::USER_AGENT,
                concat!("hookplane-send/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in sample.headers.iter().chain(&self.signature(sample)?) {
            request = request.header(name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(Bytes::from(sample.body.clone())))
            .map_err(|error| {
                Failure::usage(
                    format!("a header cannot be sent: {error}"),
                    "see --id and --header",
                )
            })
    }

    fn signature(&self, sample: &Sample) -> Result<Vec<(String, String)>, Failure> {
        let now = i64::try_from(SystemClock.now_millis() / 1000).unwrap_or_default();
        match &self.target.signing {
            Signing::None => Ok(Vec::new()),
            Signing::Hmac(spec) => Ok(vec![hmac_header(spec, &sample.body)]),
            Signing::Provider(secret) => sign(
                self.target.provider,
                secret,
                &sample.message_id,
                now,
                &sample.body,
            )
            .map_err(|invalid| {
                Failure::usage("the secret cannot be used", invalid.message.clone())
            }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Bytes), String> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| cause(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        // An answer that breaks off after its status was an answer.
        Ok((
            status,
            body.map(http_body_util::Collected::to_bytes)
                .unwrap_or_default(),
        ))
    }
}

fn failed(outcome: String, latency: Duration) -> Answer {
    Answer {
        accepted: false,
        outcome,
        request_id: None,
        latency,
    }
}

/// The innermost cause, which names what really happened.
fn cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn not_a_url(url: &str) -> Failure {
    Failure::usage(
        format!("`{url}` is not a URL that can be sent to"),
        "a source's URL is `http://host:port/src_…`; `hookplane sources list` shows them",
    )
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let (name, value) = pair("--header", text)?;
    let wrong = || {
        Failure::usage(
            format!("`{name}` is no header"),
            "give --header 'Name: value'",
        )
    };
    Ok((
        name.trim().parse().map_err(|_| wrong())?,
        value.trim().parse().map_err(|_| wrong())?,
    ))
}
