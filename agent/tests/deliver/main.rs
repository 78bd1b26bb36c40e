//! From a stored event to real receivers on loopback, with every outcome they can have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod receiver;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hookplane_agent::clock::SystemClock;
use hookplane_agent::config::{
    Configuration, Connection, CurrentConfiguration, Destination, DestinationAuth, Source,
};
use hookplane_agent::deliver::{AddressPolicy, Deliverer, Sender};
use hookplane_agent::ids::{IdMint, Kind};
use hookplane_agent::meter::Meter;
use hookplane_agent::store::journal::{JournalStore, Options};
use hookplane_agent::store::{EventRecord, EventStatus, NewRequest, RequestRecord, Store as _};
use hookplane_rules::{RetryPolicy, Strategy};
use hookplane_signature::{AuthSpec, Provider, Verifier, hookplane_signature};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use receiver::{Act, Got, Receiver, answer};

const IDS: IdMint = IdMint::new(1);
const TEAM: &str = "tm_1";

fn destination(id: &str, url: &str) -> Destination {
    Destination {
        id: id.into(),
        team_id: TEAM.into(),
        name: id.into(),
        url: url.parse().unwrap(),
        method: None,
        path_forwarding: false,
        auth: DestinationAuth::None,
        timeout: Duration::from_secs(30),
        max_in_flight: 2,
        enabled: true,
        version: 1,
    }
}

fn configuration(destinations: Vec<Destination>, retry: &RetryPolicy) -> CurrentConfiguration {
    let connections = destinations
        .iter()
        .map(|to| {
            Arc::new(Connection {
                id: format!("web_{}", to.id),
                name: to.id.clone(),
                destination_id: to.id.clone(),
                enabled: true,
                filters: Vec::new(),
                retry: retry.clone(),
            })
        })
        .collect();
    let source = Source {
        id: "src_1".into(),
        team_id: TEAM.into(),
        name: "s".into(),
        provider: Provider::Webhook,
        enabled: true,
        verifier: Verifier::new(Provider::Webhook, AuthSpec::None, 300).unwrap(),
        methods: Vec::new(),
        custom_response: None,
        max_body_bytes: 1,
        dedupe_window: Duration::ZERO,
        connections,
        version: 1,
    };
    Arc::new(ArcSwap::from_pointee(Configuration {
        epoch: "e".into(),
        revision: 1,
        sources: [(source.id.clone(), Arc::new(source))].into(),
        destinations: destinations
            .into_iter()
            .map(|to| (to.id.clone(), Arc::new(to)))
            .collect(),
        ..Configuration::default()
    }))
}

struct Running {
    store: JournalStore,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

fn run(dir: &Path, config: &CurrentConfiguration, allow: &[&str]) -> Running {
    let store = JournalStore::open(&dir.join("store"), &Options::default()).unwrap();
    let policy = AddressPolicy::new(allow.iter().map(|net| net.parse().unwrap()).collect());
    let sender = Sender::new(policy).unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let deliverer = Deliverer::new(
        Arc::clone(config),
        Arc::new(store.clone()),
        Arc::new(SystemClock),
        IDS,
        sender,
        Arc::new(Meter::default()),
    );
    tasks.spawn(deliverer.run(tasks.clone(), shutdown.clone()));
    Running {
        store,
        tasks,
        shutdown,
    }
}

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

impl Running {
    async fn put(&self, destination: &str) -> EventRecord {
        let request = RequestRecord {
            id: IDS.mint(Kind::Request, 1_000),
            team_id: TEAM.into(),
            source_id: "src_1".into(),
            rejection: None,
            verified_by: None,
            message_id: None,
            event_type: None,
            ingested_at: 1_000,
            client_ip: "127.0.0.1".into(),
            config_revision: 1,
            method: "PUT".into(),
            path: "/deep/path".into(),
            query: "a=%20b&a=c".into(),
            headers: [
                ("content-type", "application/x-odd"),
                ("svix-signature", "v1,abc"),
                ("x-two", "1"),
                ("x-two", "2"),
                ("host", "inbound.example"),
                ("connection", "close, x-hop"),
                ("x-hop", "gone"),
                ("transfer-encoding", "chunked"),
                ("cookie", "session=secret"),
                ("hookplane-event-id", "forged"),
                (
                    "traceparent",
                    "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
                ),
            ]
            .map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())))
            .into(),
            body: Bytes::from_static(b"\x00raw \xff bytes"),
            body_size: 12,
        };
        let event = EventRecord {
            id: IDS.mint(Kind::Event, 1_000),
            team_id: TEAM.into(),
            request_id: request.id.clone(),
            connection_id: format!("web_{destination}"),
            source_id: "src_1".into(),
            destination_id: destination.into(),
            event_type: None,
            status: EventStatus::Queued,
            attempts: 0,
            response_status: None,
            error_code: None,
            failure_message: None,
            ignored_reason: None,
            ignored_detail: None,
            created_at: 1_000,
            last_attempt_at: None,
            next_attempt_at: Some(1_000),
            successful_at: None,
            retry: None,
        };
        let new = NewRequest {
            request,
            events: vec![event.clone()],
            dedupe_window_millis: 0,
        };
        self.store.append(new, IDS).await.unwrap();
        event
    }

    async fn reaches(&self, event: &EventRecord, wanted: EventStatus) -> EventRecord {
        let mut last = None;
        for _ in 0..400 {
            let now = self.store.event(TEAM, &event.id).await.unwrap().unwrap();
            if now.status == wanted {
                return now;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the event never became {wanted:?}: {last:?}");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        drop(tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await);
        self.store.close().await;
    }
}

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
async fn one_destination_that_hangs_delays_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, good) = (
        Receiver::start(vec![Act::Hang]).await,
        Receiver::start(vec![answer(200)]).await,
    );
    let to = vec![
        destination("des_bad", &bad.url),
        destination("des_good", &good.url),
    ];
    let running = run(
        dir.path(),
        &configuration(to, &RetryPolicy::default()),
        LOOPBACK,
    );
    for _ in 0..300 {
        running.put("des_bad").await;
    }
    let mut last = None;
    for _ in 0..10 {
        last = Some(running.put("des_good").await);
    }
    running
        .reaches(&last.unwrap(), EventStatus::Successful)
        .await;
    assert!(
        bad.got().len() <= 2,
        "the bound of the hanging destination is not kept"
    );
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
