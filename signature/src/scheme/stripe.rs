//! Stripe: `stripe-signature: t=<seconds>,v1=<hex>[,v1=<hex>…]` over `<t>.<body>`.

use super::{HmacKey, fresh, mismatch, timestamp};
use crate::headers::{HeaderView, single};
use crate::refusal::{Reason, Refusal};
use crate::term::Timed;

pub(crate) const HEADER: &str = "stripe-signature";

const MAX_ENTRIES: usize = 32;

/// The place of the secret that matched.
pub(crate) fn verify(
    keys: &[Timed<HmacKey>],
    headers: &dyn HeaderView,
    body: &[u8],
    now: i64,
    tolerance: u32,
) -> Result<usize, Refusal> {
    let value = single(headers, HEADER)?;
    let mut sent_at = None;
    let mut tags = Vec::new();
    let mut versions = 0_usize;
    for pair in value.split(',').take(MAX_ENTRIES) {
        let Some((key, text)) = pair.trim().split_once('=') else {
            return Err(Refusal::new(
                Reason::HeaderMalformed,
                format!("`{HEADER}` is not a list of key=value pairs"),
            ));
        };
        match key {
            "t" if sent_at.is_some() => {
                return Err(Refusal::new(
                    Reason::HeaderMalformed,
                    format!("`{HEADER}` has two timestamps"),
                ));
            }
            "t" => sent_at = Some(text),
            "v1" => tags.extend(hex::decode(text)),
            _ => {}
        }
        versions += usize::from(key == "v1");
    }
    let sent_at = sent_at
        .ok_or_else(|| Refusal::new(Reason::HeaderMalformed, format!("`{HEADER}` has no `t=`")))?;
    let seconds = timestamp(HEADER, sent_at)?;
    if versions == 0 {
        return Err(Refusal::new(
            Reason::VersionsUnsupported,
            format!("`{HEADER}` has no `v1=` signature"),
        ));
    }
    fresh(seconds, now, tolerance)?;
    let parts: [&[u8]; 3] = [sent_at.as_bytes(), b".", body];
    keys.iter()
        .position(|key| key.holds(now) && tags.iter().any(|tag| key.verifies(&parts, tag)))
        .ok_or_else(|| mismatch(keys.len()))
}
