//! Reading no more of a body than somebody looks at.
//!
//! Owns the union of what filters look at and what else is asked for, prepared once and read
//! from many bodies. Refuses to know what the values mean.
//!
//! Invariants: for each condition and each text that was added, what [`Projection::read`] gives
//! is as good as the whole document; of a key that stands twice the last value counts. A text
//! that the whole could not be made of is refused with the same error, wherever the fault is:
//! parts that nobody looks at are read and not kept, never just passed over. So the verdict on
//! a body does not change with what other rules happen to read of it.

mod pick;
mod wanted;

use serde::de::DeserializeSeed as _;
use serde_json::Value;

use crate::{Deduplicate, Delay, Filter};

use pick::Pick;
pub(crate) use wanted::Wanted;

/// What is looked at of a body; nothing at first.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    root: Option<Wanted>,
}

impl Projection {
    /// Adds what the filter looks at.
    pub fn add_filter(&mut self, filter: &Filter) {
        if let Some(condition) = filter.body() {
            condition.mark(self.root.get_or_insert_default());
        }
        if filter.expression_looks().body {
            self.add_value(&[]);
        }
    }

    /// Adds what the delay looks at.
    pub fn add_delay(&mut self, delay: &Delay) {
        delay.mark(self);
    }

    /// Adds what keys are made of.
    pub fn add_deduplicate(&mut self, rule: &Deduplicate) {
        rule.mark(self);
    }

    /// Adds the value below these keys.
    pub(crate) fn add_value(&mut self, path: &[&str]) {
        let root = self.root.get_or_insert_default();
        let place = path.iter().fold(root, |place, key| place.field(key));
        place.add_whole();
    }

    /// Adds the text, if it is one, below these keys.
    pub fn add_text(&mut self, path: &[&str]) {
        let root = self.root.get_or_insert_default();
        let place = path.iter().fold(root, |place, key| place.field(key));
        place.add_text();
    }

    /// Whether nothing was added, so that there is no reason to read a body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Reads what is looked at. Where nobody looks there is nothing, or null.
    ///
    /// # Errors
    /// Just as if the whole were read.
    pub fn read(&self, json: &str) -> serde_json::Result<Value> {
        let nothing = Wanted::default();
        let mut reader = serde_json::Deserializer::from_str(json);
        let value = Pick(self.root.as_ref().unwrap_or(&nothing)).deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
