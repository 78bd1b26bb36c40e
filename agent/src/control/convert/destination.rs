//! A receiver.

use std::time::Duration;

use hookplane_proto::v1::destination_auth::Scheme;
use hookplane_proto::v1::{self, DestinationType};
use http::{HeaderName, HeaderValue};
use url::Url;

use super::{Unfit, bounded, method};
use crate::config::{Destination, DestinationAuth};

const MIN_SECRET: usize = 16;

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
    Ok(Destination {
        id: wire.id.clone(),
        team_id: wire.team_id.clone(),
        name: wire.name.clone(),
        url: url(&config.url)?,
        method,
        path_forwarding: !config.path_forwarding_disabled,
        auth: auth(config.auth.as_ref())?,
        timeout: Duration::from_millis(u64::from(timeout)),
        max_in_flight: max_in_flight as usize,
        enabled: wire.disabled_at.is_none(),
        version,
    })
}

fn url(text: &str) -> Result<Url, Unfit> {
    let invalid = |why: &str| Unfit::new("url_invalid", format!("config.url {why}"));
    let url = Url::parse(text).map_err(|error| invalid(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid("has user info or a fragment"));
    }
    Ok(url)
}

fn auth(wire: Option<&v1::DestinationAuth>) -> Result<DestinationAuth, Unfit> {
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
    })
}

fn header_value(field: &str, text: &str) -> Result<String, Unfit> {
    if text.is_empty() || HeaderValue::from_str(text).is_err() {
        let message = format!("config.auth.{field} cannot stand in a header");
        return Err(Unfit::new("secret_invalid", message));
    }
    Ok(text.to_owned())
}
