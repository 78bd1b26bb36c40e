//! What callers rely on beyond the vectors: secrets, own schemes, identification, no panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use hookplane_signature::{
    Algorithm, AuthSpec, Encoding, HmacSpec, Inbound, Provider, Term, Verifier, event_type,
    generate_secret, hmac_header, hookplane_signature, message_id, sign,
};
use proptest::prelude::*;
use serde_json::{Value, json};

type Headers = Vec<(String, String)>;

fn provider_auth(secret: &str) -> AuthSpec {
    AuthSpec::Provider {
        secrets: vec![secret.to_owned()],
    }
}

#[test]
fn only_shared_credentials_are_named_as_such_signatures_are_not() {
    let named = |provider, auth| {
        let verifier = Verifier::new(provider, auth, 300).unwrap();
        let names: Vec<String> = verifier.credential_headers().map(str::to_owned).collect();
        names
    };
    let key = AuthSpec::ApiKey {
        header: "X-Key".into(),
        key: "a-key-0123456789".into(),
    };
    let basic = AuthSpec::Basic {
        username: "u".into(),
        password: "a-password-0".into(),
    };
    let hmac = AuthSpec::Hmac(HmacSpec {
        header: "x-signature".into(),
        secret: "a-secret-0123456789".into(),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Hex,
        prefix: String::new(),
    });
    let signed = provider_auth(&generate_secret([1; 32]));
    assert_eq!(named(Provider::Webhook, key), ["x-key"]);
    assert_eq!(named(Provider::Webhook, basic), ["authorization"]);
    assert!(named(Provider::Webhook, hmac).is_empty());
    assert!(named(Provider::Webhook, AuthSpec::None).is_empty());
    assert!(named(Provider::Clerk, signed).is_empty());
}

#[test]
fn secrets_that_cannot_work_are_refused_with_field_and_reason() {
    let cases = [
        ("", "secret_empty"),
        ("whsec_", "secret_too_short"),
        ("whsec_%%%", "secret_not_base64"),
        ("sk_test_abcdefghijklmnop", "secret_prefix"),
        ("hwsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret_prefix"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret_prefix"),
        (
            "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
            "secret_prefix",
        ),
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
            "secret_whitespace",
        ),
        ("whsec_AAAA", "secret_too_short"),
    ];
    for (secret, reason) in cases {
        let error = Verifier::new(Provider::Clerk, provider_auth(secret), 300)
            .expect_err("this secret cannot work");
        assert_eq!(error.reason, reason, "{secret:?}: {error}");
        assert_eq!(error.field, "webhook_signing_secret");
        assert!(
            secret.len() < 8 || !error.message.contains(secret),
            "the message repeats a secret"
        );
    }
    let two = AuthSpec::Provider {
        secrets: vec![generate_secret([7; 32]), "nope".into()],
    };
    let error = Verifier::new(Provider::Clerk, two, 300).expect_err("the second is no secret");
    assert_eq!(error.field, "webhook_signing_secrets[1]");
}

#[test]
fn unpadded_secrets_work_as_padded_ones_do() {
    let padded = generate_secret([9; 32]);
    let unpadded = padded.trim_end_matches('=').to_owned();
    assert_ne!(padded, unpadded, "this secret has padding");
    let headers = sign(Provider::Clerk, &padded, "msg_1", 1_000, b"{}").unwrap();
    let verifier = Verifier::new(Provider::Clerk, provider_auth(&unpadded), 300).unwrap();
    let verdict = verifier.verify(
        &Inbound {
            headers: &headers,
            body: b"{}",
        },
        1_000,
    );
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[test]
fn every_type_but_webhook_demands_a_secret() {
    for provider in Provider::ALL {
        let open = Verifier::new(provider, AuthSpec::None, 300);
        assert_eq!(
            open.is_ok(),
            provider == Provider::Webhook,
            "{provider}: {open:?}"
        );
    }
}

#[test]
fn own_schemes_believe_the_right_sender_only() {
    let basic = AuthSpec::Basic {
        username: "u".into(),
        password: "p".into(),
    };
    assert_judges(
        basic,
        "authorization",
        "Basic dTpw",
        "Basic dTp4",
        "credentials_wrong",
    );
    let key = AuthSpec::ApiKey {
        header: "X-Key".into(),
        key: "k1".into(),
    };
    assert_judges(key, "x-key", "k1", "k2", "credentials_wrong");
    // RFC 2202 and RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?".
    let vectors = [
        (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            Algorithm::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            Algorithm::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (algorithm, tag) in vectors {
        let spec = HmacSpec {
            header: "X-Sig".into(),
            secret: "Jefe".into(),
            algorithm,
            encoding: Encoding::Hex,
            prefix: "h=".into(),
        };
        let signed = hmac_header(&spec, b"what do ya want for nothing?");
        assert_eq!(signed, ("X-Sig".to_owned(), format!("h={tag}")));
        assert_judges(
            AuthSpec::Hmac(spec),
            "x-sig",
            &format!("h={tag}"),
            "h=00",
            "signature_mismatch",
        );
    }
}

fn assert_judges(spec: AuthSpec, header: &str, good: &str, bad: &str, reason: &str) {
    let name = format!("{spec:?}");
    let verifier = Verifier::new(Provider::Webhook, spec, 300).expect("the demand is valid");
    let judge = |value: Option<&str>| {
        let headers: Headers = value
            .map(|value| (header.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        verifier.verify(
            &Inbound {
                headers: &headers,
                body: b"what do ya want for nothing?",
            },
            0,
        )
    };
    assert!(judge(Some(good)).is_ok(), "{name} refuses the right sender");
    assert_eq!(
        judge(Some(bad)).unwrap_err().reason.as_str(),
        reason,
        "{name}"
    );
    assert!(
        judge(None).is_err(),
        "{name} believes a request without credentials"
    );
}

#[test]
fn a_signed_slack_challenge_is_answered_and_an_unsigned_one_refused() {
    let body = br#"{"type":"url_verification","challenge":"3eZbrw1aB"}"#;
    let verifier = Verifier::new(Provider::Slack, provider_auth("slack-secret"), 300).unwrap();
    let headers = sign(Provider::Slack, "slack-secret", "", 50, body).unwrap();
    let verdict = verifier
        .verify(
            &Inbound {
                headers: &headers,
                body,
            },
            50,
        )
        .unwrap();
    assert_eq!(
        verdict
            .challenge
            .expect("a challenge asks for an answer")
            .body,
        b"3eZbrw1aB"
    );
    let none: Headers = Vec::new();
    assert!(
        verifier
            .verify(
                &Inbound {
                    headers: &none,
                    body
                },
                50
            )
            .is_err()
    );
}

#[test]
fn message_id_and_event_type_are_read_where_each_provider_tells_them() {
    let headers: Headers = [
        ("Svix-Id", "msg_1"),
        ("X-GitHub-Delivery", "d-1"),
        ("X-GitHub-Event", "push"),
        ("X-Shopify-Webhook-Id", "w-1"),
        ("X-Shopify-Topic", "orders/create"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let body = json!({
        "id": "evt_1", "type": "user.created", "event_id": "Ev1", "event": {"type": "message"},
    });
    let expected = [
        (Provider::Clerk, Some("msg_1"), Some("user.created")),
        (Provider::Github, Some("d-1"), Some("push")),
        (Provider::Stripe, Some("evt_1"), Some("user.created")),
        (Provider::Shopify, Some("w-1"), Some("orders/create")),
        (Provider::Slack, Some("Ev1"), Some("message")),
        (Provider::Webhook, None, Some("user.created")),
    ];
    for (provider, id, kind) in expected {
        assert_eq!(
            message_id(provider, &headers, Some(&body)).as_deref(),
            id,
            "{provider}"
        );
        assert_eq!(
            event_type(provider, &headers, Some(&body)).as_deref(),
            kind,
            "{provider}"
        );
    }
}

#[test]
fn the_first_path_that_holds_a_text_tells_the_type() {
    let long = "x".repeat(129);
    for (body, expected) in [
        (json!({"event": {"type": "b"}, "type": "a"}), Some("b")),
        (json!({"event": {"type": ""}, "type": "a"}), Some("a")),
        (
            json!({"event": {"type": {"type": "b"}}, "type": "a"}),
            Some("a"),
        ),
        (json!({"event": 7, "type": "a"}), Some("a")),
        (json!({"event": {"type": long}, "type": "a"}), None),
        (json!({"event": ["type"], "type": ["a"]}), None),
        (json!("type"), None),
    ] {
        let found = event_type(Provider::Slack, &Headers::new(), Some(&body));
        assert_eq!(found.as_deref(), expected, "{body}");
    }
    assert_eq!(event_type(Provider::Slack, &Headers::new(), None), None);
}

#[test]
fn debug_prints_no_secret() {
    let secret = generate_secret([3; 32]);
    let spec = provider_auth(&secret);
    let verifier = Verifier::new(Provider::Clerk, spec.clone(), 300).unwrap();
    let printed = format!("{spec:?} {verifier:?}");
    assert!(!printed.contains(&secret[6..20]), "{printed}");
}

#[test]
fn the_delivery_signature_covers_time_and_body() {
    let signature = hookplane_signature("secret-of-16-chars", 10, b"x");
    assert!(
        signature.starts_with("v1=") && signature.len() == 3 + 64,
        "{signature}"
    );
    assert_ne!(
        signature,
        hookplane_signature("secret-of-16-chars", 11, b"x")
    );
    assert_ne!(
        signature,
        hookplane_signature("secret-of-16-chars", 10, b"y")
    );
}

fn any_provider() -> impl Strategy<Value = Provider> {
    prop::sample::select(&Provider::ALL[1..])
}

proptest! {
    #[test]
    fn what_is_signed_verifies(
        provider in any_provider(),
        random in any::<[u8; 32]>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_i64..9_000_000_000,
    ) {
        let secret = generate_secret(random);
        let headers = sign(provider, &secret, "msg_abc", at, &body).unwrap();
        let verifier = Verifier::new(provider, provider_auth(&secret), 300).unwrap();
        let verdict = verifier.verify(&Inbound { headers: &headers, body: &body }, at);
        prop_assert!(verdict.is_ok(), "{provider}: {verdict:?}");
        let mut changed = body.clone();
        changed.push(b' ');
        let verdict = verifier.verify(&Inbound { headers: &headers, body: &changed }, at);
        prop_assert!(verdict.is_err(), "{provider} believes a changed body");
    }

    #[test]
    fn nothing_a_sender_controls_panics(
        provider in any_provider(),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 8),
        body in prop::collection::vec(any::<u8>(), 0..200),
        now in any::<i64>(),
    ) {
        const NAMES: [&str; 8] = [
            "svix-id", "svix-timestamp", "svix-signature", "x-hub-signature-256",
            "stripe-signature", "x-shopify-hmac-sha256", "x-slack-signature",
            "x-slack-request-timestamp",
        ];
        let headers: Vec<(String, Vec<u8>)> =
            NAMES.iter().map(|name| (*name).to_owned()).zip(values).collect();
        let verifier = Verifier::new(provider, provider_auth(&generate_secret([1; 32])), 300);
        let verdict = verifier.unwrap().verify(&Inbound { headers: &headers, body: &body }, now);
        prop_assert!(verdict.is_err(), "{provider} believes noise");
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        let body = body.as_ref();
        drop((message_id(provider, &headers, body), event_type(provider, &headers, body)));
    }

    #[test]
    fn no_secret_text_panics(provider in any_provider(), secret in ".{0,120}") {
        drop(Verifier::new(provider, provider_auth(&secret), 300));
    }
}

#[test]
fn a_secret_verifies_within_its_term_only_and_is_named_by_its_number() {
    const SENT: i64 = 1_790_000_000;
    let (old, new) = (generate_secret([1; 32]), generate_secret([2; 32]));
    let auth = AuthSpec::Provider {
        secrets: vec![old.clone(), new.clone()],
    };
    let terms = [
        Term {
            version: 4,
            expires_at: Some(SENT),
            ..Term::default()
        },
        Term {
            version: 7,
            not_before: Some(SENT - 60),
            ..Term::default()
        },
    ];
    let verifier = Verifier::with_terms(Provider::Clerk, auth, 300, &terms).unwrap();
    let signed = |secret: &str| sign(Provider::Clerk, secret, "msg_1", SENT, b"{}").unwrap();
    let judge = |headers: &Headers, now| {
        let inbound = Inbound {
            headers,
            body: b"{}",
        };
        verifier
            .verify(&inbound, now)
            .map(|verdict| verdict.secret_version)
    };
    let (by_old, by_new) = (signed(&old), signed(&new));
    assert_eq!(judge(&by_old, SENT - 1), Ok(Some(4)));
    assert!(judge(&by_old, SENT).is_err(), "its term is over");
    assert_eq!(judge(&by_new, SENT), Ok(Some(7)));
    assert!(judge(&by_new, SENT - 61).is_err(), "its term has not begun");
    // During a rotation senders sign with both: the one that is over must not hide the other.
    let mut by_both = by_old.clone();
    let second = |headers: &Headers| {
        let found = headers.iter().find(|(name, _)| name.ends_with("signature"));
        found.unwrap().1.clone()
    };
    for (name, value) in &mut by_both {
        if name.ends_with("signature") {
            *value = format!("{value} {}", second(&by_new));
        }
    }
    assert_eq!(judge(&by_both, SENT), Ok(Some(7)));
}
