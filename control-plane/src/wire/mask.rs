//! Patches: takes the fields that a mask names from one message into another.

use hookplane_proto::descriptor_pool;
use prost::Message;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};
use prost_types::FieldMask;

use crate::domain::Violation;

/// Fields that the server sets; a patch may repeat their values and not change them.
const SET_BY_SERVER: [&str; 6] = [
    "id",
    "team_id",
    "url",
    "created_at",
    "updated_at",
    "revision",
];

/// Fields that the server sets and that may have changed since they were read:
/// what they say is checked elsewhere or not at all.
const SAID_ONLY: [&str; 4] = [
    "etag",
    "agents",
    "connections_count",
    "sample_connection_id",
];

/// `current` with the named fields of `patch`; a field that `patch` lacks is cleared.
///
/// # Errors
/// A [`Violation`] for each path that names no settable field, and one for an empty mask.
pub fn merge<M: Message + Default>(
    full_name: &str,
    current: &M,
    patch: &M,
    mask: Option<&FieldMask>,
) -> Result<M, Vec<Violation>> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        return Err(vec![Violation::new(
            "update_mask",
            "name the fields to change; over REST they are those in the body",
        )]);
    }
    let descriptor = descriptor_pool()
        .get_message_by_name(full_name)
        .expect("the contract holds every resource");
    let mut target = reflect(&descriptor, current);
    let patch = reflect(&descriptor, patch);
    let mut faults = Vec::new();
    for path in paths {
        let segments: Vec<&str> = path.split('.').collect();
        if SAID_ONLY.contains(&path.as_str()) && descriptor.get_field_by_name(path).is_some() {
            continue;
        }
        let message = if SET_BY_SERVER.contains(&segments[0]) {
            let same = segments.len() == 1
                && target.get_field_by_name(path) == patch.get_field_by_name(path);
            (!same).then_some("this is set by the server")
        } else {
            let taken = take(&mut target, &patch, &segments).is_some();
            (!taken).then_some("there is no such field")
        };
        if let Some(message) = message {
            let shown: String = path.chars().take(64).collect();
            faults.push(Violation::new(shown, message));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(M::decode(target.encode_to_vec().as_slice())
        .expect("the message was made from its own type"))
}

fn reflect<M: Message>(descriptor: &MessageDescriptor, message: &M) -> DynamicMessage {
    DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice())
        .expect("the message was made from its own type")
}

fn take(target: &mut DynamicMessage, patch: &DynamicMessage, path: &[&str]) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let field = target.descriptor().get_field_by_name(first)?;
    if rest.is_empty() {
        if patch.has_field(&field) {
            target.set_field(&field, patch.get_field(&field).into_owned());
        } else {
            target.clear_field(&field);
        }
        return Some(());
    }
    if field.is_list() || field.is_map() || !matches!(field.kind(), Kind::Message(_)) {
        return None;
    }
    let inner_patch = patch.get_field(&field);
    match (target.get_field_mut(&field), inner_patch.as_ref()) {
        (Value::Message(inner), Value::Message(inner_patch)) => take(inner, inner_patch, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookplane_proto::v1;

    fn source(name: &str, pool: &str, tolerance: u32) -> v1::Source {
        v1::Source {
            name: name.to_owned(),
            pool: pool.to_owned(),
            config: Some(v1::SourceConfig {
                tolerance_seconds: tolerance,
                max_body_bytes: 9,
                ..v1::SourceConfig::default()
            }),
            ..v1::Source::default()
        }
    }

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn a_patch_changes_the_named_fields_and_no_other() {
        let (current, patch) = (source("old", "eu", 1), source("new", "us", 2));
        let paths = mask(&["name", "config.tolerance_seconds"]);
        let merged = merge("hookplane.v1.Source", &current, &patch, Some(&paths)).expect("it fits");
        assert_eq!((merged.name.as_str(), merged.pool.as_str()), ("new", "eu"));
        let config = merged.config.expect("the config stays");
        assert_eq!((config.tolerance_seconds, config.max_body_bytes), (2, 9));
    }

    #[test]
    fn a_named_field_that_is_not_given_is_cleared() {
        let (current, patch) = (source("old", "eu", 1), source("new", "", 2));
        let merged = merge(
            "hookplane.v1.Source",
            &current,
            &patch,
            Some(&mask(&["pool"])),
        );
        assert_eq!(merged.expect("it fits").pool, "");
    }

    #[test]
    fn paths_that_name_nothing_settable_are_refused_by_name() {
        let (current, mut patch) = (source("old", "eu", 1), source("new", "", 2));
        patch.id = "src_mine".to_owned();
        for path in [
            "nmae",
            "name.x",
            "id",
            "id.x",
            "created_at.seconds",
            "config.auth.nothing",
            "",
        ] {
            let merged = merge(
                "hookplane.v1.Source",
                &current,
                &patch,
                Some(&mask(&[path])),
            );
            let faults = merged.expect_err("a bad path is refused");
            assert_eq!(faults[0].field, path);
        }
        let repeated = merge(
            "hookplane.v1.Source",
            &current,
            &current,
            Some(&mask(&["id", "url"])),
        );
        assert!(repeated.is_ok(), "what was read cannot be sent back");
        let faults = merge("hookplane.v1.Source", &current, &patch, None).expect_err("no mask");
        assert_eq!(faults[0].field, "update_mask");
    }
}
