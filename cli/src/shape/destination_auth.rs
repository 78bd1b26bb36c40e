//! How deliveries prove themselves, as written: `auth_type` with `auth`.

use hookplane_proto::v1::destination_auth::Scheme;
use hookplane_proto::v1::{
    BearerToken, ClientAuthentication, ClientCertificate, CustomHeader, DestinationBasicAuth,
    HookplaneSignature, NoDestinationAuth, Oauth2ClientCredentials, StandardWebhooksSignature,
};
use serde::Deserialize;
use serde_json::Value;

use super::{InvalidShape, auth_fields, enum_value};

const KNOWN: &str = "BASIC_AUTH, BEARER_TOKEN, CUSTOM_HEADER, HOOKPLANE_SIGNATURE, \
    STANDARD_WEBHOOKS, OAUTH2_CLIENT_CREDENTIALS or CLIENT_CERTIFICATE";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicFields {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFields {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFields {
    header_name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFields {
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFields {
    secrets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFields {
    token_url: String,
    client_id: String,
    client_secret: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    audience: String,
    client_authentication: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateFields {
    certificate: String,
    private_key: String,
    #[serde(default)]
    ca: String,
    /// Comes with what was read; the server sets it.
    #[serde(default, rename = "expires_at")]
    _expires_at: Option<Value>,
}

/// The scheme that is meant; `None` when nothing is said.
pub(super) fn scheme(
    auth_type: Option<&str>,
    auth: Option<&Value>,
) -> Result<Option<Scheme>, InvalidShape> {
    let Some(auth_type) = auth_type else {
        return match auth {
            None => Ok(None),
            Some(_) => Err(InvalidShape::new(
                "config.auth_type",
                format!("`auth` needs `auth_type` beside it: {KNOWN}"),
            )),
        };
    };
    let scheme = match auth_type.to_uppercase().as_str() {
        "NONE" => Scheme::None(NoDestinationAuth {}),
        "BASIC_AUTH" => {
            let BasicFields { username, password } = auth_fields(auth)?;
            Scheme::BasicAuth(DestinationBasicAuth { username, password })
        }
        "BEARER_TOKEN" => {
            let TokenFields { token } = auth_fields(auth)?;
            Scheme::BearerToken(BearerToken { token })
        }
        "CUSTOM_HEADER" => {
            let HeaderFields { header_name, value } = auth_fields(auth)?;
            Scheme::CustomHeader(CustomHeader { header_name, value })
        }
        "HOOKPLANE_SIGNATURE" => {
            let SecretFields { secret } = auth_fields(auth)?;
            Scheme::HookplaneSignature(HookplaneSignature { secret })
        }
        "STANDARD_WEBHOOKS" => {
            let SecretsFields { secrets } = auth_fields(auth)?;
            Scheme::StandardWebhooks(StandardWebhooksSignature { secrets })
        }
        "OAUTH2_CLIENT_CREDENTIALS" => credentials(auth_fields(auth)?)?,
        "CLIENT_CERTIFICATE" => {
            let fields: CertificateFields = auth_fields(auth)?;
            Scheme::ClientCertificate(ClientCertificate {
                certificate: fields.certificate,
                private_key: fields.private_key,
                ca: fields.ca,
                expires_at: None,
            })
        }
        other => {
            return Err(InvalidShape::new(
                "config.auth_type",
                format!("`{other}` is not known; it is one of {KNOWN}"),
            ));
        }
    };
    Ok(Some(scheme))
}

fn credentials(fields: CredentialsFields) -> Result<Scheme, InvalidShape> {
    let how = fields.client_authentication.as_deref().map(|short| {
        let (parse, known) = (ClientAuthentication::from_str_name, ["BASIC", "BODY"]);
        let field = "config.auth.client_authentication";
        enum_value(field, "CLIENT_AUTHENTICATION_", short, parse, &known)
    });
    Ok(Scheme::Oauth2ClientCredentials(Oauth2ClientCredentials {
        token_url: fields.token_url,
        client_id: fields.client_id,
        client_secret: fields.client_secret,
        scope: fields.scope,
        audience: fields.audience,
        client_authentication: how.transpose()?.unwrap_or_default().into(),
    }))
}
