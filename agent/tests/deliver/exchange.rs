//! One delivery: what goes out, and what each outcome leads to.

use std::time::Duration;

use hookplane_agent::config::{Destination, DestinationAuth};
use hookplane_agent::store::{EventRecord, EventStatus, Store as _};
use hookplane_rules::{RetryPolicy, Strategy};
use hookplane_signature::hookplane_signature;

use crate::receiver::{Act, Got, Receiver, answer};
use crate::world::{LOOPBACK, TEAM, configuration, destination, run};

/// One destination and one event: what became of it after its first attempt.
async fn deliver_once(
    acts: Vec<Act>,
    change: impl FnOnce(&mut Destination),
    wanted: EventStatus,
) -> (
    Vec<Got>,
    EventRecord,
    Vec<hookplane_agent::store::AttemptRecord>,
) {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(acts).await;
    let mut to = destination("des_1", &receiver.url);
    change(&mut to);
    let running = run(
        dir.path(),
        &configuration(vec![to], &RetryPolicy::default()),
        LOOPBACK,
    );
    let event = running.put("des_1").await;
    let event = running.reaches(&event, wanted).await;
    let history = running
        .store
        .history(TEAM, &event.request_id)
        .await
        .unwrap()
        .unwrap();
    running.stop().await;
    (receiver.got(), event, history.attempts)
}

#[tokio::test]
async fn bytes_and_end_to_end_headers_arrive_unchanged_with_our_ids() {
    let (got, event, attempts) =
        deliver_once(vec![answer(204)], |_| {}, EventStatus::Successful).await;
    let [one] = got.as_slice() else {
        panic!("{} deliveries", got.len())
    };
    assert_eq!((one.method.as_str(), one.target.as_str()), ("PUT", "/hook"));
    assert_eq!(one.body, b"\x00raw \xff bytes");
    let text = |name: &str| one.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(text("content-type"), Some("application/x-odd"));
    assert_eq!(
        text("svix-signature"),
        Some("v1,abc"),
        "the receiver cannot verify any more"
    );
    let two: Vec<_> = one.headers.get_all("x-two").iter().collect();
    assert_eq!(two, ["1", "2"]);
    assert_ne!(text("host"), Some("inbound.example"));
    assert_eq!((text("x-hop"), text("transfer-encoding")), (None, None));
    assert_eq!(
        text("hookplane-request-id"),
        Some(event.request_id.as_str())
    );
    assert_eq!(
        text("hookplane-event-id"),
        Some(event.id.as_str()),
        "a forged id came through"
    );
    assert_eq!(text("hookplane-attempt"), Some("1"));
    assert!(
        text("traceparent")
            .unwrap()
            .starts_with("00-0123456789abcdef0123456789abcdef-")
    );
    let kept = format!("{:?}", attempts[0].request_headers);
    assert!(
        !kept.contains("session=secret"),
        "an attempt keeps what authenticates: {kept}"
    );
    assert_eq!(
        (attempts[0].number, attempts[0].response_status),
        (1, Some(204))
    );
}

#[tokio::test]
async fn path_auth_and_signature_follow_the_destination() {
    let secret = "a-delivery-secret";
    let change = |to: &mut Destination| {
        to.path_forwarding = true;
        to.auth = DestinationAuth::HookplaneSignature {
            secret: secret.into(),
        };
    };
    let (got, _, _) = deliver_once(vec![answer(200)], change, EventStatus::Successful).await;
    assert_eq!(got[0].target, "/hook/deep/path?a=%20b&a=c");
    let text = |name: &str| got[0].headers[name].to_str().unwrap();
    let at: i64 = text("hookplane-timestamp").parse().unwrap();
    assert_eq!(
        text("hookplane-signature"),
        hookplane_signature(secret, at, &got[0].body)
    );
    let bearer = |to: &mut Destination| {
        to.auth = DestinationAuth::Bearer {
            token: "t-0-k".into(),
        }
    };
    let (got, _, attempts) = deliver_once(vec![answer(200)], bearer, EventStatus::Successful).await;
    assert_eq!(got[0].headers["authorization"], "Bearer t-0-k");
    assert!(
        !format!("{attempts:?}").contains("t-0-k"),
        "an attempt keeps the token"
    );
}

#[tokio::test]
async fn each_bad_answer_gets_its_consequence() {
    let redirect = Act::Answer(302, vec![("location", "/elsewhere".into())], Vec::new());
    let stop = Act::Answer(
        500,
        vec![("webhook-delivery", "abort-message".into())],
        Vec::new(),
    );
    let cases = [
        (answer(500), EventStatus::Scheduled),
        (redirect, EventStatus::Scheduled),
        (answer(410), EventStatus::Failed),
        (stop, EventStatus::Failed),
    ];
    for (act, wanted) in cases {
        let (got, event, attempts) = deliver_once(vec![act], |_| {}, wanted).await;
        assert_eq!(
            got.len(),
            1,
            "a redirect was followed or a retry came too early"
        );
        assert_eq!(event.error_code.as_deref(), Some("http_status"));
        assert_eq!(
            event.next_attempt_at.is_some(),
            wanted == EventStatus::Scheduled
        );
        assert!(
            !attempts[0].decision.is_empty(),
            "the attempt does not say what follows"
        );
    }
}

#[tokio::test]
async fn silence_and_long_answers_are_bounded() {
    let short = |to: &mut Destination| to.timeout = Duration::from_millis(200);
    let (_, event, _) = deliver_once(vec![Act::Hang], short, EventStatus::Scheduled).await;
    assert_eq!(event.error_code.as_deref(), Some("timeout"));
    let huge = Act::Answer(200, Vec::new(), vec![b'x'; 300_000]);
    let (_, _, attempts) = deliver_once(vec![huge], |_| {}, EventStatus::Successful).await;
    assert_eq!(
        (
            attempts[0].response_body.len(),
            attempts[0].response_truncated
        ),
        (65_536, true)
    );
    // Port 1 of loopback has no listener.
    let closed = |to: &mut Destination| to.url = "http://127.0.0.1:1/".parse().unwrap();
    let (_, event, _) = deliver_once(vec![answer(200)], closed, EventStatus::Scheduled).await;
    assert_eq!(event.error_code.as_deref(), Some("connect_refused"));
}

#[tokio::test]
async fn addresses_inside_are_never_dialled_unless_allowed() {
    let receiver = Receiver::start(vec![answer(200)]).await;
    let port = receiver.url.rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let to = destination("des_1", &format!("http://{host}:{port}"));
        let running = run(
            dir.path(),
            &configuration(vec![to], &RetryPolicy::default()),
            &[],
        );
        let event = running.put("des_1").await;
        let event = running.reaches(&event, EventStatus::Failed).await;
        assert_eq!(
            event.error_code.as_deref(),
            Some("address_refused"),
            "{host}"
        );
        running.stop().await;
    }
    assert!(receiver.got().is_empty(), "a refused address was dialled");
}

#[tokio::test]
async fn a_retry_is_remembered_over_a_restart_and_made_when_due() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(500), answer(200)]).await;
    let retry = RetryPolicy::new(Strategy::Linear, 3, 1_000, &[]).unwrap();
    let config = configuration(vec![destination("des_1", &receiver.url)], &retry);
    let running = run(dir.path(), &config, LOOPBACK);
    let event = running.put("des_1").await;
    running.reaches(&event, EventStatus::Scheduled).await;
    running.stop().await;

    let running = run(dir.path(), &config, LOOPBACK);
    let event = running.reaches(&event, EventStatus::Successful).await;
    assert_eq!(event.attempts, 2);
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].body, got[1].body, "a retry sent other bytes");
    assert_eq!(got[1].headers["hookplane-attempt"], "2");
    running.stop().await;
}

#[tokio::test]
async fn events_wait_for_a_disabled_destination_and_stop_with_a_deleted_connection() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let off = Destination {
        enabled: false,
        ..destination("des_1", &receiver.url)
    };
    let policy = RetryPolicy::default();
    let config = configuration(vec![off], &policy);
    let running = run(dir.path(), &config, LOOPBACK);
    let waiting = running.put("des_1").await;
    let orphan = running.put("des_gone").await;
    running.reaches(&orphan, EventStatus::Cancelled).await;
    assert!(
        receiver.got().is_empty(),
        "a disabled destination got an event"
    );
    running.reaches(&waiting, EventStatus::Queued).await;
    config.store(configuration(vec![destination("des_1", &receiver.url)], &policy).load_full());
    running.reaches(&waiting, EventStatus::Successful).await;
    running.stop().await;
}
