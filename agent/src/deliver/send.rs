//! One try: the exchange with a receiver, within its time and our caps.
//!
//! Never follows redirects; reads the answer up to a cap and no longer than the
//! deadline; tells what happened and decides nothing.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;

use super::guard::{AddressPolicy, AddressRefused, GuardedConnector, GuardedResolver};

/// Bytes of an answer that are kept.
const RESPONSE_KEPT: usize = 64 * 1_024;
const IDLE: Duration = Duration::from_secs(60);

type Connector = GuardedConnector<HttpsConnector<HttpConnector<GuardedResolver>>>;

/// Sends deliveries over pooled connections. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    client: Client<Connector, Full<Bytes>>,
}

/// What a receiver said.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) truncated: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// Machine-readable: `timeout`, `connect_refused`, `address_refused`, …
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Another try cannot help.
    pub(super) permanent: bool,
}

/// The TLS provider does not support the protocol versions asked for.
#[derive(Debug, Error)]
#[error("TLS for deliveries cannot be set up")]
pub struct TlsUnavailable(#[source] rustls::Error);

impl Sender {
    /// Prepares the client.
    ///
    /// # Errors
    /// [`TlsUnavailable`] when the TLS provider cannot be used.
    pub fn new(policy: AddressPolicy) -> Result<Self, TlsUnavailable> {
        let resolver = GuardedResolver {
            inner: GaiResolver::new(),
            policy: policy.clone(),
        };
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(TlsUnavailable)?
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(GuardedConnector {
                inner: https,
                policy,
            });
        Ok(Self { client })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Exchange, NoAnswer> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        tokio::time::timeout(timeout, self.exchange(request))
            .await
            .unwrap_or_else(|_| {
                let message = format!("no whole answer within {} ms", timeout.as_millis());
                Err(NoAnswer {
                    code: "timeout",
                    message,
                    permanent: false,
                })
            })
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<Exchange, NoAnswer> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| classify(&error))?;
        let (head, body) = answer.into_parts();
        let (body, truncated) = capture(body).await.map_err(|error| NoAnswer {
            code: "connection_lost",
            message: format!("the answer broke off: {error}"),
            permanent: false,
        })?;
        Ok(Exchange {
            status: head.status,
            headers: head.headers,
            body,
            truncated,
        })
    }
}

async fn capture(mut body: Incoming) -> Result<(Bytes, bool), hyper::Error> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            let room = RESPONSE_KEPT - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((kept.freeze(), true));
            }
        }
    }
    Ok((kept.freeze(), false))
}

fn classify(error: &hyper_util::client::legacy::Error) -> NoAnswer {
    let mut text = error.to_string();
    let mut cause = error.source();
    let mut code = if error.is_connect() {
        "connect_failed"
    } else {
        "connection_lost"
    };
    while let Some(error) = cause {
        text = error.to_string();
        if let Some(refused) = error.downcast_ref::<AddressRefused>() {
            let message = refused.to_string();
            return NoAnswer {
                code: "address_refused",
                message,
                permanent: true,
            };
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            code = "connect_refused";
        }
        if error.is::<rustls::Error>() {
            code = "tls_failed";
        }
        cause = error.source();
    }
    NoAnswer {
        code,
        message: text,
        permanent: false,
    }
}
