//! Signature schemes and the provider table: sign, verify, identify.
//!
//! Owns how each provider signs, what may be the matter with what it signed, where it keeps its message id and event type,
//! and the typed reasons for which a request is refused. Pure functions over
//! bytes: refuses to know sockets, clocks, stores and HTTP libraries; the time
//! is a parameter and headers come through a small view.
//!
//! Invariants: raw bytes only, a body is never decoded before it is hashed;
//! comparisons take constant time; nothing that a sender controls can make a
//! function panic; no value of this crate prints a secret.

mod auth;
mod diagnose;
mod headers;
mod identify;
mod provider;
mod refusal;
mod scheme;
mod secret;
mod sign;
mod term;
mod verifier;

pub use auth::{Algorithm, AuthSpec, Encoding, HmacSpec, InvalidAuth};
pub use diagnose::{Diagnosis, MAX_DIAGNOSED_BYTES, Other, diagnose};
pub use headers::HeaderView;
pub use identify::{event_type, message_id, paths_in_body};
pub use provider::Provider;
pub use refusal::{Reason, Refusal};
pub use secret::generate_secret;
pub use sign::{StandardSigner, hmac_header, hookplane_signature, sign};
pub use term::Term;
pub use verifier::{Challenge, Inbound, Verdict, Verifier};
