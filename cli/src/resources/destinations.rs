//! Destinations: their flags and how they are shown.

use hookplane_client::Client;
use hookplane_client::v1::{self, Destination, DestinationConfig, RateLimitPeriod};
use serde_json::Value;

use super::Flags;
use super::destination_auth::{self, AuthFlags};
use super::kind::{Kind, Switchable, calls, switchable};
use super::paging::Page;
use super::sources::{label, labels, over, over_labels};
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
    #[command(flatten)]
    auth: AuthFlags,
    /// Of the whole exchange, in milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    timeout: Option<u32>,
    /// Deliveries at once from one agent
    #[arg(long, value_name = "COUNT")]
    max_in_flight: Option<u32>,
    /// Most deliveries that one agent starts per period: `10/second`, `600/minute`, `5000/hour`; 0 for no limit
    #[arg(long, value_name = "COUNT/PERIOD")]
    rate_limit: Option<String>,
    /// Deliver to the URL as it stands, without the path and query of the request
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_path_forwarding: Option<bool>,
    /// Its handlers tell what came of the work: an event answered 2xx without that is unreported
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    reports_outcome: Option<bool>,
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
        over(&mut config.reports_outcome, &self.reports_outcome);
        if let Some(text) = &self.rate_limit {
            let (count, period) = rate(text)?;
            config.rate_limit = Some(count);
            config.rate_limit_period = Some(period.to_owned());
        }
        if let Some((auth_type, auth)) = self.auth.written()? {
            config.auth_type = Some(auth_type.to_owned());
            config.auth = Some(auth);
        }
        Ok(())
    }
}

/// `10/second`; a bare number is per second.
fn rate(text: &str) -> Result<(u32, &str), Failure> {
    let (count, period) = text.split_once('/').unwrap_or((text, "second"));
    let wrong = |_| {
        Failure::usage(
            format!("--rate-limit {text} has no number before the slash"),
            "give `10/second`, `600/minute` or `5000/hour`".to_owned(),
        )
    };
    Ok((count.trim().parse().map_err(wrong)?, period.trim()))
}

const fn handlers_shown(config: &DestinationConfig) -> &'static str {
    if config.reports_outcome {
        "tell what came of the work"
    } else {
        "need not report"
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

    fn row(message: &Destination) -> Vec<String> {
        let config = message.config.clone().unwrap_or_default();
        vec![
            message.id.clone(),
            message.name.clone(),
            status(message).to_owned(),
            config.url,
            destination_auth::described(message),
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
            ("url", config.url.clone()),
            ("method", config.http_method.clone()),
            ("path forwarding", forwarding.to_owned()),
            ("auth", destination_auth::described(message)),
            ("timeout", or_default(config.timeout_ms, " ms")),
            ("at once", or_default(config.max_in_flight, " deliveries")),
            ("rate", rate_shown(&config)),
            ("handlers", handlers_shown(&config).to_owned()),
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

fn rate_shown(config: &v1::DestinationConfig) -> String {
    let period = match config.rate_limit_period() {
        RateLimitPeriod::Unspecified | RateLimitPeriod::Second => "second",
        RateLimitPeriod::Minute => "minute",
        RateLimitPeriod::Hour => "hour",
    };
    or_default(config.rate_limit, &format!(" per {period}"))
}
