//! A receiver.

use std::sync::Arc;
use std::time::Duration;

use hookplane_proto::v1::destination_auth::Scheme;
use hookplane_proto::v1::{self, ClientAuthentication, DestinationType, RateLimitPeriod};
use hookplane_signature::StandardSigner;
use http::{HeaderName, HeaderValue};
use url::Url;

use super::certificate;
use super::{Unfit, bounded, method};
use crate::config::{ClientCredentials, Destination, DestinationAuth, RateLimit};

const MIN_SECRET: usize = 16;
const MAX_RATE: u32 = 1_000_000;

pub(super) fn prepare(wire: &v1::Destination, version: u64) -> Result<Destination, Unfit> {
    if wire.id.is_empty() || wire.team_id.is_empty() {
        let message = "a destination needs its id and its team";
        return Err(Unfit::new("id_missing", message));
    }
    match DestinationType::try_from(wire.r#type) {
        Ok(DestinationType::Unspecified | DestinationType::Http) => {}
        Err(_) => return Err(Unfit::unsupported("the type of the destination")),
    }
    let config = wire
        .config
        .as_ref()
        .ok_or_else(|| Unfit::new("url_invalid", "config.url is needed"))?;
    let timeout = bounded("timeout_ms", config.timeout_ms, 15_000, 120_000)?;
    let max_in_flight = bounded("max_in_flight", config.max_in_flight, 32, 1_000)?;
    let method = match config.http_method.as_str() {
        "" => None,
        name => Some(method(name)?),
    };
    let url = url("config.url", &config.url)?;
    let auth = auth(config.auth.as_ref(), url.scheme() == "https")?;
    Ok(Destination {
        id: wire.id.clone(),
        team_id: wire.team_id.clone(),
        name: wire.name.clone(),
        url,
        method,
        path_forwarding: !config.path_forwarding_disabled,
        reports_outcome: config.reports_outcome,
        auth,
        timeout: Duration::from_millis(u64::from(timeout)),
        max_in_flight: max_in_flight as usize,
        rate: rate(config)?,
        enabled: wire.disabled_at.is_none(),
        version,
    })
}

fn rate(config: &v1::DestinationConfig) -> Result<Option<RateLimit>, Unfit> {
    let seconds = match RateLimitPeriod::try_from(config.rate_limit_period) {
        Ok(RateLimitPeriod::Unspecified | RateLimitPeriod::Second) => 1,
        Ok(RateLimitPeriod::Minute) => 60,
        Ok(RateLimitPeriod::Hour) => 3_600,
        Err(_) => return Err(Unfit::unsupported("the period of the rate limit")),
    };
    let count = bounded("rate_limit", config.rate_limit, 0, MAX_RATE)?;
    Ok((count > 0).then_some(RateLimit {
        count,
        period: Duration::from_secs(seconds),
    }))
}

fn url(field: &str, text: &str) -> Result<Url, Unfit> {
    let invalid = |why: &str| Unfit::new("url_invalid", format!("{field} {why}"));
    let url = Url::parse(text).map_err(|error| invalid(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid("has user info or a fragment"));
    }
    Ok(url)
}

fn auth(wire: Option<&v1::DestinationAuth>, over_tls: bool) -> Result<DestinationAuth, Unfit> {
    let Some(wire) = wire else {
        return Ok(DestinationAuth::None);
    };
    let scheme = wire
        .scheme
        .as_ref()
        .ok_or_else(|| Unfit::unsupported("the scheme in config.auth"))?;
    Ok(match scheme {
        Scheme::None(_) => DestinationAuth::None,
        Scheme::BasicAuth(basic) => {
            if basic.username.contains(':') {
                return Err(Unfit::new("username_invalid", "the user name has a colon"));
            }
            DestinationAuth::Basic {
                username: basic.username.clone(),
                password: basic.password.clone(),
            }
        }
        Scheme::BearerToken(bearer) => DestinationAuth::Bearer {
            token: header_value("token", &bearer.token)?,
        },
        Scheme::CustomHeader(custom) => DestinationAuth::Header {
            name: HeaderName::try_from(&custom.header_name).map_err(|_| {
                Unfit::new(
                    "header_invalid",
                    "config.auth.header_name is no header name",
                )
            })?,
            value: header_value("value", &custom.value)?,
        },
        Scheme::HookplaneSignature(signed) => {
            if signed.secret.chars().count() < MIN_SECRET {
                return Err(Unfit::new(
                    "secret_too_short",
                    format!("config.auth.secret needs {MIN_SECRET} characters at least"),
                ));
            }
            DestinationAuth::HookplaneSignature {
                secret: signed.secret.clone(),
            }
        }
        Scheme::StandardWebhooks(signed) => {
            DestinationAuth::StandardWebhooks(Arc::new(StandardSigner::new(&signed.secrets)?))
        }
        Scheme::Oauth2ClientCredentials(wire) => {
            DestinationAuth::ClientCredentials(Arc::new(credentials(wire)?))
        }
        Scheme::ClientCertificate(wire) => {
            if !over_tls {
                let message = "config.url: a client certificate needs https";
                return Err(Unfit::new("url_invalid", message));
            }
            DestinationAuth::ClientCertificate(Arc::new(certificate::client(wire)?))
        }
    })
}

fn credentials(wire: &v1::Oauth2ClientCredentials) -> Result<ClientCredentials, Unfit> {
    let in_body = match ClientAuthentication::try_from(wire.client_authentication) {
        Ok(ClientAuthentication::Unspecified | ClientAuthentication::Basic) => false,
        Ok(ClientAuthentication::Body) => true,
        Err(_) => return Err(Unfit::unsupported("the client authentication")),
    };
    if wire.client_id.is_empty() || wire.client_secret.is_empty() {
        let message = "config.auth needs client_id and client_secret";
        return Err(Unfit::new("secret_empty", message));
    }
    let token_url = url("config.auth.token_url", &wire.token_url)?;
    let token_url = http::Uri::try_from(token_url.as_str())
        .map_err(|_| Unfit::new("url_invalid", "config.auth.token_url cannot be called"))?;
    Ok(ClientCredentials {
        token_url,
        client_id: wire.client_id.clone(),
        client_secret: wire.client_secret.clone().into(),
        scope: wire.scope.clone(),
        audience: wire.audience.clone(),
        in_body,
    })
}

fn header_value(field: &str, text: &str) -> Result<String, Unfit> {
    if text.is_empty() || HeaderValue::from_str(text).is_err() {
        let message = format!("config.auth.{field} cannot stand in a header");
        return Err(Unfit::new("secret_invalid", message));
    }
    Ok(text.to_owned())
}
