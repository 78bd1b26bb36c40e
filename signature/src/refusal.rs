//! Why a request is not believed: a closed list of reasons, each with a text for operators.

use std::fmt;

use thiserror::Error;

/// Machine-readable reason; the names are part of the outside contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    HeaderMissing,
    HeaderDuplicated,
    HeaderMalformed,
    /// `svix-*` and `webhook-*` names in one request.
    HeadersMixed,
    IdInvalid,
    TimestampMalformed,
    TimestampInMilliseconds,
    TimestampTooOld,
    TimestampTooNew,
    /// Well-formed entries, but none of a version we know.
    VersionsUnsupported,
    SignatureMismatch,
    CredentialsMissing,
    CredentialsWrong,
}

impl Reason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeaderMissing => "header_missing",
            Self::HeaderDuplicated => "header_duplicated",
            Self::HeaderMalformed => "header_malformed",
            Self::HeadersMixed => "headers_mixed",
            Self::IdInvalid => "id_invalid",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampInMilliseconds => "timestamp_in_milliseconds",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampTooNew => "timestamp_too_new",
            Self::VersionsUnsupported => "versions_unsupported",
            Self::SignatureMismatch => "signature_mismatch",
            Self::CredentialsMissing => "credentials_missing",
            Self::CredentialsWrong => "credentials_wrong",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal. The detail is for operators: it never holds a secret, an
/// expected signature or a body, and must not be sent to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}
