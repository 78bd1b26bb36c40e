//! Destinations, both ways.

use hookplane_proto::v1;
use hookplane_proto::v1::destination_auth::Scheme;

use super::source::non_zero;
use super::{Secrets, timestamp};
use crate::domain::destination::{DEFAULT_IN_FLIGHT, DEFAULT_TIMEOUT_MS};
use crate::domain::{Destination, DestinationAuth, DestinationSpec, Violation};
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
        }),
        labels: spec.labels.clone().into_iter().collect(),
        disabled_at: destination.disabled_at.map(timestamp),
        created_at: Some(timestamp(destination.created_at)),
        updated_at: Some(timestamp(destination.updated_at)),
        revision: destination.revision,
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
    let auth = match config.auth.and_then(|auth| auth.scheme) {
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
    };
    let state = State::of_disabled_at(message.disabled_at.is_some());
    Ok(DestinationDraft { spec, auth, state })
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
    }
}
