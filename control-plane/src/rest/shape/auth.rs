//! `auth_type` beside `auth` ⇄ a union of schemes.

use serde_json::{Map, Value};

use super::Object;
use crate::rest::fault::{Faults, Path};

/// Member of both unions that asks for nothing.
const NONE: &str = "none";

/// One scheme under both of its names.
pub(super) struct Scheme {
    /// What callers write as `auth_type`.
    pub(super) tag: &'static str,
    /// The member of the union.
    pub(super) field: &'static str,
    /// What its `auth` looks like, for those who got it wrong.
    pub(super) form: &'static str,
}

/// Replaces `auth_type` and `auth` by the union. What is wrong is said here,
/// and then both are gone, so that it is said once.
pub(super) fn read(object: &mut Object, schemes: &[Scheme], at: &Path<'_>, faults: &mut Faults) {
    let kind = object.remove("auth_type");
    let auth = object.remove("auth");
    if kind.is_none() && auth.is_none() {
        return;
    }
    let at_kind = at.field("auth_type");
    let at_auth = at.field("auth");
    let kind = match kind {
        None | Some(Value::Null) => None,
        Some(Value::String(kind)) => Some(kind),
        Some(other) => {
            faults.expected(&at_kind, "a string or null", &other);
            return;
        }
    };
    let auth = auth.filter(|auth| !auth.is_null());
    let Some(kind) = kind else {
        if auth.is_some() {
            let what = format!(
                "must say what `auth` is: one of {}; without authentication leave `auth` out",
                tags(schemes)
            );
            faults.push(&at_kind, what);
        } else {
            insert(object, NONE, Value::Object(Map::new()));
        }
        return;
    };
    let Some(scheme) = schemes
        .iter()
        .find(|scheme| scheme.tag.eq_ignore_ascii_case(&kind))
    else {
        faults.push(
            &at_kind,
            format!("must be null or one of {}", tags(schemes)),
        );
        return;
    };
    match auth {
        Some(auth @ Value::Object(_)) => insert(object, scheme.field, auth),
        _ => faults.push(
            &at_auth,
            format!("must be an object for {}: {}", scheme.tag, scheme.form),
        ),
    }
}

/// Replaces the union by `auth_type` and `auth`; both null when it asks for nothing.
pub(super) fn write(object: &mut Object, schemes: &[Scheme]) {
    let union = match object.remove("auth") {
        Some(Value::Object(union)) => union,
        _ => Map::new(),
    };
    let (kind, auth) = union
        .into_iter()
        .find_map(|(member, auth)| {
            let scheme = schemes.iter().find(|scheme| scheme.field == member)?;
            Some((Value::from(scheme.tag), auth))
        })
        .unwrap_or((Value::Null, Value::Null));
    object.insert("auth_type".to_owned(), kind);
    object.insert("auth".to_owned(), auth);
}

fn insert(object: &mut Object, member: &str, auth: Value) {
    let union = Map::from_iter([(member.to_owned(), auth)]);
    object.insert("auth".to_owned(), Value::Object(union));
}

fn tags(schemes: &[Scheme]) -> String {
    let tags: Vec<&str> = schemes.iter().map(|scheme| scheme.tag).collect();
    tags.join(", ")
}

/// What `auth_type` may be.
pub(super) fn choice(schemes: &[Scheme]) -> Value {
    let mut tags: Vec<Value> = schemes.iter().map(|one| Value::from(one.tag)).collect();
    tags.push(Value::Null);
    serde_json::json!({ "enum": tags })
}
