//! Signing as the providers do, for sample traffic and tests, and our own delivery signature.

use crate::provider::{Provider, SchemeKind};
use crate::scheme::{HmacKey, encode, slack, standard, stripe};
use crate::{HmacSpec, InvalidAuth, secret};

mod standard_signer;

pub use standard_signer::StandardSigner;

const FIELD: &str = "webhook_signing_secret";

/// The headers a genuine sender would set.
///
/// `secret` is what the source is configured with, or a `whsk_` key for `v1a`.
///
/// # Errors
/// [`InvalidAuth`] when the secret is not of the provider's form, or the provider signs nothing.
pub fn sign(
    provider: Provider,
    secret: &str,
    message_id: &str,
    timestamp_seconds: i64,
    body: &[u8],
) -> Result<Vec<(String, String)>, InvalidAuth> {
    let sent_at = timestamp_seconds.to_string();
    let mut headers = match &provider.row().scheme {
        SchemeKind::AsConfigured => {
            return Err(InvalidAuth::new(
                "provider",
                "provider_unsupported",
                "a WEBHOOK source has no signature of its own",
            ));
        }
        SchemeKind::Standard => {
            let names = match provider {
                Provider::StandardWebhooks => &standard::WEBHOOK,
                _ => &standard::SVIX,
            };
            let signer = StandardSigner::one(FIELD, secret)?;
            let signature = signer.signature(message_id, &sent_at, body);
            return Ok(vec![
                (names.id.to_owned(), message_id.to_owned()),
                (names.timestamp.to_owned(), sent_at),
                (names.signature.to_owned(), signature),
            ]);
        }
        SchemeKind::Body {
            header,
            prefix,
            encoding,
        } => {
            let tag = HmacKey::sha256(secret::text(FIELD, secret)?).tag(&[body]);
            vec![(
                (*header).to_owned(),
                format!("{prefix}{}", encode(*encoding, &tag)),
            )]
        }
        SchemeKind::Stripe => {
            let parts: [&[u8]; 3] = [sent_at.as_bytes(), b".", body];
            let tag = HmacKey::sha256(secret::text(FIELD, secret)?).tag(&parts);
            vec![(
                stripe::HEADER.to_owned(),
                format!("t={sent_at},v1={}", hex::encode(tag)),
            )]
        }
        SchemeKind::Slack => {
            let parts: [&[u8]; 4] = [b"v0:", sent_at.as_bytes(), b":", body];
            let tag = HmacKey::sha256(secret::text(FIELD, secret)?).tag(&parts);
            vec![
                (slack::TIMESTAMP.to_owned(), sent_at),
                (
                    slack::SIGNATURE.to_owned(),
                    format!("v0={}", hex::encode(tag)),
                ),
            ]
        }
    };
    if let crate::provider::Place::Headers(names) = &provider.row().message_id {
        headers.extend(
            names
                .first()
                .map(|name| ((*name).to_owned(), message_id.to_owned())),
        );
    }
    Ok(headers)
}

/// The header of a source's own HMAC, as a sender would set it.
#[must_use]
pub fn hmac_header(spec: &HmacSpec, body: &[u8]) -> (String, String) {
    let tag = HmacKey::new(spec.algorithm, spec.secret.as_bytes()).tag(&[body]);
    let value = format!("{}{}", spec.prefix, encode(spec.encoding, &tag));
    (spec.header.clone(), value)
}

/// Our own signature on a delivery, `v1=<hex>`: HMAC-SHA256 over `<timestamp>.<body>`
/// with the secret's UTF-8 bytes as key.
#[must_use]
pub fn hookplane_signature(secret: &str, timestamp_seconds: i64, body: &[u8]) -> String {
    let sent_at = timestamp_seconds.to_string();
    let tag = HmacKey::sha256(secret.as_bytes()).tag(&[sent_at.as_bytes(), b".", body]);
    format!("v1={}", hex::encode(tag))
}
