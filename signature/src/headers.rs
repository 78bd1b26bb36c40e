//! A view of request headers that any HTTP library can offer.

use crate::refusal::{Reason, Refusal};

/// Looks headers up by name, whatever their case.
pub trait HeaderView {
    /// Raw values of every header of this name, in order of arrival.
    fn all<'h>(&'h self, name: &str) -> Vec<&'h [u8]>;
}

impl<V: AsRef<[u8]>> HeaderView for [(String, V)] {
    fn all<'h>(&'h self, name: &str) -> Vec<&'h [u8]> {
        self.iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
            .collect()
    }
}

impl<V: AsRef<[u8]>> HeaderView for Vec<(String, V)> {
    fn all<'h>(&'h self, name: &str) -> Vec<&'h [u8]> {
        self.as_slice().all(name)
    }
}

/// The one value of a header, trimmed; a repeated, empty or non-text one is refused.
pub(crate) fn single<'h>(headers: &'h dyn HeaderView, name: &str) -> Result<&'h str, Refusal> {
    let values = headers.all(name);
    let value = match values.as_slice() {
        [] => {
            return Err(Refusal::new(
                Reason::HeaderMissing,
                format!("`{name}` is missing"),
            ));
        }
        [one] => *one,
        many => {
            let count = many.len();
            return Err(Refusal::new(
                Reason::HeaderDuplicated,
                format!("`{name}` stands {count} times in the request"),
            ));
        }
    };
    let text = std::str::from_utf8(value)
        .map_err(|_| Refusal::new(Reason::HeaderMalformed, format!("`{name}` is not text")))?
        .trim();
    if text.is_empty() {
        return Err(Refusal::new(
            Reason::HeaderMissing,
            format!("`{name}` is empty"),
        ));
    }
    Ok(text)
}

/// The first value of a header as text, for identification only.
pub(crate) fn first_text<'h>(headers: &'h dyn HeaderView, name: &str) -> Option<&'h str> {
    let text = std::str::from_utf8(headers.all(name).first()?).ok()?.trim();
    (!text.is_empty()).then_some(text)
}
