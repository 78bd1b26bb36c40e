use hookplane_proto::agent::v1::resource::Body;
use hookplane_proto::agent::v1::{ResourceKind, SourceGroup};
use hookplane_proto::v1;

use super::*;

fn source(id: &str, version: u64, config: v1::SourceConfig, to: Option<&str>) -> Resource {
    let connection = to.map(|to| v1::Connection {
        id: format!("web_{id}"),
        source_id: id.into(),
        destination_id: to.into(),
        ..v1::Connection::default()
    });
    let group = SourceGroup {
        source: Some(v1::Source {
            id: id.into(),
            team_id: "tm_1".into(),
            config: Some(config),
            ..v1::Source::default()
        }),
        connections: connection.into_iter().collect(),
        handler_keys: Vec::new(),
    };
    resource(ResourceKind::Source, id, version, Body::Source(group))
}

fn open() -> v1::SourceConfig {
    v1::SourceConfig::default()
}

fn destination(id: &str, version: u64, config: v1::DestinationConfig) -> Resource {
    let body = v1::Destination {
        id: id.into(),
        team_id: "tm_1".into(),
        config: Some(config),
        ..v1::Destination::default()
    };
    resource(
        ResourceKind::Destination,
        id,
        version,
        Body::Destination(body),
    )
}

fn at(url: &str) -> v1::DestinationConfig {
    v1::DestinationConfig {
        url: url.into(),
        ..v1::DestinationConfig::default()
    }
}

fn resource(kind: ResourceKind, id: &str, version: u64, body: Body) -> Resource {
    Resource {
        key: Some(ResourceKey {
            kind: kind.into(),
            id: id.into(),
        }),
        version,
        body: Some(body),
    }
}

fn whole(revision: u64, upserts: Vec<Resource>) -> Change {
    Change {
        held: Held {
            epoch: "e".into(),
            revision,
            digest: String::new(),
        },
        base: None,
        upserts,
        removals: Vec::new(),
        deleted_connections: Vec::new(),
    }
}

fn applied(resources: Vec<Resource>) -> Changed {
    Ledger::default()
        .apply(whole(1, resources))
        .unwrap_or_else(|misfit| panic!("{misfit}"))
}

fn reason(resource: Resource) -> String {
    let changed = applied(vec![resource]);
    let refused = changed.refused.first().expect("it is refused");
    refused.reason.clone()
}

#[test]
fn the_digest_covers_kind_id_and_version_sorted_by_kind_then_id() {
    let changed = applied(vec![
        source("src_b", 3, open(), None),
        source("src_a", 2, open(), None),
        destination("des_z", 1, at("http://h/")),
    ]);
    let lines = "destination des_z 1\nsource src_a 2\nsource src_b 3\n";
    assert_eq!(
        changed.ledger.held().digest,
        hex::encode(Sha256::digest(lines))
    );
}

#[test]
fn what_a_later_release_means_is_refused_as_unsupported_and_never_guessed() {
    let scheme_of_later = v1::SourceConfig {
        auth: Some(v1::SourceAuth { scheme: None }),
        ..open()
    };
    assert_eq!(
        reason(source("src_1", 1, scheme_of_later, None)),
        "unsupported"
    );
    let auth_of_later = v1::DestinationConfig {
        auth: Some(v1::DestinationAuth { scheme: None }),
        ..at("http://h/")
    };
    assert_eq!(
        reason(destination("des_1", 1, auth_of_later)),
        "unsupported"
    );
    let mut type_of_later = source("src_1", 1, open(), None);
    let mut rule_of_later = source("src_1", 1, open(), Some("des_1"));
    if let Some(Body::Source(group)) = &mut type_of_later.body {
        group.source.as_mut().unwrap().r#type = 99;
    }
    if let Some(Body::Source(group)) = &mut rule_of_later.body {
        group.connections[0].rules.push(v1::Rule { rule: None });
    }
    assert_eq!(reason(type_of_later), "unsupported");
    assert_eq!(reason(rule_of_later), "unsupported");
    let mut kind_of_later = source("src_1", 1, open(), None);
    kind_of_later.key.as_mut().unwrap().kind = 99;
    assert_eq!(reason(kind_of_later), "unsupported");
    let mut no_body = source("src_1", 1, open(), None);
    no_body.body = None;
    assert_eq!(reason(no_body), "unsupported");
}

#[test]
fn bad_receivers_are_refused_with_their_reason() {
    for (config, wanted) in [
        (at("ftp://h/"), "url_invalid"),
        (at("http://user@h/"), "url_invalid"),
        (at("nonsense"), "url_invalid"),
        (
            v1::DestinationConfig {
                timeout_ms: 120_001,
                ..at("http://h/")
            },
            "limit_exceeded",
        ),
        (
            v1::DestinationConfig {
                http_method: "post".into(),
                ..at("http://h/")
            },
            "method_invalid",
        ),
    ] {
        assert_eq!(reason(destination("des_1", 1, config)), wanted);
    }
}

#[test]
fn a_body_under_another_key_is_refused() {
    let mut other = source("src_1", 1, open(), None);
    other.key.as_mut().unwrap().id = "src_2".into();
    assert_eq!(reason(other), "key_mismatch");
}

#[test]
fn what_was_parked_is_on_disk_and_is_tried_again_after_a_restart() {
    let changed = applied(vec![source("src_1", 1, open(), Some("des_1"))]);
    assert_eq!(changed.refused[0].reason, "destination_missing");
    let restored = Ledger::restore(changed.ledger.generation());
    assert_eq!(restored.refused_count(), 1);
    let mut change = whole(2, vec![destination("des_1", 2, at("http://h/"))]);
    change.base = Some(1);
    change.held.digest = hex::encode(Sha256::digest("destination des_1 2\nsource src_1 1\n"));
    let changed = restored
        .apply(change)
        .unwrap_or_else(|misfit| panic!("{misfit}"));
    assert!(changed.refused.is_empty());
    assert!(changed.ledger.configuration.sources.contains_key("src_1"));
}

#[test]
fn only_what_is_told_to_be_deleted_is_and_that_is_remembered() {
    let full = || {
        vec![
            destination("des_1", 1, at("https://h/x")),
            source("src_1", 1, open(), Some("des_1")),
        ]
    };
    let before = applied(full()).ledger;
    let branch = before.configuration.sources["src_1"].connections[0]
        .id
        .clone();
    let is_deleted = |ledger: &Ledger| ledger.configuration.deleted_connections.contains(&branch);
    let apply = |ledger: &Ledger, change| {
        let changed = ledger.apply(change);
        changed.unwrap_or_else(|misfit| panic!("{misfit}")).ledger
    };
    let absent = apply(&before, whole(2, Vec::new()));
    assert!(
        !is_deleted(&absent),
        "a source that is not sent any more is no deleted one"
    );
    let mut change = whole(3, Vec::new());
    change.deleted_connections = vec![branch.clone()];
    let deleted = apply(&absent, change);
    assert!(is_deleted(&deleted));
    let restored = Ledger::restore(deleted.generation());
    assert!(is_deleted(&restored), "it is forgotten over a restart");
    let mut rebuilt = whole(1, Vec::new());
    rebuilt.held.epoch = "another".to_owned();
    let rebuilt = apply(&restored, rebuilt);
    assert!(is_deleted(&rebuilt), "it is forgotten with the epoch");
    let back = apply(&rebuilt, {
        let mut change = whole(2, full());
        change.held.epoch = "another".to_owned();
        change
    });
    assert!(!is_deleted(&back), "what is there again is not deleted");
}

#[test]
fn defaults_are_resolved_to_numbers() {
    let changed = applied(vec![
        destination("des_1", 1, at("https://h/x")),
        source("src_1", 1, open(), Some("des_1")),
    ]);
    let configuration = &changed.ledger.configuration;
    let source = &configuration.sources["src_1"];
    assert_eq!(source.max_body_bytes, 1_048_576);
    assert_eq!(source.dedupe_window.as_secs(), 3 * 86_400);
    assert_eq!(source.methods, ["POST", "PUT", "PATCH", "DELETE"]);
    let destination = &configuration.destinations["des_1"];
    assert_eq!(
        (destination.timeout.as_millis(), destination.max_in_flight),
        (15_000, 32)
    );
    assert!(destination.path_forwarding && destination.enabled);
}

#[test]
fn a_destination_that_a_kept_source_uses_is_not_dropped() {
    let before = applied(vec![
        destination("des_1", 1, at("https://one.test/")),
        source("src_1", 1, open(), Some("des_1")),
    ]);
    // The new version of the source cannot be used, and its destination is taken away.
    let mut change = whole(2, vec![source("src_1", 2, open(), Some("des_unknown"))]);
    change.base = Some(1);
    change.removals = vec![ResourceKey {
        kind: ResourceKind::Destination.into(),
        id: "des_1".into(),
    }];
    let changed = before.ledger.apply(change);
    let changed = changed.unwrap_or_else(|misfit| panic!("{misfit}"));
    assert!(changed.ledger.configuration.sources.contains_key("src_1"));
    let there = &changed.ledger.configuration.destinations;
    assert!(
        there.contains_key("des_1"),
        "its events have somewhere to go"
    );
    let reasons: Vec<_> = changed
        .refused
        .iter()
        .map(|one| one.reason.as_str())
        .collect();
    assert!(reasons.contains(&"in_use"), "{reasons:?}");
    // Once the source can be used, the destination goes.
    let mut mended = whole(
        3,
        vec![
            destination("des_2", 3, at("https://two.test/")),
            source("src_1", 3, open(), Some("des_2")),
        ],
    );
    mended.base = Some(2);
    let mended = changed.ledger.apply(mended);
    let mended = mended.unwrap_or_else(|misfit| panic!("{misfit}"));
    assert!(mended.refused.is_empty(), "{:?}", mended.refused);
    let there = &mended.ledger.configuration.destinations;
    assert!(!there.contains_key("des_1") && there.contains_key("des_2"));
}
