//! When a secret is valid, and its number: several are valid at once during a rotation.

use std::ops::Deref;

/// The term of one secret. The default is always, without a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Number of the secret in its source, from 1; 0 for none.
    pub version: u32,
    /// Unix time in seconds from which on it is valid.
    pub not_before: Option<i64>,
    /// Unix time in seconds from which on it is not.
    pub expires_at: Option<i64>,
}

impl Term {
    pub(crate) fn is_always(&self) -> bool {
        self.not_before.is_none() && self.expires_at.is_none()
    }

    #[must_use]
    pub fn holds(&self, now_seconds: i64) -> bool {
        let begun = self.not_before.is_none_or(|from| from <= now_seconds);
        begun && self.expires_at.is_none_or(|end| now_seconds < end)
    }
}

/// A key with its term.
pub(crate) struct Timed<K> {
    key: K,
    pub(crate) term: Term,
}

impl<K> Timed<K> {
    pub(crate) fn always(key: K) -> Self {
        let term = Term::default();
        Self { key, term }
    }

    pub(crate) fn holds(&self, now_seconds: i64) -> bool {
        self.term.holds(now_seconds)
    }
}

impl<K> Deref for Timed<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}
