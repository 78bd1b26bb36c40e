//! Shared credentials: Basic authentication and a key in a header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::headers::{HeaderView, single};
use crate::refusal::{Reason, Refusal};

pub(crate) fn basic(
    username: &str,
    password: &str,
    headers: &dyn HeaderView,
) -> Result<(), Refusal> {
    let value = present(headers, "authorization")?;
    let (scheme, encoded) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::new(
            Reason::CredentialsMissing,
            "`authorization` is not of the Basic scheme",
        ));
    }
    let given = STANDARD.decode(encoded.trim()).map_err(|_| {
        Refusal::new(
            Reason::HeaderMalformed,
            "`authorization` is not Basic and base64",
        )
    })?;
    let wanted = format!("{username}:{password}");
    equal(&given, wanted.as_bytes(), "user name or password")
}

pub(crate) fn api_key(header: &str, key: &str, headers: &dyn HeaderView) -> Result<(), Refusal> {
    let value = present(headers, header)?;
    equal(value.as_bytes(), key.as_bytes(), "key")
}

fn present<'h>(headers: &'h dyn HeaderView, name: &str) -> Result<&'h str, Refusal> {
    single(headers, name).map_err(|refusal| match refusal.reason {
        Reason::HeaderMissing => Refusal::new(Reason::CredentialsMissing, refusal.detail),
        _ => refusal,
    })
}

fn equal(given: &[u8], wanted: &[u8], what: &str) -> Result<(), Refusal> {
    if bool::from(given.ct_eq(wanted)) {
        Ok(())
    } else {
        Err(Refusal::new(
            Reason::CredentialsWrong,
            format!("the {what} is wrong"),
        ))
    }
}
