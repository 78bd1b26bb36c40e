//! How deliveries prove themselves: the flags and how it is shown.

use std::path::Path;

use hookplane_client::v1::Destination;
use hookplane_client::v1::destination_auth::Scheme;
use serde_json::{Value, json};

use super::sources::{pair, secret};
use crate::failure::Failure;
use crate::output::day_time;

/// One proof, said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct AuthFlags {
    /// Bearer token sent with each delivery, or `@file` that holds it
    #[arg(long, value_name = "TOKEN", group = "proof")]
    auth_bearer: Option<String>,
    /// `user:password` sent as basic authentication
    #[arg(long, value_name = "USER:PASSWORD", group = "proof")]
    auth_basic: Option<String>,
    /// Header sent with each delivery, `name:value`
    #[arg(long, value_name = "NAME:VALUE", group = "proof")]
    auth_header: Option<String>,
    /// Secret for `hookplane-signature`, or `@file` that holds it
    #[arg(long, value_name = "SECRET", group = "proof")]
    auth_signature: Option<String>,
    /// `whsec_…` secret for Standard Webhooks signatures, or `@file`; give it again while secrets change
    #[arg(long, value_name = "SECRET", group = "proof")]
    auth_standard_webhooks: Vec<String>,
    /// Token endpoint of OAuth2 client credentials
    #[arg(
        long,
        value_name = "URL",
        group = "proof",
        requires = "auth_oauth2_client"
    )]
    auth_oauth2: Option<String>,
    /// `id:secret` of the OAuth2 client
    #[arg(long, value_name = "ID:SECRET", requires = "auth_oauth2")]
    auth_oauth2_client: Option<String>,
    /// Scope that the token is asked for
    #[arg(long, value_name = "SCOPE", requires = "auth_oauth2")]
    auth_oauth2_scope: Option<String>,
    /// Audience that the token is asked for
    #[arg(long, value_name = "AUDIENCE", requires = "auth_oauth2")]
    auth_oauth2_audience: Option<String>,
    /// PEM file of the client certificate, own certificate first
    #[arg(long, value_name = "FILE", group = "proof", requires = "auth_key")]
    auth_certificate: Option<String>,
    /// PEM file of the client certificate's private key
    #[arg(long, value_name = "FILE", requires = "auth_certificate")]
    auth_key: Option<String>,
    /// PEM file of the authorities that may vouch for the receiver
    #[arg(long, value_name = "FILE", requires = "auth_certificate")]
    auth_ca: Option<String>,
}

impl AuthFlags {
    /// `auth_type` and `auth` as the flags say; `None` when they do not.
    pub(super) fn written(&self) -> Result<Option<(&'static str, Value)>, Failure> {
        if let Some(token) = &self.auth_bearer {
            return Ok(Some(("BEARER_TOKEN", json!({"token": secret(token)?}))));
        }
        if let Some(text) = &self.auth_basic {
            let (username, password) = pair("--auth-basic", text)?;
            let auth = json!({"username": username, "password": password});
            return Ok(Some(("BASIC_AUTH", auth)));
        }
        if let Some(text) = &self.auth_header {
            let (name, value) = pair("--auth-header", text)?;
            let auth = json!({"header_name": name.trim(), "value": value.trim()});
            return Ok(Some(("CUSTOM_HEADER", auth)));
        }
        if let Some(text) = &self.auth_signature {
            let auth = json!({"secret": secret(text)?});
            return Ok(Some(("HOOKPLANE_SIGNATURE", auth)));
        }
        if !self.auth_standard_webhooks.is_empty() {
            let secrets = self.auth_standard_webhooks.iter().map(|text| secret(text));
            let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
            return Ok(Some(("STANDARD_WEBHOOKS", json!({"secrets": secrets}))));
        }
        if let (Some(url), Some(client)) = (&self.auth_oauth2, &self.auth_oauth2_client) {
            let (id, text) = pair("--auth-oauth2-client", client)?;
            let auth = json!({
                "token_url": url,
                "client_id": id,
                "client_secret": secret(text)?,
                "scope": self.auth_oauth2_scope.clone().unwrap_or_default(),
                "audience": self.auth_oauth2_audience.clone().unwrap_or_default(),
            });
            return Ok(Some(("OAUTH2_CLIENT_CREDENTIALS", auth)));
        }
        if let (Some(certificate), Some(key)) = (&self.auth_certificate, &self.auth_key) {
            let ca = self.auth_ca.as_deref().map(pem).transpose()?;
            let auth = json!({
                "certificate": pem(certificate)?,
                "private_key": pem(key)?,
                "ca": ca.unwrap_or_default(),
            });
            return Ok(Some(("CLIENT_CERTIFICATE", auth)));
        }
        Ok(None)
    }
}

fn pem(path: &str) -> Result<String, Failure> {
    let path = Path::new(path.strip_prefix('@').unwrap_or(path));
    std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

/// What is sent along, with the redacted secrets.
pub(super) fn described(destination: &Destination) -> String {
    let auth = destination
        .config
        .as_ref()
        .and_then(|config| config.auth.as_ref());
    match auth.and_then(|auth| auth.scheme.as_ref()) {
        None | Some(Scheme::None(_)) => String::new(),
        Some(Scheme::BasicAuth(basic)) => format!("basic {}", basic.username),
        Some(Scheme::BearerToken(bearer)) => format!("bearer {}", bearer.token),
        Some(Scheme::CustomHeader(header)) => format!("{}: {}", header.header_name, header.value),
        Some(Scheme::HookplaneSignature(signature)) => format!("signature {}", signature.secret),
        Some(Scheme::StandardWebhooks(signature)) => {
            format!("Standard Webhooks {}", signature.secrets.join(" "))
        }
        Some(Scheme::Oauth2ClientCredentials(client)) => {
            format!("OAuth2 {} at {}", client.client_id, client.token_url)
        }
        Some(Scheme::ClientCertificate(pair)) => {
            let end = day_time(pair.expires_at.as_ref());
            format!("client certificate until {end}")
        }
    }
}
