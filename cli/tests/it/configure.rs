//! Configuring by hand: create, see, change, delete; and what goes wrong.

use serde_json::Value;

use crate::fake::Plane;
use crate::hookplane::Shell;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn a_source_is_created_and_shown_with_its_url_and_no_secret() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let arguments = [
        "sources", "create", "--name", "clerk", "--type", "CLERK", "--secret", SECRET, "--method",
        "post", "--label", "team=a",
    ];
    let made = shell.run(&arguments).await.ok();
    assert!(made.contains("http://127.0.0.1:1/src_"), "{made}");
    assert!(made.contains("whsec_••••LaSw"), "{made}");
    assert!(!made.contains(SECRET), "{made}");

    let by_name: Value = shell
        .run(&["sources", "get", "clerk", "-o", "json"])
        .await
        .json();
    assert_eq!(by_name["type"], "CLERK");
    assert_eq!(by_name["config"]["auth_type"], "PROVIDER_SIGNATURE");
    assert_eq!(by_name["config"]["auth"]["provider"], "CLERK");
    assert_eq!(by_name["config"]["allowed_http_methods"][0], "POST");
    assert_eq!(by_name["labels"]["team"], "a");
    let id = by_name["id"].as_str().unwrap();
    let by_id = shell
        .run(&["-o", "json", "sources", "get", id])
        .await
        .json();
    assert_eq!(by_name, by_id);
}

#[tokio::test]
async fn all_three_kinds_are_listed_page_by_page_or_whole() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    for name in ["a", "b", "c"] {
        let url = format!("http://127.0.0.1:9/{name}");
        shell
            .run(&["destinations", "create", "--name", name, "--url", &url])
            .await
            .ok();
    }
    let page = shell.run(&["destinations", "list", "--limit", "2"]).await;
    assert!(page.err.contains("--page-token 2"), "{page:?}");
    assert_eq!(page.ok().lines().count(), 3, "a heading and two rows");
    let whole = shell
        .run(&["destinations", "list", "--all", "-o", "json"])
        .await
        .json();
    assert_eq!(whole["count"], 3);
    assert_eq!(whole["models"][2]["config"]["url"], "http://127.0.0.1:9/c");
}

#[tokio::test]
async fn a_connection_takes_names_for_its_ends_and_rules_from_flags() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell
        .run(&["sources", "create", "--name", "in", "--type", "webhook"])
        .await
        .ok();
    shell
        .run(&[
            "destinations",
            "create",
            "--name",
            "out",
            "--url",
            "http://127.0.0.1:9",
        ])
        .await
        .ok();
    let made = shell
        .run(&[
            "connections",
            "create",
            "--name",
            "c",
            "--source",
            "in",
            "--destination",
            "out",
            "--filter",
            r#"{"body":{"type":{"$starts_with":"user."}}}"#,
            "--retry-count",
            "3",
            "--retry-on",
            "429,500-599",
            "-o",
            "json",
        ])
        .await
        .json();
    assert_eq!(made["source"]["name"], "in");
    assert_eq!(made["destination_id"], made["destination"]["id"]);
    assert_eq!(made["rules"][0]["type"], "filter");
    assert_eq!(made["rules"][0]["body"]["type"]["$starts_with"], "user.");
    assert_eq!(made["rules"][1]["count"], 3);
    assert_eq!(made["rules"][1]["response_status_codes"][1], "500-599");
    let listed = shell.run(&["connections", "list"]).await.ok();
    assert!(listed.contains(r#"{"body":{"type""#), "{listed}");
    assert!(
        !listed.contains("filter_id"),
        "what says nothing is shown: {listed}"
    );

    let paused = shell.run(&["connections", "pause", "c"]).await.ok();
    assert!(paused.contains("paused"), "{paused}");
    let resume = ["connections", "resume", "c", "--rate", "5"];
    let resumed = shell.run(&resume).await.ok();
    assert!(resumed.contains("5 per second"), "{resumed}");
    let wrong = shell
        .run(&["connections", "resume", "c", "--rate", "0"])
        .await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[tokio::test]
async fn limits_delays_and_proofs_are_said_by_flags() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let made = shell
        .run(&[
            "destinations",
            "create",
            "--name",
            "out",
            "--url",
            "http://127.0.0.1:9",
            "--rate-limit",
            "600/minute",
            "--auth-standard-webhooks",
            "whsec_a",
            "--auth-standard-webhooks",
            "whsec_b",
            "-o",
            "json",
        ])
        .await
        .json();
    assert_eq!(made["config"]["rate_limit"], 600);
    assert_eq!(made["config"]["rate_limit_period"], "minute");
    assert_eq!(made["config"]["auth_type"], "STANDARD_WEBHOOKS");
    assert_eq!(
        made["config"]["auth"]["secrets"].as_array().map(Vec::len),
        Some(2)
    );
    let other = shell
        .run(&[
            "destinations",
            "create",
            "--name",
            "other",
            "--url",
            "http://127.0.0.1:9",
            "--auth-oauth2",
            "https://id.test/token",
            "--auth-oauth2-client",
            "me:secret",
            "--rate-limit",
            "0",
            "-o",
            "json",
        ])
        .await
        .json();
    assert_eq!(other["config"]["rate_limit"], 0);
    assert_eq!(other["config"]["auth_type"], "OAUTH2_CLIENT_CREDENTIALS");
    assert_eq!(other["config"]["auth"]["client_id"], "me");
    shell
        .run(&["sources", "create", "--name", "in", "--type", "webhook"])
        .await
        .ok();
    let made = shell
        .run(&[
            "connections",
            "create",
            "--name",
            "c",
            "--source",
            "in",
            "--destination",
            "out",
            "--deduplicate",
            "60000",
            "--deduplicate-by",
            "body.data.id",
            "--delay-until",
            "data.send_at",
            "--transform",
            "{'body': body.data}",
            "--retry-delays",
            "1000,60000",
            "--give-up-on",
            "400-404",
            "--retry-jitter",
            "0",
            "-o",
            "json",
        ])
        .await
        .json();
    let deduplicate = serde_json::json!(
        {"type": "deduplicate", "window": 60_000, "include_fields": ["body.data.id"]}
    );
    assert_eq!(made["rules"][0], deduplicate);
    let delay = serde_json::json!({"type": "delay", "until": "data.send_at"});
    assert_eq!(made["rules"][1], delay);
    let transform = serde_json::json!({"type": "transform", "code": "{'body': body.data}"});
    assert_eq!(made["rules"][2], transform);
    let rule = &made["rules"][3];
    assert_eq!(rule["strategy"], "list");
    assert_eq!(rule["delays"], serde_json::json!([1_000, 60_000]));
    assert_eq!(rule["give_up_status_codes"][0], "400-404");
    assert_eq!(rule["jitter_percent"], 0);
    let shown = shell.run(&["connections", "get", "c"]).await.ok();
    assert!(shown.contains("delay until body.data.send_at"), "{shown}");
    let told = "deduplicate by body.data.id for 60 s";
    assert!(shown.contains(told), "{shown}");
    assert!(shown.contains("transform {'body': body.data}"), "{shown}");
    let both = ["--delay", "5", "--delay-until", "at"];
    let both = [&["connections", "update", "c"][..], &both].concat();
    for wrong in [
        &both[..],
        &["connections", "update", "c", "--give-up-on", "400"],
        &["destinations", "update", "out", "--auth-certificate", "x"],
        &["destinations", "update", "out", "--rate-limit", "many/hour"],
    ] {
        let refused = shell.run(wrong).await;
        assert_eq!(refused.code, 2, "{wrong:?}: {}", refused.err);
    }
}

#[tokio::test]
async fn one_field_is_patched_and_a_resource_taken_out_and_put_back() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    shell
        .run(&[
            "destinations",
            "create",
            "--name",
            "out",
            "--url",
            "http://127.0.0.1:9",
        ])
        .await
        .ok();
    let changed = shell
        .run(&[
            "destinations",
            "update",
            "out",
            "--description",
            "new",
            "-o",
            "json",
        ])
        .await
        .json();
    assert_eq!(changed["description"], "new");
    assert_eq!(changed["config"]["url"], "http://127.0.0.1:9");
    assert!(
        shell
            .run(&["destinations", "disable", "out"])
            .await
            .ok()
            .contains("disabled")
    );
    assert!(
        shell
            .run(&["destinations", "enable", "out"])
            .await
            .ok()
            .contains("enabled")
    );
    assert!(
        shell
            .run(&["destinations", "delete", "out"])
            .await
            .ok()
            .contains("deleted")
    );
    assert!(plane.state().destinations.is_empty());
}

#[tokio::test]
async fn bad_input_is_told_with_field_and_hint_and_exit_code_1() {
    let plane = Plane::start().await;
    let ran = plane
        .shell()
        .run(&[
            "sources", "create", "--name", "x", "--type", "CLERK", "--secret", "sk_test",
        ])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.is_empty(), "{ran:?}");
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines[0], "error: the signing secret cannot be used");
    assert!(
        lines[1].starts_with("field: config.auth.webhook_signing_secret: "),
        "{ran:?}"
    );
    assert!(
        lines[2].starts_with("hint: copy the endpoint's signing secret"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn in_json_errors_are_json_too() {
    let plane = Plane::start().await;
    let ran = plane
        .shell()
        .run(&["sources", "get", "src_nope", "-o", "json"])
        .await;
    assert_eq!(ran.code, 1);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["code"], "RESOURCE_NOT_FOUND");
    assert_eq!(error["hint"], "list to see what there is");
}

#[tokio::test]
async fn slips_of_usage_exit_with_2() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    for arguments in [
        &["sources", "creat"][..],
        &["sources", "update", "x"],
        &["requests", "list", "--limit", "256"],
        &[
            "send",
            "--event",
            "no.such",
            "--url",
            "http://127.0.0.1:9",
            "--secret",
            "x",
        ],
        &["connections", "create", "--retry-interval", "5"],
    ] {
        let ran = shell.run(arguments).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("error: "), "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn without_address_or_key_the_command_says_what_to_set() {
    let ran = Shell::bare().run(&["status"]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("hint: set HOOKPLANE_API_URL"), "{ran:?}");
    let ran = Shell::bare()
        .with("HOOKPLANE_API_URL", "http://127.0.0.1:9")
        .run(&["status"])
        .await;
    assert!(ran.err.contains("hint: set HOOKPLANE_API_KEY"), "{ran:?}");
    let ran = Shell::bare()
        .with("HOOKPLANE_API_URL", "http://control.example.com")
        .with("HOOKPLANE_API_KEY", "hpk_x")
        .run(&["status"])
        .await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("unencrypted"), "{ran:?}");
}

#[tokio::test]
async fn a_wrong_key_and_a_control_plane_away_are_told_apart() {
    let plane = Plane::start().await;
    let wrong = Shell::bare()
        .with("HOOKPLANE_API_URL", &plane.url)
        .with("HOOKPLANE_API_KEY", "hpk_wrong");
    let ran = wrong.run(&["status"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("hint: check HOOKPLANE_API_KEY"), "{ran:?}");

    let url = plane.url.clone();
    drop(plane);
    let ran = Shell::bare()
        .with("HOOKPLANE_API_URL", &url)
        .with("HOOKPLANE_API_KEY", "hpk_x")
        .run(&["status"])
        .await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("error: the control plane cannot be reached"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_running_dev_is_found_by_its_data_directory() {
    let plane = Plane::start().await;
    let shell = Shell::bare();
    std::fs::create_dir(shell.path().join(".hookplane")).unwrap();
    let dev = format!(
        r#"{{"pid":1,"api":"{}","ingest":"","admin":""}}"#,
        plane.url
    );
    shell.file(".hookplane/dev.json", &dev);
    shell.file(".hookplane/admin.key", "hpk_test\n");
    assert_eq!(
        shell.run(&["sources", "list", "-o", "json"]).await.json()["count"],
        0
    );

    let elsewhere = shell
        .with("HOOKPLANE_API_URL", "http://127.0.0.1:9")
        .run(&["status"])
        .await;
    assert_eq!(
        elsewhere.code, 2,
        "its key goes to no other control plane: {elsewhere:?}"
    );
    assert!(
        elsewhere.err.contains("no API key is given"),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn a_control_plane_of_its_own_is_found_by_its_data_directory_too() {
    let plane = Plane::start().await;
    let shell = Shell::bare();
    std::fs::create_dir_all(shell.path().join(".hookplane/control-plane")).unwrap();
    let address = plane.url.trim_start_matches("http://");
    let runtime = format!(r#"{{"pid":1,"api":"{address}"}}"#);
    shell.file(".hookplane/control-plane/runtime.json", &runtime);
    let without = shell.run(&["sources", "list"]).await;
    assert!(
        without.err.contains("control-plane/admin.key"),
        "{without:?}"
    );
    shell.file(".hookplane/control-plane/admin.key", "hpk_test\n");
    let listed = shell.run(&["sources", "list", "-o", "json"]).await.json();
    assert_eq!(listed["count"], 0);
}
