//! Where samples go and how they are signed: by flags, by a source, by the demo.

use hookplane_client::v1::source_auth::Scheme;
use hookplane_client::v1::{self, HmacAlgorithm, SignatureEncoding, Source};
use hookplane_signature::{Algorithm, Encoding, HmacSpec, Provider};

use super::SendArgs;
use crate::failure::Failure;
use crate::resources::{Sources, resolve, secret};
use crate::session::{DemoFile, SessionArgs, demo_file, read_json};

/// Who is imitated, where it sends, how it signs.
pub(super) struct Target {
    pub(super) provider: Provider,
    pub(super) url: String,
    pub(super) signing: Signing,
}

/// How a sample proves where it comes from.
pub(super) enum Signing {
    /// Not at all; headers of the flags may do it.
    None,
    /// As the provider does.
    Provider(String),
    /// A source's own HMAC.
    Hmac(HmacSpec),
}

impl Target {
    pub(super) async fn find(args: &SendArgs, session: &SessionArgs) -> Result<Self, Failure> {
        let demo = read_json::<DemoFile>(&demo_file(&session.data_dir));
        let given = args.secret.as_deref().map(secret).transpose()?;
        if let Some(url) = &args.url {
            let of_demo = demo
                .filter(|demo| url.starts_with(&demo.url))
                .map(|demo| demo.secret);
            return Self::at(args.kind, url.clone(), given.or(of_demo));
        }
        if let Some(name) = &args.source {
            let source = resolve::<Sources>(&session.connect()?, name).await?;
            let of_demo = demo
                .filter(|demo| demo.source_id == source.id)
                .map(|demo| demo.secret);
            return Self::of_source(args, &source, given.or(of_demo));
        }
        match demo {
            Some(demo) => match args.kind.unwrap_or(Provider::Clerk) {
                kind @ (Provider::Clerk | Provider::Svix) => {
                    Self::at(Some(kind), demo.url, given.or(Some(demo.secret)))
                }
                other => Err(Failure::usage(
                    format!("the demo's source takes CLERK, not {other}"),
                    format!(
                        "make one with `hookplane sources create --type {other} …`, and name it with --source"
                    ),
                )),
            },
            None => Err(Failure::usage(
                "no target is given",
                "give --source, or --url with --secret, or start `hookplane dev --demo`",
            )),
        }
    }

    fn at(kind: Option<Provider>, url: String, secret: Option<String>) -> Result<Self, Failure> {
        let provider = kind.unwrap_or(Provider::Clerk);
        let signing = match (provider, secret) {
            (Provider::Webhook, _) => Signing::None,
            (_, Some(secret)) => Signing::Provider(secret),
            (_, None) => return Err(no_secret(provider)),
        };
        Ok(Self {
            provider,
            url,
            signing,
        })
    }

    fn of_source(
        args: &SendArgs,
        source: &Source,
        secret: Option<String>,
    ) -> Result<Self, Failure> {
        let provider = args.kind.unwrap_or_else(|| provider_of(source));
        let scheme = source
            .config
            .as_ref()
            .and_then(|config| config.auth.as_ref())
            .and_then(|auth| auth.scheme.as_ref());
        let signing = match (scheme, secret) {
            (Some(Scheme::Hmac(hmac)), Some(secret)) => Signing::Hmac(own_hmac(hmac, secret)),
            (Some(Scheme::Hmac(_)), None) => return Err(no_secret(provider)),
            (None | Some(Scheme::None(_) | Scheme::Basic(_) | Scheme::ApiKey(_)), _) => {
                Signing::None
            }
            (Some(Scheme::ProviderSignature(_)), Some(secret)) => Signing::Provider(secret),
            (Some(Scheme::ProviderSignature(_)), None) => return Err(no_secret(provider)),
        };
        Ok(Self {
            provider,
            url: source.url.clone(),
            signing,
        })
    }
}

fn no_secret(provider: Provider) -> Failure {
    Failure::usage(
        format!("a {provider} webhook is signed, and no secret is given"),
        "give the source's signing secret with --secret or HOOKPLANE_WEBHOOK_SECRET; stored secrets cannot be read back",
    )
}

fn provider_of(source: &Source) -> Provider {
    let name = source.r#type().as_str_name();
    name.trim_start_matches("SOURCE_TYPE_")
        .parse()
        .unwrap_or(Provider::Webhook)
}

fn own_hmac(hmac: &v1::HmacAuth, secret: String) -> HmacSpec {
    HmacSpec {
        header: hmac.signature_header.clone(),
        secret,
        algorithm: match hmac.algorithm() {
            HmacAlgorithm::Sha1 => Algorithm::Sha1,
            HmacAlgorithm::Sha512 => Algorithm::Sha512,
            HmacAlgorithm::Sha256 | HmacAlgorithm::Unspecified => Algorithm::Sha256,
        },
        encoding: match hmac.encoding() {
            SignatureEncoding::Base64 => Encoding::Base64,
            SignatureEncoding::Hex | SignatureEncoding::Unspecified => Encoding::Hex,
        },
        prefix: hmac.prefix.clone(),
    }
}
