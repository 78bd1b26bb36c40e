//! The API key, put on every call.
//!
//! Invariant: neither `Debug` nor an HTTP library's logs show it.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::settings::InvalidSettings;

/// `authorization: Bearer <key>` on every call.
#[derive(Clone)]
pub struct BearerKey(MetadataValue<Ascii>);

impl BearerKey {
    pub(crate) fn new(key: &str) -> Result<Self, InvalidSettings> {
        if key.is_empty() {
            return Err(InvalidSettings::KeyMissing);
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {key}")
            .parse()
            .map_err(|_| InvalidSettings::KeyMalformed)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for BearerKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl fmt::Debug for BearerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerKey(redacted)")
    }
}
