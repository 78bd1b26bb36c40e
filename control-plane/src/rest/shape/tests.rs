use hookplane_proto::{descriptor_pool, v1};
use prost_reflect::ReflectMessage as _;
use prost_reflect::prost::Message;
use serde_json::json;

use super::*;
use crate::rest::fault::FieldFault;
use crate::rest::json;

fn descriptor(name: &str) -> MessageDescriptor {
    descriptor_pool()
        .get_message_by_name(&format!("hookplane.v1.{name}"))
        .expect("a message of the contract")
}

/// What the service sees.
fn seen<M: Message + Default>(name: &str, json: Value) -> M {
    let mut faults = Faults::default();
    let message = json::read::message(&descriptor(name), json, &Path::ROOT, &mut faults);
    assert_eq!(faults.into_vec(), []);
    assert_eq!(message.descriptor().name(), name);
    message.transcode_to().expect("the same message")
}

/// What the caller sees.
fn shown<M: Message>(name: &str, message: &M) -> Value {
    let bytes = message.encode_to_vec();
    let message = prost_reflect::DynamicMessage::decode(descriptor(name), bytes.as_slice());
    json::write::message(&message.expect("the same message"))
}

fn faults_of(name: &str, json: Value) -> Vec<FieldFault> {
    let mut faults = Faults::default();
    json::read::message(&descriptor(name), json, &Path::ROOT, &mut faults);
    faults.into_vec()
}

/// Reads `given`, expects `wanted`, and expects `shown_as` back, which reads as the same.
fn both_ways<M>(name: &str, given: &Value, wanted: &M, shown_as: &Value)
where
    M: Message + Default + PartialEq,
{
    assert!(seen::<M>(name, given.clone()) == *wanted, "{given}");
    let back = shown(name, wanted);
    for (key, value) in shown_as.as_object().expect("an object") {
        assert_eq!(&back[key], value, "{key} of {back}");
    }
    assert!(seen::<M>(name, back.clone()) == *wanted, "again: {back}");
}

fn source_config(scheme: v1::source_auth::Scheme) -> v1::SourceConfig {
    v1::SourceConfig {
        auth: Some(v1::SourceAuth {
            scheme: Some(scheme),
        }),
        ..Default::default()
    }
}

#[test]
fn each_authentication_of_a_source_goes_both_ways() {
    use v1::source_auth::Scheme;
    both_ways(
        "SourceConfig",
        &json!({"auth_type": null}),
        &source_config(Scheme::None(v1::NoAuth {})),
        &json!({"auth_type": null, "auth": null}),
    );
    let basic = json!({"username": "u", "password": "p"});
    both_ways(
        "SourceConfig",
        &json!({"auth_type": "basic_auth", "auth": basic}),
        &source_config(Scheme::Basic(v1::BasicAuth {
            username: "u".into(),
            password: "p".into(),
        })),
        &json!({"auth_type": "BASIC_AUTH", "auth": basic}),
    );
    both_ways(
        "SourceConfig",
        &json!({"auth_type": "API_KEY", "auth": {"header_key": "x-key", "value": "k"}}),
        &source_config(Scheme::ApiKey(v1::ApiKeyAuth {
            header: "x-key".into(),
            api_key: "k".into(),
        })),
        &json!({"auth_type": "API_KEY", "auth": {"header": "x-key", "api_key": "k"}}),
    );
    let hmac = json!({
        "signature_header": "x-sig", "secret": "s", "algorithm": "sha256",
        "encoding": "hex", "prefix": "sha256=",
    });
    both_ways(
        "SourceConfig",
        &json!({"auth_type": "HMAC", "auth": hmac}),
        &source_config(Scheme::Hmac(v1::HmacAuth {
            signature_header: "x-sig".into(),
            secret: "s".into(),
            algorithm: v1::HmacAlgorithm::Sha256.into(),
            encoding: v1::SignatureEncoding::Hex.into(),
            prefix: "sha256=".into(),
        })),
        &json!({"auth_type": "HMAC", "auth": hmac}),
    );
}

fn signed_by_clerk(secrets: &[&str]) -> v1::SourceConfig {
    source_config(v1::source_auth::Scheme::ProviderSignature(
        v1::ProviderSignature {
            provider: v1::SourceType::Clerk.into(),
            webhook_signing_secrets: secrets.iter().map(|&s| s.to_owned()).collect(),
            terms: Vec::new(),
        },
    ))
}

fn clerk(mut auth: Value) -> Value {
    auth["provider"] = json!("CLERK");
    json!({"auth_type": "PROVIDER_SIGNATURE", "auth": auth})
}

#[test]
fn the_secrets_of_a_provider_are_one_or_many() {
    both_ways(
        "SourceConfig",
        &clerk(json!({"webhook_signing_secret": "whsec_a"})),
        &signed_by_clerk(&["whsec_a"]),
        &clerk(json!({
            "webhook_signing_secret": "whsec_a", "webhook_signing_secrets": ["whsec_a"],
        })),
    );
    both_ways(
        "SourceConfig",
        &clerk(json!({"webhook_signing_secrets": ["whsec_a", "whsec_b"]})),
        &signed_by_clerk(&["whsec_a", "whsec_b"]),
        &clerk(json!({
            "webhook_signing_secret": "whsec_a",
            "webhook_signing_secrets": ["whsec_a", "whsec_b"],
        })),
    );
}

#[test]
fn of_two_forms_of_a_secret_the_changed_one_wins_over_the_redacted_one() {
    let changed = |one: &str, all: &[&str]| {
        let auth = json!({"webhook_signing_secret": one, "webhook_signing_secrets": all});
        seen::<v1::SourceConfig>("SourceConfig", clerk(auth))
    };
    assert!(changed("whsec_new", &["whsec_••••"]) == signed_by_clerk(&["whsec_new"]));
    assert!(changed("whsec_••••", &["whsec_new"]) == signed_by_clerk(&["whsec_new"]));
    let both = json!({"webhook_signing_secret": "a", "webhook_signing_secrets": ["b"]});
    let found = faults_of("SourceConfig", clerk(both));
    assert_eq!(found[0].field, "auth.webhook_signing_secret");
}

#[test]
fn authentication_that_does_not_fit_names_its_field() {
    for (auth, field, part) in [
        (
            json!({"auth_type": "HMAC"}),
            "auth",
            "{signature_header, secret",
        ),
        (
            json!({"auth_type": "HMAC", "auth": null}),
            "auth",
            "an object for HMAC",
        ),
        (
            json!({"auth_type": "HMAC", "auth": "x"}),
            "auth",
            "an object for HMAC",
        ),
        (
            json!({"auth": {"secret": "x"}}),
            "auth_type",
            "must say what `auth` is",
        ),
        (
            json!({"auth_type": null, "auth": {}}),
            "auth_type",
            "must say what `auth` is",
        ),
        (
            json!({"auth_type": "JWT", "auth": {}}),
            "auth_type",
            "null or one of BASIC_AUTH",
        ),
        (
            json!({"auth_type": 7}),
            "auth_type",
            "a string or null, not a number",
        ),
        (
            json!({"auth_type": "HMAC", "auth": {"secrets": "x"}}),
            "auth.secrets",
            "possible are signature_header, secret",
        ),
        (
            json!({"auth_type": "API_KEY", "auth": {"header": "a", "header_name": "b"}}),
            "auth.header_name",
            "another name of `header`",
        ),
        (
            clerk(json!({"webhook_secret": "x"})),
            "auth.webhook_secret",
            "webhook_signing_secrets, terms, webhook_signing_secret",
        ),
        (
            clerk(json!({"webhook_signing_secret": 5})),
            "auth.webhook_signing_secret",
            "must be a string",
        ),
        (json!({"auth_typ": null}), "auth_typ", "auth_type"),
    ] {
        let found = faults_of("Source", json!({ "config": auth }));
        assert_eq!(found.len(), 1, "{auth}: {found:?}");
        assert_eq!(found[0].field, format!("config.{field}"), "{auth}");
        assert!(
            found[0].message.contains(part),
            "{auth}: {}",
            found[0].message
        );
    }
}

#[test]
fn each_authentication_of_a_destination_goes_both_ways() {
    use v1::destination_auth::Scheme;
    for (kind, auth, scheme) in [
        (
            "CUSTOM_HEADER",
            json!({"header_name": "x-a", "value": "v"}),
            Scheme::CustomHeader(v1::CustomHeader {
                header_name: "x-a".into(),
                value: "v".into(),
            }),
        ),
        (
            "BASIC_AUTH",
            json!({"username": "u", "password": "p"}),
            Scheme::BasicAuth(v1::DestinationBasicAuth {
                username: "u".into(),
                password: "p".into(),
            }),
        ),
        (
            "BEARER_TOKEN",
            json!({"token": "t"}),
            Scheme::BearerToken(v1::BearerToken { token: "t".into() }),
        ),
        (
            "HOOKPLANE_SIGNATURE",
            json!({"secret": "s"}),
            Scheme::HookplaneSignature(v1::HookplaneSignature { secret: "s".into() }),
        ),
        (
            "STANDARD_WEBHOOKS",
            json!({"secrets": ["a", "b"]}),
            Scheme::StandardWebhooks(v1::StandardWebhooksSignature {
                secrets: vec!["a".into(), "b".into()],
            }),
        ),
        (
            "OAUTH2_CLIENT_CREDENTIALS",
            json!({"token_url": "https://id.test/t", "client_id": "c", "client_secret": "s",
                   "scope": "", "audience": "", "client_authentication": "BODY"}),
            Scheme::Oauth2ClientCredentials(v1::Oauth2ClientCredentials {
                token_url: "https://id.test/t".into(),
                client_id: "c".into(),
                client_secret: "s".into(),
                client_authentication: v1::ClientAuthentication::Body.into(),
                ..Default::default()
            }),
        ),
        (
            "CLIENT_CERTIFICATE",
            json!({"certificate": "c", "private_key": "k", "ca": "", "expires_at": null}),
            Scheme::ClientCertificate(v1::ClientCertificate {
                certificate: "c".into(),
                private_key: "k".into(),
                ..Default::default()
            }),
        ),
    ] {
        let wanted = v1::DestinationConfig {
            url: "https://example.com/hook".into(),
            timeout_ms: 2_000,
            rate_limit: 10,
            rate_limit_period: v1::RateLimitPeriod::Minute.into(),
            auth: Some(v1::DestinationAuth {
                scheme: Some(scheme),
            }),
            ..Default::default()
        };
        let given = json!({
            "url": "https://example.com/hook", "timeout_ms": 2000,
            "rate_limit": 10, "rate_limit_period": "minute",
            "auth_type": kind, "auth": auth,
        });
        let mut shown_as = given.clone();
        shown_as["http_method"] = json!("");
        shown_as["path_forwarding_disabled"] = json!(false);
        shown_as["max_in_flight"] = json!(0);
        both_ways("DestinationConfig", &given, &wanted, &shown_as);
    }
}

#[test]
fn rules_are_told_apart_by_their_type() {
    let rules = json!([
        {"type": "filter", "body": {"type": {"$starts_with": "user."}}},
        {"type": "retry", "strategy": "exponential", "count": 5, "interval": 60000,
         "response_status_codes": ["429", "500-599"]},
        {"type": "retry", "strategy": "list", "count": 0, "interval": 0,
         "response_status_codes": [], "give_up_status_codes": ["422"],
         "delays": [1000, 60000], "jitter_percent": 0},
        {"type": "delay", "delay": 60000},
        {"type": "delay", "until": "data.send_at"},
        {"type": "deduplicate", "window": 60000, "include_fields": ["body.data.id", "headers.x-id"]},
        {"type": "deduplicate", "window": 1},
        {"type": "transform", "code": "{'body': body.data}"},
        {"type": "filter", "cel": "body.n > 1"},
    ]);
    let connection: v1::Connection = seen("Connection", json!({ "rules": rules }));
    let kinds: Vec<bool> = connection
        .rules
        .iter()
        .map(|rule| matches!(rule.rule, Some(v1::rule::Rule::Filter(_))))
        .collect();
    assert_eq!(
        kinds,
        [true, false, false, false, false, false, false, false, true]
    );
    assert_eq!(shown("Connection", &connection)["rules"], rules);

    for (rule, field) in [
        (json!({"type": "order"}), "rules[0].type"),
        (json!({"body": {}}), "rules[0].type"),
        (json!({"type": "retry", "count": "many"}), "rules[0].count"),
        (json!({"type": "retry", "tries": 1}), "rules[0].tries"),
        (json!("filter"), "rules[0]"),
    ] {
        let found = faults_of("Connection", json!({"rules": [rule]}));
        assert_eq!(found[0].field, field, "{found:?}");
    }
}

#[test]
fn the_ends_of_a_connection_may_be_named_by_an_object() {
    let given = json!({"source": {"id": "src_1", "name": "a copy"}, "destination_id": "des_1"});
    let connection: v1::Connection = seen("Connection", given);
    assert_eq!(connection.source_id, "src_1");
    assert_eq!(connection.destination_id, "des_1");
    assert!(connection.source.is_none());

    let named = json!({"source": {"name": "x"}, "destination_id": "des_1"});
    let connection: v1::Connection = seen("Connection", named);
    assert_eq!(connection.source.unwrap().name, "x");

    for (given, field) in [
        (json!({"source": {"pool": "x"}}), "source.id"),
        (json!({"destination": "des_1"}), "destination"),
        (
            json!({"source": {"id": "src_1"}, "source_id": "src_2"}),
            "source.id",
        ),
    ] {
        assert_eq!(faults_of("Connection", given)[0].field, field);
    }
}

#[test]
fn what_is_embedded_in_a_connection_has_its_shape_too() {
    let connection = v1::Connection {
        source: Some(v1::Source {
            r#type: v1::SourceType::Clerk.into(),
            status: v1::SourceStatus::Enabled.into(),
            config: Some(signed_by_clerk(&["whsec_••••"])),
            ..Default::default()
        }),
        ..Default::default()
    };
    let source = &shown("Connection", &connection)["source"];
    assert_eq!(source["type"], "CLERK");
    assert_eq!(source["status"], "enabled");
    assert_eq!(source["config"]["auth_type"], "PROVIDER_SIGNATURE");
    assert_eq!(
        source["config"]["auth"]["webhook_signing_secret"],
        "whsec_••••"
    );
}

#[test]
fn headers_keep_order_repeats_and_bytes() {
    let data = v1::RequestData {
        headers: [
            ("svix-id", &b"msg_1"[..]),
            ("X-Twice", b"a"),
            ("x-twice", "ü".as_bytes()),
            ("x-raw", b"\xff\x00"),
        ]
        .map(|(name, value)| v1::Header {
            name: name.into(),
            value: value.to_vec(),
        })
        .to_vec(),
        ..Default::default()
    };
    both_ways(
        "RequestData",
        &shown("RequestData", &data),
        &data,
        &json!({"headers": [
            {"name": "svix-id", "value": "msg_1"},
            {"name": "X-Twice", "value": "a"},
            {"name": "x-twice", "value": "ü"},
            {"name": "x-raw", "value_base64": "/wA="},
        ]}),
    );
}

#[test]
fn enum_names_have_no_prefix_and_any_case_is_read() {
    for descriptor in descriptor_pool().all_enums() {
        if descriptor.package_name() != "hookplane.v1" {
            continue;
        }
        for value in descriptor.values().filter(|value| value.number() != 0) {
            let short = enums::write(&descriptor, value.number());
            let text = short.as_str().expect("a name").to_owned();
            assert!(value.name().to_lowercase().ends_with(&text.to_lowercase()));
            assert!(
                text.len() < value.name().len(),
                "{text} has its prefix still"
            );
            for given in [
                text.to_uppercase(),
                text.to_lowercase(),
                value.name().to_owned(),
            ] {
                let mut faults = Faults::default();
                let read = enums::read(&descriptor, &given.into(), &Path::ROOT, &mut faults);
                assert_eq!(read, Some(value.number()), "{}", value.full_name());
            }
        }
        assert_eq!(enums::write(&descriptor, 0), Value::Null);
    }
}

#[test]
fn statuses_have_the_case_that_clients_know() {
    let shown_as = |name: &str, number| {
        let descriptor = descriptor_pool().get_enum_by_name(&format!("hookplane.v1.{name}"));
        enums::write(&descriptor.expect("an enum"), number)
    };
    assert_eq!(shown_as("SourceStatus", 2), "disabled");
    assert_eq!(shown_as("RequestStatus", 1), "accepted");
    assert_eq!(shown_as("ApiKeyStatus", 2), "revoked");
    assert_eq!(shown_as("EventStatus", 4), "SUCCESSFUL");
    assert_eq!(shown_as("AttemptStatus", 2), "FAILED");
    assert_eq!(shown_as("SourceType", 4), "STANDARD_WEBHOOKS");
    assert_eq!(shown_as("HmacAlgorithm", 2), "sha256");
}

#[test]
fn a_list_says_twice_where_it_goes_on() {
    let list = |next: &str| {
        let pagination = v1::Pagination {
            next: next.into(),
            ..Default::default()
        };
        shown(
            "ListSourcesResponse",
            &v1::ListSourcesResponse {
                pagination: Some(pagination),
                ..Default::default()
            },
        )
    };
    assert_eq!(list("abc")["next_cursor"], "abc");
    assert_eq!(list("abc")["pagination"]["next"], "abc");
    assert_eq!(list("")["next_cursor"], Value::Null);
    assert_eq!(list("")["models"], json!([]));
}

#[test]
fn a_key_without_its_secret_shows_none() {
    let key = |key: &str| {
        let key = v1::ApiKey {
            key: key.into(),
            ..Default::default()
        };
        shown("ApiKey", &key)
    };
    assert_eq!(key("hpk_1")["key"], "hpk_1");
    assert_eq!(key("").get("key"), None);
}
