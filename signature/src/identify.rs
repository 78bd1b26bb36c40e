//! Which message it is and of what type, read from where the provider tells it.
//!
//! Hints for routing, dedupe and metrics: what cannot be read is absent, never an error.

mod skim;

use crate::headers::{HeaderView, first_text};
use crate::provider::{Place, Provider};

/// Longest id or type kept; longer ones are treated as absent.
const MAX_ID: usize = 256;
const MAX_TYPE: usize = 128;

/// The provider's id of the message; the same on each resend.
#[must_use]
pub fn message_id(provider: Provider, headers: &dyn HeaderView, body: &[u8]) -> Option<String> {
    read(&provider.row().message_id, headers, body).filter(|id| id.len() <= MAX_ID)
}

/// The provider's type of the event, `user.created` for example.
#[must_use]
pub fn event_type(provider: Provider, headers: &dyn HeaderView, body: &[u8]) -> Option<String> {
    read(&provider.row().event_type, headers, body).filter(|text| text.len() <= MAX_TYPE)
}

fn read(place: &Place, headers: &dyn HeaderView, body: &[u8]) -> Option<String> {
    match place {
        Place::None => None,
        Place::Headers(names) => names
            .iter()
            .find_map(|name| first_text(headers, name))
            .map(str::to_owned),
        Place::Body(paths) => skim::first_text(body, paths),
    }
}
