//! Certificates for tests, made afresh.

use std::path::{Path, PathBuf};

/// Files that a server and its callers need.
pub struct Certificates {
    pub authority: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// An authority and a certificate of it for 127.0.0.1.
#[must_use]
pub fn certificates(dir: &Path) -> Certificates {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("it is written");
        path
    };
    Certificates {
        authority: write("authority.pem", root.pem()),
        cert: write("cert.pem", leaf.pem()),
        key: write("key.pem", key.serialize_pem()),
    }
}
