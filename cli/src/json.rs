//! API messages as JSON, in the shape that REST answers with.
//!
//! Owns the mapping of every message by its descriptor, and the few shapes that
//! differ from the proto: `auth_type` with `auth`, rules tagged by `type`, enum
//! names without their prefix. Refuses to know any single command.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookplane_proto::descriptor_pool;
use hookplane_proto::v1;
use prost::Message;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage as _,
};
use serde_json::{Map, Value, json};

/// A message that can be shown, by its full name.
pub(crate) trait Shown: Message {
    const NAME: &'static str;
}

macro_rules! shown {
    ($($message:ident),+ $(,)?) => {
        $(impl Shown for v1::$message {
            const NAME: &'static str = concat!("hookplane.v1.", stringify!($message));
        })+
    };
}

shown! {
    Source, Destination, Connection, Filter, Pagination,
    Request, Event, Attempt, RequestTrace,
    ListRequestsResponse, ListEventsResponse, ListAttemptsResponse,
    CountRequestsResponse, CountEventsResponse, RetryEventResponse,
    ListDeadLettersResponse, ReplayRequestResponse, BulkOperation, BulkPreview,
    TailRequestsResponse, Agent, ListAgentsResponse, Status, ApiKey, ListApiKeysResponse,
    HandlerKey, AgentToken, AgentAuthority, EvaluateShadowResponse, RequestDiagnosis,
    Rollout, RolloutPolicy,
    AuditEntry, VerifyAuditResponse, Team, CreateTeamResponse, GetSecretKeysResponse,
}

/// Enums that are written in lower case.
const LOWER: [&str; 8] = [
    "SourceStatus",
    "RequestStatus",
    "ApiKeyStatus",
    "HandlerKeyStatus",
    "HmacAlgorithm",
    "SignatureEncoding",
    "RetryStrategy",
    "RateLimitPeriod",
];

/// The JSON of a message.
pub(crate) fn to_json<M: Shown>(shown: &M) -> Value {
    let descriptor = descriptor_pool()
        .get_message_by_name(M::NAME)
        .expect("a message of our own contract");
    let dynamic = DynamicMessage::decode(descriptor, shown.encode_to_vec().as_slice())
        .expect("bytes of the same message");
    message(&dynamic)
}

fn message(shown: &DynamicMessage) -> Value {
    match shown.descriptor().full_name() {
        "google.protobuf.Timestamp" | "google.protobuf.Value" => {
            serde_json::to_value(shown).unwrap_or(Value::Null)
        }
        "hookplane.v1.Header" => header(shown),
        "hookplane.v1.Rule" => rule(shown),
        "hookplane.v1.SourceConfig" | "hookplane.v1.DestinationConfig" => config(shown),
        _ => Value::Object(fields(shown)),
    }
}

fn fields(shown: &DynamicMessage) -> Map<String, Value> {
    let mut object = Map::new();
    for field in shown.descriptor().fields() {
        let absent = field.supports_presence() && !shown.has_field(&field);
        if absent && field.containing_oneof().is_some() {
            continue;
        }
        let json = if absent {
            Value::Null
        } else {
            value(&field, &shown.get_field(&field))
        };
        object.insert(field.name().to_owned(), json);
    }
    object
}

fn value(field: &FieldDescriptor, shown: &prost_reflect::Value) -> Value {
    use prost_reflect::Value as Dynamic;
    match shown {
        Dynamic::List(items) => items.iter().map(|item| value(field, item)).collect(),
        Dynamic::Map(entries) => entries
            .iter()
            .map(|(key, item)| (key_text(key), scalar(&Kind::String, item)))
            .collect(),
        other => scalar(&field.kind(), other),
    }
}

fn scalar(kind: &Kind, shown: &prost_reflect::Value) -> Value {
    use prost_reflect::Value as Dynamic;
    match shown {
        Dynamic::Bool(flag) => json!(flag),
        Dynamic::I32(number) => json!(number),
        Dynamic::I64(number) => json!(number),
        Dynamic::U32(number) => json!(number),
        Dynamic::U64(number) => json!(number),
        Dynamic::F32(number) => json!(number),
        Dynamic::F64(number) => json!(number),
        Dynamic::String(text) => json!(text),
        Dynamic::Bytes(bytes) => json!(base64_text(bytes)),
        Dynamic::EnumNumber(number) => match kind {
            Kind::Enum(names) => short_name(names, *number),
            _ => json!(number),
        },
        Dynamic::Message(inner) => message(inner),
        Dynamic::List(_) | Dynamic::Map(_) => Value::Null,
    }
}

fn key_text(key: &MapKey) -> String {
    key.as_str().unwrap_or_default().to_owned()
}

/// `CLERK` for `SOURCE_TYPE_CLERK`; null for the unspecified one.
fn short_name(names: &EnumDescriptor, number: i32) -> Value {
    let Some(found) = names.get_value(number).filter(|_| number != 0) else {
        return Value::Null;
    };
    let mut prefix = String::new();
    for (place, letter) in names.name().chars().enumerate() {
        if place > 0 && letter.is_uppercase() {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix.push('_');
    let short = found.name().strip_prefix(&prefix).unwrap_or(found.name());
    if LOWER.contains(&names.name()) {
        json!(short.to_lowercase())
    } else {
        json!(short)
    }
}

fn header(shown: &DynamicMessage) -> Value {
    let name = shown.get_field_by_name("name");
    let name = name.as_deref().and_then(prost_reflect::Value::as_str);
    let raw = shown.get_field_by_name("value");
    let raw = raw.as_deref().and_then(prost_reflect::Value::as_bytes);
    let raw = raw.map(|bytes| bytes.as_ref()).unwrap_or_default();
    match std::str::from_utf8(raw) {
        Ok(text) => json!({"name": name, "value": text}),
        Err(_) => json!({"name": name, "value_base64": base64_text(raw)}),
    }
}

/// `{"type": "filter", …}`
fn rule(shown: &DynamicMessage) -> Value {
    let Some((kind, inner)) = chosen(shown) else {
        return Value::Null;
    };
    let mut object = fields(&inner);
    if kind == "filter" {
        object.retain(|_, part| !part.is_null());
    }
    // Told when they say something: FastHook's retry rule has no such fields.
    for name in ["delays", "give_up_status_codes", "jitter_percent"] {
        let Some(said) = object.get(name) else {
            continue;
        };
        let empty = said.is_null() || said.as_array().is_some_and(Vec::is_empty);
        if empty {
            object.remove(name);
        }
    }
    object.insert("type".to_owned(), json!(kind));
    Value::Object(object)
}

/// A config with `auth_type` and `auth` in place of the choice.
fn config(shown: &DynamicMessage) -> Value {
    let mut object = fields(shown);
    let auth = shown.get_field_by_name("auth");
    let auth = auth
        .as_deref()
        .and_then(prost_reflect::Value::as_message)
        .and_then(chosen);
    let (auth_type, mut auth) = match auth {
        Some((name, _)) if name == "none" => (Value::Null, Value::Null),
        Some((name, inner)) => (
            json!(if name == "basic" {
                "BASIC_AUTH".to_owned()
            } else {
                name.to_uppercase()
            }),
            Value::Object(fields(&inner)),
        ),
        None => (Value::Null, Value::Null),
    };
    let first = auth["webhook_signing_secrets"][0].clone();
    if let (false, Some(auth)) = (first.is_null(), auth.as_object_mut()) {
        auth.insert("webhook_signing_secret".to_owned(), first);
    }
    object.insert("auth_type".to_owned(), auth_type);
    object.insert("auth".to_owned(), auth);
    Value::Object(object)
}

/// Name and message of the one set member of a choice.
fn chosen(shown: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    let (field, value) = shown.fields().next()?;
    Some((field.name().to_owned(), value.as_message()?.clone()))
}

fn base64_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
