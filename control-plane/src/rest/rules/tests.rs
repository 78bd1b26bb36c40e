use std::collections::HashSet;

use hookplane_proto::descriptor_pool;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};

use super::*;
use crate::rest::route::{Missing, Routes};

/// Our own pool with one more service, whose methods have these GET and POST paths.
fn pool_with(methods: &[(&str, &str, &str)]) -> DescriptorPool {
    let mut pool = descriptor_pool();
    let text_field = |name: &str, number| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..Default::default()
    };
    let methods = methods
        .iter()
        .enumerate()
        .map(|(place, _)| MethodDescriptorProto {
            name: Some(format!("Method{place}")),
            input_type: Some(".hookplane.v1.Extra".to_owned()),
            output_type: Some(".hookplane.v1.Extra".to_owned()),
            ..Default::default()
        });
    let file = FileDescriptorProto {
        name: Some("extra.proto".to_owned()),
        package: Some("hookplane.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some("Extra".to_owned()),
            field: vec![text_field("id", 1), text_field("name", 2)],
            ..Default::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("ExtraService".to_owned()),
            method: methods.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    pool.add_file_descriptor_proto(file).expect("a valid file");
    pool
}

/// Reads the given rules as if the methods of [`pool_with`] carried them.
fn read(given: &[(&str, &str, &str)]) -> Result<Vec<Rule>, InvalidRules> {
    let pool = pool_with(given);
    let kind = pool
        .get_message_by_name("google.api.HttpRule")
        .expect("the annotation is in the pool");
    let service = pool
        .get_service_by_name("hookplane.v1.ExtraService")
        .expect("just added");
    let mut rules = Vec::new();
    for (method, (verb, path, body)) in service.methods().zip(given) {
        let mut annotation = DynamicMessage::new(kind.clone());
        annotation.set_field_by_name(verb, Value::String((*path).to_owned()));
        annotation.set_field_by_name("body", Value::String((*body).to_owned()));
        assert_eq!(annotation.descriptor(), kind);
        collect(&method, &annotation, &mut rules)?;
    }
    refuse_ambiguous(&rules)?;
    Ok(rules)
}

fn refusal(given: &[(&str, &str, &str)]) -> String {
    read(given).expect_err("should be refused").to_string()
}

#[test]
fn every_annotated_method_of_the_public_api_has_its_rules() {
    let rules = rules(&descriptor_pool()).expect("our own annotations");
    let lines: HashSet<String> = rules.iter().map(Rule::to_string).collect();
    assert_eq!(lines.len(), rules.len(), "no verb and path twice");
    for expected in [
        "POST /v1/sources",
        "PUT /v1/sources",
        "PATCH /v1/sources/{id}",
        "PUT /v1/sources/{id}/enable",
        "POST /v1/sources/{id}/enable",
        "GET /v1/requests/{id}/trace",
        "POST /v1/events/{id}/retry",
        "POST /v1/project-api-keys",
    ] {
        assert!(lines.contains(expected), "{expected} is not in {lines:#?}");
    }
    let methods: HashSet<&str> = rules.iter().map(|rule| rule.method.full_name()).collect();
    for service in descriptor_pool().services() {
        if service.package_name() == PACKAGE {
            for method in service.methods() {
                let name = method.full_name();
                assert!(methods.contains(name), "{name} cannot be called over REST");
            }
        }
    }
}

#[test]
fn rules_that_stand_for_the_same_call_are_refused_at_start() {
    let text = refusal(&[
        ("get", "/v1/extras/{id}", ""),
        ("get", "/v1/extras/{name}", ""),
    ]);
    assert!(text.contains("Method0"), "{text}");
    assert!(text.contains("Method1"), "{text}");
    assert!(text.contains("/v1/extras/{name}"), "{text}");
    // Different verbs, or a literal against a field, are told apart.
    read(&[
        ("get", "/v1/extras/{id}", ""),
        ("post", "/v1/extras/{id}", ""),
        ("put", "/v1/extras/all", ""),
    ])
    .expect("these differ");
}

#[test]
fn rules_that_cannot_be_served_are_refused_with_their_method() {
    for (path, body, part) in [
        ("/v2/extras", "", "does not start with /v1/"),
        ("/v1/extras/{other}", "", "no text field"),
        ("/v1/extras/{id", "", "unclosed"),
        ("/v1/extras/{id=*}", "", "no text field"),
        ("/v1/extras/**", "", "a pattern"),
        ("/v1//extras", "", "an empty segment"),
        ("/v1/extras", "id", "no message field"),
    ] {
        let text = refusal(&[("post", path, body)]);
        assert!(text.contains(part), "{path}: {text}");
        assert!(text.contains("ExtraService.Method0"), "{text}");
    }
    assert!(refusal(&[("get", "", "")]).contains("no verb and path"));
}

#[test]
fn a_literal_wins_over_a_field_and_decides_the_verbs() {
    let rules = read(&[
        ("get", "/v1/extras/{id}", ""),
        ("delete", "/v1/extras/{id}", ""),
        ("get", "/v1/extras/count", ""),
        ("get", "/v1/extras/{id}/parts", ""),
    ])
    .expect("valid rules");
    let routes = Routes::new(rules);
    let found = |path: &str| {
        let found = routes.find(&Method::GET, path).expect("a rule");
        (found.rule.method.name().to_owned(), found.captured)
    };
    assert_eq!(found("/v1/extras/count").0, "Method2");
    // Only when the rest fits: here `count` is an id.
    let (method, captured) = found("/extras/count/parts");
    assert_eq!(method, "Method3");
    assert_eq!(captured, [("id".to_owned(), "count".to_owned())]);
    assert_eq!(found("/extras/a%2Fb%20c/").1[0].1, "a/b c");

    let missing = |verb, path| routes.find(&verb, path).expect_err("no rule");
    assert_eq!(
        missing(Method::DELETE, "/extras/count"),
        Missing::Verb("GET, HEAD".to_owned())
    );
    assert_eq!(
        missing(Method::PUT, "/extras/x"),
        Missing::Verb("DELETE, GET, HEAD".to_owned())
    );
    for path in [
        "/",
        "/v1",
        "/v1/v1/extras/x",
        "/extras",
        "/extras//parts",
        "/extras/%ff",
        "*",
    ] {
        assert_eq!(missing(Method::GET, path), Missing::Path, "{path}");
    }
}
