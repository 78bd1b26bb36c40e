//! `Debug` for the messages that carry secrets: the type's name and nothing else.

use std::fmt;

macro_rules! opaque {
    ($($message:path => $name:literal),+ $(,)?) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($name, "(redacted)"))
            }
        })+
    };
}

opaque! {
    crate::v1::BasicAuth => "BasicAuth",
    crate::v1::ApiKeyAuth => "ApiKeyAuth",
    crate::v1::HmacAuth => "HmacAuth",
    crate::v1::ProviderSignature => "ProviderSignature",
    crate::v1::DestinationBasicAuth => "DestinationBasicAuth",
    crate::v1::BearerToken => "BearerToken",
    crate::v1::CustomHeader => "CustomHeader",
    crate::v1::HookplaneSignature => "HookplaneSignature",
    crate::v1::StandardWebhooksSignature => "StandardWebhooksSignature",
    crate::v1::Oauth2ClientCredentials => "Oauth2ClientCredentials",
    crate::v1::ClientCertificate => "ClientCertificate",
    crate::v1::ApiKey => "ApiKey",
    crate::v1::HandlerKey => "HandlerKey",
    crate::v1::AgentToken => "AgentToken",
    crate::agent::v1::EnrollRequest => "EnrollRequest",
}
