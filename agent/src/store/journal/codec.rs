//! Numbers, texts and bytes in the payload of a record. Pure functions over bytes.
//!
//! Numbers are LEB128, bytes carry their length in front. Refuses to know what is encoded.
//! Invariant: what `Encoder` wrote `Decoder` gives back, and nothing else passes as whole.

use bytes::Bytes;
use thiserror::Error;

use crate::store::Headers;

/// Bytes that our own code cannot have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    #[error("it ends too early")]
    Short,
    #[error("a number is too large")]
    Number,
    #[error("a text is not UTF-8")]
    Text,
    #[error("it has bytes left over")]
    Excess,
    #[error("{what} has the unknown value {value}")]
    Unknown { what: &'static str, value: u64 },
}

#[derive(Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// One byte when the text is the one that the reader knows already.
    pub(super) fn text_beside(&mut self, text: &str, known: &str) {
        self.flag(text != known);
        if text != known {
            self.text(text);
        }
    }

    pub(super) fn maybe_number(&mut self, value: Option<u64>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.number(value);
        }
    }

    pub(super) fn maybe_text(&mut self, value: Option<&str>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.text(value);
        }
    }

    pub(super) fn headers(&mut self, headers: &Headers) {
        self.number(headers.len() as u64);
        for (name, value) in headers {
            self.text(name);
            self.bytes(value);
        }
    }
}

/// Reads in the order of writing. Bytes it gives share the memory of the whole.
pub(super) struct Decoder {
    rest: Bytes,
}

impl Decoder {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Excess)
        }
    }

    pub(super) fn raw(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(Malformed::Short);
        }
        Ok(self.rest.split_to(length))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.rest.first().ok_or(Malformed::Short)?;
        self.rest = self.rest.slice(1..);
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let (mut value, mut shift) = (0_u64, 0);
        for (count, byte) in self.rest.iter().enumerate() {
            let part = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && part > 1) {
                return Err(Malformed::Number);
            }
            value |= part << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                self.rest = self.rest.slice(count + 1..);
                return Ok(value);
            }
        }
        Err(Malformed::Short)
    }

    pub(super) fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed::Number)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Malformed::Unknown {
                what: "a flag",
                value: value.into(),
            }),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed::Short)?;
        self.raw(length)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed::Text)
    }

    pub(super) fn text_beside(&mut self, known: &str) -> Result<String, Malformed> {
        if self.flag()? {
            self.text()
        } else {
            Ok(known.to_owned())
        }
    }

    pub(super) fn maybe_number(&mut self) -> Result<Option<u64>, Malformed> {
        self.flag()?.then(|| self.number()).transpose()
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, Malformed> {
        self.flag()?.then(|| self.text()).transpose()
    }

    pub(super) fn headers(&mut self) -> Result<Headers, Malformed> {
        let count = self.number()?;
        // No capacity ahead: the count is checked by reading that many.
        let mut headers = Headers::new();
        for _ in 0..count {
            let name = self.text()?;
            headers.push((name, self.bytes()?));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back_and_a_cut_off_rest_does_not_pass(
            number in any::<u64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in any::<Option<String>>(),
        ) {
            let mut encoder = Encoder::default();
            encoder.number(number);
            encoder.bytes(&bytes);
            encoder.maybe_text(text.as_deref());
            let whole = encoder.finish();
            let read = |whole: Bytes| {
                let mut decoder = Decoder::new(whole);
                let all = (decoder.number()?, decoder.bytes()?, decoder.maybe_text()?);
                decoder.end().map(|()| all)
            };
            prop_assert_eq!(read(whole.clone()), Ok((number, bytes.into(), text)));
            for cut in 0..whole.len() {
                prop_assert!(read(whole.slice(..cut)).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new(bytes.into());
            while decoder.end().is_err() && decoder.headers().is_ok() && decoder.number().is_ok() {}
        }
    }
}
