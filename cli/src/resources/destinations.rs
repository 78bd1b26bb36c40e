//! Destinations: their flags and how they are shown.

use hookplane_client::Client;
use hookplane_client::v1::destination_auth::Scheme;
use hookplane_client::v1::{self, Destination};
use serde_json::{Value, json};

use super::Flags;
use super::kind::{Kind, Switchable, calls, switchable};
use super::paging::Page;
use super::sources::{label, labels, over, over_labels, pair, secret};
use crate::failure::Failure;
use crate::output::day_time;
use crate::shape::{self, DestinationShape};

/// The kind.
#[derive(Clone, Debug)]
pub(crate) struct Destinations;

/// What of a destination can be said by flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DestinationFlags {
    /// Unique name of letters, digits, `_` and `-`
    #[arg(long)]
    name: Option<String>,
    /// Where events are delivered to
    #[arg(long)]
    url: Option<String>,
    /// Method of the delivery; the inbound request's when not given
    #[arg(long)]
    method: Option<String>,
    /// Bearer token sent with each delivery, or `@file` that holds it
    #[arg(long, value_name = "TOKEN")]
    auth_bearer: Option<String>,
    /// `user:password` sent as basic authentication
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "auth_bearer")]
    auth_basic: Option<String>,
    /// Header sent with each delivery, `name:value`
    #[arg(long, value_name = "NAME:VALUE", conflicts_with_all = ["auth_bearer", "auth_basic"])]
    auth_header: Option<String>,
    /// Secret for `hookplane-signature`, or `@file` that holds it
    #[arg(long, value_name = "SECRET", conflicts_with_all = ["auth_bearer", "auth_basic", "auth_header"])]
    auth_signature: Option<String>,
    /// Of the whole exchange, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    timeout: Option<u32>,
    /// Deliveries at once from one agent
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<u32>,
    /// Deliver to the URL as it stands, without the path and query of the request
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_path_forwarding: Option<bool>,
    #[arg(long)]
    description: Option<String>,
    /// Label, `key=value`
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl Flags for DestinationFlags {
    type Kind = Destinations;

    async fn written(
        &self,
        _client: &Client,
        file: Option<Value>,
    ) -> Result<(Destination, Vec<String>), Failure> {
        let mut shape = match file {
            Some(file) => shape::read::<DestinationShape>(file)
                .map_err(|invalid| invalid.in_resource("the file"))?,
            None => DestinationShape::default(),
        };
        self.overlay(&mut shape)?;
        let message = shape
            .to_proto()
            .map_err(|invalid| invalid.in_resource("the destination"))?;
        Ok((message, shape.given()))
    }
}

impl DestinationFlags {
    fn overlay(&self, shape: &mut DestinationShape) -> Result<(), Failure> {
        over(&mut shape.name, &self.name);
        over(&mut shape.description, &self.description);
        over_labels(&mut shape.labels, &self.labels);
        let config = &mut shape.config;
        over(&mut config.url, &self.url);
        let method = self.method.as_ref().map(|method| method.to_uppercase());
        over(&mut config.http_method, &method);
        over(&mut config.timeout_ms, &self.timeout);
        over(&mut config.max_in_flight, &self.max_in_flight);
        over(
            &mut config.path_forwarding_disabled,
            &self.no_path_forwarding,
        );
        if let Some((auth_type, auth)) = self.auth()? {
            config.auth_type = Some(auth_type.to_owned());
            config.auth = Some(auth);
        }
        Ok(())
    }

    fn auth(&self) -> Result<Option<(&'static str, Value)>, Failure> {
        if let Some(token) = &self.auth_bearer {
            return Ok(Some(("BEARER_TOKEN", json!({"token": secret(token)?}))));
        }
        if let Some(text) = &self.auth_basic {
            let (username, password) = pair("--auth-basic", text)?;
            return Ok(Some((
                "BASIC_AUTH",
                json!({"username": username, "password": password}),
            )));
        }
        if let Some(text) = &self.auth_header {
            let (name, value) = pair("--auth-header", text)?;
            let auth = json!({"header_name": name.trim(), "value": value.trim()});
            return Ok(Some(("CUSTOM_HEADER", auth)));
        }
        if let Some(text) = &self.auth_signature {
            return Ok(Some((
                "HOOKPLANE_SIGNATURE",
                json!({"secret": secret(text)?}),
            )));
        }
        Ok(None)
    }
}

impl Kind for Destinations {
    type Message = Destination;

    const NOUN: &'static str = "destination";
    const PREFIX: &'static str = "des_";
    const COLUMNS: &'static [&'static str] = &["id", "name", "status", "url", "auth"];

    fn id(message: &Destination) -> &str {
        &message.id
    }

    fn name(message: &Destination) -> &str {
        &message.name
    }

    fn revision(message: &Destination) -> u64 {
        message.revision
    }

    fn row(message: &Destination) -> Vec<String> {
        let config = message.config.clone().unwrap_or_default();
        vec![
            message.id.clone(),
            message.name.clone(),
            status(message).to_owned(),
            config.url,
            auth(message),
        ]
    }

    fn values(message: &Destination) -> Vec<(&'static str, String)> {
        let config = message.config.clone().unwrap_or_default();
        let forwarding = if config.path_forwarding_disabled {
            "off"
        } else {
            "on"
        };
        vec![
            ("id", message.id.clone()),
            ("name", message.name.clone()),
            ("description", message.description.clone()),
            ("status", status(message).to_owned()),
            ("url", config.url),
            ("method", config.http_method),
            ("path forwarding", forwarding.to_owned()),
            ("auth", auth(message)),
            ("timeout", or_default(config.timeout_ms, " ms")),
            ("at once", or_default(config.max_in_flight, " deliveries")),
            ("labels", labels(&message.labels)),
            ("created", day_time(message.created_at.as_ref())),
            ("updated", day_time(message.updated_at.as_ref())),
            ("disabled", day_time(message.disabled_at.as_ref())),
            ("revision", message.revision.to_string()),
        ]
    }

    calls! {
        Destination, destinations, destination:
        create_destination CreateDestinationRequest, upsert_destination UpsertDestinationRequest,
        list_destinations ListDestinationsRequest, get_destination GetDestinationRequest,
        patch_destination PatchDestinationRequest, delete_destination DeleteDestinationRequest
    }
}

switchable! {
    Destinations, Destination, destinations:
    enable_destination EnableDestinationRequest, disable_destination DisableDestinationRequest
}

fn or_default(number: u32, unit: &str) -> String {
    if number == 0 {
        String::new()
    } else {
        format!("{number}{unit}")
    }
}

fn status(destination: &Destination) -> &'static str {
    if destination.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    }
}

/// What is sent along, with the redacted secrets.
fn auth(destination: &Destination) -> String {
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
    }
}
