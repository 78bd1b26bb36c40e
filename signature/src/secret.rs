//! Secrets of the Standard Webhooks family: `whsec_`, `whsk_` and `whpk_` texts, parsed once.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::InvalidAuth;

/// The published libraries take secrets without padding too.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const MIN_KEY_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 75;

/// Key bytes of a `whsec_` secret.
pub(crate) fn symmetric(field: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, InvalidAuth> {
    plain(field, text)?;
    let Some(encoded) = text.strip_prefix("whsec_") else {
        return Err(wrong_prefix(field, text));
    };
    let key = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| {
        InvalidAuth::new(
            field,
            "secret_not_base64",
            "what follows `whsec_` is not base64; copy the whole signing secret of the endpoint",
        )
    })?);
    if key.len() < MIN_KEY_BYTES {
        return Err(InvalidAuth::new(
            field,
            "secret_too_short",
            format!(
                "the secret holds {} bytes; a signing secret is `whsec_` and base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes",
                key.len()
            ),
        ));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(InvalidAuth::new(
            field,
            "secret_too_long",
            format!(
                "the secret holds {} bytes; a signing secret is `whsec_` and base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes",
                key.len()
            ),
        ));
    }
    Ok(key)
}

/// The key of a `whpk_` text.
pub(crate) fn public(field: &str, text: &str) -> Result<ParsedPublicKey, InvalidAuth> {
    plain(field, text)?;
    let Some(encoded) = text.strip_prefix("whpk_") else {
        return Err(wrong_prefix(field, text));
    };
    let invalid = || {
        InvalidAuth::new(
            field,
            "public_key_invalid",
            "a public key is `whpk_` and base64 of the 32 bytes of an Ed25519 key",
        )
    };
    let bytes = LENIENT.decode(encoded).map_err(|_| invalid())?;
    if bytes.len() != 32 {
        return Err(invalid());
    }
    ParsedPublicKey::new(&ED25519, bytes).map_err(|_| invalid())
}

/// The key pair of a `whsk_` text: 32 bytes of seed, then the public key.
pub(crate) fn signing(field: &str, text: &str) -> Result<Ed25519KeyPair, InvalidAuth> {
    plain(field, text)?;
    let Some(encoded) = text.strip_prefix("whsk_") else {
        return Err(wrong_prefix(field, text));
    };
    let invalid = || {
        InvalidAuth::new(
            field,
            "signing_key_invalid",
            "a signing key is `whsk_` and base64 of 64 bytes: an Ed25519 seed and its public key",
        )
    };
    let bytes = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| invalid())?);
    if bytes.len() != 64 {
        return Err(invalid());
    }
    let (seed, public) = bytes.split_at(32);
    Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| invalid())
}

/// A secret used as it stands: GitHub's, Stripe's, Slack's, Shopify's and one's own.
/// White space inside is legal there; around it, it is a slip of the clipboard.
pub(crate) fn text<'s>(field: &str, text: &'s str) -> Result<&'s [u8], InvalidAuth> {
    if text.is_empty() || text.trim() != text {
        plain(field, text)?;
    }
    Ok(text.as_bytes())
}

/// A fresh symmetric secret. The caller brings the randomness.
#[must_use]
pub fn generate_secret(random: [u8; 32]) -> String {
    format!("whsec_{}", STANDARD.encode(random))
}

fn plain(field: &str, text: &str) -> Result<(), InvalidAuth> {
    if text.is_empty() {
        return Err(InvalidAuth::new(
            field,
            "secret_empty",
            "a secret is needed here",
        ));
    }
    if text.contains(char::is_whitespace) {
        return Err(InvalidAuth::new(
            field,
            "secret_whitespace",
            "the secret holds white space; copy it without the spaces or line end around it",
        ));
    }
    Ok(())
}

fn wrong_prefix(field: &str, text: &str) -> InvalidAuth {
    let found = if text.starts_with("sk_") || text.starts_with("pk_") {
        "this looks like an API key"
    } else if text.starts_with("whpk_") {
        "this is a public key, which only STANDARD_WEBHOOKS and SVIX sources take"
    } else if text.starts_with("whsk_") {
        "this is the sender's private key, which must stay with the sender"
    } else {
        "this does not start with `whsec_`"
    };
    InvalidAuth::new(
        field,
        "secret_prefix",
        format!(
            "{found}; give the endpoint's signing secret, which is `whsec_` followed by base64"
        ),
    )
}
