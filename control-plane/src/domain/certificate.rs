//! A client certificate in PEM: whether an agent can show it, and until when.

use std::fmt;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use super::Millis;
use super::violation::Violation;

/// Longest PEM text, in bytes.
const MAX_PEM: usize = 65_536;
/// Certificates of one chain or of one list of authorities.
const MOST: usize = 16;

/// What a delivery's TLS client shows. Prints no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM, own certificate first.
    pub certificate: String,
    /// PEM.
    pub private_key: String,
    /// PEM of the authorities that may vouch for the receiver; empty for the public ones.
    pub ca: String,
}

impl ClientCertificate {
    pub(super) fn faults(&self, found: &mut Vec<Violation>) {
        let chain = certificates("config.auth.certificate", &self.certificate, found);
        if !self.ca.is_empty() {
            let mut roots = rustls::RootCertStore::empty();
            for authority in certificates("config.auth.ca", &self.ca, found) {
                if roots.add(authority).is_err() {
                    let text = "this holds a certificate that cannot be an authority";
                    found.push(Violation::new("config.auth.ca", text));
                }
            }
        }
        let key = (self.private_key.len() <= MAX_PEM)
            .then(|| PrivateKeyDer::from_pem_slice(self.private_key.as_bytes()).ok())
            .flatten();
        let Some(key) = key else {
            let text = "this is no private key in PEM (`-----BEGIN PRIVATE KEY-----`)";
            found.push(Violation::new("config.auth.private_key", text));
            return;
        };
        if chain.is_empty() {
            return;
        }
        if CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).is_err() {
            found.push(Violation::new(
                "config.auth.private_key",
                "this key does not belong to the first certificate of `certificate`",
            ));
        }
    }

    /// When the own certificate ends to be valid; `None` when it cannot be read.
    #[must_use]
    pub fn expires_at(&self) -> Option<Millis> {
        let own = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&own).ok()?;
        parsed.validity().not_after.timestamp().checked_mul(1_000)
    }
}

/// The certificates of a text; none when there is a fault.
fn certificates(
    field: &str,
    pem: &str,
    found: &mut Vec<Violation>,
) -> Vec<CertificateDer<'static>> {
    let parsed = (pem.len() <= MAX_PEM)
        .then(|| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>())
        .and_then(Result::ok)
        .filter(|all| (1..=MOST).contains(&all.len()));
    parsed.unwrap_or_else(|| {
        found.push(Violation::new(
            field,
            format!("1 to {MOST} certificates in PEM are needed (`-----BEGIN CERTIFICATE-----`)"),
        ));
        Vec::new()
    })
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made() -> ClientCertificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["client.test".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2031, 5, 6);
        let certificate = params.self_signed(&key).expect("a certificate");
        ClientCertificate {
            certificate: certificate.pem(),
            private_key: key.serialize_pem(),
            ca: String::new(),
        }
    }

    fn fields(certificate: &ClientCertificate) -> Vec<String> {
        let mut found = Vec::new();
        certificate.faults(&mut found);
        found.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_pair_that_belongs_together_is_taken_and_tells_its_end() {
        let good = made();
        assert!(fields(&good).is_empty());
        let end = date_time_ymd(2031, 5, 6).unix_timestamp() * 1_000;
        assert_eq!(good.expires_at(), Some(end));
    }

    #[test]
    fn what_an_agent_could_not_show_is_refused_by_its_field() {
        let (good, other) = (made(), made());
        let change = |change: fn(&mut ClientCertificate, &ClientCertificate)| {
            let mut copy = good.clone();
            change(&mut copy, &other);
            fields(&copy)
        };
        assert_eq!(
            change(|one, other| one.private_key.clone_from(&other.private_key)),
            ["config.auth.private_key"]
        );
        assert_eq!(
            change(|one, _| one.private_key = "secret".into()),
            ["config.auth.private_key"]
        );
        assert_eq!(
            change(|one, _| one.certificate.clear()),
            ["config.auth.certificate"]
        );
        assert_eq!(
            change(|one, _| one.ca = "not PEM".into()),
            ["config.auth.ca"]
        );
    }
}
