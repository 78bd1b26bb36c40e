//! The `google.api.http` rules of a descriptor pool: which verb and path stand
//! for which method.
//!
//! Owns the reading and checking of the annotations. Refuses to know requests:
//! matching is [`super::route`]'s. An OpenAPI document or a test that walks
//! every method starts from [`rules`].
//!
//! Invariants: a rule names only fields that exist and can be filled from
//! where it says; no two rules stand for the same verb and path.

use std::collections::HashMap;
use std::fmt;

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value,
};
use thiserror::Error;

/// The package whose services are served.
const PACKAGE: &str = "hookplane.v1";
const ANNOTATION: &str = "google.api.http";
/// First segment of every path; callers may leave it out.
pub(crate) const VERSION: &str = "v1";

/// One way to call one method over HTTP. A method has one for each binding.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: MethodDescriptor,
    pub verb: Method,
    /// Below the version.
    pub path: Vec<Segment>,
    pub body: Body,
}

/// A part of a path between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    // Sorts first: it wins over a field.
    Literal(String),
    /// Fills this field of the request message.
    Field(String),
}

/// What the body of the call fills.
#[derive(Clone, Debug)]
pub enum Body {
    Nothing,
    /// The whole request message.
    Whole,
    /// One field of it, a message.
    Field(FieldDescriptor),
}

/// Why the annotations cannot be served.
#[derive(Debug, Error)]
pub enum InvalidRules {
    #[error("the descriptors lack the extension `{ANNOTATION}`")]
    NoAnnotation,
    #[error("{method}: {reason}: `{text}`")]
    Rule {
        method: String,
        reason: &'static str,
        text: String,
    },
    #[error("{first} and {second} both stand for `{path}`")]
    Ambiguous {
        first: String,
        second: String,
        path: String,
    },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /{VERSION}", self.verb)?;
        for segment in &self.path {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Field(name) => write!(f, "/{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Every rule of the public API, in the order of the descriptors. Methods
/// without annotation are gRPC only.
///
/// # Errors
/// [`InvalidRules`] when an annotation cannot be served as written.
pub fn rules(pool: &DescriptorPool) -> Result<Vec<Rule>, InvalidRules> {
    let annotation = pool
        .get_extension_by_name(ANNOTATION)
        .ok_or(InvalidRules::NoAnnotation)?;
    let mut rules = Vec::new();
    for service in pool.services().filter(|s| s.package_name() == PACKAGE) {
        for method in service.methods() {
            let options = method.options();
            if !options.has_extension(&annotation) {
                continue;
            }
            if let Value::Message(rule) = options.get_extension(&annotation).as_ref() {
                collect(&method, rule, &mut rules)?;
            }
        }
    }
    refuse_ambiguous(&rules)?;
    Ok(rules)
}

fn collect(
    method: &MethodDescriptor,
    annotation: &DynamicMessage,
    rules: &mut Vec<Rule>,
) -> Result<(), InvalidRules> {
    rules.push(rule(method, annotation)?);
    let more = annotation.get_field_by_name("additional_bindings");
    for binding in more.iter().filter_map(|list| list.as_list()).flatten() {
        if let Value::Message(binding) = binding {
            rules.push(rule(method, binding)?);
        }
    }
    Ok(())
}

fn rule(method: &MethodDescriptor, annotation: &DynamicMessage) -> Result<Rule, InvalidRules> {
    let invalid = |reason, text: &str| InvalidRules::Rule {
        method: method.full_name().to_owned(),
        reason,
        text: text.to_owned(),
    };
    if method.is_client_streaming() {
        return Err(invalid("takes a stream, which HTTP cannot carry", ""));
    }
    let (verb, path) = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ]
    .into_iter()
    .find_map(|(name, verb)| Some((verb, text(annotation, name)?)))
    .ok_or_else(|| invalid("has no verb and path", ""))?;

    let input = method.input();
    let segments = template(&input, &path).map_err(|reason| invalid(reason, &path))?;
    let body = text(annotation, "body").unwrap_or_default();
    let body = body_of(&input, &body).map_err(|reason| invalid(reason, &body))?;
    Ok(Rule {
        method: method.clone(),
        verb,
        path: segments,
        body,
    })
}

fn text(annotation: &DynamicMessage, name: &str) -> Option<String> {
    let value = annotation.get_field_by_name(name)?;
    let text = value.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn template(input: &MessageDescriptor, path: &str) -> Result<Vec<Segment>, &'static str> {
    let below = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(VERSION))
        .and_then(|path| path.strip_prefix('/'))
        .ok_or("has a path that does not start with /v1/")?;
    below
        .split('/')
        .map(|segment| match segment.strip_prefix('{') {
            None if segment.is_empty() => Err("has an empty segment in its path"),
            None if segment.contains(['*', '{', '}', '=']) => Err("has a pattern in its path"),
            None => Ok(Segment::Literal(segment.to_owned())),
            Some(rest) => {
                let name = rest.strip_suffix('}').ok_or("has an unclosed field")?;
                let field = input.get_field_by_name(name);
                match field.map(|field| (field.kind(), field.is_list())) {
                    Some((Kind::String, false)) => Ok(Segment::Field(name.to_owned())),
                    _ => Err("has a field in its path that is no text field of the request"),
                }
            }
        })
        .collect()
}

fn body_of(input: &MessageDescriptor, body: &str) -> Result<Body, &'static str> {
    match body {
        "" => Ok(Body::Nothing),
        "*" => Ok(Body::Whole),
        name => input
            .get_field_by_name(name)
            .filter(|field| !field.is_list() && !field.is_map())
            .filter(|field| matches!(field.kind(), Kind::Message(_)))
            .map(Body::Field)
            .ok_or("has a body that is no message field of the request"),
    }
}

fn refuse_ambiguous(rules: &[Rule]) -> Result<(), InvalidRules> {
    let mut seen: HashMap<(Method, Vec<Option<&str>>), &Rule> = HashMap::new();
    for rule in rules {
        let form = rule.path.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Field(_) => None,
        });
        if let Some(first) = seen.insert((rule.verb.clone(), form.collect()), rule) {
            return Err(InvalidRules::Ambiguous {
                first: first.method.full_name().to_owned(),
                second: rule.method.full_name().to_owned(),
                path: rule.to_string(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
