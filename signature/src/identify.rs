//! Which message it is and of what type, read from where the provider tells it.
//!
//! Hints for routing, dedupe and metrics: what cannot be read is absent, never an error.
//! Looks into a body that somebody else has parsed, so that it is parsed once for all; of that
//! no more is needed than the texts at [`paths_in_body`].

use serde_json::Value;

use crate::headers::{HeaderView, first_text};
use crate::provider::{Place, Provider};

/// Longest id or type kept; longer ones are treated as absent.
const MAX_ID: usize = 256;
const MAX_TYPE: usize = 128;

/// The provider's id of the message; the same on each resend. `body` is `None` when it is not
/// JSON or was not parsed.
#[must_use]
pub fn message_id(
    provider: Provider,
    headers: &dyn HeaderView,
    body: Option<&Value>,
) -> Option<String> {
    let id = read(&provider.row().message_id, headers, body)?;
    (id.len() <= MAX_ID).then(|| id.to_owned())
}

/// The provider's type of the event, `user.created` for example. `body` is as for
/// [`message_id`].
#[must_use]
pub fn event_type(
    provider: Provider,
    headers: &dyn HeaderView,
    body: Option<&Value>,
) -> Option<String> {
    let text = read(&provider.row().event_type, headers, body)?;
    (text.len() <= MAX_TYPE).then(|| text.to_owned())
}

/// The keys that lead to each text of a body in which the provider tells either; none when it
/// tells both in headers.
pub fn paths_in_body(provider: Provider) -> impl Iterator<Item = &'static [&'static str]> {
    let row = provider.row();
    [&row.message_id, &row.event_type]
        .into_iter()
        .flat_map(|place| match place {
            Place::Body(paths) => *paths,
            Place::None | Place::Headers(_) => &[],
        })
        .copied()
}

fn read<'t>(
    place: &Place,
    headers: &'t dyn HeaderView,
    body: Option<&'t Value>,
) -> Option<&'t str> {
    match place {
        Place::None => None,
        Place::Headers(names) => names.iter().find_map(|name| first_text(headers, name)),
        Place::Body(paths) => {
            let body = body?;
            paths.iter().find_map(|path| text_at(body, path))
        }
    }
}

/// An empty text counts as none.
fn text_at<'b>(body: &'b Value, path: &[&str]) -> Option<&'b str> {
    let found = path.iter().try_fold(body, |value, key| value.get(*key))?;
    found.as_str().filter(|text| !text.is_empty())
}
