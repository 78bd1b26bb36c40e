use std::collections::BTreeSet;
use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;

use super::*;

const NOW: u64 = 1_790_000_000_123;

/// By group: what every consumer of the group relies on, in `data`.
const REQUIRED: [(&str, &[&str]); 14] = [
    ("user.", &["id", "object"]),
    (
        "session.",
        &["id", "object", "user_id", "status", "created_at"],
    ),
    ("organization.", &["id", "object"]),
    ("organizationDomain.", &["id", "object"]),
    (
        "organizationInvitation.",
        &["id", "object", "email_address", "organization_id", "status"],
    ),
    (
        "organizationMembership.",
        &["id", "object", "role", "organization", "public_user_data"],
    ),
    ("role.", &["id", "object"]),
    ("permission.", &["id", "object"]),
    (
        "waitlistEntry.",
        &["id", "object", "email_address", "status"],
    ),
    (
        "email.",
        &[
            "id",
            "object",
            "body",
            "subject",
            "to_email_address",
            "slug",
        ],
    ),
    (
        "sms.",
        &["id", "object", "message", "to_phone_number", "slug"],
    ),
    (
        "subscription.",
        &["id", "object", "status", "items", "payer"],
    ),
    (
        "subscriptionItem.",
        &["id", "object", "status", "plan", "subscription_id"],
    ),
    ("paymentAttempt.", &["id", "status", "payer", "totals"]),
];

fn sample(provider: Provider, event_type: &str, seed: u64) -> Sample {
    let mut rng = StdRng::seed_from_u64(seed);
    compose(provider, event_type, None, &mut Draw::new(&mut rng, NOW))
        .unwrap_or_else(|| panic!("{provider} has no {event_type}"))
}

fn body(sample: &Sample) -> Value {
    serde_json::from_slice(&sample.body).expect("bodies are JSON")
}

fn keys(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect()
}

#[test]
fn clerk_has_its_46_types_once_each() {
    let types = event_types(Provider::Clerk);
    let distinct: BTreeSet<_> = types.iter().collect();
    assert_eq!((types.len(), distinct.len()), (46, 46));
}

#[test]
fn every_clerk_event_has_the_envelope_and_what_its_group_needs() {
    for event_type in event_types(Provider::Clerk) {
        let body = body(&sample(Provider::Clerk, event_type, 7));
        assert_eq!(body["object"], "event", "{event_type}");
        assert_eq!(body["type"], event_type);
        assert_eq!(body["timestamp"], NOW, "{event_type}");
        assert!(
            body["instance_id"].as_str().unwrap().starts_with("ins_"),
            "{event_type}"
        );
        let group = REQUIRED
            .iter()
            .find(|(group, _)| event_type.starts_with(group))
            .unwrap_or_else(|| panic!("{event_type} is of no group"));
        for field in group.1 {
            assert!(
                body["data"].get(*field).is_some(),
                "{event_type} lacks data.{field}"
            );
        }
        if event_type.ends_with(".deleted") && !event_type.starts_with("organizationMembership") {
            assert_eq!(body["data"]["deleted"], true, "{event_type}");
        }
    }
}

#[test]
fn bodies_have_the_sizes_of_real_ones() {
    let size = |event_type| sample(Provider::Clerk, event_type, 3).body.len();
    assert!(
        (300..700).contains(&size("role.deleted")),
        "{}",
        size("role.deleted")
    );
    assert!(
        (1_200..2_600).contains(&size("user.created")),
        "{}",
        size("user.created")
    );
    assert!(
        (7_000..14_000).contains(&size("email.created")),
        "{}",
        size("email.created")
    );
}

#[test]
fn two_draws_differ_and_one_draw_repeats() {
    for provider in Provider::ALL {
        for event_type in event_types(provider) {
            let (one, other) = (
                sample(provider, event_type, 1),
                sample(provider, event_type, 2),
            );
            assert_ne!(one.body, other.body, "{provider} {event_type}");
            assert_ne!(one.message_id, other.message_id, "{provider} {event_type}");
            assert_eq!(
                one.body,
                sample(provider, event_type, 1).body,
                "{provider} {event_type}"
            );
        }
    }
}

#[test]
fn signed_samples_tell_their_type_and_id_where_the_provider_does() {
    for provider in Provider::ALL {
        for event_type in event_types(provider) {
            let sample = sample(provider, event_type, 5);
            let mut headers = sample.headers.clone();
            let body = serde_json::from_slice(&sample.body).ok();
            if provider != Provider::Webhook {
                let secret = hookplane_signature::generate_secret([7; 32]);
                let signed = hookplane_signature::sign(
                    provider,
                    &secret,
                    &sample.message_id,
                    1,
                    &sample.body,
                );
                headers.extend(signed.unwrap());
                let id = hookplane_signature::message_id(provider, &headers, body.as_ref());
                assert_eq!(
                    id.as_deref(),
                    Some(sample.message_id.as_str()),
                    "{provider} {event_type}"
                );
            }
            let told = hookplane_signature::event_type(provider, &headers, body.as_ref());
            assert_eq!(told.as_deref(), Some(event_type), "{provider}");
        }
    }
}

#[test]
fn a_mix_holds_many_types_and_only_known_ones() {
    let mut rng = StdRng::seed_from_u64(11);
    let drawn: BTreeSet<_> = (0..2000)
        .map(|_| draw_type(Provider::Clerk, &mut rng))
        .collect();
    let known: BTreeSet<_> = event_types(Provider::Clerk).into_iter().collect();
    assert!(drawn.len() > 25, "{} types only", drawn.len());
    assert!(drawn.is_subset(&known));
}

#[test]
fn ours_have_every_key_of_the_published_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/clerk");
    for event_type in event_types(Provider::Clerk) {
        // The examples are no part of the repository; without them there is nothing to compare.
        let Ok(example) = std::fs::read(folder.join(format!("{event_type}.json"))) else {
            continue;
        };
        let example: Value = serde_json::from_slice(&example).unwrap();
        let ours = body(&sample(Provider::Clerk, event_type, 9));
        for (place, theirs, ours) in [
            ("the envelope", keys(&example), keys(&ours)),
            ("data", keys(&example["data"]), keys(&ours["data"])),
        ] {
            let lacking: Vec<_> = theirs.difference(&ours).collect();
            assert!(
                lacking.is_empty(),
                "{place} of {event_type} lacks {lacking:?}"
            );
        }
    }
}
