//! The recovery story of the docs, run as it is written there.

use std::process::Output;

use hookplane_tests::process::binary;
use hookplane_tests::{Receiver, System, until};
use serde_json::json;
use tokio::process::Command;

const BODY: &str = r#"{"type":"user.updated","data":{"id":"user_1"}}"#;

/// The lines of the first block of commands, comments left out.
fn lines_of_the_story() -> Vec<String> {
    let page = include_str!("../../docs/recovery.md");
    let (_, rest) = page
        .split_once("```console\n")
        .expect("a block of commands");
    let (block, _) = rest.split_once("```").expect("its end");
    let lines = block.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

async fn run(system: &System, line: &str, ids: &[(&str, &str)]) -> Output {
    let bins = binary("hookplane");
    let bins = bins
        .parent()
        .expect("a folder")
        .to_string_lossy()
        .into_owned();
    Command::new("/bin/sh")
        .args(["-ec", line])
        .env_clear()
        .env("PATH", format!("{bins}:/usr/bin:/bin"))
        .env("HOOKPLANE_API_URL", &system.api().url)
        .env("HOOKPLANE_API_KEY", &system.api().key)
        .envs(ids.iter().copied())
        .output()
        .await
        .expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_story_of_the_docs_ends_with_nothing_lost_and_nothing_sent_twice() {
    let system = System::start().await;
    let (profiles, mail) = (Receiver::start().await, Receiver::start().await);
    let source = system.clerk("Clerk").await;
    let to_profiles = system.destination("profiles", &profiles).await;
    let to_mail = system.destination("mail", &mail).await;
    let once = json!([{ "type": "retry", "count": 0 }]);
    system
        .connect(&source, "profiles", &to_profiles, once)
        .await;
    system.connect(&source, "mail", &to_mail, json!([])).await;
    system.settled().await;
    profiles.always_answers(Some(422));
    for _ in 0..6 {
        source.send(BODY).await;
    }
    let failed = until("six have failed", || async {
        let rows = system.api().list("/v1/events?status=FAILED").await;
        (rows.len() == 6).then_some(rows)
    })
    .await;
    let id = |field: &str| failed[0][field].as_str().expect("an id").to_owned();
    let (event, request) = (id("id"), id("request_id"));
    let ids = [("EVENT", event.as_str()), ("REQUEST", request.as_str())];

    let mut told = Vec::new();
    for line in lines_of_the_story() {
        let output = run(&system, &line, &ids).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {text}{errors}");
        if line.contains(" pause ") {
            system.settled().await;
            source.send(BODY).await;
            source.send(BODY).await;
            mail.got(8).await;
            let held = system.api().list("/v1/events?status=HOLD").await;
            assert_eq!(held.len(), 2, "{held:?}");
            assert_eq!(profiles.so_far().len(), 6, "a held event was sent");
            profiles.always_answers(None);
        }
        if line.contains(" resume ") {
            profiles.got(8).await;
        }
        if line.contains("events retry") {
            profiles.got(9).await;
            until("the retry has ended", || async {
                let counts = system.api().get("/v1/events/count?status=SUCCESSFUL").await;
                (counts["successful"] == 11).then_some(())
            })
            .await;
        }
        told.push((line, text));
    }
    let of = |part: &str| {
        let found = told.iter().find(|(line, _)| line.contains(part));
        &found.expect("a line of the story").1
    };
    let first = &told[0].1;
    assert!(
        first.contains("422") && first.contains("profiles"),
        "{first}"
    );
    let trace = of("trace");
    assert!(
        trace.contains("SUCCESSFUL"),
        "the retry is not in the trace: {trace}"
    );
    let planned = of("--dry-run");
    assert!(planned.contains("5 to send again"), "{planned}");
    let done = of("--canary");
    assert!(done.contains("5 of 5"), "{done}");
    let last = &told[told.len() - 1].1;
    assert!(!last.contains("422"), "something is left: {last}");
    assert_eq!(profiles.so_far().len(), 14, "one was lost or sent twice");
    assert_eq!(mail.so_far().len(), 8, "the sibling was touched");
}
