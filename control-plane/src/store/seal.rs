//! Secrets at rest: each value under a data key of its own, which is wrapped by
//! a key-encryption key that the database never sees.
//!
//! Owns the sealed form and which keys open it. Form 2 is the number of the form,
//! the id of the wrapping key, the wrapped data key, and the value under the data
//! key; both seals are AES-256-GCM and bound to table and row, so that neither
//! opens in another place. Form 1, of the first release, is the value under the
//! wrapping key itself; it is still read.
//!
//! Invariants: the first key seals, all that are given open; exchanging the
//! wrapping key does not touch the sealed value.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{StoreError, broken};

/// Under the wrapping key itself.
pub(super) const DIRECT: u8 = 1;
/// Under a wrapped data key.
pub(super) const ENVELOPE: u8 = 2;
const NONCE: usize = 12;
const TAG: usize = 16;
pub const KEY_BYTES: usize = 32;
const KEY_ID: usize = 8;
const WRAPPED: usize = NONCE + KEY_BYTES + TAG;
/// Form and id of the wrapping key.
pub(super) const HEAD: usize = 1 + KEY_ID;
const FOREIGN: &str = "it was sealed with another key, or changed";
const STRANGE: &str = "unknown form of a sealed value";

/// Tells wrapping keys apart and says nothing about them.
pub type KeyId = [u8; KEY_ID];

/// Seals and opens values.
#[derive(Debug)]
pub struct Sealer {
    current: Wrapper,
    older: Vec<Wrapper>,
}

#[derive(Debug)]
struct Wrapper {
    id: KeyId,
    key: RandomizedNonceKey,
}

/// What a sealed value is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// A wrapping key itself; which one, only trying tells.
    Direct,
    Wrapped(KeyId),
}

impl Under {
    /// For people: the key's id as far as it is known.
    pub(super) fn name(self) -> String {
        match self {
            Self::Direct => "the one of the first release".to_owned(),
            Self::Wrapped(id) => hex::encode(id),
        }
    }
}

impl Sealer {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self {
            current: Wrapper::new(key),
            older: Vec::new(),
        }
    }

    /// The same, opening also what another key sealed.
    #[must_use]
    pub fn and_older(mut self, key: &[u8; KEY_BYTES]) -> Self {
        self.older.push(Wrapper::new(key));
        self
    }

    /// The id of the key that seals.
    #[must_use]
    pub const fn current(&self) -> KeyId {
        self.current.id
    }

    /// Ids of all keys that open.
    pub fn known(&self) -> impl Iterator<Item = KeyId> {
        self.wrappers().map(|wrapper| wrapper.id)
    }

    pub(super) fn seal(
        &self,
        table: &'static str,
        id: &str,
        value: &impl Serialize,
    ) -> Result<Vec<u8>, StoreError> {
        let text = serde_json::to_vec(value).map_err(|fault| broken(table, id, fault))?;
        self.seal_text(table, id, Zeroizing::new(text))
    }

    pub(super) fn open<T: DeserializeOwned>(
        &self,
        table: &'static str,
        id: &str,
        sealed: &[u8],
    ) -> Result<T, StoreError> {
        let text = self.open_text(table, id, sealed)?;
        serde_json::from_slice(&text).map_err(|fault| broken(table, id, fault.classify_text()))
    }

    /// The same value, its data key wrapped by the current key; None if it is already.
    pub(super) fn rewrapped(
        &self,
        table: &'static str,
        id: &str,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match under(sealed) {
            Some(Under::Wrapped(key)) if key == self.current.id => Ok(None),
            Some(Under::Wrapped(_)) => {
                let (data_key, value) = self.unwrap(table, id, sealed)?;
                let mut fresh = self.wrap(table, id, &data_key)?;
                fresh.extend_from_slice(value);
                Ok(Some(fresh))
            }
            // It has no data key that could be kept.
            _ => self.reencrypted(table, id, sealed).map(Some),
        }
    }

    /// The same value under a new data key.
    pub(super) fn reencrypted(
        &self,
        table: &'static str,
        id: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let text = self.open_text(table, id, sealed)?;
        self.seal_text(table, id, text)
    }

    fn seal_text(
        &self,
        table: &'static str,
        id: &str,
        text: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<u8>, StoreError> {
        let data_key = Zeroizing::new(rand::random::<[u8; KEY_BYTES]>());
        let mut sealed = self.wrap(table, id, &data_key)?;
        let value = encrypt(&aes(&data_key), place(table, id, "value"), text);
        sealed.extend_from_slice(&value.ok_or_else(|| broken(table, id, STRANGE))?);
        Ok(sealed)
    }

    fn open_text(
        &self,
        table: &'static str,
        id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let opened = match under(sealed) {
            Some(Under::Wrapped(_)) => {
                let (data_key, value) = self.unwrap(table, id, sealed)?;
                decrypt(&aes(&data_key), place(table, id, "value"), value)
            }
            Some(Under::Direct) => self.wrappers().find_map(|wrapper| {
                let place = format!("{table}/{id}").into_bytes();
                decrypt(&wrapper.key, place, &sealed[1..])
            }),
            None => return Err(broken(table, id, STRANGE)),
        };
        opened.ok_or_else(|| broken(table, id, FOREIGN))
    }

    /// Form, key id and wrapped data key: everything in front of the value.
    fn wrap(
        &self,
        table: &'static str,
        id: &str,
        data_key: &[u8; KEY_BYTES],
    ) -> Result<Vec<u8>, StoreError> {
        let text = Zeroizing::new(data_key.to_vec());
        let wrapped = encrypt(&self.current.key, place(table, id, "key"), text);
        let mut head = vec![ENVELOPE];
        head.extend_from_slice(&self.current.id);
        head.extend_from_slice(&wrapped.ok_or_else(|| broken(table, id, STRANGE))?);
        Ok(head)
    }

    /// The data key, and the value under it.
    fn unwrap<'s>(
        &self,
        table: &'static str,
        id: &str,
        sealed: &'s [u8],
    ) -> Result<(Zeroizing<[u8; KEY_BYTES]>, &'s [u8]), StoreError> {
        let (head, rest) = sealed
            .split_at_checked(HEAD)
            .ok_or_else(|| broken(table, id, STRANGE))?;
        let (wrapped, value) = rest
            .split_at_checked(WRAPPED)
            .ok_or_else(|| broken(table, id, STRANGE))?;
        let wrapper = self.wrappers().find(|wrapper| wrapper.id == head[1..]);
        let wrapper = wrapper.ok_or_else(|| broken(table, id, FOREIGN))?;
        let key = decrypt(&wrapper.key, place(table, id, "key"), wrapped);
        let key = key.and_then(|key| <[u8; KEY_BYTES]>::try_from(key.as_slice()).ok());
        let key = key.ok_or_else(|| broken(table, id, FOREIGN))?;
        Ok((Zeroizing::new(key), value))
    }

    fn wrappers(&self) -> impl Iterator<Item = &Wrapper> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl Wrapper {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut hash = Sha256::new_with_prefix("hookplane wrapping key");
        hash.update(key);
        let mut id = KeyId::default();
        id.copy_from_slice(&hash.finalize()[..KEY_ID]);
        Self { id, key: aes(key) }
    }
}

/// What a value is under; None for what was never sealed.
pub(super) fn under(sealed: &[u8]) -> Option<Under> {
    match *sealed.first()? {
        DIRECT => Some(Under::Direct),
        ENVELOPE => {
            let id = sealed.get(1..HEAD)?.try_into().ok()?;
            Some(Under::Wrapped(id))
        }
        _ => None,
    }
}

fn aes(key: &[u8; KEY_BYTES]) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key).expect("a key of 32 bytes fits AES-256")
}

/// Nonce and sealed text. None only for texts of many gigabytes.
fn encrypt(
    key: &RandomizedNonceKey,
    place: Vec<u8>,
    mut text: Zeroizing<Vec<u8>>,
) -> Option<Vec<u8>> {
    let nonce = key.seal_in_place_append_tag(Aad::from(place), &mut *text);
    let mut sealed = nonce.ok()?.as_ref().to_vec();
    sealed.extend_from_slice(&text);
    Some(sealed)
}

fn decrypt(key: &RandomizedNonceKey, place: Vec<u8>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key
        .open_in_place(nonce, Aad::from(place), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

fn place(table: &str, id: &str, what: &str) -> Vec<u8> {
    format!("{table}/{id}/{what}").into_bytes()
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

    const TABLE: &str = "sources";

    fn open(sealer: &Sealer, id: &str, sealed: &[u8]) -> Result<String, StoreError> {
        sealer.open(TABLE, id, sealed)
    }

    fn sealed_by(sealer: &Sealer) -> Vec<u8> {
        sealer.seal(TABLE, "src_1", &"whsec_x").expect("it seals")
    }

    /// As the first release sealed.
    fn sealed_directly(key: &[u8; KEY_BYTES]) -> Vec<u8> {
        let text = Zeroizing::new(b"\"whsec_x\"".to_vec());
        let value = encrypt(&aes(key), b"sources/src_1".to_vec(), text);
        [vec![DIRECT], value.expect("it seals")].concat()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_own_place_with_its_own_key() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealed_by(&sealer);
        let shows = |part: &[u8]| sealed.windows(part.len()).any(|window| window == part);
        assert!(!shows(b"whsec"), "the secret can be read at rest");
        assert_eq!(
            open(&sealer, "src_1", &sealed).expect("it opens"),
            "whsec_x"
        );
        assert!(
            open(&sealer, "src_2", &sealed).is_err(),
            "moved to another row"
        );
        let foreign = Sealer::new(&[8; 32]);
        assert!(
            open(&foreign, "src_1", &sealed).is_err(),
            "another key opens it"
        );
    }

    #[test]
    fn a_sealed_value_with_any_byte_changed_or_cut_off_does_not_open() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealed_by(&sealer);
        for place in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[place] ^= 1;
            assert!(open(&sealer, "src_1", &bent).is_err(), "byte {place}");
            assert!(
                open(&sealer, "src_1", &sealed[..place]).is_err(),
                "cut at {place}"
            );
        }
    }

    #[test]
    fn what_the_first_release_sealed_stays_readable_and_gets_a_data_key() {
        let sealer = Sealer::new(&[8; 32]).and_older(&[7; 32]);
        let sealed = sealed_directly(&[7; 32]);
        assert_eq!(
            open(&sealer, "src_1", &sealed).expect("it opens"),
            "whsec_x"
        );
        let rewrapped = sealer.rewrapped(TABLE, "src_1", &sealed).expect("it opens");
        let rewrapped = rewrapped.expect("it was not under the current key");
        let only_new = Sealer::new(&[8; 32]);
        assert_eq!(
            open(&only_new, "src_1", &rewrapped).expect("it opens"),
            "whsec_x"
        );
    }

    #[test]
    fn a_new_wrapping_key_leaves_the_value_alone_and_a_new_data_key_does_not() {
        let sealed = sealed_by(&Sealer::new(&[7; 32]));
        let both = Sealer::new(&[8; 32]).and_older(&[7; 32]);
        let rewrapped = both.rewrapped(TABLE, "src_1", &sealed).expect("it opens");
        let rewrapped = rewrapped.expect("it was not under the current key");
        let value = HEAD + WRAPPED;
        assert_eq!(rewrapped[value..], sealed[value..]);
        assert_eq!(under(&rewrapped), Some(Under::Wrapped(both.current())));
        let again = both
            .rewrapped(TABLE, "src_1", &rewrapped)
            .expect("it opens");
        assert_eq!(again, None, "nothing is left to do");
        let only_new = Sealer::new(&[8; 32]);
        assert_eq!(
            open(&only_new, "src_1", &rewrapped).expect("it opens"),
            "whsec_x"
        );
        let fresh = only_new.reencrypted(TABLE, "src_1", &rewrapped);
        let fresh = fresh.expect("it opens");
        assert_ne!(fresh[value..], rewrapped[value..]);
        assert_eq!(
            open(&only_new, "src_1", &fresh).expect("it opens"),
            "whsec_x"
        );
    }
}
