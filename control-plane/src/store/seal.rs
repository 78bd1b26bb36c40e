//! Secrets at rest: AES-256-GCM under the installation's key, bound to their place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{StoreError, broken};

/// Version of the sealed form; a later one can carry a key number.
const FORM: u8 = 1;
const NONCE: usize = 12;
pub const KEY_BYTES: usize = 32;

/// Seals and opens values. The place (table and row) is authenticated, so that a
/// sealed value copied to another row does not open.
#[derive(Debug)]
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, key).expect("a key of 32 bytes fits AES-256");
        Self { key }
    }

    pub(super) fn seal(
        &self,
        table: &'static str,
        id: &str,
        value: &impl Serialize,
    ) -> Result<Vec<u8>, StoreError> {
        let mut text =
            Zeroizing::new(serde_json::to_vec(value).map_err(|fault| broken(table, id, fault))?);
        let nonce = self
            .key
            .seal_in_place_append_tag(place(table, id), &mut *text)
            .map_err(|fault| broken(table, id, fault))?;
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    pub(super) fn open<T: DeserializeOwned>(
        &self,
        table: &'static str,
        id: &str,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        const FOREIGN: &str = "it was sealed with another key, or changed";
        let rest = sealed
            .strip_prefix(&[FORM])
            .filter(|rest| rest.len() > NONCE)
            .ok_or_else(|| broken(table, id, "unknown form of a sealed value"))?;
        let (nonce, text) = rest.split_at(NONCE);
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .map_err(|_| broken(table, id, "unknown form of a sealed value"))?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self
            .key
            .open_in_place(nonce, place(table, id), &mut text)
            .map_err(|_| broken(table, id, FOREIGN))?;
        serde_json::from_slice(opened).map_err(|fault| broken(table, id, fault.classify_text()))
    }
}

fn place(table: &str, id: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("{table}/{id}").into_bytes())
}

/// A fault's kind without the text it met, which may be a secret.
trait ClassifyText {
    fn classify_text(&self) -> String;
}

impl ClassifyText for serde_json::Error {
    fn classify_text(&self) -> String {
        format!("{:?} error inside a sealed value", self.classify())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_own_place_with_its_own_key() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer
            .seal("sources", "src_1", &"whsec_x")
            .expect("sealing works");
        assert!(
            !sealed.windows(5).any(|part| part == b"whsec"),
            "the secret can be read at rest"
        );
        let opened: String = sealer
            .open("sources", "src_1", &sealed)
            .expect("opening works");
        assert_eq!(opened, "whsec_x");
        let moved = sealer.open::<String>("sources", "src_2", &sealed);
        assert!(moved.is_err(), "a value moved to another row opens");
        let foreign = Sealer::new(&[8; 32]).open::<String>("sources", "src_1", &sealed);
        assert!(foreign.is_err(), "another key opens it");
        let mut bent = sealed;
        let last = bent.len() - 1;
        bent[last] ^= 1;
        assert!(
            sealer.open::<String>("sources", "src_1", &bent).is_err(),
            "a changed value opens"
        );
    }
}
