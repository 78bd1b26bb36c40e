//! The description of the API: of all that is served, and of nothing else.

use hookplane_control_plane::rest::openapi::document;
use hookplane_control_plane::rest::rules::{Segment, rules};
use hookplane_proto::descriptor_pool;
use serde_json::Value;

fn described() -> Value {
    document(&descriptor_pool()).expect("our own rules")
}

#[test]
fn every_rule_is_described_and_every_operation_has_an_id_of_its_own() {
    let document = described();
    let mut ids = std::collections::HashSet::new();
    let all = rules(&descriptor_pool()).expect("our own rules");
    for rule in &all {
        let below = rule.path.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Field(name) => format!("/{{{name}}}"),
        });
        let path = format!("/v1{}", below.collect::<String>());
        let verb = rule.verb.as_str().to_lowercase();
        let operation = &document["paths"][&path][&verb];
        assert_eq!(
            operation["x-grpc-method"],
            rule.method.full_name(),
            "{verb} {path}"
        );
        let id = operation["operationId"].as_str().expect("an id").to_owned();
        assert!(ids.insert(id.clone()), "{id} stands twice");
    }
    let paths = document["paths"].as_object().expect("paths");
    let described: usize = paths
        .values()
        .map(|verbs| verbs.as_object().map_or(0, serde_json::Map::len))
        .sum();
    assert_eq!(described, all.len());
}

#[test]
fn every_reference_leads_somewhere() {
    let document = described();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let mut open = vec![&document];
    let mut count = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    let name = target.trim_start_matches("#/components/schemas/");
                    assert!(schemas.contains_key(name), "{target}");
                    count += 1;
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(count > 100, "{count} references");
}

#[test]
fn schemas_have_the_shape_that_callers_see() {
    let document = described();
    let schema = |name: &str| &document["components"]["schemas"][name];
    let config = &schema("SourceConfig")["properties"];
    let kinds = config["auth_type"]["enum"].as_array().expect("a choice");
    assert!(
        kinds.contains(&Value::from("PROVIDER_SIGNATURE")),
        "{kinds:?}"
    );
    let rules = schema("Rule")["oneOf"].as_array().expect("members");
    assert_eq!(
        rules[0]["allOf"][0]["properties"]["type"]["const"],
        "filter"
    );
    let types = schema("Source")["properties"]["type"]["enum"].as_array();
    assert!(types.expect("a choice").contains(&Value::from("CLERK")));
    let name = &schema("Source")["properties"]["name"]["description"];
    assert_eq!(name, "1 to 155 characters, unique in the team.");
    let list = &schema("ListSourcesResponse")["properties"];
    assert!(list.get("next_cursor").is_some());
    let create = &document["paths"]["/v1/sources"]["post"]["parameters"];
    let names = create.as_array().expect("a list").iter();
    let names: Vec<_> = names
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["validate_only", "request_id", "Idempotency-Key"]);
}
