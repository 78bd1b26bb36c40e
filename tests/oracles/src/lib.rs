//! Independent signing libraries as oracles for `hookplane-signature`.
//!
//! A crate of its own, so that ordinary builds compile none of them.

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use hookplane_signature::{AuthSpec, Inbound, Provider, Verifier, generate_secret, sign};

    const BODY: &[u8] = r#"{"type":"user.created","data":{"id":"user_1","note":"ünï"}}"#.as_bytes();

    fn now() -> i64 {
        time::UtcDateTime::now().unix_timestamp()
    }

    fn verify(provider: Provider, secret: &str, headers: &[(&str, String)]) -> bool {
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        Verifier::new(
            provider,
            AuthSpec::Provider {
                secrets: vec![secret.to_owned()],
            },
            300,
        )
        .expect("a generated secret is valid")
        .verify(
            &Inbound {
                headers: &headers,
                body: BODY,
            },
            now(),
        )
        .is_ok()
    }

    fn header_map(headers: Vec<(String, String)>) -> http::HeaderMap {
        headers
            .into_iter()
            .map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn what_svix_signs_verifies_here_and_the_other_way_round() {
        let secret = generate_secret([42; 32]);
        let theirs = svix::webhooks::Webhook::new(&secret).unwrap();
        let at = now();
        let signature = theirs.sign("msg_oracle", at, BODY).unwrap();
        let headers = [
            ("svix-id", "msg_oracle".to_owned()),
            ("svix-timestamp", at.to_string()),
            ("svix-signature", signature),
        ];
        assert!(
            verify(Provider::Clerk, &secret, &headers),
            "we refuse what svix signed"
        );
        let ours = sign(Provider::Svix, &secret, "msg_oracle", at, BODY).unwrap();
        theirs
            .verify(BODY, &header_map(ours))
            .expect("svix refuses what we signed");
    }

    #[test]
    fn what_standardwebhooks_signs_verifies_here_and_the_other_way_round() {
        let secret = generate_secret([43; 32]);
        let theirs = standardwebhooks::Webhook::new(&secret).unwrap();
        let at = now();
        let signature = theirs.sign("msg_oracle", at, BODY).unwrap();
        let headers = [
            ("webhook-id", "msg_oracle".to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature),
        ];
        assert!(
            verify(Provider::StandardWebhooks, &secret, &headers),
            "we refuse theirs"
        );
        let ours = sign(Provider::StandardWebhooks, &secret, "msg_oracle", at, BODY).unwrap();
        theirs
            .verify(BODY, &header_map(ours))
            .expect("standardwebhooks refuses ours");
    }

    #[test]
    fn generated_secrets_are_whsec_and_base64() {
        let secret = generate_secret([1; 32]);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        assert_eq!(bytes, [1; 32]);
    }
}
