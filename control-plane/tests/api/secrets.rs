//! G7: secrets are sealed at rest, redacted on read, and survive being sent back redacted.

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
    let dir = std::sync::Arc::clone(&plane.dir);
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
async fn a_database_sealed_with_another_key_is_not_read_as_something_else() {
    let plane = Plane::on_sqlite().await;
    let made = plane
        .create_source(clerk("Clerk"))
        .await
        .expect("it is right");
    let key_file = plane.dir.path().join("secret.key");
    std::fs::remove_file(&key_file).expect("the key is there");
    let plane = plane.restart().await;
    let got = plane
        .sources()
        .get_source(v1::GetSourceRequest { id: made.id })
        .await;
    let failed = got.expect_err("it cannot be opened");
    assert_eq!(failed.code(), tonic::Code::Internal);
    assert!(!failed.message().contains("whsec"), "{}", failed.message());
}
