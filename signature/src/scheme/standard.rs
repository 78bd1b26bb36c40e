//! Standard Webhooks and its `svix-*` spelling: `<id>.<timestamp>.<body>`, `v1` and `v1a`.

use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{HmacKey, fresh, mismatch, timestamp};
use crate::headers::{HeaderView, single};
use crate::refusal::{Reason, Refusal};
use crate::term::Timed;
use crate::{InvalidAuth, secret};

/// More entries than any rotation makes; past it a sender only costs us time.
const MAX_ENTRIES: usize = 32;

/// Names of the three headers in one spelling.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) id: &'static str,
    pub(crate) timestamp: &'static str,
    pub(crate) signature: &'static str,
}

pub(crate) const SVIX: Names = Names {
    id: "svix-id",
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};
pub(crate) const WEBHOOK: Names = Names {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};

/// A key of one configured secret. The HMAC state is boxed: it is six times a public key.
pub(crate) enum Key {
    V1(Box<HmacKey>),
    V1a(ParsedPublicKey),
}

impl Key {
    /// Reads a secret; public keys only where the provider is known to sign with them.
    pub(crate) fn parse(field: &str, text: &str, public_keys: bool) -> Result<Self, InvalidAuth> {
        if public_keys && text.starts_with("whpk_") {
            return Ok(Self::V1a(secret::public(field, text)?));
        }
        Ok(Self::V1(Box::new(HmacKey::sha256(&secret::symmetric(
            field, text,
        )?))))
    }
}

/// What matched: the version and the place of the secret.
pub(crate) struct Matched {
    pub(crate) version: &'static str,
    pub(crate) secret: usize,
}

pub(crate) fn verify(
    keys: &[Timed<Key>],
    headers: &dyn HeaderView,
    body: &[u8],
    now: i64,
    tolerance: u32,
) -> Result<Matched, Refusal> {
    let names = spelling(headers)?;
    let id = single(headers, names.id)?;
    if id.contains('.') || id.len() > 256 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::new(
            Reason::IdInvalid,
            format!(
                "`{}` must be up to 256 visible characters without a full stop",
                names.id
            ),
        ));
    }
    let sent_at = single(headers, names.timestamp)?;
    let seconds = timestamp(names.timestamp, sent_at)?;
    let entries = single(headers, names.signature)?;
    fresh(seconds, now, tolerance)?;

    let parts: [&[u8]; 5] = [id.as_bytes(), b".", sent_at.as_bytes(), b".", body];
    let mut known = 0_usize;
    let mut well_formed = 0_usize;
    for entry in entries
        .split(' ')
        .filter(|entry| !entry.is_empty())
        .take(MAX_ENTRIES)
    {
        let Some((version, encoded)) = entry.split_once(',') else {
            continue;
        };
        well_formed += 1;
        let version = match version {
            "v1" => "v1",
            "v1a" => "v1a",
            _ => continue,
        };
        known += 1;
        let Ok(tag) = STANDARD.decode(encoded) else {
            continue;
        };
        if let Some(secret) = matching(keys, now, version, &parts, &tag) {
            return Ok(Matched { version, secret });
        }
    }
    if well_formed == 0 {
        return Err(Refusal::new(
            Reason::HeaderMalformed,
            format!("`{}` holds no `version,signature` entry", names.signature),
        ));
    }
    if known == 0 {
        return Err(Refusal::new(
            Reason::VersionsUnsupported,
            format!("`{}` holds no entry of version v1 or v1a", names.signature),
        ));
    }
    Err(mismatch(keys.len()))
}

/// One spelling per request: a mix would let one header be swapped for another's.
fn spelling(headers: &dyn HeaderView) -> Result<&'static Names, Refusal> {
    let present = |names: &Names| {
        [names.id, names.timestamp, names.signature]
            .iter()
            .any(|name| !headers.all(name).is_empty())
    };
    match (present(&SVIX), present(&WEBHOOK)) {
        (true, true) => Err(Refusal::new(
            Reason::HeadersMixed,
            "the request has both `svix-*` and `webhook-*` headers; one spelling is expected",
        )),
        (false, true) => Ok(&WEBHOOK),
        (true, false) => Ok(&SVIX),
        (false, false) => Err(Refusal::new(
            Reason::HeaderMissing,
            "neither `svix-id`, `svix-timestamp`, `svix-signature` nor their `webhook-*` spelling is present",
        )),
    }
}

fn matching(
    keys: &[Timed<Key>],
    now: i64,
    version: &str,
    parts: &[&[u8]; 5],
    tag: &[u8],
) -> Option<usize> {
    let fits = |key: &Key| match key {
        Key::V1(mac) => version == "v1" && mac.verifies(parts, tag),
        Key::V1a(public) => version == "v1a" && public.verify_sig(&parts.concat(), tag).is_ok(),
    };
    keys.iter().position(|key| key.holds(now) && fits(key))
}
