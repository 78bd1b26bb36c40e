//! The certificate that senders see: read from files, and again when these change.
//!
//! Invariant: what is in use works. New files that do not are reported and passed
//! over until they change again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::causes::chain;
use crate::settings::CertificateFiles;

/// The certificate in use.
pub struct Certificates {
    files: CertificateFiles,
    current: ArcSwap<ServerConfig>,
    /// Of the files it was made from.
    first_seen: Seen,
}

/// Why the files cannot be used.
#[derive(Debug, Error)]
pub enum InvalidCertificate {
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} holds no usable {what}", path.display())]
    Pem {
        path: PathBuf,
        what: &'static str,
        source: pem::Error,
    },
    #[error("the certificate and its key do not work together")]
    Mismatch(#[from] rustls::Error),
}

/// The digest of both files, or why there is none. Contents, because files are replaced with
/// equal times and sizes.
type Seen = Result<[u8; 32], String>;

struct Contents {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`InvalidCertificate`] names the file.
    pub fn open(files: CertificateFiles) -> Result<Arc<Self>, InvalidCertificate> {
        let contents = Contents::read(&files)?;
        let current = ArcSwap::new(contents.prepare(&files)?);
        Ok(Arc::new(Self {
            files,
            current,
            first_seen: Ok(contents.digest()),
        }))
    }

    /// For the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files from time to time until `stop`, and takes what has changed.
    pub async fn watch(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut seen = self.first_seen.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let (this, before) = (Arc::clone(&self), seen.clone());
            let look = tokio::task::spawn_blocking(move || this.look(before));
            match look.await {
                Ok(now) => seen = now,
                Err(error) => tracing::error!(error = %error, "a look at the certificate failed"),
            }
        }
    }

    /// Takes the files if they are others than `before`; gives what they are now.
    fn look(&self, before: Seen) -> Seen {
        let contents = Contents::read(&self.files);
        let now = match &contents {
            Ok(contents) => Ok(contents.digest()),
            Err(error) => Err(chain(error)),
        };
        if now == before {
            return now;
        }
        match contents.and_then(|contents| contents.prepare(&self.files)) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!(path = %self.files.chain.display(), "ingest has a new certificate");
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "the new certificate is not used; the old one stays");
            }
        }
        now
    }
}

impl Contents {
    fn read(files: &CertificateFiles) -> Result<Self, InvalidCertificate> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| InvalidCertificate::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            chain: read(&files.chain)?,
            key: Zeroizing::new(read(&files.key)?),
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.chain, &*self.key] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn prepare(&self, files: &CertificateFiles) -> Result<Arc<ServerConfig>, InvalidCertificate> {
        let fault = |path: &Path, what, source| InvalidCertificate::Pem {
            path: path.to_owned(),
            what,
            source,
        };
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| fault(&files.chain, "certificate", source))?;
        if chain.is_empty() {
            let nothing = pem::Error::NoItemsFound;
            return Err(fault(&files.chain, "certificate", nothing));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| fault(&files.key, "private key", source))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &CertificateFiles) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.chain, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn what_does_not_work_is_passed_over_until_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            chain: dir.path().join("chain.pem"),
            key: dir.path().join("key.pem"),
        };
        write(&files);
        let certificates = Certificates::open(files.clone()).unwrap();
        let first = certificates.current();
        let mut seen = certificates.look(certificates.first_seen.clone());
        assert!(Arc::ptr_eq(&first, &certificates.current()), "taken again");

        let other = CertificateFiles {
            chain: dir.path().join("other.pem"),
            key: files.key.clone(),
        };
        write(&other);
        seen = certificates.look(seen);
        assert!(Arc::ptr_eq(&first, &certificates.current()), "not its key");
        for broken in ["", "no key"] {
            std::fs::write(&files.key, broken).unwrap();
            seen = certificates.look(seen);
            assert!(Arc::ptr_eq(&first, &certificates.current()), "{broken}");
        }
        std::fs::remove_file(&files.key).unwrap();
        seen = certificates.look(seen);
        assert!(Arc::ptr_eq(&first, &certificates.current()), "missing");

        write(&files);
        assert!(certificates.look(seen).is_ok());
        assert!(!Arc::ptr_eq(&first, &certificates.current()));
    }
}
