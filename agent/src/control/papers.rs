//! The agent's key and the certificate that the control plane gave for it last.
//!
//! The key is made once per data folder, on disk before anything is asked for it, and never
//! replaced: the control plane knows the agent by it. A broken file stops the start.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::files;

const FILE: &str = "certificate.json";

/// Key and certificate of this data folder. Prints no secret.
pub(crate) struct Papers {
    path: PathBuf,
    /// PEM.
    key: Zeroizing<String>,
    held: Option<Held>,
}

/// A certificate, and how long it is good for by this agent's own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// PEM.
    pub(crate) certificate: String,
    /// Unix milliseconds.
    pub(crate) received_at: u64,
    pub(crate) valid_seconds: u32,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    key: String,
    held: Option<Held>,
}

#[derive(Debug, Error)]
pub enum PapersError {
    #[error("the key and certificate in {} cannot be read or written", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{} holds no usable key; restore it, or revoke the agent and start it with an empty data folder",
        path.display()
    )]
    Broken { path: PathBuf },
    #[error("no key can be made")]
    Key(#[from] rcgen::Error),
}

impl Papers {
    /// Reads them, or makes a key and keeps it.
    pub(crate) fn load_or_make(dir: &Path) -> Result<Self, PapersError> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(path, &Zeroizing::new(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self {
                    path,
                    key: Zeroizing::new(KeyPair::generate()?.serialize_pem()),
                    held: None,
                };
                made.save()?;
                Ok(made)
            }
            Err(source) => Err(PapersError::File { path, source }),
        }
    }

    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Self, PapersError> {
        let stored: Option<Stored> = serde_json::from_slice(bytes).ok();
        match stored {
            Some(stored) if KeyPair::from_pem(&stored.key).is_ok() => Ok(Self {
                path,
                key: Zeroizing::new(stored.key),
                held: stored.held,
            }),
            _ => Err(PapersError::Broken { path }),
        }
    }

    /// PEM of the private key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// What the control plane is asked with: PKCS #10 in DER, signed by the key.
    pub(crate) fn request(&self) -> Result<Vec<u8>, PapersError> {
        let key = KeyPair::from_pem(&self.key)?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok(request.der().to_vec())
    }

    /// Keeps a certificate, on disk first.
    pub(crate) fn keep(&mut self, held: Held) -> Result<(), PapersError> {
        let before = self.held.replace(held);
        self.save().inspect_err(|_| self.held = before)
    }

    /// How long the one that is held does: two thirds of its life, or somewhat less, so that a
    /// fleet that came at once does not come back at once. `spread` is from 0 up to 1.
    pub(crate) fn rest(&self, now: u64, spread: f64) -> Duration {
        let Some(held) = &self.held else {
            return Duration::ZERO;
        };
        let life = Duration::from_secs(held.valid_seconds.into());
        let does = life.mul_f64(2.0 / 3.0 - spread / 15.0);
        // A clock that was set back says nothing about its age.
        match now.checked_sub(held.received_at) {
            Some(age) => does.saturating_sub(Duration::from_millis(age)),
            None => Duration::ZERO,
        }
    }

    fn save(&self) -> Result<(), PapersError> {
        let stored = Stored {
            key: self.key.to_string(),
            held: self.held.clone(),
        };
        let text = serde_json::to_vec_pretty(&stored).expect("texts and numbers");
        files::replace(&self.path, &Zeroizing::new(text)).map_err(|source| PapersError::File {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn held(received_at: u64) -> Held {
        Held {
            certificate: "-----BEGIN".to_owned(),
            received_at,
            valid_seconds: 900,
        }
    }

    #[test]
    fn the_key_is_private_and_survives_restarts_with_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Papers::load_or_make(dir.path()).unwrap();
        first.keep(held(NOW)).unwrap();
        let file = std::fs::metadata(dir.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let again = Papers::load_or_make(dir.path()).unwrap();
        assert_eq!((again.key(), again.held()), (first.key(), first.held()));
        std::fs::write(dir.path().join(FILE), "{\"key\":\"x\"}").unwrap();
        let broken = Papers::load_or_make(dir.path());
        assert!(matches!(broken, Err(PapersError::Broken { .. })));
    }

    #[test]
    fn the_next_certificate_is_due_before_two_thirds_of_the_life_and_at_once_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut papers = Papers::load_or_make(dir.path()).unwrap();
        assert_eq!(papers.rest(NOW, 0.5), Duration::ZERO);
        papers.keep(held(NOW)).unwrap();
        let rest = |age: u64, spread| papers.rest(NOW + age, spread).as_secs_f64();
        assert!((rest(0, 0.0) - 600.0).abs() < 0.001);
        assert!((rest(0, 1.0) - 540.0).abs() < 0.001);
        assert!((rest(500_000, 0.0) - 100.0).abs() < 0.001);
        assert!(rest(600_000, 0.0) < 0.001);
        assert_eq!(papers.rest(NOW - 1, 0.0), Duration::ZERO, "set back");
    }
}
