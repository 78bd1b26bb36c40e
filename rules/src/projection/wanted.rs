//! What is looked at of one value and, by key, of what is inside it.

/// The default looks at nothing but whether the value is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    whole: bool,
    text: bool,
    /// Sorted by key, each once.
    fields: Vec<(String, Wanted)>,
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
        let place = match self.find(key) {
            Ok(place) => place,
            Err(place) => {
                let field = (key.to_owned(), Self::default());
                self.fields.insert(place, field);
                place
            }
        };
        &mut self.fields[place].1
    }

    pub(super) fn get(&self, key: &str) -> Option<(&str, &Self)> {
        let (key, inside) = &self.fields[self.find(key).ok()?];
        Some((key, inside))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn has_text(&self) -> bool {
        self.text || self.whole
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.fields
            .binary_search_by(|(known, _)| known.as_str().cmp(key))
    }
}
