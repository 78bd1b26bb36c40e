//! G7: secrets are sealed at rest, redacted on read, and survive being sent back redacted.

use std::sync::Arc;

use hookplane_control_plane::clock::SystemClock;
use hookplane_control_plane::server::ControlPlane;
use hookplane_control_plane::settings::Settings;
use hookplane_proto::v1;

use super::plane::{Plane, SECRET, clerk, destination, provider_auth, secrets_of};

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

#[tokio::test]
async fn no_answer_and_no_file_holds_a_secret_in_clear() {
    let plane = Plane::on_sqlite().await;
    let made = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    assert_eq!(secrets_of(&made), ["whsec_••••••••LaSw"]);
    let mut wanted = destination("users");
    let bearer = v1::BearerToken {
        token: "the receiver's own token".to_owned(),
    };
    wanted.config.get_or_insert_default().auth = Some(v1::DestinationAuth {
        scheme: Some(v1::destination_auth::Scheme::BearerToken(bearer)),
    });
    let asked = v1::CreateDestinationRequest {
        destination: Some(wanted),
        ..v1::CreateDestinationRequest::default()
    };
    plane
        .destinations()
        .create_destination(asked)
        .await
        .expect("it is right");
    let dir = Arc::clone(&plane.dir);
    plane.stop().await;
    for entry in std::fs::read_dir(dir.path()).expect("the data folder") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        for secret in [&SECRET[6..], "the receiver's own token"] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds a secret in clear", path.display());
        }
    }
}

#[tokio::test]
async fn a_redacted_secret_sent_back_keeps_the_stored_one() {
    let plane = Plane::on_sqlite().await;
    let mut made = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    let shown = secrets_of(&made);
    let auth = provider_auth(&[OTHER, &shown[0]]);
    made.config.get_or_insert_default().auth = Some(auth);
    let asked = v1::ReplaceSourceRequest {
        id: made.id.clone(),
        source: Some(made),
        ..v1::ReplaceSourceRequest::default()
    };
    let rotated = plane
        .sources()
        .replace_source(asked)
        .await
        .expect("it is right")
        .into_inner();
    assert_eq!(
        secrets_of(&rotated),
        ["whsec_••••••••b7oD", "whsec_••••••••LaSw"]
    );

    let strange = provider_auth(&["whsec_••••••••XXXX"]);
    let mut source = rotated.clone();
    source.config.get_or_insert_default().auth = Some(strange);
    let asked = v1::ReplaceSourceRequest {
        id: source.id.clone(),
        source: Some(source),
        ..v1::ReplaceSourceRequest::default()
    };
    let refused = plane
        .sources()
        .replace_source(asked)
        .await
        .expect_err("it stands for nothing");
    assert!(
        refused.message().contains("redacted"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn a_control_plane_does_not_start_with_a_key_that_is_not_the_databases() {
    let plane = Plane::on_sqlite().await;
    let dir = Arc::clone(&plane.dir);
    plane.stop().await;
    let key_file = dir.path().join("secret.key");
    std::fs::remove_file(&key_file).expect("the key is there");
    let settings = Settings {
        api: ([127, 0, 0, 1], 0).into(),
        ..Settings::in_dir(dir.path())
    };
    let started = ControlPlane::start(settings, Arc::new(SystemClock)).await;
    let fault = started.err().expect("it cannot be opened");
    let fault = format!("{:#}", anyhow::Error::from(fault));
    assert!(fault.contains("another key"), "{fault}");
}

/// The keys' file with these keys, the one that seals first.
fn write_keys(dir: &std::path::Path, keys: &[&str]) {
    std::fs::write(dir.join("secret.key"), keys.join("\n")).expect("it is written");
}

async fn starts(dir: &std::path::Path, database: &str) -> Result<(), String> {
    let settings = Settings {
        api: ([127, 0, 0, 1], 0).into(),
        database: database.to_owned(),
        ..Settings::in_dir(dir)
    };
    let started = ControlPlane::start(settings, Arc::new(SystemClock)).await;
    started
        .map(drop)
        .map_err(|fault| format!("{:#}", anyhow::Error::from(fault)))
}

#[tokio::test]
async fn the_key_that_wraps_secrets_is_exchanged_while_secrets_stay() {
    const NEW: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";
    for plane in Plane::on_each_database().await {
        let made = plane.create_source(clerk("Clerk")).await.expect("right");
        plane.create_destination("users").await;
        let old = std::fs::read_to_string(plane.dir.path().join("secret.key"));
        let old = old.expect("it was made");
        let old = old.trim();
        write_keys(plane.dir.path(), &[NEW, old]);
        let plane = plane.restart().await;
        let keys = secret_keys(&plane).await;
        assert_eq!(keys.len(), 2);
        assert!(keys[0].current && keys[0].values == 0);
        assert!(!keys[1].current && keys[1].values == 2);

        assert_eq!(
            rewrap(&plane, false).await,
            3,
            "both rows and the audit key"
        );
        assert_eq!(rewrap(&plane, false).await, 0, "nothing is left to do");
        assert_eq!(secret_keys(&plane).await[1].values, 0, "the old key can go");
        write_keys(plane.dir.path(), &[NEW]);
        let plane = plane.restart().await;
        assert_eq!(rewrap(&plane, true).await, 3, "each value gets a new key");
        let got = plane
            .sources()
            .get_source(v1::GetSourceRequest { id: made.id })
            .await;
        let got = got.expect("it opens").into_inner();
        assert_eq!(secrets_of(&got), ["whsec_••••••••LaSw"]);

        let (dir, database) = (Arc::clone(&plane.dir), plane.database.clone());
        plane.stop().await;
        write_keys(dir.path(), &[old]);
        let fault = starts(dir.path(), &database)
            .await
            .expect_err("the old key is no use");
        assert!(fault.contains("give that key too"), "{fault}");
        assert!(!fault.contains(old), "the key is told: {fault}");
        write_keys(dir.path(), &[old, NEW]);
        starts(dir.path(), &database).await.expect("both open");
    }
}

async fn secret_keys(plane: &Plane) -> Vec<v1::SecretKey> {
    let mut installation = plane.installation();
    let told = installation.get_secret_keys(v1::GetSecretKeysRequest {});
    told.await.expect("it answers").into_inner().keys
}

/// The whole exchange; tells how many values it changed.
async fn rewrap(plane: &Plane, reencrypt: bool) -> u64 {
    let mut asked = v1::RewrapSecretsRequest {
        reencrypt,
        ..v1::RewrapSecretsRequest::default()
    };
    let mut changed = 0;
    loop {
        let step = plane.installation().rewrap_secrets(asked.clone()).await;
        let step = step.expect("the keys open everything").into_inner();
        changed += step.changed;
        asked.page_token = step.next;
        if asked.page_token.is_empty() {
            return changed;
        }
    }
}

fn terms_of(source: &v1::Source) -> Vec<v1::SecretTerm> {
    let auth = source.config.clone().and_then(|config| config.auth);
    match auth.and_then(|auth| auth.scheme) {
        Some(v1::source_auth::Scheme::ProviderSignature(signature)) => signature.terms,
        other => panic!("the source has no provider signature but {other:?}"),
    }
}

#[tokio::test]
async fn a_rotation_gives_both_secrets_terms_that_stay_with_them() {
    for plane in Plane::on_each_database().await {
        let made = plane.create_source(clerk("Clerk")).await.expect("right");
        assert_eq!(terms_of(&made)[0].version, 1);
        let ends = prost_types::Timestamp {
            seconds: 4_000_000_000,
            nanos: 0,
        };
        let replace = async |source: v1::Source| {
            let asked = v1::ReplaceSourceRequest {
                id: made.id.clone(),
                source: Some(source),
                ..v1::ReplaceSourceRequest::default()
            };
            plane.sources().replace_source(asked).await
        };
        let with = |secrets: &[&str], terms: Vec<v1::SecretTerm>| {
            let mut source = clerk("Clerk");
            let mut auth = provider_auth(secrets);
            if let Some(v1::source_auth::Scheme::ProviderSignature(signature)) = &mut auth.scheme {
                signature.terms = terms;
            }
            source.config.get_or_insert_default().auth = Some(auth);
            source
        };
        let ending = v1::SecretTerm {
            version: 1,
            expires_at: Some(ends),
            ..v1::SecretTerm::default()
        };
        let shown = secrets_of(&made)[0].clone();
        let fresh = v1::SecretTerm::default();
        let both = with(&[OTHER, &shown], vec![fresh, ending]);
        let rotating = replace(both).await.expect("right").into_inner();
        let terms = terms_of(&rotating);
        assert_eq!((terms[0].version, terms[1].version), (2, 1));
        assert_eq!(terms[1].expires_at, Some(ends));

        let again = replace(rotating.clone()).await.expect("right").into_inner();
        assert_eq!(
            again.revision, rotating.revision,
            "sent back it changes nothing"
        );
        let quiet = replace(with(&[OTHER, SECRET], Vec::new())).await;
        let quiet = quiet.expect("secrets keep their terms").into_inner();
        assert_eq!(terms_of(&quiet), terms);
        let strange = v1::SecretTerm {
            version: 9,
            ..v1::SecretTerm::default()
        };
        let refused = replace(with(&[OTHER, SECRET], vec![strange])).await;
        let refused = refused.expect_err("there is no such secret");
        assert!(
            refused.message().contains("terms[0]"),
            "{}",
            refused.message()
        );
    }
}
