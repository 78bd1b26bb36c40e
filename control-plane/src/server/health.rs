//! What anybody may ask without a key: is it alive, is it ready, what does it count.

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Metrics};
use crate::store::Database;

#[derive(Clone)]
pub(super) struct Health {
    pub(super) database: Database,
    pub(super) metrics: Metrics,
    pub(super) shutdown: CancellationToken,
}

impl Health {
    pub(super) fn router(self) -> axum::Router {
        axum::Router::new()
            .route("/healthz", get(async || axum::Json(json!({ "ok": true }))))
            .route("/readyz", get(Self::ready))
            .route("/metrics", get(Self::metrics))
            .with_state(self)
    }

    async fn ready(State(this): State<Self>) -> impl IntoResponse {
        let reason = if this.shutdown.is_cancelled() {
            Some("stopping")
        } else if this.database.ping().await.is_err() {
            Some("the database does not answer")
        } else {
            None
        };
        let status = match reason {
            None => http::StatusCode::OK,
            Some(_) => http::StatusCode::SERVICE_UNAVAILABLE,
        };
        let reasons: Vec<&str> = reason.into_iter().collect();
        (
            status,
            axum::Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
        )
    }

    async fn metrics(State(this): State<Self>) -> impl IntoResponse {
        (
            [(http::header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
            this.metrics.text(),
        )
    }
}
