//! Looking: lists, the trace, the tail, the state of the whole.

use serde_json::Value;

use crate::fake::{Plane, trace};

#[tokio::test]
async fn a_trace_tells_the_whole_story_as_a_tree() {
    let plane = Plane::start().await;
    let text = plane.shell().run(&["trace", "req_1"]).await.ok();
    let expected = "\
req_1  POST /hooks?a=1  accepted
│ received     2026-09-21 14:13:20.000Z, 1,381 bytes from 192.0.2.7
│ source       src_gone (src_gone)
│ verified by  clerk v1 secret 1 of 2
│ event type   user.created
│ message      msg_1
│ routed by    agt_1 with revision 4
├─ SUCCESSFUL  evt_1  web_1 -> des_of_evt_1
│  ├─ #1 14:13:20.010  503  3.25 ms  initial  retry in 5 s: 503
│  └─ #2 14:13:20.020  200  3.25 ms  retry  delivered
├─ SCHEDULED  evt_2  web_1 -> des_of_evt_2
├─ CANCELLED  evt_3  web_1 -> des_of_evt_3  FILTERED: body.type does not start with session.
└─ repeat  2026-09-21 14:13:20.500Z from 192.0.2.8  answered with this request's id, delivered no second time

timeline
     +0.000 s  request.accepted    req_1  by \u{fffd}[2J
     +0.020 s  event.successful    evt_1  \n";
    assert_eq!(text, expected);
    let by_event = plane
        .shell()
        .run(&["trace", "evt_1", "--no-timeline"])
        .await
        .ok();
    assert!(
        by_event.starts_with("req_1") && !by_event.contains("timeline"),
        "{by_event}"
    );
}

#[tokio::test]
async fn the_json_of_a_trace_has_the_names_of_rest() {
    let plane = Plane::start().await;
    let json = plane
        .shell()
        .run(&["trace", "req_1", "-o", "json"])
        .await
        .json();
    assert_eq!(json["request"]["status"], "accepted");
    assert_eq!(json["request"]["ingested_at"], "2026-09-21T14:13:20Z");
    assert_eq!(json["request"]["data"]["headers"][0]["value"], "msg_1");
    assert_eq!(json["events"][0]["event"]["status"], "SUCCESSFUL");
    assert_eq!(json["ignored_events"][0]["ignored_reason"], "FILTERED");
    assert_eq!(
        json["events"][0]["attempts"].as_array().unwrap().len(),
        trace().events[0].attempts.len()
    );
}

#[tokio::test]
async fn a_partial_answer_names_the_agent_it_lacks() {
    let plane = Plane::start().await;
    let ran = plane.shell().run(&["requests", "list"]).await;
    assert!(
        ran.err.contains("warning: the answer is partial"),
        "{ran:?}"
    );
    assert!(ran.err.contains("berlin-2 (not connected)"), "{ran:?}");
    assert!(ran.ok().contains("user.created"));
    let json = plane
        .shell()
        .run(&["requests", "list", "-o", "json"])
        .await
        .json();
    assert_eq!(json["partial"], true);
    assert_eq!(json["unreachable"][0]["name"], "berlin-2");
}

#[tokio::test]
async fn a_request_shows_its_headers_and_its_bytes() {
    let plane = Plane::start().await;
    let shown = plane.shell().run(&["requests", "get", "req_1"]).await.ok();
    assert!(
        shown.contains("\nPOST /hooks?a=1\nSvix-Id: msg_1\n\n{\"type\":"),
        "{shown}"
    );
    let bytes = plane
        .shell()
        .run(&["requests", "get", "req_1", "--body"])
        .await
        .ok();
    assert_eq!(bytes, "{\"type\":\"user.created\"}");
    let count = plane.shell().run(&["requests", "count"]).await.ok();
    assert!(count.contains("1,204"), "{count}");
}

#[tokio::test]
async fn events_and_attempts_are_shown_and_an_event_is_retried() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    assert!(
        shell
            .run(&["events", "list", "--status", "successful"])
            .await
            .ok()
            .contains("evt_1")
    );
    assert!(
        shell
            .run(&["attempts", "list"])
            .await
            .ok()
            .contains("connect_refused")
    );
    assert!(
        shell
            .run(&["attempts", "get", "att_2"])
            .await
            .ok()
            .contains("> POST http://127.0.0.1:9/")
    );
    let retried = shell.run(&["events", "retry", "evt_1"]).await.ok();
    assert_eq!(retried, "evt_1 is sent again as evt_9\n");
    let stopped = shell.run(&["events", "cancel", "evt_2"]).await.ok();
    assert_eq!(stopped, "evt_2 is stopped\n");
    let letters = shell.run(&["events", "dead-letters"]).await.ok();
    assert!(
        letters.contains("put the destination's auth right"),
        "{letters}"
    );
    let again = ["requests", "replay", "req_1", "--header", "x-why: mended"];
    let replayed = shell.run(&again).await.ok();
    assert_eq!(
        replayed,
        "req_1 is replayed as req_9: 2 events, 0 ignored\n"
    );
    let pending = shell.run(&["events", "retry", "evt_2"]).await;
    assert_eq!(pending.code, 1);
    assert!(
        pending.err.contains("hint: wait until it has ended"),
        "{pending:?}"
    );
}

#[tokio::test]
async fn the_tail_goes_on_after_a_broken_connection() {
    let plane = Plane::start().await;
    let ran = plane.shell().run(&["tail", "--limit", "2"]).await;
    assert!(ran.err.contains("connection lost"), "{ran:?}");
    let out = ran.ok();
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].contains("request  req_1") && lines[0].contains("user.created"),
        "{out}"
    );
    assert!(
        lines[1].contains("attempt  req_1") && lines[1].contains("SUCCESSFUL 200"),
        "{out}"
    );
    assert_eq!(plane.state().tails, 2);

    let json = plane
        .shell()
        .run(&["tail", "--limit", "1", "-o", "json"])
        .await
        .ok();
    let item: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(item["attempt"]["attempt"]["status"], "SUCCESSFUL");
}

#[tokio::test]
async fn the_state_of_the_whole_names_agents_and_what_they_refused() {
    let plane = Plane::start().await;
    let status = plane.shell().run(&["status"]).await.ok();
    for words in [
        "berlin-1",
        "refused",
        "12,000 (40.0/s)",
        "12 events waiting",
        "user-service",
        "the secret cannot be opened (secret_invalid)",
        "no agent is enrolled in the pool paris",
    ] {
        assert!(status.contains(words), "{words} is not in {status}");
    }
    let agents = plane
        .shell()
        .run(&["agents", "list", "-o", "json"])
        .await
        .json();
    assert_eq!(agents["models"][0]["config_state"], "REFUSED");
}

#[tokio::test]
async fn a_handlers_key_names_its_sources_by_name_and_is_shown_once() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let source = ["sources", "create", "--name", "Clerk", "--type", "webhook"];
    shell.run(&source).await.ok();
    let create = ["handler-keys", "create", "--name", "users", "--source"];
    let made = shell.run(&[&create[..], &["Clerk"]].concat()).await;
    assert!(made.err.contains("not shown again"), "{made:?}");
    let shown = made.ok();
    let id = plane.state().sources[0].id.clone();
    assert!(
        shown.contains("hph_abcdefyz") && shown.contains(&id),
        "{shown}"
    );
    let listed = shell.run(&["handler-keys", "list"]).await.ok();
    assert!(
        !listed.contains("hph_abcdefyz") && listed.contains("phk_1"),
        "{listed}"
    );
    let unknown = shell.run(&[&create[..], &["Klerk"]].concat()).await;
    assert!(unknown.err.contains("no source is named"), "{unknown:?}");
    assert_eq!(
        shell.run(&["handler-keys", "revoke", "phk_1"]).await.ok(),
        "phk_1 is revoked\n"
    );
}

#[tokio::test]
async fn a_key_is_shown_when_made_and_never_again() {
    let plane = Plane::start().await;
    let shell = plane.shell();
    let made = shell.run(&["keys", "create", "--name", "ci"]).await;
    assert!(made.err.contains("not shown again"), "{made:?}");
    assert!(made.ok().contains("hpk_abcdefyz"));
    assert!(
        !shell
            .run(&["keys", "list"])
            .await
            .ok()
            .contains("hpk_abcdefyz")
    );
    let update = ["keys", "update", "pak_1", "--scope", "config:read"];
    assert!(shell.run(&update).await.ok().contains("config:read"));
    let rotated = shell
        .run(&["keys", "rotate", "pak_1", "--overlap", "1h"])
        .await;
    assert!(rotated.err.contains("the old key is valid until"));
    assert!(rotated.ok().contains("hpk_ghijklyz"));
    assert_eq!(
        shell.run(&["keys", "revoke", "pak_1"]).await.ok(),
        "pak_1 is revoked\n"
    );
}
