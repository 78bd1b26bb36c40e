//! Destinations, both ways.

use hookplane_proto::v1;
use hookplane_proto::v1::destination_auth::Scheme;

use super::source::non_zero;
use super::{Secrets, timestamp};
use crate::domain::destination::{DEFAULT_IN_FLIGHT, DEFAULT_TIMEOUT_MS};
use crate::domain::{
    ClientCertificate, ClientCredentials, Destination, DestinationAuth, DestinationSpec,
    RateLimitPeriod, Violation, etag,
};
use crate::service::{DestinationDraft, State};

/// The message of a stored destination.
#[must_use]
pub fn message(destination: &Destination, secrets: Secrets) -> v1::Destination {
    let spec = &destination.spec;
    let auth = match secrets {
        Secrets::Revealed => destination.auth.clone(),
        Secrets::Redacted => destination.auth.redacted(),
    };
    v1::Destination {
        id: destination.id.clone(),
        team_id: destination.team_id.clone(),
        name: spec.name.clone(),
        description: spec.description.clone(),
        r#type: v1::DestinationType::Http.into(),
        config: Some(v1::DestinationConfig {
            url: spec.url.clone(),
            http_method: spec.http_method.clone(),
            path_forwarding_disabled: spec.path_forwarding_disabled,
            auth: Some(v1::DestinationAuth {
                scheme: Some(scheme(auth)),
            }),
            timeout_ms: spec.timeout_ms,
            max_in_flight: spec.max_in_flight,
            rate_limit: spec.rate_limit,
            rate_limit_period: period(spec).into(),
            reports_outcome: spec.reports_outcome,
        }),
        labels: spec.labels.clone().into_iter().collect(),
        disabled_at: destination.disabled_at.map(timestamp),
        created_at: Some(timestamp(destination.created_at)),
        updated_at: Some(timestamp(destination.updated_at)),
        revision: destination.revision,
        // Agents know a resource by its version.
        etag: match secrets {
            Secrets::Revealed => String::new(),
            Secrets::Redacted => etag(
                &destination.id,
                destination.revision,
                destination.updated_at,
            ),
        },
        agents: Vec::new(),
    }
}

/// What a message asks for, with defaults filled in.
///
/// # Errors
/// A [`Violation`] for each field whose shape makes no sense.
pub fn draft(message: v1::Destination) -> Result<DestinationDraft, Vec<Violation>> {
    if v1::DestinationType::try_from(message.r#type).is_err() {
        return Err(vec![Violation::new("type", "`HTTP` is the type there is")]);
    }
    let config = message.config.unwrap_or_default();
    let auth = auth(config.auth)?;
    let rate_limit_period = match v1::RateLimitPeriod::try_from(config.rate_limit_period) {
        Ok(v1::RateLimitPeriod::Unspecified | v1::RateLimitPeriod::Second) => {
            RateLimitPeriod::Second
        }
        Ok(v1::RateLimitPeriod::Minute) => RateLimitPeriod::Minute,
        Ok(v1::RateLimitPeriod::Hour) => RateLimitPeriod::Hour,
        Err(_) => {
            let text = "give `second`, `minute` or `hour`";
            return Err(vec![Violation::new("config.rate_limit_period", text)]);
        }
    };
    let spec = DestinationSpec {
        name: message.name,
        description: message.description,
        labels: message.labels.into_iter().collect(),
        url: config.url,
        http_method: config.http_method.to_ascii_uppercase(),
        path_forwarding_disabled: config.path_forwarding_disabled,
        timeout_ms: non_zero(config.timeout_ms, DEFAULT_TIMEOUT_MS),
        max_in_flight: non_zero(config.max_in_flight, DEFAULT_IN_FLIGHT),
        rate_limit: config.rate_limit,
        rate_limit_period,
        reports_outcome: config.reports_outcome,
    };
    let state = State::of_disabled_at(message.disabled_at.is_some());
    Ok(DestinationDraft { spec, auth, state })
}

/// Told only beside a limit.
fn period(spec: &DestinationSpec) -> v1::RateLimitPeriod {
    match spec.rate_limit_period {
        _ if spec.rate_limit == 0 => v1::RateLimitPeriod::Unspecified,
        RateLimitPeriod::Second => v1::RateLimitPeriod::Second,
        RateLimitPeriod::Minute => v1::RateLimitPeriod::Minute,
        RateLimitPeriod::Hour => v1::RateLimitPeriod::Hour,
    }
}

fn auth(wire: Option<v1::DestinationAuth>) -> Result<DestinationAuth, Vec<Violation>> {
    Ok(match wire.and_then(|auth| auth.scheme) {
        None | Some(Scheme::None(_)) => DestinationAuth::None,
        Some(Scheme::BasicAuth(basic)) => DestinationAuth::Basic {
            username: basic.username,
            password: basic.password,
        },
        Some(Scheme::BearerToken(bearer)) => DestinationAuth::Bearer {
            token: bearer.token,
        },
        Some(Scheme::CustomHeader(header)) => DestinationAuth::Header {
            name: header.header_name,
            value: header.value,
        },
        Some(Scheme::HookplaneSignature(signature)) => DestinationAuth::HookplaneSignature {
            secret: signature.secret,
        },
        Some(Scheme::StandardWebhooks(signature)) => DestinationAuth::StandardWebhooks {
            secrets: signature.secrets,
        },
        Some(Scheme::Oauth2ClientCredentials(wire)) => {
            let in_body = match v1::ClientAuthentication::try_from(wire.client_authentication) {
                Ok(v1::ClientAuthentication::Unspecified | v1::ClientAuthentication::Basic) => {
                    false
                }
                Ok(v1::ClientAuthentication::Body) => true,
                Err(_) => {
                    let text = "give `BASIC` or `BODY`";
                    let field = "config.auth.client_authentication";
                    return Err(vec![Violation::new(field, text)]);
                }
            };
            DestinationAuth::ClientCredentials(ClientCredentials {
                token_url: wire.token_url,
                client_id: wire.client_id,
                client_secret: wire.client_secret,
                scope: wire.scope,
                audience: wire.audience,
                in_body,
            })
        }
        Some(Scheme::ClientCertificate(wire)) => {
            DestinationAuth::ClientCertificate(ClientCertificate {
                certificate: wire.certificate,
                private_key: wire.private_key,
                ca: wire.ca,
            })
        }
    })
}

fn scheme(auth: DestinationAuth) -> Scheme {
    match auth {
        DestinationAuth::None => Scheme::None(v1::NoDestinationAuth {}),
        DestinationAuth::Basic { username, password } => {
            Scheme::BasicAuth(v1::DestinationBasicAuth { username, password })
        }
        DestinationAuth::Bearer { token } => Scheme::BearerToken(v1::BearerToken { token }),
        DestinationAuth::Header { name, value } => Scheme::CustomHeader(v1::CustomHeader {
            header_name: name,
            value,
        }),
        DestinationAuth::HookplaneSignature { secret } => {
            Scheme::HookplaneSignature(v1::HookplaneSignature { secret })
        }
        DestinationAuth::StandardWebhooks { secrets } => {
            Scheme::StandardWebhooks(v1::StandardWebhooksSignature { secrets })
        }
        DestinationAuth::ClientCredentials(credentials) => {
            let how = if credentials.in_body {
                v1::ClientAuthentication::Body
            } else {
                v1::ClientAuthentication::Basic
            };
            Scheme::Oauth2ClientCredentials(v1::Oauth2ClientCredentials {
                token_url: credentials.token_url,
                client_id: credentials.client_id,
                client_secret: credentials.client_secret,
                scope: credentials.scope,
                audience: credentials.audience,
                client_authentication: how.into(),
            })
        }
        DestinationAuth::ClientCertificate(pair) => {
            let expires_at = pair.expires_at().map(timestamp);
            Scheme::ClientCertificate(v1::ClientCertificate {
                certificate: pair.certificate,
                private_key: pair.private_key,
                ca: pair.ca,
                expires_at,
            })
        }
    }
}
