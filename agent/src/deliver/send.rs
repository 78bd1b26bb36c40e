//! One try: the exchange with a receiver, within its time and our caps.
//!
//! Never follows redirects; reads the answer up to a cap; gives up connecting
//! sooner than the whole exchange; tells what happened and decides nothing.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::{Connect, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use thiserror::Error;
use tower_service::Service;

use super::guard::{
    AddressPolicy, AddressRefused, BoxError, ConnectTimedOut, GuardedConnector, GuardedResolver,
};
use crate::config::{Configuration, Destination, DestinationAuth};

/// Bytes of an answer that are kept.
const RESPONSE_KEPT: usize = 64 * 1_024;
const IDLE: Duration = Duration::from_secs(60);

/// Name, TCP and TLS together: a receiver that cannot be reached is known soon.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections kept per host.
const IDLE_PER_HOST: usize = 32;

/// A client with its pool, whatever network it uses.
type HttpClient = Arc<dyn Exchanges>;

trait Exchanges: Send + Sync {
    fn send(&self, request: hyper::Request<Full<Bytes>>) -> ResponseFuture;
}

/// Sends deliveries over pooled connections. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    /// Makes clients over the one network.
    make: Arc<dyn Fn(ClientConfig) -> HttpClient + Send + Sync>,
    client: HttpClient,
    /// Clients of destinations that show a certificate, with the version they were made
    /// for: their connections must not be shared with anybody.
    own: Arc<Mutex<HashMap<String, (u64, HttpClient)>>>,
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
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self::over(tcp, policy)
    }

    /// Over a network of somebody's choice. Literal addresses are checked here; names are
    /// left to who connects.
    pub(crate) fn over<C>(tcp: C, policy: AddressPolicy) -> Result<Self, TlsUnavailable>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsUnavailable)?
            .with_webpki_roots()
            .with_no_client_auth();
        let make = move |tls| client(tcp.clone(), policy.clone(), tls);
        Ok(Self {
            client: make(tls),
            make: Arc::new(make),
            own: Arc::default(),
        })
    }

    /// One exchange, without a deadline of its own. `to` is the destination whose own
    /// client is to be used, if it has one.
    pub(super) async fn exchange(
        &self,
        to: Option<&Destination>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Exchange, NoAnswer> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let answer = self
            .client_for(to)
            .send(request)
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

    /// Forgets the clients of destinations that are configured no more.
    pub(super) fn forget_missing(&self, configuration: &Configuration) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|id, _| configuration.destinations.contains_key(id));
    }

    fn client_for(&self, to: Option<&Destination>) -> HttpClient {
        let Some((to, tls)) = to.and_then(|to| match &to.auth {
            DestinationAuth::ClientCertificate(tls) => Some((to, tls)),
            _ => None,
        }) else {
            return Arc::clone(&self.client);
        };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.get(&to.id) {
            Some((version, client)) if *version == to.version => Arc::clone(client),
            _ => {
                let client = (self.make)(tls.as_ref().clone());
                own.insert(to.id.clone(), (to.version, Arc::clone(&client)));
                client
            }
        }
    }
}

impl<C> Exchanges for Client<C, Full<Bytes>>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn send(&self, request: hyper::Request<Full<Bytes>>) -> ResponseFuture {
        self.request(request)
    }
}

fn client<C>(tcp: C, policy: AddressPolicy, tls: ClientConfig) -> HttpClient
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let https: HttpsConnector<C> = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(tcp);
    let connector = GuardedConnector {
        inner: https,
        policy,
        limit: CONNECT,
    };
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_timer(TokioTimer::new())
        .build(connector);
    Arc::new(client)
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
        if error.is::<ConnectTimedOut>() {
            code = "connect_timeout";
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            code = "connect_refused";
        }
        if is_tls(error) {
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

/// I/O errors hold what they wrap without naming it as their source.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<io::Error>();
    error.is::<rustls::Error>()
        || wrapped
            .and_then(io::Error::get_ref)
            .is_some_and(|inner| is_tls(inner))
}
