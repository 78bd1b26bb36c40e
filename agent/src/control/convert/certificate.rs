//! A client certificate in PEM, as the TLS client of one destination.

use std::sync::Arc;

use hookplane_proto::v1;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Unfit;

/// Certificates of one chain or of one list of authorities.
const MOST: usize = 16;

/// The TLS client that shows the certificate.
pub(super) fn client(wire: &v1::ClientCertificate) -> Result<ClientConfig, Unfit> {
    let chain = certificates("certificate", &wire.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(wire.private_key.as_bytes())
        .map_err(|_| unfit("private_key", "is no private key in PEM"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Unfit::new("tls_unavailable", "TLS cannot be set up on this agent"))?;
    let builder = if wire.ca.is_empty() {
        builder.with_webpki_roots()
    } else {
        builder.with_root_certificates(roots(&wire.ca)?)
    };
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| unfit("private_key", "does not belong to the certificate"))
}

fn roots(ca: &str) -> Result<RootCertStore, Unfit> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("ca", ca)? {
        roots
            .add(authority)
            .map_err(|_| unfit("ca", "holds a certificate that cannot be an authority"))?;
    }
    Ok(roots)
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| unfit(field, "is not PEM"))?;
    if found.is_empty() || found.len() > MOST {
        let text = format!(
            "holds {} certificates; 1 to {MOST} are possible",
            found.len()
        );
        return Err(unfit(field, &text));
    }
    Ok(found)
}

fn unfit(field: &str, what: &str) -> Unfit {
    Unfit::new("certificate_invalid", format!("config.auth.{field} {what}"))
}
