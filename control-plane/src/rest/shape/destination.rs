//! A destination's `config`: how Hookplane proves itself to the receiver.

use super::Shape;
use super::auth::{self, Scheme};

pub(super) const SCHEMES: [Scheme; 7] = [
    Scheme {
        tag: "CUSTOM_HEADER",
        field: "custom_header",
        form: "{header_name, value}",
    },
    Scheme {
        tag: "BASIC_AUTH",
        field: "basic_auth",
        form: "{username, password}",
    },
    Scheme {
        tag: "BEARER_TOKEN",
        field: "bearer_token",
        form: "{token}",
    },
    Scheme {
        tag: "HOOKPLANE_SIGNATURE",
        field: "hookplane_signature",
        form: "{secret}",
    },
    Scheme {
        tag: "STANDARD_WEBHOOKS",
        field: "standard_webhooks",
        form: "{secrets}",
    },
    Scheme {
        tag: "OAUTH2_CLIENT_CREDENTIALS",
        field: "oauth2_client_credentials",
        form: "{token_url, client_id, client_secret, scope, audience, client_authentication}",
    },
    Scheme {
        tag: "CLIENT_CERTIFICATE",
        field: "client_certificate",
        form: "{certificate, private_key, ca}",
    },
];

pub(super) const CONFIG: Shape = Shape {
    message: "hookplane.v1.DestinationConfig",
    extra: &["auth_type"],
    hidden: &[],
    read: |object, at, faults| auth::read(object, &SCHEMES, at, faults),
    write: |object| auth::write(object, &SCHEMES),
};
