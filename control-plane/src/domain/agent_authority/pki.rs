//! Certificates of agents: made, asked for, signed, and judged when they are shown.
//!
//! Invariants: of what an agent asks only its public key counts; a certificate names one agent of
//! one pool; one that is shown counts only with the key that the agent is known by.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKey,
    PublicKeyData as _, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::{AgentAuthority, LIFE, Signer};
use crate::domain::{Agent, Millis};

/// Subject of every authority: TLS clients that have other certificates see by it that none is wanted.
const AUTHORITY: &str = "Hookplane agents";
/// Clocks of replicas may be behind the one that signs.
const CLOCKS_APART: Millis = 5 * 60_000;
/// Curves and an Edwards curve: their keys are short, and checking one takes no long time.
const ALGORITHMS: [&rcgen::SignatureAlgorithm; 3] = [
    &rcgen::PKCS_ECDSA_P256_SHA256,
    &rcgen::PKCS_ECDSA_P384_SHA384,
    &rcgen::PKCS_ED25519,
];

/// Why nothing was signed: a fault of ours or of the stored authority.
#[derive(Debug, Error)]
#[error("the authority cannot sign")]
pub struct CannotSign(#[from] rcgen::Error);

/// Why a request for a certificate is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    #[error("give a PKCS #10 request in DER, signed by the key in it")]
    Unreadable,
    #[error("give a key on the curve P-256, P-384 or Ed25519")]
    Algorithm,
}

/// Why a certificate does not prove who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("cannot be read")]
    Unreadable,
    #[error("has expired")]
    Expired,
    #[error("is not valid yet")]
    Early,
    #[error("was signed by nobody who is trusted here")]
    Untrusted,
    #[error("is another agent's")]
    Foreign,
}

/// A request whose signature is right.
#[derive(Debug)]
pub struct Request {
    key: PublicKey,
}

/// A signed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    pub expires_at: Millis,
}

impl Request {
    /// # Errors
    /// [`InvalidRequest`] says what would be right.
    pub fn read(der: &[u8]) -> Result<Self, InvalidRequest> {
        let read = CertificateSigningRequestParams::from_der(&der.into());
        let key = read.map_err(|_| InvalidRequest::Unreadable)?.public_key;
        let allowed = ALGORITHMS.contains(&key.algorithm());
        allowed
            .then_some(Self { key })
            .ok_or(InvalidRequest::Algorithm)
    }

    /// By which the agent is known.
    #[must_use]
    pub fn key_hash(&self) -> String {
        hash(&self.key.subject_public_key_info())
    }
}

/// A new authority.
///
/// # Errors
/// [`CannotSign`] when there is no randomness.
pub fn authority(id: String, now: Millis) -> Result<Signer, CannotSign> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let expires_at = term(&mut params, now, LIFE);
    let certificate = params.self_signed(&key)?.pem();
    Ok(Signer {
        authority: AgentAuthority {
            id,
            certificate,
            created_at: now,
            expires_at,
            trusted_until: None,
        },
        private_key: Zeroizing::new(key.serialize_pem()),
    })
}

/// A certificate for an agent.
///
/// # Errors
/// [`CannotSign`] when the authority is broken.
pub fn issue(
    signer: &Signer,
    request: &Request,
    agent: &Agent,
    now: Millis,
    life: Millis,
) -> Result<Issued, CannotSign> {
    let key = KeyPair::from_pem(&signer.private_key)?;
    let issuer = Issuer::from_ca_cert_pem(&signer.authority.certificate, key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&agent.id);
    params.subject_alt_names = vec![SanType::URI(uri(agent).try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let expires_at = term(&mut params, now, life);
    let certificate = params.signed_by(&request.key, &issuer)?.pem();
    Ok(Issued {
        certificate,
        expires_at,
    })
}

/// Whether a certificate, whose key the other side proved to have, is this agent's, and until when.
///
/// # Errors
/// [`Fault`] says why it is not.
pub fn judge(
    shown: &CertificateDer<'_>,
    trusted: &[AgentAuthority],
    agent: &Agent,
    now: Millis,
) -> Result<Millis, Fault> {
    let (_, read) = x509_parser::parse_x509_certificate(shown).map_err(|_| Fault::Unreadable)?;
    verify(shown, trusted, now)?;
    let expected = uri(agent);
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names[..]);
    let named = matches!(names, [GeneralName::URI(one)] if *one == expected);
    let known = agent.certificate_key.as_deref() == Some(&hash(read.public_key().raw));
    if !named || !known {
        return Err(Fault::Foreign);
    }
    let end = read.validity().not_after.timestamp().saturating_mul(1_000);
    // The second of its end belongs to it no longer: streams end then.
    if end <= now {
        return Err(Fault::Expired);
    }
    Ok(end)
}

fn verify(
    shown: &CertificateDer<'_>,
    trusted: &[AgentAuthority],
    now: Millis,
) -> Result<(), Fault> {
    let mut roots = RootCertStore::empty();
    for authority in trusted {
        let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes());
        // One that cannot be read vouches for nobody.
        if let Ok(root) = root
            && let Err(error) = roots.add(root)
        {
            tracing::error!(authority.id, error = %error, "an authority of agents is broken");
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    // Without any root there is none.
    let verifier = verifier.map_err(|_| Fault::Untrusted)?;
    let now = Duration::from_millis(u64::try_from(now).unwrap_or(0));
    let verdict = verifier.verify_client_cert(shown, &[], UnixTime::since_unix_epoch(now));
    let Err(fault) = verdict else { return Ok(()) };
    Err(match fault {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Fault::Early
            }
            CertificateError::BadEncoding => Fault::Unreadable,
            _ => Fault::Untrusted,
        },
        _ => Fault::Untrusted,
    })
}

/// What the authorities are called, as TLS servers hint it.
///
/// # Errors
/// [`CannotSign`] when there is no randomness: it is read from an authority that is made for it.
pub fn hint() -> Result<rustls::DistinguishedName, CannotSign> {
    let sample = authority(String::new(), 0)?.authority.certificate;
    let root = CertificateDer::from_pem_slice(sample.as_bytes());
    let root = root.map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    let (_, root) = x509_parser::parse_x509_certificate(&root)
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    Ok(root.subject().as_raw().to_vec().into())
}

fn uri(agent: &Agent) -> String {
    format!("hookplane://pool/{}/agent/{}", agent.pool, agent.id)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Gives the certificate a life from now on, in whole seconds.
fn term(params: &mut CertificateParams, now: Millis, life: Millis) -> Millis {
    let at = |millis: Millis| {
        OffsetDateTime::from_unix_timestamp(millis / 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let end = now.saturating_add(life);
    params.not_before = at(now - CLOCKS_APART);
    params.not_after = at(end);
    end / 1_000 * 1_000
}

fn hash(key: &[u8]) -> String {
    hex::encode(Sha256::digest(key))
}
