//! What a source demands of its senders, as configured, and why a demand cannot be met.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroize;

/// How requests of one source are judged. Prints no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthSpec {
    /// Everybody is believed; such requests count as not verified.
    None,
    Basic {
        username: String,
        password: String,
    },
    ApiKey {
        header: String,
        key: String,
    },
    Hmac(HmacSpec),
    /// The scheme of the source's provider; any of the secrets verifies.
    Provider {
        secrets: Vec<String>,
    },
}

/// An HMAC over the raw body in a header of one's own. The secret's UTF-8 bytes are the key.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacSpec {
    pub header: String,
    pub secret: String,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// Text in front of the signature, `sha256=` for example.
    pub prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Hex,
    Base64,
}

/// Why an [`AuthSpec`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InvalidAuth {
    /// Path below `config.auth`, `webhook_signing_secrets[1]` for example.
    pub field: String,
    /// Machine-readable, `secret_prefix` for example.
    pub reason: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl InvalidAuth {
    pub(crate) fn new(
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Debug for AuthSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(redacted)",
            Self::ApiKey { .. } => "ApiKey(redacted)",
            Self::Hmac(_) => "Hmac(redacted)",
            Self::Provider { .. } => "Provider(redacted)",
        })
    }
}

impl fmt::Debug for HmacSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HmacSpec({}, {:?}, {:?}, redacted)",
            self.header, self.algorithm, self.encoding
        )
    }
}

impl Drop for AuthSpec {
    fn drop(&mut self) {
        match self {
            Self::None => {}
            Self::Basic { password, .. } => password.zeroize(),
            Self::ApiKey { key, .. } => key.zeroize(),
            Self::Hmac(spec) => spec.secret.zeroize(),
            Self::Provider { secrets } => secrets.zeroize(),
        }
    }
}
