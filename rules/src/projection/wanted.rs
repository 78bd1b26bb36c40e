//! What is looked at of one value and, by key, of what is inside it.

use std::collections::BTreeMap;

/// The default looks at nothing but whether the value is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    whole: bool,
    text: bool,
    /// A tree: the filters of a thousand connections can name very many.
    fields: BTreeMap<String, Wanted>,
}

impl Wanted {
    /// Adds the value with all that is inside.
    pub(crate) fn add_whole(&mut self) {
        self.whole = true;
    }

    /// Adds the value in case it is a text.
    pub(super) fn add_text(&mut self) {
        self.text = true;
    }

    /// Adds that a field is there; more can be added to what is given.
    pub(crate) fn field(&mut self, key: &str) -> &mut Self {
        self.fields.entry(key.to_owned()).or_default()
    }

    pub(super) fn get(&self, key: &str) -> Option<(&str, &Self)> {
        let (key, inside) = self.fields.get_key_value(key)?;
        Some((key, inside))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn has_text(&self) -> bool {
        self.text || self.whole
    }
}
