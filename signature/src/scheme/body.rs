//! HMAC of the raw body in one header: GitHub, Shopify and what a source configures itself.

use super::{HmacKey, decode, mismatch};
use crate::Encoding;
use crate::headers::{HeaderView, single};
use crate::refusal::{Reason, Refusal};
use crate::term::Timed;

pub(crate) struct BodyScheme {
    pub(crate) header: String,
    pub(crate) prefix: String,
    pub(crate) encoding: Encoding,
    pub(crate) keys: Vec<Timed<HmacKey>>,
}

impl BodyScheme {
    /// The place of the secret that matched.
    pub(crate) fn verify(
        &self,
        headers: &dyn HeaderView,
        body: &[u8],
        now: i64,
    ) -> Result<usize, Refusal> {
        let value = single(headers, &self.header)?;
        let malformed = |what: String| Refusal::new(Reason::HeaderMalformed, what);
        let encoded = value.strip_prefix(self.prefix.as_str()).ok_or_else(|| {
            malformed(format!(
                "`{}` does not start with `{}`",
                self.header, self.prefix
            ))
        })?;
        let tag = decode(self.encoding, encoded).ok_or_else(|| {
            let encoding = match self.encoding {
                Encoding::Hex => "hex",
                Encoding::Base64 => "base64",
            };
            malformed(format!("`{}` is not {encoding}", self.header))
        })?;
        self.keys
            .iter()
            .position(|key| key.holds(now) && key.verifies(&[body], &tag))
            .ok_or_else(|| mismatch(self.keys.len()))
    }
}
