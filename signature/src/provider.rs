//! The provider table: one row for each kind of sender.
//!
//! To add a provider: add a variant, a row in [`TABLE`], vectors in
//! `tests/vectors/signatures.json`, and the value in `source.proto`. A new
//! scheme, if it needs one, is one more file in `scheme/`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Who sends the webhooks of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Anything; judged as the source says.
    Webhook,
    Clerk,
    Svix,
    StandardWebhooks,
    Github,
    Stripe,
    Shopify,
    Slack,
}

/// One row: how a provider signs and where it tells what it sends.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) provider: Provider,
    /// `CLERK`, as in the API.
    pub(crate) name: &'static str,
    /// `clerk`, as in traces.
    pub(crate) label: &'static str,
    pub(crate) scheme: SchemeKind,
    pub(crate) message_id: Place,
    pub(crate) event_type: Place,
}

/// Which family of signature it is, with what differs inside the family.
#[derive(Debug)]
pub(crate) enum SchemeKind {
    /// Judged by the source's own `auth`.
    AsConfigured,
    /// `<id>.<timestamp>.<body>`; `v1` HMAC, and `v1a` Ed25519 when a public key is configured.
    Standard,
    /// HMAC-SHA256 of the body alone.
    Body {
        header: &'static str,
        prefix: &'static str,
        encoding: crate::Encoding,
    },
    /// `t=…,v1=…` over `<timestamp>.<body>`.
    Stripe,
    /// `v0:<timestamp>:<body>`.
    Slack,
}

/// Where a provider keeps a fact.
#[derive(Debug)]
pub(crate) enum Place {
    None,
    /// The first of these headers that is present.
    Headers(&'static [&'static str]),
    /// The first of these JSON paths that holds a text.
    Body(&'static [&'static [&'static str]]),
}

/// A text that names no provider.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no source type; known are WEBHOOK, CLERK, SVIX, STANDARD_WEBHOOKS, GITHUB, STRIPE, SHOPIFY and SLACK"
)]
pub struct UnknownProvider(pub String);

const STANDARD_ID: Place = Place::Headers(&["svix-id", "webhook-id"]);
const STANDARD_TYPE: Place = Place::Body(&[&["type"], &["event_type"]]);

pub(crate) static TABLE: [Row; 8] = [
    Row {
        provider: Provider::Webhook,
        name: "WEBHOOK",
        label: "webhook",
        scheme: SchemeKind::AsConfigured,
        message_id: Place::None,
        event_type: Place::Body(&[&["type"], &["event_type"], &["event"]]),
    },
    Row {
        provider: Provider::Clerk,
        name: "CLERK",
        label: "clerk",
        scheme: SchemeKind::Standard,
        message_id: STANDARD_ID,
        event_type: STANDARD_TYPE,
    },
    Row {
        provider: Provider::Svix,
        name: "SVIX",
        label: "svix",
        scheme: SchemeKind::Standard,
        message_id: STANDARD_ID,
        event_type: STANDARD_TYPE,
    },
    Row {
        provider: Provider::StandardWebhooks,
        name: "STANDARD_WEBHOOKS",
        label: "standard-webhooks",
        scheme: SchemeKind::Standard,
        message_id: STANDARD_ID,
        event_type: STANDARD_TYPE,
    },
    Row {
        provider: Provider::Github,
        name: "GITHUB",
        label: "github",
        scheme: SchemeKind::Body {
            header: "x-hub-signature-256",
            prefix: "sha256=",
            encoding: crate::Encoding::Hex,
        },
        message_id: Place::Headers(&["x-github-delivery"]),
        event_type: Place::Headers(&["x-github-event"]),
    },
    Row {
        provider: Provider::Stripe,
        name: "STRIPE",
        label: "stripe",
        scheme: SchemeKind::Stripe,
        message_id: Place::Body(&[&["id"]]),
        event_type: Place::Body(&[&["type"]]),
    },
    Row {
        provider: Provider::Shopify,
        name: "SHOPIFY",
        label: "shopify",
        scheme: SchemeKind::Body {
            header: "x-shopify-hmac-sha256",
            prefix: "",
            encoding: crate::Encoding::Base64,
        },
        message_id: Place::Headers(&["x-shopify-webhook-id"]),
        event_type: Place::Headers(&["x-shopify-topic"]),
    },
    Row {
        provider: Provider::Slack,
        name: "SLACK",
        label: "slack",
        scheme: SchemeKind::Slack,
        message_id: Place::Body(&[&["event_id"]]),
        event_type: Place::Body(&[&["event", "type"], &["type"]]),
    },
];

impl Provider {
    /// Every provider, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Webhook,
        Self::Clerk,
        Self::Svix,
        Self::StandardWebhooks,
        Self::Github,
        Self::Stripe,
        Self::Shopify,
        Self::Slack,
    ];

    /// The name in the API, `CLERK` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    pub(crate) fn row(self) -> &'static Row {
        // Row order equals variant order; a test holds both together.
        &TABLE[self as usize]
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        TABLE
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(text))
            .map(|row| row.provider)
            .ok_or_else(|| UnknownProvider(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_finds_its_own_row_and_name() {
        for provider in Provider::ALL {
            assert_eq!(
                provider.row().provider,
                provider,
                "{provider:?} has another's row"
            );
            assert_eq!(provider.as_str().parse::<Provider>(), Ok(provider));
        }
    }
}
