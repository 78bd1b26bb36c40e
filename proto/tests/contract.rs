//! The contract keeps its promises: names follow the rules, and nothing that was
//! released is renumbered, renamed, retyped or taken away.
//!
//! `tests/released.txt` holds one line per promise of the last release. After a release,
//! write it anew: `cargo test -p hookplane-proto --test contract -- --ignored`.

use std::collections::BTreeSet;
use std::path::Path;

use hookplane_proto::descriptor_pool;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

const RELEASED: &str = include_str!("released.txt");

fn ours(package: &str) -> bool {
    package.starts_with("hookplane.")
}

/// What clients of either side may count on.
fn promises(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for service in pool.services().filter(|one| ours(one.package_name())) {
        all.extend(service.methods().map(|method| call(&method)));
    }
    for message in pool.all_messages().filter(|one| ours(one.package_name())) {
        all.extend(message.fields().map(|field| place(&message, &field)));
    }
    for names in pool.all_enums().filter(|one| ours(one.package_name())) {
        for value in names.values() {
            let (name, number) = (value.name(), value.number());
            all.insert(format!("enum {}.{name} = {number}", names.full_name()));
        }
    }
    all
}

fn call(method: &MethodDescriptor) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    format!(
        "method {}: {}{} -> {}{}",
        method.full_name(),
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name(),
    )
}

fn place(message: &MessageDescriptor, field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(inner) if field.is_map() => format!("map {}", inner.full_name()),
        Kind::Message(inner) => inner.full_name().to_owned(),
        Kind::Enum(names) => names.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let list = if field.is_list() { "repeated " } else { "" };
    let number = field.number();
    format!(
        "field {}.{} = {number}: {list}{kind}",
        message.full_name(),
        field.name()
    )
}

#[test]
fn nothing_that_was_released_is_broken() {
    let now = promises(&descriptor_pool());
    let broken: Vec<&str> = RELEASED
        .lines()
        .filter(|line| !line.is_empty() && !now.contains(*line))
        .collect();
    assert!(broken.is_empty(), "clients count on these: {broken:#?}");
}

#[test]
fn a_change_of_a_number_or_a_type_is_seen() {
    let now = promises(&descriptor_pool());
    let line = "field hookplane.v1.Source.name = 3: string";
    assert!(now.contains(line), "the promise has another form");
    assert!(RELEASED.lines().any(|released| released == line));
    assert!(!now.contains("field hookplane.v1.Source.name = 4: string"));
}

#[test]
#[ignore = "writes the promises of a release"]
fn write_the_promises_of_this_release() {
    let all: Vec<String> = promises(&descriptor_pool()).into_iter().collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released.txt");
    std::fs::write(file, all.join("\n") + "\n").expect("the file can be written");
}

fn is_snake(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(fits) && !name.starts_with('_')
}

/// `SourceType` → `SOURCE_TYPE_`.
fn prefix(name: &str) -> String {
    let mut prefix = String::new();
    for (place, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && place > 0 {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix + "_"
}

#[test]
fn names_follow_the_rules() {
    let pool = descriptor_pool();
    let mut faults = Vec::new();
    for service in pool.services().filter(|one| ours(one.package_name())) {
        if !service.name().ends_with("Service") {
            faults.push(format!("{}: ends with Service", service.full_name()));
        }
        for method in service.methods() {
            let asked = method.input().name().to_owned();
            if asked != format!("{}Request", method.name())
                && asked
                    != format!(
                        "{}StreamRequest",
                        service.name().trim_end_matches("Service")
                    )
            {
                faults.push(format!("{}: takes {asked}", method.full_name()));
            }
        }
    }
    for message in pool.all_messages().filter(|one| ours(one.package_name())) {
        for field in message.fields().filter(|field| !is_snake(field.name())) {
            faults.push(format!("{}: is lower_snake_case", field.full_name()));
        }
    }
    for names in pool.all_enums().filter(|one| ours(one.package_name())) {
        let prefix = prefix(names.name());
        let zero = names.get_value(0).map(|zero| zero.name().to_owned());
        if zero.as_deref() != Some(format!("{prefix}UNSPECIFIED").as_str()) {
            faults.push(format!("{}: 0 is {prefix}UNSPECIFIED", names.full_name()));
        }
        for value in names
            .values()
            .filter(|one| !one.name().starts_with(&prefix))
        {
            faults.push(format!("{}: starts with {prefix}", value.full_name()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_method_and_every_message_people_use_can_be_reached_over_http() {
    let pool = descriptor_pool();
    let annotation = pool.get_extension_by_name("google.api.http");
    let annotation = annotation.expect("the annotation is compiled in");
    let bare: Vec<String> = pool
        .services()
        .filter(|service| service.package_name() == "hookplane.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(|method| !method.options().has_extension(&annotation))
        .map(|method| method.full_name().to_owned())
        .collect();
    assert!(bare.is_empty(), "without a path: {bare:?}");
}
