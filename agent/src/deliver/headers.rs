//! What goes out with a delivery: the sender's end-to-end headers unchanged, our
//! ids, and the destination's proof; and what of it may be kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookplane_signature::hookplane_signature;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::chance::Draw;
use crate::config::DestinationAuth;
use crate::ingest::HIDDEN;
use crate::store::{DueEvent, Headers};

/// Meant for one hop, or made anew by the client.
const DROPPED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Values that authenticate: sent, never kept.
const SECRET: [&str; 6] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
    "hookplane-signature",
];

/// The provider's Standard Webhooks headers, when they are spelt the other way than ours.
const OTHER_SPELLING: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

const REDACTED: &str = "(redacted)";

/// Headers of one try, all but a fetched token. Inbound headers that name ours are
/// replaced, never doubled.
pub(super) fn outbound(
    due: &DueEvent,
    attempt: u32,
    auth: &DestinationAuth,
    now_millis: u64,
    trace: [u8; 24],
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let listed = hop_by_hop(&due.request.headers);
    for (name, value) in &due.request.headers {
        let lower = name.to_ascii_lowercase();
        // Receivers look at the other spelling first, or refuse both at once.
        let in_the_way = OTHER_SPELLING.contains(&lower.as_str())
            && matches!(auth, DestinationAuth::StandardWebhooks(_));
        let hidden = value.as_ref() == HIDDEN;
        // Ours say what we say: a sender that set them could pass for us.
        let ours = lower.starts_with("hookplane-");
        let dropped = DROPPED.contains(&lower.as_str()) || listed.contains(&lower);
        if hidden || dropped || ours || in_the_way {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(lower), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set("hookplane-request-id", due.request.id.clone());
    set("hookplane-event-id", due.event.id.clone());
    set("hookplane-attempt", attempt.to_string());
    set("traceparent", traceparent(&due.request.headers, trace));
    match auth {
        // Shown by the connection, or added when the token is there.
        DestinationAuth::None
        | DestinationAuth::ClientCertificate(_)
        | DestinationAuth::ClientCredentials(_) => {}
        DestinationAuth::Basic { username, password } => {
            let pair = STANDARD.encode(format!("{username}:{password}"));
            set("authorization", format!("Basic {pair}"));
        }
        DestinationAuth::Bearer { token } => {
            set("authorization", format!("Bearer {token}"));
        }
        DestinationAuth::Header { name, value } => {
            if let Ok(value) = HeaderValue::try_from(value.as_str()) {
                headers.insert(name.clone(), value);
            }
        }
        DestinationAuth::HookplaneSignature { secret } => {
            let seconds = i64::try_from(now_millis / 1_000).unwrap_or(i64::MAX);
            set("hookplane-timestamp", seconds.to_string());
            set(
                "hookplane-signature",
                hookplane_signature(secret, seconds, &due.request.body),
            );
        }
        DestinationAuth::StandardWebhooks(signer) => {
            // The event's id: the same on every retry of it, and another one when a person
            // sends it again, so that a receiver that knows the first one acts on it.
            let seconds = i64::try_from(now_millis / 1_000).unwrap_or(i64::MAX);
            for (name, value) in signer.headers(&due.event.id, seconds, &due.request.body) {
                set(name, value);
            }
        }
    }
    headers
}

/// Puts a fetched token in.
pub(super) fn authorise(headers: &mut HeaderMap, token: &str) {
    if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}")) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// As kept with the attempt: values that authenticate are left out.
pub(super) fn kept(headers: &HeaderMap, auth: &DestinationAuth) -> Headers {
    let signature = HeaderName::from_static("webhook-signature");
    let own = match auth {
        DestinationAuth::Header { name, .. } => Some(name),
        DestinationAuth::StandardWebhooks(_) => Some(&signature),
        _ => None,
    };
    headers
        .iter()
        .map(|(name, value)| {
            let secret = SECRET.contains(&name.as_str()) || own == Some(name);
            let value = if secret {
                REDACTED.as_bytes()
            } else {
                value.as_bytes()
            };
            (name.as_str().to_owned(), Bytes::copy_from_slice(value))
        })
        .collect()
}

/// Names that the sender's `Connection` header declares to be for one hop.
fn hop_by_hop(headers: &Headers) -> Vec<String> {
    let mut names = Vec::new();
    for (_, value) in headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
    {
        let list = String::from_utf8_lossy(value);
        names.extend(list.split(',').map(|name| name.trim().to_ascii_lowercase()));
    }
    names
}

/// Random bits for the ids of a trace and of its span.
pub(super) fn trace(draw: Draw) -> [u8; 24] {
    let mut bits = [0; 24];
    for part in bits.chunks_exact_mut(8) {
        part.copy_from_slice(&draw().to_le_bytes());
    }
    bits
}

/// Goes on with the sender's trace when there is a valid one; the span is ours.
fn traceparent(inbound: &Headers, random: [u8; 24]) -> String {
    let (trace, span) = random.split_at(16);
    let theirs = inbound
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("traceparent"))
        .and_then(|(_, value)| std::str::from_utf8(value).ok())
        .and_then(|text| text.split('-').nth(1))
        .filter(|id| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .filter(|id| id.bytes().any(|byte| byte != b'0'));
    let trace = theirs.map_or_else(|| hex::encode(trace), str::to_owned);
    format!("00-{trace}-{}-01", hex::encode(span))
}
