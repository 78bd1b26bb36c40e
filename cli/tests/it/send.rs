//! Sample traffic, judged by the verifier that agents use.

use std::collections::BTreeSet;

use hookplane_signature::{Algorithm, AuthSpec, Encoding, HmacSpec, Provider};

use crate::fake::Plane;
use crate::hookplane::Shell;
use crate::receiver::Receiver;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn provider_auth() -> AuthSpec {
    AuthSpec::Provider {
        secrets: vec![SECRET.to_owned()],
    }
}

#[tokio::test]
async fn every_clerk_event_is_signed_so_that_it_is_believed() {
    let receiver = Receiver::start(Provider::Clerk, provider_auth()).await;
    let shell = Shell::bare().with("HOOKPLANE_WEBHOOK_SECRET", SECRET);
    let listed = shell.run(&["send", "--type", "CLERK", "--list"]).await.ok();
    let listed: BTreeSet<&str> = listed.lines().collect();
    assert_eq!(listed.len(), 46);

    let sent = shell
        .run(&[
            "send",
            "--type",
            "CLERK",
            "--each",
            "--url",
            &receiver.url,
            "-o",
            "json",
        ])
        .await
        .json();
    assert_eq!((&sent["sent"], &sent["accepted"]), (&46.into(), &46.into()));
    let got = receiver.got();
    let types: BTreeSet<&str> = got.iter().map(|call| call.event_type.as_str()).collect();
    assert_eq!(types, listed);
    let ids: BTreeSet<_> = got.iter().map(|call| call.message_id.clone()).collect();
    assert_eq!(ids.len(), 46, "each message has an id of its own");
}

#[tokio::test]
async fn every_other_provider_is_signed_as_it_signs() {
    for provider in Provider::ALL {
        if matches!(provider, Provider::Clerk | Provider::Webhook) {
            continue;
        }
        let receiver = Receiver::start(provider, provider_auth()).await;
        let arguments = [
            "send",
            "--type",
            provider.as_str(),
            "--each",
            "--url",
            &receiver.url,
            "--secret",
            SECRET,
        ];
        Shell::bare().run(&arguments).await.ok();
        assert_eq!(receiver.got().len(), 2, "{provider}");
    }
}

#[tokio::test]
async fn the_same_id_twice_is_the_same_message_twice() {
    let receiver = Receiver::start(Provider::Clerk, provider_auth()).await;
    let arguments = [
        "send",
        "--event",
        "user.created",
        "--id",
        "msg_again",
        "--count",
        "2",
        "--url",
        &receiver.url,
        "--secret",
        SECRET,
    ];
    Shell::bare().run(&arguments).await.ok();
    let ids: Vec<_> = receiver
        .got()
        .into_iter()
        .filter_map(|call| call.message_id)
        .collect();
    assert_eq!(ids, ["msg_again", "msg_again"]);
}

#[tokio::test]
async fn a_file_is_sent_as_it_stands() {
    let receiver = Receiver::start(Provider::Clerk, provider_auth()).await;
    let shell = Shell::bare();
    shell.file("body.json", "{ \"type\" : \"odd\",\n \"n\": 1.0 }");
    shell
        .run(&[
            "send",
            "--body",
            "body.json",
            "--url",
            &receiver.url,
            "--secret",
            SECRET,
        ])
        .await
        .ok();
    assert_eq!(
        receiver.got()[0].body,
        b"{ \"type\" : \"odd\",\n \"n\": 1.0 }"
    );
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_exit_with_1() {
    let receiver = Receiver::start(Provider::Clerk, provider_auth()).await;
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let ran = Shell::bare()
        .run(&[
            "send",
            "--count",
            "3",
            "--url",
            &receiver.url,
            "--secret",
            other,
        ])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("3 401 SOURCE_AUTH_FAILED"), "{ran:?}");
    assert!(
        ran.err.contains("error: 3 of 3 were not accepted"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("hint: is --secret the one of the source?"),
        "{ran:?}"
    );
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn nobody_listening_is_a_failure_of_the_run_not_a_crash() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/src_1", listener.local_addr().unwrap())
    };
    let ran = Shell::bare()
        .run(&["send", "--url", &url, "--secret", SECRET])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.to_lowercase().contains("connection refused"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_source_by_name_gives_address_type_and_scheme() {
    let spec = HmacSpec {
        header: "x-sig".into(),
        secret: "own secret".into(),
        algorithm: Algorithm::Sha512,
        encoding: Encoding::Base64,
        prefix: "v=".into(),
    };
    let receiver = Receiver::start(Provider::Webhook, AuthSpec::Hmac(spec)).await;
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell
        .run(&[
            "sources",
            "create",
            "--name",
            "own",
            "--secret",
            "own secret",
            "--signature-header",
            "x-sig",
            "--signature-algorithm",
            "sha512",
            "--signature-encoding",
            "base64",
            "--signature-prefix",
            "v=",
        ])
        .await
        .ok();
    plane.state().sources[0].url = receiver.url.clone();
    shell
        .run(&["send", "--source", "own", "--secret", "own secret"])
        .await
        .ok();
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn the_demo_gives_address_and_secret_when_nothing_else_does() {
    let receiver = Receiver::start(Provider::Clerk, provider_auth()).await;
    let shell = Shell::bare();
    let ran = shell.run(&["send"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    std::fs::create_dir(shell.path().join(".hookplane")).unwrap();
    let demo = format!(
        r#"{{"source_id":"src_test","url":"{}","secret":"{SECRET}"}}"#,
        receiver.url
    );
    shell.file(".hookplane/demo.json", &demo);
    let ran = shell.run(&["send", "--event", "sms.created"]).await;
    assert!(ran.err.contains("hookplane trace req_1"), "{ran:?}");
    ran.ok();
    assert_eq!(receiver.got()[0].event_type, "sms.created");
    let other = shell.run(&["send", "--type", "GITHUB"]).await;
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.err.contains("--source"), "{other:?}");
}
