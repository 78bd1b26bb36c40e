//! A caller of the REST API.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Holds the address and a key.
#[derive(Clone, Debug)]
pub struct Api {
    pub url: String,
    pub key: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    #[must_use]
    pub fn new(url: String, key: String) -> Self {
        Self {
            url,
            key,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// One call: status and JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.key));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::from(body)).expect("a request");
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            // The control plane is away, as some tests want it.
            Err(error) => return (StatusCode::BAD_GATEWAY, Value::String(error.to_string())),
        };
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a whole answer")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A call that has to go well.
    ///
    /// # Panics
    /// With the answer, when it does not.
    pub async fn ok(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.ok(Method::POST, path, Some(body)).await
    }

    /// An answer that is no JSON.
    pub async fn text(&self, path: &str) -> String {
        let request = http::Request::get(format!("{}{path}", self.url));
        let request = request.body(Full::default()).expect("a request");
        let answer = self.client.request(request).await.expect("an answer");
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a whole answer")
            .to_bytes();
        String::from_utf8(body.to_vec()).expect("a text")
    }

    /// All rows of a list, page by page.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut token = String::new();
        loop {
            let glue = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{glue}page_token={token}")).await;
            rows.extend(page["models"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => return rows,
            }
        }
    }
}
