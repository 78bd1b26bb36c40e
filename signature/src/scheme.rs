//! The signature schemes, one file each, and what they share: time and HMAC.
//!
//! A scheme holds prepared keys and judges headers and body; it gives the place
//! of the secret that matched.

pub(crate) mod body;
pub(crate) mod credentials;
pub(crate) mod slack;
pub(crate) mod standard;
pub(crate) mod stripe;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::refusal::{Reason, Refusal};
use crate::{Algorithm, Encoding};

/// Anything from the year 2286 on, in seconds, can only be milliseconds.
const MILLISECONDS_FROM: i64 = 10_000_000_000;

/// A prepared HMAC key; each use clones the state instead of hashing the key again.
#[derive(Clone)]
pub(crate) enum HmacKey {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl HmacKey {
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha256 => Self::Sha256(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
            Algorithm::Sha512 => Self::Sha512(Hmac::new_from_slice(key).expect(ANY_LENGTH)),
        }
    }

    pub(crate) fn sha256(key: &[u8]) -> Self {
        Self::new(Algorithm::Sha256, key)
    }

    /// Whether the tag belongs to the parts, in constant time.
    pub(crate) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        macro_rules! check {
            ($mac:expr) => {{
                let mut mac = $mac.clone();
                for part in parts {
                    mac.update(part);
                }
                mac.verify_slice(tag).is_ok()
            }};
        }
        match self {
            Self::Sha1(mac) => check!(mac),
            Self::Sha256(mac) => check!(mac),
            Self::Sha512(mac) => check!(mac),
        }
    }

    pub(crate) fn tag(&self, parts: &[&[u8]]) -> Vec<u8> {
        macro_rules! finish {
            ($mac:expr) => {{
                let mut mac = $mac.clone();
                for part in parts {
                    mac.update(part);
                }
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha1(mac) => finish!(mac),
            Self::Sha256(mac) => finish!(mac),
            Self::Sha512(mac) => finish!(mac),
        }
    }
}

/// Reads whole Unix seconds: digits only, so that junk, fractions and signs are refused.
pub(crate) fn timestamp(name: &str, text: &str) -> Result<i64, Refusal> {
    let malformed = || {
        Refusal::new(
            Reason::TimestampMalformed,
            format!("`{name}` is not a whole number of Unix seconds"),
        )
    };
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let seconds: i64 = text.parse().map_err(|_| malformed())?;
    if seconds >= MILLISECONDS_FROM {
        return Err(Refusal::new(
            Reason::TimestampInMilliseconds,
            format!("`{name}` seems to be in milliseconds; it must be in seconds"),
        ));
    }
    Ok(seconds)
}

/// Refuses a time further from now than the tolerance; exactly the tolerance passes.
pub(crate) fn fresh(seconds: i64, now: i64, tolerance: u32) -> Result<(), Refusal> {
    let tolerance = i64::from(tolerance);
    let age = now.saturating_sub(seconds);
    if age > tolerance {
        return Err(Refusal::new(
            Reason::TimestampTooOld,
            format!("signed {age} s ago; {tolerance} s are allowed"),
        ));
    }
    if age < -tolerance {
        let ahead = age.unsigned_abs();
        return Err(Refusal::new(
            Reason::TimestampTooNew,
            format!("signed {ahead} s in the future; {tolerance} s are allowed"),
        ));
    }
    Ok(())
}

pub(crate) fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    }
}

pub(crate) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
    }
}

/// The refusal that is left when everything was well formed.
pub(crate) fn mismatch(secrets: usize) -> Refusal {
    let which = if secrets == 1 {
        "the secret does not match".to_owned()
    } else {
        format!("none of the {secrets} secrets matches")
    };
    Refusal::new(
        Reason::SignatureMismatch,
        format!("{which}: another secret signed it, or the body was changed on the way"),
    )
}
