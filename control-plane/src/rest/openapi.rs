//! The API described as OpenAPI 3.1, made of the descriptors it is served from, and a
//! page that shows it.
//!
//! Owns the document and the page. Refuses to know more of a method than its
//! descriptor, its rules and the shape layer say, so the document cannot promise
//! what is not served. Invariant: nothing on the page comes from anywhere else.

mod schema;

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::InvalidRules;
use super::query;
use super::rules::{self, Body, Rule, Segment};
use schema::Schemas;

const PAGE: &str = include_str!("openapi/page.html");
/// The page's own script and style, and the document from where the page came.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Serves the document and the page, for anybody: they say what this program can do,
/// not what is configured.
///
/// # Errors
/// [`InvalidRules`] when the annotations in the pool cannot be served.
pub fn router(pool: &DescriptorPool) -> Result<Router, InvalidRules> {
    let text = Bytes::from(document(pool)?.to_string());
    let text = Arc::new(text);
    let json = move || {
        let text = Bytes::clone(&text);
        async move { ([(CONTENT_TYPE, "application/json")], text).into_response() }
    };
    let page = async || {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, PAGE).into_response()
    };
    Ok(Router::new()
        .route("/openapi.json", get(json))
        .route("/docs", get(page)))
}

/// The document.
///
/// # Errors
/// [`InvalidRules`] when the annotations in the pool cannot be served.
pub fn document(pool: &DescriptorPool) -> Result<Value, InvalidRules> {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    let mut seen = std::collections::HashMap::new();
    for rule in rules::rules(pool)? {
        let name = rule.method.name().to_owned();
        let count: &mut u32 = seen.entry(name).or_default();
        *count += 1;
        let operation = operation(&rule, *count, &mut schemas);
        let path = paths.entry(path(&rule)).or_insert_with(|| json!({}));
        path[rule.verb.as_str().to_lowercase()] = operation;
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hookplane",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything here is a gRPC method too. The prefix /v1 may be left out.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "api_key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "api_key": { "type": "http", "scheme": "bearer", "description": "A key, `hpk_…`." },
            },
            "schemas": schemas.finish(),
        },
    }))
}

fn path(rule: &Rule) -> String {
    let mut path = format!("/{}", rules::VERSION);
    for segment in &rule.path {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Field(name) => path.push_str(&format!("{{{name}}}")),
        }
    }
    path
}

fn operation(rule: &Rule, count: u32, schemas: &mut Schemas) -> Value {
    let method = &rule.method;
    let comment = schema::comment(&method.parent_file(), method.path());
    let id = match count {
        1 => method.name().to_owned(),
        more => format!("{}_{more}", method.name()),
    };
    let service = method.parent_service().name().to_owned();
    let mut operation = json!({
        "operationId": id,
        "tags": [service.trim_end_matches("Service")],
        "x-grpc-method": method.full_name(),
        "parameters": parameters(rule, schemas),
        "responses": {
            super::success(rule).as_str(): answer(method, schemas),
            "default": {
                "description": "What went wrong, and what to do next.",
                "content": { "application/json": { "schema": schemas.problem() } },
            },
        },
    });
    if !comment.is_empty() {
        operation["description"] = Value::from(comment);
    }
    let body = match &rule.body {
        Body::Nothing => None,
        Body::Whole => Some(schemas.reference(&method.input())),
        Body::Field(field) => field
            .kind()
            .as_message()
            .map(|message| schemas.reference(message)),
    };
    if let Some(schema) = body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema } },
        });
    }
    operation
}

fn answer(method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let schema = schemas.reference(&method.output());
    let (kind, description) = if method.is_server_streaming() {
        (
            "text/event-stream",
            "Server-sent events; each `data` is one of these.",
        )
    } else {
        ("application/json", "Done.")
    };
    json!({ "description": description, "content": { kind: { "schema": schema } } })
}

fn parameters(rule: &Rule, schemas: &mut Schemas) -> Vec<Value> {
    let input = rule.method.input();
    let mut all = Vec::new();
    for segment in &rule.path {
        if let Segment::Field(name) = segment {
            all.push(json!({
                "name": name, "in": "path", "required": true, "schema": { "type": "string" },
            }));
        }
    }
    for field in query::settable(rule) {
        let mut parameter = json!({
            "name": field.name(), "in": "query", "schema": schemas.field(&field),
        });
        let comment = schema::comment(&input.parent_file(), field.path());
        if !comment.is_empty() {
            parameter["description"] = Value::from(comment);
        }
        all.push(parameter);
    }
    let conditional = input.get_field_by_name("validate_only").is_some();
    let headers = [("If-Match", "etag"), ("Idempotency-Key", "request_id")];
    for (header, field) in headers {
        if conditional && input.get_field_by_name(field).is_some() {
            all.push(json!({
                "name": header, "in": "header", "schema": { "type": "string" },
                "description": format!("The same as `{field}`."),
            }));
        }
    }
    all
}
