//! Ids: a prefix that names the kind, then 26 characters of Crockford base32.
//!
//! The 128 bits are, from the top: 48 bits of Unix milliseconds, 24 bits of the
//! store's number (0 for what the control plane makes) and 56 random bits. So
//! ids of one kind sort by time, and a look-up by id asks one store.

use std::fmt;

use thiserror::Error;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY_LEN: usize = 26;
/// What is no character of the alphabet.
const NONE: u8 = u8::MAX;
/// Value of each byte as a digit: reading an id is on the way of every event.
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        digits[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Largest number a store can have.
pub const MAX_STORE: u32 = (1 << 24) - 1;

/// What an id names. The prefix is part of the outside contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Team,
    Source,
    Destination,
    Connection,
    Filter,
    Request,
    Event,
    Attempt,
    Agent,
    ApiKey,
    AgentToken,
    AgentAuthority,
    BulkOperation,
    HandlerKey,
}

impl Kind {
    /// The text in front of the body, underscore included.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Team => "tm_",
            Self::Source => "src_",
            Self::Destination => "des_",
            Self::Connection => "web_",
            Self::Filter => "flt_",
            Self::Request => "req_",
            Self::Event => "evt_",
            Self::Attempt => "att_",
            Self::Agent => "agt_",
            Self::ApiKey => "pak_",
            Self::AgentToken => "aet_",
            Self::AgentAuthority => "aca_",
            Self::BulkOperation => "bch_",
            Self::HandlerKey => "phk_",
        }
    }
}

/// An id of a known kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    kind: Kind,
    bits: u128,
}

/// Why a text is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    #[error("does not start with `{}`", .0.prefix())]
    Prefix(Kind),
    #[error("has not 26 characters after its prefix")]
    Length,
    #[error("has a character that is not in the alphabet of ids")]
    Character,
}

impl Id {
    /// Composes an id. `millis` is cut to 48 bits, `store` to 24, `random` to 56.
    #[must_use]
    pub const fn new(kind: Kind, millis: u64, store: u32, random: u64) -> Self {
        let time = (millis & ((1 << 48) - 1)) as u128;
        let store = (store & MAX_STORE) as u128;
        let random = (random & ((1 << 56) - 1)) as u128;
        Self {
            kind,
            bits: (time << 80) | (store << 56) | random,
        }
    }

    /// Reads an id of one kind.
    ///
    /// # Errors
    /// [`InvalidId`] when the prefix, the length or a character is wrong.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, InvalidId> {
        let body = text
            .strip_prefix(kind.prefix())
            .ok_or(InvalidId::Prefix(kind))?;
        if body.len() != BODY_LEN {
            return Err(InvalidId::Length);
        }
        let mut bits: u128 = 0;
        for (place, byte) in body.bytes().enumerate() {
            let digit = DIGITS[usize::from(byte)];
            // 26 digits hold 130 bits; the first one may carry three only.
            if digit == NONE || (place == 0 && digit > 7) {
                return Err(InvalidId::Character);
            }
            bits = (bits << 5) | u128::from(digit);
        }
        Ok(Self { kind, bits })
    }

    /// The id of a kind that has these bits.
    #[must_use]
    pub const fn from_bits(kind: Kind, bits: u128) -> Self {
        Self { kind, bits }
    }

    /// All of it but its kind. Of one kind they sort as the texts do.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.bits
    }

    /// What it names.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// When it was made, in Unix milliseconds.
    #[must_use]
    pub const fn millis(self) -> u64 {
        (self.bits >> 80) as u64
    }

    /// Number of the store it lives in; 0 for configuration.
    #[must_use]
    pub const fn store(self) -> u32 {
        ((self.bits >> 56) as u32) & MAX_STORE
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = [0_u8; BODY_LEN];
        let mut bits = self.bits;
        for slot in body.iter_mut().rev() {
            *slot = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        f.write_str(self.kind.prefix())?;
        f.write_str(std::str::from_utf8(&body).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back_with_time_and_store() {
        let id = Id::new(Kind::Request, 1_790_000_000_123, 77, 0x00ab_cdef_0123_4567);
        let text = id.to_string();
        assert_eq!(text.len(), "req_".len() + BODY_LEN, "{text}");
        let back = Id::parse(Kind::Request, &text).expect("own text form is readable");
        assert_eq!(
            (back.millis(), back.store()),
            (1_790_000_000_123, 77),
            "{text}"
        );
        assert_eq!(back, id);
    }

    #[test]
    fn later_ids_sort_after_earlier_ones_as_text() {
        let early = Id::new(Kind::Event, 1_000, 9, u64::MAX).to_string();
        let late = Id::new(Kind::Event, 1_001, 0, 0).to_string();
        assert!(early < late, "{early} should sort before {late}");
    }

    #[test]
    fn foreign_texts_are_refused_with_their_fault() {
        let good = Id::new(Kind::Source, 5, 0, 5).to_string();
        assert_eq!(
            Id::parse(Kind::Event, &good),
            Err(InvalidId::Prefix(Kind::Event))
        );
        assert_eq!(Id::parse(Kind::Source, "src_abc"), Err(InvalidId::Length));
        assert_eq!(
            Id::parse(Kind::Source, &good.replace('0', "u")),
            Err(InvalidId::Character)
        );
        assert_eq!(
            Id::parse(Kind::Source, "src_zzzzzzzzzzzzzzzzzzzzzzzzzz"),
            Err(InvalidId::Character)
        );
    }
}
