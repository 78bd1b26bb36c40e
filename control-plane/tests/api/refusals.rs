//! Bad input: refused with the field named and what would be right.

use hookplane_proto::v1;
use hookplane_proto::v1::rule::Rule;
use prost_types::value::Kind;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::plane::{Plane, clerk, connection, destination, provider_auth};

pub(crate) fn assert_refuses(status: &Status, field: &str, says: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let faults = details
        .bad_request()
        .expect("the faults are listed")
        .field_violations
        .clone();
    let fault = faults.iter().find(|fault| fault.field == field);
    let fault = fault.unwrap_or_else(|| panic!("{field} is not named but {faults:?}"));
    assert!(
        fault.description.contains(says),
        "{field}: {}",
        fault.description
    );
    assert!(!details.error_info().expect("a reason").metadata["hint"].is_empty());
}

fn with_auth(auth: v1::SourceAuth) -> v1::Source {
    let mut source = clerk("Clerk");
    source.config.get_or_insert_default().auth = Some(auth);
    source
}

#[tokio::test]
async fn a_secret_that_is_not_whsec_and_base64_is_refused_at_creation() {
    let plane = Plane::on_sqlite().await;
    for (secret, says) in [
        ("sk_test_a1b2c3d4", "API key"),
        ("whsec_%%%", "base64"),
        ("whsec_", "base64"),
        ("", "secret"),
        (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "white space"),
        (
            "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
            "public key",
        ),
    ] {
        let source = with_auth(provider_auth(&[secret]));
        let refused = plane
            .create_source(source)
            .await
            .expect_err("it is no secret");
        assert_refuses(&refused, "config.auth.webhook_signing_secret", says);
        let shown = format!("{refused:?}");
        assert!(
            secret.len() < 8 || !shown.contains(secret),
            "the secret is shown: {shown}"
        );
    }
    let none = plane
        .create_source(with_auth(provider_auth(&[])))
        .await
        .expect_err("no secret");
    assert_refuses(
        &none,
        "config.auth.webhook_signing_secret",
        "signing secret",
    );
    let open = plane
        .create_source(with_auth(v1::SourceAuth::default()))
        .await;
    assert_refuses(
        &open.expect_err("Clerk signs"),
        "config.auth_type",
        "PROVIDER_SIGNATURE",
    );
}

#[tokio::test]
async fn every_fault_of_a_source_is_named_at_once() {
    let plane = Plane::on_sqlite().await;
    let mut source = clerk("");
    let config = source.config.get_or_insert_default();
    config.allowed_http_methods = vec!["POST".to_owned(), "BREW".to_owned()];
    config.max_body_bytes = 1 << 30;
    config.custom_response = Some(v1::CustomResponse {
        content_type: "a b".to_owned(),
        body: String::new(),
    });
    source.pool = "EU west".to_owned();
    let refused = plane
        .create_source(source)
        .await
        .expect_err("it is all wrong");
    assert_refuses(&refused, "name", "1 to 155");
    assert_refuses(&refused, "config.allowed_http_methods[1]", "BREW");
    assert_refuses(&refused, "config.max_body_bytes", "16777216");
    assert_refuses(
        &refused,
        "config.custom_response.content_type",
        "application/json",
    );
    assert_refuses(&refused, "pool", "letters");
}

#[tokio::test]
async fn unknown_enum_values_and_a_provider_that_is_not_the_type_are_refused() {
    let plane = Plane::on_sqlite().await;
    let mut source = clerk("Clerk");
    source.r#type = 999;
    let refused = plane.create_source(source).await.expect_err("no such type");
    assert_refuses(&refused, "type", "CLERK");
    let mut auth = provider_auth(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    if let Some(v1::source_auth::Scheme::ProviderSignature(signature)) = &mut auth.scheme {
        signature.provider = v1::SourceType::Stripe.into();
    }
    let refused = plane
        .create_source(with_auth(auth))
        .await
        .expect_err("two providers");
    assert_refuses(&refused, "config.auth.provider", "CLERK");
}

#[tokio::test]
async fn a_name_that_is_taken_is_answered_with_the_holder() {
    let plane = Plane::on_sqlite().await;
    let made = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    let refused = plane
        .create_source(clerk("Clerk"))
        .await
        .expect_err("the name is taken");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let info = refused
        .get_error_details()
        .error_info()
        .cloned()
        .expect("a reason");
    assert_eq!(info.reason, "RESOURCE_ALREADY_EXISTS");
    assert_eq!(info.metadata["id"], made.id);
}

#[tokio::test]
async fn urls_that_cannot_be_delivered_to_are_refused_with_the_fault() {
    let plane = Plane::on_sqlite().await;
    for (url, says) in [
        ("", "URL is needed"),
        ("users.internal/hooks", "absolute URL"),
        ("ftp://users.internal", "neither http nor https"),
        ("https://user:pw@users.internal", "BASIC_AUTH"),
        ("https://users.internal/#top", "fragment"),
    ] {
        let mut wanted = destination("users");
        wanted.config.get_or_insert_default().url = url.to_owned();
        let asked = v1::CreateDestinationRequest {
            destination: Some(wanted),
            ..v1::CreateDestinationRequest::default()
        };
        let refused = plane.destinations().create_destination(asked).await;
        assert_refuses(&refused.expect_err("it is no receiver"), "config.url", says);
    }
}

#[tokio::test]
async fn rules_are_refused_by_their_place_and_path() {
    let plane = Plane::on_sqlite().await;
    let source = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    let to = plane.create_destination("users").await;
    let text = |text: &str| prost_types::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let bad_filter = v1::FilterRule {
        body: Some(prost_types::Value {
            kind: Some(Kind::StructValue(prost_types::Struct {
                fields: [("$regex".to_owned(), text("("))].into(),
            })),
        }),
        ..v1::FilterRule::default()
    };
    let bad_retry = v1::RetryRule {
        count: 500,
        ..v1::RetryRule::default()
    };
    let bad_delay = v1::DelayRule {
        delay: Some(5),
        until: Some("data.at".to_owned()),
    };
    let rules = [
        Rule::Filter(bad_filter),
        Rule::Retry(bad_retry),
        Rule::Delay(bad_delay),
        Rule::Transform(v1::TransformRule {
            code: "{'body': request}".to_owned(),
        }),
        Rule::Deduplicate(v1::DeduplicateRule {
            window: 60_000,
            include_fields: vec!["body.id".to_owned(), "id".to_owned()],
        }),
    ];
    let wanted = v1::Connection {
        rules: rules.map(|rule| v1::Rule { rule: Some(rule) }).into(),
        ..connection("users", &source.id, &to.id)
    };
    let asked = v1::CreateConnectionRequest {
        connection: Some(wanted),
        ..v1::CreateConnectionRequest::default()
    };
    let refused = plane
        .connections()
        .create_connection(asked)
        .await
        .expect_err("bad rules");
    assert_refuses(&refused, "rules[0].body.$regex", "regular expression");
    assert_refuses(&refused, "rules[1].count", "50");
    assert_refuses(&refused, "rules[2].until", "one of the two");
    assert_refuses(&refused, "rules[3].code", "does not know `request`");
    assert_refuses(&refused, "rules[4].include_fields[1]", "is no place");
}

/// A filter whose JSON has about this many bytes.
fn long_filter(bytes: usize) -> v1::Rule {
    let text = "x".repeat(bytes);
    let filter = v1::FilterRule {
        path: Some(prost_types::Value {
            kind: Some(Kind::StringValue(text)),
        }),
        ..v1::FilterRule::default()
    };
    v1::Rule {
        rule: Some(Rule::Filter(filter)),
    }
}

#[tokio::test]
async fn rules_are_bounded_alone_per_connection_and_per_source() {
    for plane in Plane::on_each_database().await {
        let source = plane.create_source(clerk("Clerk")).await.expect("right");
        let to = plane.create_destination("users").await;
        let create = async |name: &str, rules: Vec<v1::Rule>| {
            let connection = Some(v1::Connection {
                rules,
                ..connection(name, &source.id, &to.id)
            });
            let asked = v1::CreateConnectionRequest {
                connection,
                ..v1::CreateConnectionRequest::default()
            };
            let made = plane.connections().create_connection(asked).await;
            made.map(tonic::Response::into_inner)
        };
        let refused = create("one", vec![long_filter(33 << 10)]).await;
        assert_refuses(
            &refused.expect_err("a long filter"),
            "rules[0].filter",
            "32768",
        );
        let rules = vec![long_filter(22 << 10); 3];
        let refused = create("one", rules).await;
        assert_refuses(&refused.expect_err("long rules"), "rules", "65536");

        let nearly = || vec![long_filter(30 << 10); 2];
        for number in 0..8 {
            create(&number.to_string(), nearly()).await.expect("room");
        }
        let refused = create("9", nearly()).await.expect_err("no room is left");
        assert_refuses(&refused, "rules", "524288");
        // What is there may change, only not grow beyond the bound.
        let last = create("last", vec![long_filter(20 << 10)]).await;
        let mut last = last.expect("there is room for less");
        last.description = "ü".repeat(1_000);
        let mut replace = v1::ReplaceConnectionRequest {
            id: last.id.clone(),
            connection: Some(last),
            ..v1::ReplaceConnectionRequest::default()
        };
        let replaced = plane
            .connections()
            .replace_connection(replace.clone())
            .await;
        replaced.expect("its own bytes do not count twice");
        if let Some(connection) = &mut replace.connection {
            // Of the version before.
            connection.etag.clear();
            connection.rules = nearly();
        }
        let refused = plane.connections().replace_connection(replace).await;
        assert_refuses(&refused.expect_err("it grew"), "rules", "524288");
    }
}

#[tokio::test]
async fn credentials_have_a_bound() {
    let plane = Plane::on_sqlite().await;
    let mut wanted = destination("users");
    let bearer = v1::BearerToken {
        token: "x".repeat(17 << 10),
    };
    wanted.config.get_or_insert_default().auth = Some(v1::DestinationAuth {
        scheme: Some(v1::destination_auth::Scheme::BearerToken(bearer)),
    });
    let destination = Some(wanted);
    let asked = v1::CreateDestinationRequest {
        destination,
        ..v1::CreateDestinationRequest::default()
    };
    let refused = plane.destinations().create_destination(asked).await;
    assert_refuses(&refused.expect_err("too long"), "config.auth", "16384");
}

#[tokio::test]
async fn ends_that_do_not_exist_are_named() {
    let plane = Plane::on_sqlite().await;
    let asked = v1::CreateConnectionRequest {
        connection: Some(connection("users", "src_nothing", "")),
        ..v1::CreateConnectionRequest::default()
    };
    let refused = plane
        .connections()
        .create_connection(asked)
        .await
        .expect_err("no ends");
    assert_refuses(&refused, "source_id", "src_nothing");
    assert_refuses(&refused, "destination_id", "needed");
}

#[tokio::test]
async fn lists_refuse_a_bad_limit_order_or_token() {
    let plane = Plane::on_sqlite().await;
    for (asked, field) in [
        (
            v1::ListSourcesRequest {
                limit: 256,
                ..Default::default()
            },
            "limit",
        ),
        (
            v1::ListSourcesRequest {
                order_by: "size".to_owned(),
                ..Default::default()
            },
            "order_by",
        ),
        (
            v1::ListSourcesRequest {
                dir: "up".to_owned(),
                ..Default::default()
            },
            "dir",
        ),
        (
            v1::ListSourcesRequest {
                page_token: "junk".to_owned(),
                ..Default::default()
            },
            "page_token",
        ),
    ] {
        let refused = plane
            .sources()
            .list_sources(asked)
            .await
            .expect_err("it is wrong");
        assert_refuses(&refused, field, "");
    }
}

#[tokio::test]
async fn every_refusal_says_what_to_do_next_and_where_to_read_on() {
    let plane = Plane::on_sqlite().await;
    let refused = plane.create_source(v1::Source::default()).await;
    let refused = refused.expect_err("it has no name");
    let details = refused.get_error_details();
    let help = details.help().expect("help is there");
    assert_eq!(help.links[0].url, "/docs");
    assert!(!help.links[0].description.is_empty());
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
    ] {
        let (status, headers, _) = super::http::send(&plane, "GET", path, &[], "").await;
        assert_eq!(status, 200, "{path}");
        let told = headers["content-type"].to_str().expect("plain text");
        assert!(told.starts_with(kind), "{path}: {told}");
    }
}
