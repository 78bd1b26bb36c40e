//! Slack: `x-slack-signature: v0=<hex>` over `v0:<timestamp>:<body>`, and its address challenge.

use serde_json::Value;

use super::{HmacKey, fresh, mismatch, timestamp};
use crate::headers::{HeaderView, single};
use crate::refusal::{Reason, Refusal};
use crate::term::Timed;

pub(crate) const SIGNATURE: &str = "x-slack-signature";
pub(crate) const TIMESTAMP: &str = "x-slack-request-timestamp";

/// A challenge longer than this is no challenge of Slack's.
const MAX_CHALLENGE: usize = 512;

/// The place of the secret that matched.
pub(crate) fn verify(
    keys: &[Timed<HmacKey>],
    headers: &dyn HeaderView,
    body: &[u8],
    now: i64,
    tolerance: u32,
) -> Result<usize, Refusal> {
    let sent_at = single(headers, TIMESTAMP)?;
    let seconds = timestamp(TIMESTAMP, sent_at)?;
    let value = single(headers, SIGNATURE)?;
    let Some((version, encoded)) = value.split_once('=') else {
        return Err(Refusal::new(
            Reason::HeaderMalformed,
            format!("`{SIGNATURE}` is not `v0=<hex>`"),
        ));
    };
    if version != "v0" {
        return Err(Refusal::new(
            Reason::VersionsUnsupported,
            format!("`{SIGNATURE}` is not of version v0"),
        ));
    }
    let tag = hex::decode(encoded)
        .map_err(|_| Refusal::new(Reason::HeaderMalformed, format!("`{SIGNATURE}` is not hex")))?;
    fresh(seconds, now, tolerance)?;
    let parts: [&[u8]; 4] = [b"v0:", sent_at.as_bytes(), b":", body];
    keys.iter()
        .position(|key| key.holds(now) && key.verifies(&parts, &tag))
        .ok_or_else(|| mismatch(keys.len()))
}

/// The text to answer when the body is Slack's check of the address.
pub(crate) fn challenge(body: &[u8]) -> Option<String> {
    // Cheap test first: only a tiny share of the traffic is a challenge.
    if body.len() > 4_096 {
        return None;
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    if value.get("type")?.as_str()? != "url_verification" {
        return None;
    }
    let challenge = value.get("challenge")?.as_str()?;
    (!challenge.is_empty() && challenge.len() <= MAX_CHALLENGE).then(|| challenge.to_owned())
}
