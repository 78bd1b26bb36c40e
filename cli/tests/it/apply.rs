//! One file for the whole configuration, applied again and again.

use crate::fake::Plane;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/clerk.toml");
const SECRET: &str = "CLERK_WEBHOOK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "CLERK_WEBHOOK_SECRET=whsec_C2FVsBQIhrscChlQIMVzb5sSYspobLaSw";

fn actions(told: &serde_json::Value) -> Vec<String> {
    let told = told["resources"].as_array().unwrap();
    told.iter()
        .map(|one| one["action"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_example_is_created_and_the_second_time_unchanged() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let apply = ["apply", "-f", EXAMPLE, "--set", SECRET];
    let first = shell.run(&apply).await.ok();
    assert_eq!(first.lines().count(), 9, "{first}");
    assert!(
        first.lines().all(|line| line.ends_with("created")),
        "{first}"
    );
    let revision = plane.state().revision;

    let second = shell.run(&apply).await.ok();
    assert!(
        second.lines().all(|line| line.ends_with("unchanged")),
        "{second}"
    );
    assert_eq!(plane.state().revision, revision, "nothing was written");
    let state = plane.state();
    assert_eq!(
        (
            state.sources.len(),
            state.destinations.len(),
            state.connections.len()
        ),
        (1, 4, 4)
    );
}

#[tokio::test]
async fn a_secret_that_looks_the_same_is_replaced_all_the_same() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell
        .run(&["apply", "-f", EXAMPLE, "--set", SECRET])
        .await
        .ok();
    let told = shell
        .run(&["apply", "-f", EXAMPLE, "--set", OTHER, "-o", "json"])
        .await
        .json();
    assert_eq!(
        told["resources"][0]["changes"][0],
        "config.auth: another secret"
    );
    let state = plane.state();
    let kept = &state.secrets[&state.sources[0].id];
    assert!(OTHER.ends_with(kept[0].as_str()), "{kept:?}");
}

#[tokio::test]
async fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let ran = shell
        .run(&["apply", "-f", EXAMPLE, "--set", SECRET, "--dry-run"])
        .await;
    assert!(ran.err.contains("judged when they are written"), "{ran:?}");
    let dry = ran.ok();
    assert!(
        dry.lines().all(|line| line.ends_with("would be created")),
        "{dry}"
    );
    assert_eq!(plane.state().revision, 0);

    shell
        .run(&["apply", "-f", EXAMPLE, "--set", SECRET])
        .await
        .ok();
    let changed = std::fs::read_to_string(EXAMPLE)
        .unwrap()
        .replace("9003", "9999")
        .replace("timeout_ms = 5000", "timeout_ms = 6000");
    shell.file("changed.toml", &changed);
    let dry = shell
        .run(&["apply", "-f", "changed.toml", "--set", SECRET, "--dry-run"])
        .await
        .ok();
    assert!(dry.contains("config.timeout_ms: 5000 -> 6000"), "{dry}");
    assert!(
        dry.contains("9003/webhooks/clerk\" -> \"http://127.0.0.1:9999"),
        "{dry}"
    );
    let told = shell
        .run(&["apply", "-f", "changed.toml", "--set", SECRET, "-o", "json"])
        .await
        .json();
    assert_eq!(
        actions(&told)
            .iter()
            .filter(|action| *action == "updated")
            .count(),
        2,
        "{told}"
    );
}

#[tokio::test]
async fn standard_input_is_read_and_what_was_shown_can_be_applied() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell
        .run(&["apply", "-f", EXAMPLE, "--set", SECRET])
        .await
        .ok();
    let shown = |kind: &'static str| {
        let shell = &shell;
        async move { shell.run(&[kind, "list", "-o", "json"]).await.json()["models"].clone() }
    };
    let file = serde_json::json!({
        "sources": shown("sources").await,
        "destinations": shown("destinations").await,
        "connections": shown("connections").await,
    });
    let told = shell
        .fed(
            &file.to_string(),
            &["apply", "-f", "-", "--dry-run", "-o", "json"],
        )
        .await
        .json();
    assert_eq!(actions(&told), vec!["unchanged"; 9], "{told}");
}

#[tokio::test]
async fn a_file_that_is_not_understood_changes_nothing() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    for (name, text, word) in [
        (
            "a.toml",
            "[[sources]]\nname = \"a\"\ntpye = \"CLERK\"",
            "tpye",
        ),
        ("b.toml", "[[sources]]\nname = ", "is not TOML"),
        ("c.json", "{\"source\": []}", "`source` is not known"),
        (
            "d.toml",
            "[[destinations]]\nname = \"a\"\n[[connections]]\nname = \"c\"\ndestination = \"a\"",
            "field: source: it is needed",
        ),
        (
            "e.toml",
            "[[sources]]\nname = \"a\"\ndescription = \"${NO_SUCH_NAME}\"",
            "--set NO_SUCH_NAME=",
        ),
    ] {
        shell.file(name, text);
        let ran = shell.run(&["apply", "-f", name]).await;
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        assert!(ran.err.contains(word), "{name}: {ran:?}");
        assert!(ran.err.contains("hint: "), "{name}: {ran:?}");
    }
    assert_eq!(plane.state().revision, 0);
}
