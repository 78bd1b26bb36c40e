//! What the control plane counts about itself, for Prometheus.

pub mod fleet;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use prost_reflect::DescriptorPool;
use tokio::time::Instant;
use tonic::Code;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shared by the parts that count. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    calls: Family<Call, Counter>,
    latency: Family<Method, Histogram>,
    methods: Arc<HashSet<String>>,
}

/// Stands for every path that is no method: callers choose those.
const UNKNOWN: &str = "unknown";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    /// gRPC status code, `0` when it went well.
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: String,
}

impl Metrics {
    /// Methods of the pool become labels. `more` registers what other parts count.
    #[must_use]
    pub fn new(pool: &DescriptorPool, more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("hookplane");
        let calls = Family::<Call, Counter>::default();
        let latency = Family::<Method, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_5, 2.0, 14))
        });
        registry.register(
            "api_calls",
            "Calls of the API by method and status code",
            calls.clone(),
        );
        registry.register_with_unit(
            "api_call_duration",
            "Time until the head of the answer",
            Unit::Seconds,
            latency.clone(),
        );
        more(&mut registry);
        let methods = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()));
        Self {
            methods: Arc::new(methods.collect()),
            registry: Arc::new(registry),
            calls,
            latency,
        }
    }

    /// Everything in OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string does not fail");
        text
    }

    /// Counts a call that a part in front of the layer refused.
    pub fn refused(&self, path: &str, code: Code) {
        self.add(self.label(path), &i32::from(code).to_string());
    }

    fn label(&self, path: &str) -> &str {
        let method = self.methods.get(path.trim_start_matches('/'));
        method.map_or(UNKNOWN, String::as_str)
    }

    fn add(&self, method: &str, code: &str) {
        let call = Call {
            method: method.to_owned(),
            code: code.to_owned(),
        };
        self.calls.get_or_create(&call).inc();
    }

    fn count(&self, method: &str, code: &str, took: Duration) {
        self.add(method, code);
        let method = Method {
            method: method.to_owned(),
        };
        self.latency
            .get_or_create(&method)
            .observe(took.as_secs_f64());
    }
}

/// The layer that counts calls, refused ones included.
pub async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let method = metrics.label(request.uri().path());
    let began = Instant::now();
    let response = next.run(request).await;
    // A failed unary call has its status in the head; a stream that fails later counts as begun.
    let code = response
        .headers()
        .get("grpc-status")
        .and_then(|code| code.to_str().ok())
        .unwrap_or("0");
    metrics.count(method, code, began.elapsed());
    response
}
