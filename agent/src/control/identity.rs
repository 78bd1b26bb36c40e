//! Who this agent is: the credential it made for itself, and what enrolment gave it.
//!
//! Made once per data folder and never replaced: a broken file stops the start,
//! because a new credential would be another agent.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::files;
use crate::link::Pass;

const FILE: &str = "identity.json";
/// Binds the derived key to its one use.
const SEAL_LABEL: &[u8] = b"hookplane agent configuration 1";

/// The identity of this data folder. Prints no secret.
pub(crate) struct Identity {
    path: PathBuf,
    credential: Zeroizing<String>,
    enrolled: Option<Enrolled>,
}

/// What the control plane gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    pub(crate) agent_id: String,
    pub(crate) store: u32,
    /// Of the control plane's database at that time.
    pub(crate) epoch: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    credential: String,
    enrolled: Option<Enrolled>,
}

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("the identity {} cannot be read or written", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the identity {} is broken; restore it, or remove it together with the data folder to make a new agent",
        path.display()
    )]
    Broken { path: PathBuf },
}

impl Identity {
    /// Reads the identity, or makes one from the given randomness and keeps it.
    pub(crate) fn load_or_make(dir: &Path, random: [u8; 32]) -> Result<Self, IdentityError> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(path, &Zeroizing::new(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let credential = Zeroizing::new(format!("hpa_{}", hex::encode(random)));
                let made = Self {
                    path,
                    credential,
                    enrolled: None,
                };
                made.save()?;
                Ok(made)
            }
            Err(source) => Err(IdentityError::File { path, source }),
        }
    }

    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Self, IdentityError> {
        let stored: Option<Stored> = serde_json::from_slice(bytes).ok();
        let usable = |text: &str| {
            text.strip_prefix("hpa_")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()))
        };
        match stored {
            Some(stored) if usable(&stored.credential) => Ok(Self {
                path,
                credential: Zeroizing::new(stored.credential),
                enrolled: stored.enrolled,
            }),
            _ => Err(IdentityError::Broken { path }),
        }
    }

    pub(crate) fn enrolled(&self) -> Option<&Enrolled> {
        self.enrolled.as_ref()
    }

    /// Keeps what enrolment gave, on disk first.
    pub(crate) fn set_enrolled(&mut self, enrolled: Enrolled) -> Result<(), IdentityError> {
        if self.enrolled.as_ref() == Some(&enrolled) {
            return Ok(());
        }
        let before = self.enrolled.replace(enrolled);
        self.save().inspect_err(|_| self.enrolled = before)
    }

    /// SHA-256 in hex: all that the control plane keeps of the credential.
    pub(crate) fn credential_hash(&self) -> String {
        let digest = Sha256::digest(self.credential.as_bytes());
        digest.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
    }

    pub(crate) fn pass(&self) -> Pass {
        Pass::new(&self.credential).expect("hex digits are a valid header")
    }

    /// The key that seals the disk copy to this agent.
    pub(crate) fn seal_key(&self) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.credential.as_bytes());
        let tag = hmac::sign(&key, SEAL_LABEL);
        let mut sealed = Zeroizing::new([0; 32]);
        sealed.copy_from_slice(tag.as_ref());
        sealed
    }

    fn save(&self) -> Result<(), IdentityError> {
        let stored = Stored {
            credential: self.credential.to_string(),
            enrolled: self.enrolled.clone(),
        };
        let text = serde_json::to_vec_pretty(&stored).expect("texts and numbers");
        files::replace(&self.path, &Zeroizing::new(text)).map_err(|source| IdentityError::File {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_identity_is_private_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Identity::load_or_make(dir.path(), [7; 32]).unwrap();
        let enrolled = Enrolled {
            agent_id: "agt_1".into(),
            store: 4,
            epoch: "e".into(),
        };
        first.set_enrolled(enrolled.clone()).unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let again = Identity::load_or_make(dir.path(), [8; 32]).unwrap();
        assert_eq!(again.credential_hash(), first.credential_hash());
        assert_eq!(again.enrolled(), Some(&enrolled));
    }

    #[test]
    fn a_broken_identity_is_never_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{\"credential\":\"hpa_1\"}").unwrap();
        let outcome = Identity::load_or_make(dir.path(), [7; 32]);
        assert!(matches!(outcome, Err(IdentityError::Broken { .. })));
    }
}
