//! Files with the whole configuration, applied again and again to a real control plane.

use crate::plane::Plane;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/clerk.toml");
const SECRET: &str = "CLERK_WEBHOOK_SECRET=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "CLERK_WEBHOOK_SECRET=whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

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
    let second = shell.run(&apply).await.ok();
    assert!(
        second.lines().all(|line| line.ends_with("unchanged")),
        "{second}"
    );
}

#[tokio::test]
async fn another_secret_is_seen_and_never_shown() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let apply = ["apply", "-f", EXAMPLE, "--set"];
    shell.run(&[&apply[..], &[SECRET]].concat()).await.ok();
    let other = [&apply[..], &[OTHER, "-o", "json"]].concat();
    let told = shell.run(&other).await.json();
    let change = told["resources"][0]["changes"][0].as_str().unwrap();
    assert!(change.starts_with("config.auth"), "{change}");
    assert!(change.ends_with("another secret"), "{change}");
}

#[tokio::test]
async fn a_dry_run_shows_what_would_change_and_changes_nothing() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let dry = ["apply", "-f", EXAMPLE, "--set", SECRET, "--dry-run"];
    let dry = shell.run(&dry).await.ok();
    assert!(
        dry.lines().all(|line| line.ends_with("would be created")),
        "{dry}"
    );
    let none = shell.run(&["sources", "list", "-o", "json"]).await.json();
    assert_eq!(none["count"], 0, "{none}");

    let apply = ["apply", "-f", EXAMPLE, "--set", SECRET];
    shell.run(&apply).await.ok();
    let changed = std::fs::read_to_string(EXAMPLE)
        .unwrap()
        .replace("timeout_ms = 5000", "timeout_ms = 6000");
    shell.file("changed.toml", &changed);
    let dry = ["apply", "-f", "changed.toml", "--set", SECRET, "--dry-run"];
    let dry = shell.run(&dry).await.ok();
    assert!(dry.contains("config.timeout_ms: 5000 -> 6000"), "{dry}");
    let wrong = changed.replace("timeout_ms = 6000", "timeout_ms = 600000");
    shell.file("wrong.toml", &wrong);
    let dry = ["apply", "-f", "wrong.toml", "--set", SECRET, "--dry-run"];
    let ran = shell.run(&dry).await;
    assert_eq!(ran.code, 1, "values are judged in a dry run too: {ran:?}");
    assert!(ran.err.contains("timeout_ms"), "{ran:?}");
}

#[tokio::test]
async fn what_was_exported_changes_nothing_when_it_is_applied() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let apply = ["apply", "-f", EXAMPLE, "--set", SECRET];
    shell.run(&apply).await.ok();
    std::fs::create_dir(shell.path().join("more")).unwrap();
    shell.file("more/10-filter.json", FILTER);
    shell.file("more/20-branch.toml", BRANCH);
    shell.file("more/README.md", "not a configuration");
    let told = shell.run(&["apply", "-f", "more"]).await.ok();
    assert!(told.contains("filter      invoices"), "{told}");
    for (file, format) in [("all.toml", "table"), ("all.json", "json")] {
        let written = shell.run(&["export", "-o", format]).await.ok();
        assert!(
            !written.contains("MfKQ9r8GKYqrTwjUPD8"),
            "a secret: {written}"
        );
        shell.file(file, &written);
        let told = shell.run(&["apply", "-f", file, "-o", "json"]).await.json();
        assert_eq!(actions(&told), vec!["unchanged"; 11], "{told:#}");
    }
}

#[tokio::test]
async fn what_is_disabled_is_exported_so_and_restored_so() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell.file("branch.toml", DISABLED);
    shell.run(&["apply", "-f", "branch.toml"]).await.ok();
    let written = shell.run(&["export"]).await.ok();
    assert_eq!(
        written.matches("status = \"disabled\"").count(),
        3,
        "{written}"
    );
    assert_eq!(written.matches("status").count(), 3, "{written}");

    let other = Plane::start().await;
    let shell = other.shell();
    shell.file("all.toml", &written);
    shell.run(&["apply", "-f", "all.toml"]).await.ok();
    // The order is that of ids, which another installation makes anew.
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let restored = shell.run(&["export"]).await.ok();
    assert_eq!(lines(&restored), lines(&written));
    let without = written.replace("status = \"disabled\"\n", "");
    shell.file("without.toml", &without);
    let told = ["apply", "-f", "without.toml", "-o", "json"];
    let told = shell.run(&told).await.json();
    assert_eq!(
        actions(&told),
        vec!["unchanged"; 4],
        "absent keeps it: {told:#}"
    );
}

#[tokio::test]
async fn files_of_sub_folders_are_not_pruned_and_the_plan_is_told_before() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let apply = ["apply", "-f", EXAMPLE, "--set", SECRET];
    shell.run(&apply).await.ok();
    shell.file("filter.json", FILTER);
    shell.run(&["apply", "-f", "filter.json"]).await.ok();
    std::fs::create_dir_all(shell.path().join("all/billing")).unwrap();
    shell.file("all/none.json", "{\"connections\": []}");
    shell.file("all/billing/branch.toml", BRANCH);
    let prune = ["apply", "-f", "all", "--prune", "owner=billing"];
    let told = shell.run(&prune).await.ok();
    assert_eq!(told.matches("created").count(), 1, "{told}");
    assert_eq!(told.matches("deleted").count(), 0, "{told}");
    std::fs::remove_dir_all(shell.path().join("all/billing")).unwrap();
    let ran = shell.run(&prune).await;
    assert!(ran.err.contains("would be deleted"), "{ran:?}");
    assert!(ran.ok().contains("deleted"));
}

const DISABLED: &str = r#"
[[sources]]
name = "off"
status = "disabled"
[[destinations]]
name = "off"
status = "disabled"
config = { url = "https://off.internal/" }
[[destinations]]
name = "on"
config = { url = "https://on.internal/" }
[[connections]]
name = "off"
status = "disabled"
source = "off"
destination = "off"
"#;

const FILTER: &str = r#"{"filters": [
    {"name": "invoices", "conditions": {"body": {"type": {"$starts_with": "invoice."}}}}
]}"#;
const BRANCH: &str = r#"
[[connections]]
name = "invoices"
source = "clerk"
destination = "user-service"
labels = { owner = "billing" }
rules = [{ type = "filter", filter_id = "invoices" }]
"#;

#[tokio::test]
async fn what_has_the_label_and_is_not_in_the_files_is_pruned() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let apply = ["apply", "-f", EXAMPLE, "--set", SECRET];
    shell.run(&apply).await.ok();
    shell.file("filter.json", FILTER);
    shell.file("branch.toml", BRANCH);
    shell.run(&["apply", "-f", "filter.json"]).await.ok();
    shell.run(&["apply", "-f", "branch.toml"]).await.ok();
    shell.file("none.json", "{\"connections\": []}");
    let prune = ["apply", "-f", "none.json", "--prune", "owner=billing"];
    let dry = shell.run(&[&prune[..], &["--dry-run"]].concat()).await.ok();
    assert!(dry.contains("would be deleted"), "{dry}");
    let told = shell.run(&prune).await.ok();
    let wanted = "connection  invoices                     deleted\n";
    assert_eq!(told, wanted);
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
        (
            "f.toml",
            "[[sources]]\nname = \"a\"\ndescription = \"${file:no-such-file}\"",
            "no-such-file",
        ),
    ] {
        shell.file(name, text);
        let ran = shell.run(&["apply", "-f", name]).await;
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        assert!(ran.err.contains(word), "{name}: {ran:?}");
        assert!(ran.err.contains("hint: "), "{name}: {ran:?}");
    }
    let none = shell.run(&["sources", "list", "-o", "json"]).await.json();
    assert_eq!(none["count"], 0, "{none}");
}
