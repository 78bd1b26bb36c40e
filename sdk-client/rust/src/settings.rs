//! Where the control plane is, who calls, and how long to wait.
//!
//! Refuses to read files or the environment: values come from the caller.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// How to reach a control plane.
#[derive(Clone)]
pub struct Settings {
    /// `https://host:port`; `http://` for loopback addresses.
    pub api_url: String,
    /// `hpk_…`
    pub api_key: String,
    /// PEM of the authority that signed the server's certificate; the public ones when absent.
    pub ca: Option<Vec<u8>>,
    /// Allows `http://` to another machine, where the key can be read on the way.
    pub insecure: bool,
    pub connect_timeout: Duration,
    /// Of a unary call, and of the first answer of a stream.
    pub request_timeout: Duration,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSettings {
    #[error("the API key is empty; give one that starts with `hpk_`")]
    KeyMissing,
    #[error("the API key holds characters that no key has; copy it without line ends")]
    KeyMalformed,
    #[error("`{0}` is not the URL of an API; `https://host:port` is one")]
    Url(String),
    #[error("`{0}` would send the API key unencrypted to another machine; use https://")]
    PlainText(String),
    #[error("the authority's certificate cannot be used: {0}")]
    Authority(String),
}

impl Settings {
    /// Settings with a connect timeout of 5 s and a call timeout of 30 s.
    #[must_use]
    pub fn new(api_url: impl Into<String>, api_key: impl Into<String>) -> Self {
        Self {
            api_url: api_url.into(),
            api_key: api_key.into(),
            ca: None,
            insecure: false,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, InvalidSettings> {
        let wrong = || InvalidSettings::Url(self.api_url.clone());
        let uri: Uri = self.api_url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.insecure || is_loopback(&host) => false,
            Some("http") => return Err(InvalidSettings::PlainText(self.api_url.clone())),
            _ => return Err(wrong()),
        };
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .timeout(self.request_timeout)
            .tcp_nodelay(true)
            // A tail may be silent for hours; a dead peer must still be noticed.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        if secure {
            let tls = match &self.ca {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_webpki_roots(),
            };
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| InvalidSettings::Authority(error.to_string()))?;
        }
        Ok(endpoint)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({}, key redacted)", self.api_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, InvalidSettings> {
        Settings::new(url, "hpk_x").endpoint()
    }

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(endpoint(url).is_ok(), "{url} is loopback");
        }
        let refused = endpoint("http://api.example.com:8080").unwrap_err();
        assert!(
            matches!(refused, InvalidSettings::PlainText(_)),
            "{refused}"
        );
        let mut asked = Settings::new("http://api.example.com:8080", "hpk_x");
        asked.insecure = true;
        assert!(asked.endpoint().is_ok(), "the caller asked for it");
    }

    #[test]
    fn https_is_prepared_with_the_public_authorities() {
        assert!(endpoint("https://api.example.com").is_ok());
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for url in ["", "127.0.0.1:8080", "ftp://host", "/v1"] {
            let refused = endpoint(url).unwrap_err();
            assert!(
                refused.to_string().contains("https://host:port"),
                "{url}: {refused}"
            );
        }
    }

    #[test]
    fn settings_print_no_key() {
        let text = format!("{:?}", Settings::new("http://127.0.0.1:1", "hpk_secret"));
        assert!(!text.contains("hpk_secret"), "{text}");
    }
}
