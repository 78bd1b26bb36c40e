//! Signing deliveries by Standard Webhooks, with several secrets while they are changed.
//!
//! Keys are prepared once. Invariant: the signed content is what a receiver can
//! rebuild from the three headers and the raw body, so ids have no full stop.

use std::fmt;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::scheme::{HmacKey, standard};
use crate::{InvalidAuth, secret};

/// Secrets of one destination; more than any change of secrets needs.
const MAX_SECRETS: usize = 10;

/// Prepared keys. Prints no secret.
pub struct StandardSigner {
    keys: Vec<Key>,
}

enum Key {
    V1(Box<HmacKey>),
    V1a(Box<Ed25519KeyPair>),
}

impl StandardSigner {
    /// Reads 1 to 10 secrets: `whsec_` for HMAC-SHA256, `whsk_` for Ed25519.
    ///
    /// # Errors
    /// [`InvalidAuth`] names the secret by its place, and what would be right.
    pub fn new(secrets: &[String]) -> Result<Self, InvalidAuth> {
        if secrets.is_empty() || secrets.len() > MAX_SECRETS {
            return Err(InvalidAuth::new(
                "secrets",
                "secrets_count",
                format!("{} secrets; 1 to {MAX_SECRETS} are possible", secrets.len()),
            ));
        }
        let keys = secrets.iter().enumerate();
        let keys = keys.map(|(place, text)| Key::parse(&format!("secrets[{place}]"), text));
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn one(field: &str, secret: &str) -> Result<Self, InvalidAuth> {
        Ok(Self {
            keys: vec![Key::parse(field, secret)?],
        })
    }

    /// Names and values of the three headers. A full stop in the id, which would blur
    /// the signed content, becomes an underscore.
    #[must_use]
    pub fn headers(
        &self,
        id: &str,
        timestamp_seconds: i64,
        body: &[u8],
    ) -> [(&'static str, String); 3] {
        let (id, sent_at) = (id.replace('.', "_"), timestamp_seconds.to_string());
        let signature = self.signature(&id, &sent_at, body);
        [
            (standard::WEBHOOK.id, id),
            (standard::WEBHOOK.timestamp, sent_at),
            (standard::WEBHOOK.signature, signature),
        ]
    }

    /// One entry per secret, separated by spaces.
    pub(super) fn signature(&self, id: &str, sent_at: &str, body: &[u8]) -> String {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", sent_at.as_bytes(), b".", body];
        let entries: Vec<String> = self.keys.iter().map(|key| key.entry(&parts)).collect();
        entries.join(" ")
    }
}

impl Key {
    fn parse(field: &str, text: &str) -> Result<Self, InvalidAuth> {
        if text.starts_with("whsk_") {
            return Ok(Self::V1a(Box::new(secret::signing(field, text)?)));
        }
        let key = HmacKey::sha256(&secret::symmetric(field, text)?);
        Ok(Self::V1(Box::new(key)))
    }

    fn entry(&self, parts: &[&[u8]; 5]) -> String {
        match self {
            Self::V1(key) => format!("v1,{}", STANDARD.encode(key.tag(parts))),
            Self::V1a(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(&parts.concat()))),
        }
    }
}

impl fmt::Debug for StandardSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StandardSigner({} keys, redacted)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuthSpec, Inbound, Provider, Verifier};

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn accepts(secret: &str, headers: &[(&'static str, String); 3]) -> bool {
        let auth = AuthSpec::Provider {
            secrets: vec![secret.to_owned()],
        };
        let verifier = Verifier::new(Provider::StandardWebhooks, auth, 300).unwrap();
        let pairs: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let inbound = Inbound {
            headers: &pairs,
            body: b"{}",
        };
        verifier.verify(&inbound, 1_700_000_000).is_ok()
    }

    #[test]
    fn while_secrets_change_receivers_with_the_old_and_the_new_one_accept() {
        let signer = StandardSigner::new(&[NEW.into(), OLD.into()]).unwrap();
        let headers = signer.headers("evt_1", 1_700_000_000, b"{}");
        assert!(
            accepts(OLD, &headers) && accepts(NEW, &headers),
            "{headers:?}"
        );
        let only_new = StandardSigner::new(&[NEW.into()]).unwrap();
        assert!(!accepts(
            OLD,
            &only_new.headers("evt_1", 1_700_000_000, b"{}")
        ));
    }

    #[test]
    fn a_full_stop_never_stands_in_an_id() {
        let signer = StandardSigner::new(&[NEW.into()]).unwrap();
        let headers = signer.headers("evt.1", 1_700_000_000, b"{}");
        assert_eq!(headers[0].1, "evt_1");
        assert!(accepts(NEW, &headers));
    }

    #[test]
    fn a_bad_secret_is_refused_by_its_place_and_never_shown() {
        for (secrets, field) in [
            (vec![], "secrets"),
            (vec![OLD.to_owned(); 11], "secrets"),
            (vec![OLD.to_owned(), "password".to_owned()], "secrets[1]"),
        ] {
            let fault = StandardSigner::new(&secrets).unwrap_err();
            assert_eq!(fault.field, field);
        }
        let signer = StandardSigner::new(&[OLD.into()]).unwrap();
        assert!(!format!("{signer:?}").contains("MfKQ"));
    }
}
