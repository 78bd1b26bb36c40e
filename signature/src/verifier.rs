//! The verifier of one source: keys prepared once, requests judged many times.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::auth::{Algorithm, AuthSpec, HmacSpec, InvalidAuth};
use crate::headers::HeaderView;
use crate::provider::{Provider, SchemeKind};
use crate::refusal::Refusal;
use crate::scheme::body::BodyScheme;
use crate::scheme::{HmacKey, credentials, slack, standard, stripe};
use crate::secret;
use crate::term::{Term, Timed};

/// Most secrets a source can have at once.
const MAX_SECRETS: usize = 10;

/// Judges the requests of one source. Cloning is cheap.
#[derive(Clone)]
pub struct Verifier {
    provider: Provider,
    scheme: Arc<Scheme>,
    tolerance_seconds: u32,
    suspects: Arc<Suspects>,
}

/// Keys that nothing is believed by: a diagnosis tests them.
#[derive(Default)]
struct Suspects {
    /// The same without terms, where there are some.
    timeless: Option<Arc<Scheme>>,
    /// Of the texts of secrets that stand for other bytes.
    undecoded: Option<Arc<Scheme>>,
}

/// The parts of a request that a signature covers.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    pub headers: &'a dyn HeaderView,
    /// As received, before any decoding.
    pub body: &'a [u8],
}

/// A request that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Scheme, version and secret, `clerk v1 secret 1 of 2`; `None` where nothing is demanded.
    pub verified_by: Option<String>,
    /// Number of the secret that matched; `None` for one without a number.
    pub secret_version: Option<u32>,
    /// What to answer instead of the usual, when the sender checks the address.
    pub challenge: Option<Challenge>,
}

/// An answer that proves to the sender that the address is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub content_type: String,
    pub body: Vec<u8>,
}

enum Scheme {
    Open,
    Basic {
        username: String,
        password: Zeroizing<String>,
    },
    ApiKey {
        header: String,
        key: Zeroizing<String>,
    },
    Body(BodyScheme),
    Standard(Vec<Timed<standard::Key>>),
    Stripe(Vec<Timed<HmacKey>>),
    Slack(Vec<Timed<HmacKey>>),
}

impl Verifier {
    /// Prepares the keys. `tolerance_seconds` is the allowed clock difference, either way.
    ///
    /// # Errors
    /// [`InvalidAuth`] names the field below `config.auth` and says what would be right.
    pub fn new(
        provider: Provider,
        auth: AuthSpec,
        tolerance_seconds: u32,
    ) -> Result<Self, InvalidAuth> {
        Self::with_terms(provider, auth, tolerance_seconds, &[])
    }

    /// Prepares the keys, each with its term, in the order of the secrets. Schemes
    /// without a list of secrets have none.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_terms(
        provider: Provider,
        auth: AuthSpec,
        tolerance_seconds: u32,
        terms: &[Term],
    ) -> Result<Self, InvalidAuth> {
        let mut scheme = prepare(provider, &auth)?;
        let has_terms = terms.iter().any(|term| !term.is_always());
        let timeless = has_terms.then(|| prepare(provider, &auth)).transpose()?;
        let undecoded = undecoded(&scheme, &auth);
        scheme.set_terms(terms);
        Ok(Self {
            provider,
            scheme: Arc::new(scheme),
            tolerance_seconds,
            suspects: Arc::new(Suspects {
                timeless: timeless.map(Arc::new),
                undecoded: undecoded.map(Arc::new),
            }),
        })
    }

    /// Whether everybody is believed.
    pub(crate) fn demands_nothing(&self) -> bool {
        matches!(*self.scheme, Scheme::Open)
    }

    /// One that believes every secret, also one that is not in force. For diagnoses.
    pub(crate) fn without_terms(&self) -> Option<Self> {
        self.with(self.suspects.timeless.as_ref())
    }

    /// One that takes the text of a secret for its bytes. For diagnoses.
    pub(crate) fn with_undecoded_secrets(&self) -> Option<Self> {
        self.with(self.suspects.undecoded.as_ref())
    }

    fn with(&self, scheme: Option<&Arc<Scheme>>) -> Option<Self> {
        scheme.map(|scheme| Self {
            scheme: Arc::clone(scheme),
            ..self.clone()
        })
    }

    /// Names of headers that carry a shared credential as it is, as configured. A signature
    /// is none: it proves one body and may be kept and passed on.
    pub fn credential_headers(&self) -> impl Iterator<Item = &str> {
        let name = match &*self.scheme {
            Scheme::Basic { .. } => Some("authorization"),
            Scheme::ApiKey { header, .. } => Some(header.as_str()),
            Scheme::Open
            | Scheme::Body(_)
            | Scheme::Standard(_)
            | Scheme::Stripe(_)
            | Scheme::Slack(_) => None,
        };
        name.into_iter()
    }

    /// Judges one request at a given Unix time in seconds.
    ///
    /// # Errors
    /// [`Refusal`] with the reason and a text for operators, not for the sender.
    pub fn verify(&self, inbound: &Inbound<'_>, now_seconds: i64) -> Result<Verdict, Refusal> {
        let Inbound { headers, body } = *inbound;
        let tolerance = self.tolerance_seconds;
        let label = self.provider.row().label;
        // What matched, and the place of the secret where there can be several.
        let (verified_by, place) = match &*self.scheme {
            Scheme::Open => (None, None),
            Scheme::Basic { username, password } => {
                credentials::basic(username, password, headers)?;
                (Some("basic".to_owned()), None)
            }
            Scheme::ApiKey { header, key } => {
                credentials::api_key(header, key, headers)?;
                (Some(format!("api key in {header}")), None)
            }
            Scheme::Body(scheme) => {
                let place = scheme.verify(headers, body, now_seconds)?;
                let by = matched(format_args!("{label} hmac"), place, scheme.keys.len());
                (Some(by), Some(place))
            }
            Scheme::Standard(keys) => {
                let found = standard::verify(keys, headers, body, now_seconds, tolerance)?;
                let scheme = format_args!("{label} {}", found.version);
                let by = matched(scheme, found.secret, keys.len());
                (Some(by), Some(found.secret))
            }
            Scheme::Stripe(keys) => {
                let place = stripe::verify(keys, headers, body, now_seconds, tolerance)?;
                (
                    Some(matched(format_args!("stripe v1"), place, keys.len())),
                    Some(place),
                )
            }
            Scheme::Slack(keys) => {
                let place = slack::verify(keys, headers, body, now_seconds, tolerance)?;
                (
                    Some(matched(format_args!("slack v0"), place, keys.len())),
                    Some(place),
                )
            }
        };
        let challenge = match &*self.scheme {
            Scheme::Slack(_) => slack::challenge(body).map(|text| Challenge {
                content_type: "text/plain".into(),
                body: text.into(),
            }),
            _ => None,
        };
        let version = place.and_then(|place| self.scheme.version(place));
        Ok(Verdict {
            verified_by,
            secret_version: version,
            challenge,
        })
    }
}

impl Scheme {
    fn set_terms(&mut self, terms: &[Term]) {
        fn set<K>(keys: &mut [Timed<K>], terms: &[Term]) {
            for (key, term) in keys.iter_mut().zip(terms) {
                key.term = *term;
            }
        }
        match self {
            Self::Open | Self::Basic { .. } | Self::ApiKey { .. } => {}
            Self::Body(scheme) => set(&mut scheme.keys, terms),
            Self::Standard(keys) => set(keys, terms),
            Self::Stripe(keys) | Self::Slack(keys) => set(keys, terms),
        }
    }

    /// Number of the secret at a place.
    fn version(&self, place: usize) -> Option<u32> {
        let term = match self {
            Self::Open | Self::Basic { .. } | Self::ApiKey { .. } => None,
            Self::Body(scheme) => scheme.keys.get(place).map(|key| key.term),
            Self::Standard(keys) => keys.get(place).map(|key| key.term),
            Self::Stripe(keys) | Self::Slack(keys) => keys.get(place).map(|key| key.term),
        };
        term.map(|term| term.version).filter(|version| *version > 0)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = match &*self.scheme {
            Scheme::Open => 0,
            Scheme::Basic { .. } | Scheme::ApiKey { .. } => 1,
            Scheme::Body(scheme) => scheme.keys.len(),
            Scheme::Standard(keys) => keys.len(),
            Scheme::Stripe(keys) | Scheme::Slack(keys) => keys.len(),
        };
        write!(
            f,
            "Verifier({}, {secrets} secrets, ±{} s)",
            self.provider, self.tolerance_seconds
        )
    }
}

fn matched(scheme: fmt::Arguments<'_>, place: usize, of: usize) -> String {
    format!("{scheme} secret {} of {of}", place + 1)
}

fn prepare(provider: Provider, auth: &AuthSpec) -> Result<Scheme, InvalidAuth> {
    match auth {
        AuthSpec::None if provider == Provider::Webhook => Ok(Scheme::Open),
        AuthSpec::None => Err(InvalidAuth::new(
            "",
            "auth_missing",
            format!(
                "a {provider} source verifies its sender: give `auth_type` PROVIDER_SIGNATURE and `auth.webhook_signing_secret`"
            ),
        )),
        AuthSpec::Basic { username, password } => {
            if username.is_empty() || username.contains(':') {
                return Err(InvalidAuth::new(
                    "username",
                    "username_invalid",
                    "a user name is needed, without a colon",
                ));
            }
            if password.is_empty() {
                return Err(InvalidAuth::new(
                    "password",
                    "secret_empty",
                    "a password is needed",
                ));
            }
            Ok(Scheme::Basic {
                username: username.clone(),
                password: Zeroizing::new(password.clone()),
            })
        }
        AuthSpec::ApiKey { header, key } => {
            header_name("header", header)?;
            secret::text("api_key", key)?;
            Ok(Scheme::ApiKey {
                header: header.to_ascii_lowercase(),
                key: Zeroizing::new(key.clone()),
            })
        }
        AuthSpec::Hmac(spec) => own_hmac(spec),
        AuthSpec::Provider { secrets } => of_provider(provider, secrets),
    }
}

/// Keys of a sender that forgot to decode the secret, with and without its prefix.
fn undecoded(scheme: &Scheme, auth: &AuthSpec) -> Option<Scheme> {
    let (Scheme::Standard(_), AuthSpec::Provider { secrets }) = (scheme, auth) else {
        return None;
    };
    let texts = secrets.iter().flat_map(|text| {
        let rest = text.strip_prefix("whsec_");
        [Some(text.as_str()), rest].into_iter().flatten()
    });
    let key = |text: &str| standard::Key::V1(Box::new(HmacKey::sha256(text.as_bytes())));
    Some(Scheme::Standard(
        texts.map(|text| Timed::always(key(text))).collect(),
    ))
}

fn own_hmac(spec: &HmacSpec) -> Result<Scheme, InvalidAuth> {
    header_name("signature_header", &spec.header)?;
    let key = secret::text("secret", &spec.secret)?;
    Ok(Scheme::Body(BodyScheme {
        header: spec.header.to_ascii_lowercase(),
        prefix: spec.prefix.clone(),
        encoding: spec.encoding,
        keys: vec![Timed::always(HmacKey::new(spec.algorithm, key))],
    }))
}

fn of_provider(provider: Provider, secrets: &[String]) -> Result<Scheme, InvalidAuth> {
    if secrets.is_empty() {
        return Err(InvalidAuth::new(
            "webhook_signing_secret",
            "secret_missing",
            format!("a {provider} source needs the signing secret that the provider shows"),
        ));
    }
    if secrets.len() > MAX_SECRETS {
        return Err(InvalidAuth::new(
            "webhook_signing_secrets",
            "secrets_too_many",
            format!(
                "{} secrets are given; {MAX_SECRETS} are allowed",
                secrets.len()
            ),
        ));
    }
    match &provider.row().scheme {
        SchemeKind::AsConfigured => Err(InvalidAuth::new(
            "provider",
            "provider_unsupported",
            "a WEBHOOK source has no signature of its own; use auth_type HMAC, API_KEY or BASIC_AUTH, or choose the provider's type",
        )),
        SchemeKind::Standard => {
            let public_keys = provider != Provider::Clerk;
            let keys = each(secrets, |field, text| {
                standard::Key::parse(field, text, public_keys).map(Timed::always)
            })?;
            Ok(Scheme::Standard(keys))
        }
        SchemeKind::Body {
            header,
            prefix,
            encoding,
        } => Ok(Scheme::Body(BodyScheme {
            header: (*header).to_owned(),
            prefix: (*prefix).to_owned(),
            encoding: *encoding,
            keys: raw_keys(secrets)?,
        })),
        SchemeKind::Stripe => Ok(Scheme::Stripe(raw_keys(secrets)?)),
        SchemeKind::Slack => Ok(Scheme::Slack(raw_keys(secrets)?)),
    }
}

fn raw_keys(secrets: &[String]) -> Result<Vec<Timed<HmacKey>>, InvalidAuth> {
    each(secrets, |field, text| {
        let key = HmacKey::new(Algorithm::Sha256, secret::text(field, text)?);
        Ok(Timed::always(key))
    })
}

/// Names the single secret and the members of a list as callers wrote them.
fn each<T>(
    secrets: &[String],
    parse: impl Fn(&str, &str) -> Result<T, InvalidAuth>,
) -> Result<Vec<T>, InvalidAuth> {
    let one = secrets.len() == 1;
    secrets
        .iter()
        .enumerate()
        .map(|(place, text)| {
            let field = if one {
                "webhook_signing_secret".to_owned()
            } else {
                format!("webhook_signing_secrets[{place}]")
            };
            parse(&field, text)
        })
        .collect()
}

fn header_name(field: &str, name: &str) -> Result<(), InvalidAuth> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
        return Err(InvalidAuth::new(
            field,
            "header_invalid",
            "a header name of 1 to 128 letters, digits and hyphens is needed",
        ));
    }
    Ok(())
}
