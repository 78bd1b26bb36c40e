//! OAuth2 tokens for receivers that want them: fetched by client credentials, kept
//! until shortly before they expire.
//!
//! One fetch at a time per destination, under the same address policy as
//! deliveries. Invariants: a token belongs to one version of its destination; it
//! is never logged and never stands in a message; what the token endpoint says
//! in a refusal is not passed on, because it may repeat what it was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::send::{NoAnswer, Sender};
use crate::clock::Clock;
use crate::config::{ClientCredentials, Configuration, Destination};

/// The longest wait for the token endpoint, within the time of the delivery.
const FETCH: Duration = Duration::from_secs(10);
/// Assumed when the endpoint does not say how long a token lasts.
const LIFE: u64 = 300_000;
/// A token is not used in its last tenth, or in its last minute.
const MARGIN: u64 = 60_000;
const LONGEST: usize = 16_384;

pub(super) type Token = Arc<Zeroizing<String>>;

/// Tokens by destination. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tokens {
    places: Arc<Mutex<HashMap<String, Arc<Place>>>>,
}

/// Of one version of a destination. Held locked over a fetch, so that it is made once.
struct Place {
    version: u64,
    held: AsyncMutex<Option<Held>>,
}

struct Held {
    token: Token,
    /// Unix milliseconds; not used from then on.
    until: u64,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    /// Seconds.
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Tokens {
    /// A token that is good now; `refused` is one that the receiver no longer takes.
    pub(super) async fn token(
        &self,
        to: &Destination,
        credentials: &ClientCredentials,
        sender: &Sender,
        clock: &dyn Clock,
        refused: Option<&Token>,
    ) -> Result<Token, NoAnswer> {
        let place = self.place(to);
        let mut held = place.held.lock().await;
        let now = clock.now_millis();
        if let Some(known) = held.as_ref() {
            let stale = refused.is_some_and(|refused| Arc::ptr_eq(refused, &known.token));
            if now < known.until && !stale {
                return Ok(Arc::clone(&known.token));
            }
        }
        *held = None;
        let answer = tokio::time::timeout(FETCH, fetch(to, credentials, sender))
            .await
            .unwrap_or_else(|_| Err(unfetched("the token endpoint did not answer in time")))?;
        let life = answer.expires_in.map_or(LIFE, |seconds| {
            (seconds.clamp(0.0, 31_536_000.0) * 1_000.0) as u64
        });
        let token = Arc::new(Zeroizing::new(answer.access_token));
        *held = Some(Held {
            token: Arc::clone(&token),
            until: now + life - (life / 10).min(MARGIN),
        });
        Ok(token)
    }

    /// Forgets destinations that are configured no more.
    pub(super) fn forget_missing(&self, configuration: &Configuration) {
        self.lock()
            .retain(|id, _| configuration.destinations.contains_key(id));
    }

    fn place(&self, to: &Destination) -> Arc<Place> {
        let fresh = || {
            Arc::new(Place {
                version: to.version,
                held: AsyncMutex::default(),
            })
        };
        let mut places = self.lock();
        let place = places.entry(to.id.clone()).or_insert_with(fresh);
        if place.version != to.version {
            *place = fresh();
        }
        Arc::clone(place)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(
    to: &Destination,
    credentials: &ClientCredentials,
    sender: &Sender,
) -> Result<Answer, NoAnswer> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    if !credentials.in_body {
        headers.insert(AUTHORIZATION, basic(credentials));
    }
    let body = Bytes::from(form(credentials));
    let uri = credentials.token_url.clone();
    let answer = sender
        .exchange(None, Method::POST, uri, headers, body)
        .await
        .map_err(|none| NoAnswer {
            // A refused address stays refused; all else may pass.
            permanent: none.permanent,
            ..unfetched(&format!("the token endpoint: {}", none.message))
        })?;
    if !answer.status.is_success() {
        let status = answer.status.as_u16();
        tracing::warn!(destination.id = to.id, status, "a token is refused");
        return Err(unfetched(&format!("the token endpoint answered {status}")));
    }
    let parsed: Option<Answer> = serde_json::from_slice(&answer.body).ok();
    let usable = |answer: &Answer| {
        let bearer = answer.token_type.as_deref().unwrap_or("bearer");
        let token = answer.access_token.as_str();
        bearer.eq_ignore_ascii_case("bearer")
            && !token.is_empty()
            && token.len() <= LONGEST
            && HeaderValue::from_str(token).is_ok()
    };
    parsed
        .filter(usable)
        .ok_or_else(|| unfetched("the token endpoint answered without a usable bearer token"))
}

fn form(credentials: &ClientCredentials) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [
        ("scope", &credentials.scope),
        ("audience", &credentials.audience),
    ] {
        if !value.is_empty() {
            form.append_pair(name, value);
        }
    }
    if credentials.in_body {
        form.append_pair("client_id", &credentials.client_id);
        form.append_pair("client_secret", &credentials.client_secret);
    }
    form.finish()
}

/// Both parts are form-encoded first (RFC 6749, section 2.3.1).
fn basic(credentials: &ClientCredentials) -> HeaderValue {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let id = encoded(&credentials.client_id);
    let secret = Zeroizing::new(encoded(&credentials.client_secret));
    let pair = Zeroizing::new(format!("{id}:{}", *secret));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&*pair)))
        .expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

fn unfetched(message: &str) -> NoAnswer {
    NoAnswer {
        code: "token_unavailable",
        message: message.to_owned(),
        permanent: false,
    }
}
