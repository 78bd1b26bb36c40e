//! Sample webhooks: bodies shaped like the providers' own, made anew each time.
//!
//! Owns which event types each provider has here, how often each occurs in a
//! mix, and what their bodies look like. Refuses to sign and to send. Time and
//! randomness are parameters, so the same draw gives the same bytes.

use hookplane_signature::Provider;
use rand::{Rng as _, RngCore};

mod clerk;
mod draw;
mod others;
#[cfg(test)]
mod tests;

pub use draw::Draw;

/// One webhook, ready to be signed.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The provider's name of the event.
    pub event_type: String,
    /// The provider's id of the message; a resend has the same one.
    pub message_id: String,
    /// JSON, as it goes on the wire.
    pub body: Vec<u8>,
    /// Headers of the provider beside those that sign.
    pub headers: Vec<(String, String)>,
}

/// One event type: its name, how often it occurs in a mix, and its body.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) weight: u32,
    pub(crate) build: fn(&mut Draw<'_>) -> serde_json::Value,
}

/// Every event type that can be composed for a provider.
#[must_use]
pub fn event_types(provider: Provider) -> Vec<&'static str> {
    table(provider).iter().map(|row| row.name).collect()
}

/// Composes one webhook; `None` when the provider has no such event here.
/// A given message id takes the place of a fresh one.
pub fn compose(
    provider: Provider,
    event_type: &str,
    message_id: Option<&str>,
    draw: &mut Draw<'_>,
) -> Option<Sample> {
    let row = table(provider).iter().find(|row| row.name == event_type)?;
    let message_id = message_id.map_or_else(|| others::message_id(provider, draw), str::to_owned);
    let data = (row.build)(draw);
    let body = match provider {
        Provider::Clerk => clerk::envelope(row.name, data, draw),
        _ => others::envelope(provider, row.name, &message_id, data, draw),
    };
    Some(Sample {
        event_type: row.name.to_owned(),
        headers: others::headers(provider, row.name),
        body: body.to_string().into_bytes(),
        message_id,
    })
}

/// An event type by its weight: sign-ins are many, new roles are few.
pub fn draw_type(provider: Provider, rng: &mut dyn RngCore) -> &'static str {
    let rows = table(provider);
    let total: u32 = rows.iter().map(|row| row.weight).sum();
    let mut place = rng.random_range(0..total);
    for row in rows {
        if place < row.weight {
            return row.name;
        }
        place -= row.weight;
    }
    rows[0].name
}

fn table(provider: Provider) -> &'static [Row] {
    match provider {
        Provider::Clerk => &clerk::TABLE,
        other => others::table(other),
    }
}
