//! A signed event goes in, the right services get it, byte for byte, and every step can be seen.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use hookplane_cli::samples;
use hookplane_client::{Client, Settings};
use hookplane_proto::v1;
use hookplane_signature::Provider;
use hookplane_tests::sender::{SECRET, now};
use hookplane_tests::{Delivery, Receiver, Source, System, until};
use http::Method;
use serde_json::{Value, json};

/// Who owns what, as in the guide: four services, each with its filter.
const OWNERS: [(&str, &str); 4] = [
    ("users", "user."),
    ("organizations", "organization"),
    ("sessions", "session."),
    ("messaging", "email.created sms.created"),
];

fn owner_of(event: &str) -> Option<&'static str> {
    let found = OWNERS.iter().find(|(owner, events)| match *owner {
        "messaging" => events.split(' ').any(|known| known == event),
        _ => event.starts_with(events),
    });
    found.map(|(owner, _)| *owner)
}

fn filter_of(owner: &str, events: &str) -> serde_json::Value {
    let condition = if owner == "messaging" {
        json!({ "$in": events.split(' ').collect::<Vec<_>>() })
    } else {
        json!({ "$starts_with": events })
    };
    json!([{ "type": "filter", "body": { "type": condition } }])
}

async fn owners(system: &System) -> (Source, BTreeMap<&'static str, Receiver>) {
    let source = system.clerk("Clerk production").await;
    let mut receivers = BTreeMap::new();
    for (owner, events) in OWNERS {
        let receiver = Receiver::start().await;
        let to = system.destination(owner, &receiver).await;
        system
            .connect(&source, owner, &to, filter_of(owner, events))
            .await;
        receivers.insert(owner, receiver);
    }
    system.settled().await;
    (source, receivers)
}

/// Sends bodies and checks that each receiver gets exactly its own, unchanged.
async fn assert_each_gets_its_own(
    source: &Source,
    receivers: &BTreeMap<&'static str, Receiver>,
    bodies: Vec<(String, Bytes)>,
) {
    let mut wanted: BTreeMap<&str, Vec<Bytes>> = BTreeMap::new();
    for (event, body) in bodies {
        let answer = source.send(body.clone()).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text);
        assert_eq!(answer.json["ok"], true);
        assert_eq!(answer.json["queued"], true);
        assert_eq!(answer.json["transport"], "queue");
        if let Some(owner) = owner_of(&event) {
            wanted.entry(owner).or_default().push(body);
        }
    }
    for (owner, receiver) in receivers {
        let mut wanted = wanted.remove(owner).unwrap_or_default();
        let got = receiver.got(wanted.len()).await;
        let mut got: Vec<Bytes> = got.into_iter().map(|delivery| delivery.body).collect();
        got.sort_unstable();
        wanted.sort_unstable();
        assert!(
            got == wanted,
            "{owner} got {} and not its own {}",
            got.len(),
            wanted.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_gets_exactly_the_events_it_owns_unchanged() {
    let system = System::start().await;
    let (source, receivers) = owners(&system).await;
    let mut randomness = rand::rng();
    let mut bodies = Vec::new();
    for event in samples::event_types(Provider::Clerk) {
        let mut draw = samples::Draw::new(&mut randomness, 1_790_000_000_000);
        let sample = samples::compose(Provider::Clerk, event, None, &mut draw);
        bodies.push((
            event.to_owned(),
            sample.expect("it is in the table").body.into(),
        ));
    }
    assert_eq!(bodies.len(), 46);
    assert_each_gets_its_own(&source, &receivers, bodies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_real_event_goes_through_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/clerk");
    // The real events stand outside the project; it has to pass without them.
    let Ok(entries) = std::fs::read_dir(&folder) else {
        // Past the capture of the tests' output: nobody shall take this for a proof.
        let told = writeln!(
            std::io::stdout(),
            "skipped: there are no real events in {}",
            folder.display()
        );
        told.expect("there is an output");
        return;
    };
    let files = entries.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let bodies: Vec<_> = files
        .map(|path| {
            let event = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (event, Bytes::from(std::fs::read(&path).expect("a fixture")))
        })
        .collect();
    assert!(bodies.len() >= 45, "{} fixtures only", bodies.len());
    let system = System::start().await;
    let (source, receivers) = owners(&system).await;
    assert_each_gets_its_own(&source, &receivers, bodies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_headers_and_ids_reach_the_receiver_as_promised() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    // Spaces, 1.0, escapes and an integer beyond 2^53 would not survive a parser.
    let body = br#"{ "type":"user.created", "n": 1.0, "big": 9007199254740993, "x":"\u00e9\/" }"#;
    let id = "msg_headers";
    let mut headers =
        hookplane_signature::sign(source.provider, SECRET, id, now(), body).expect("signed");
    headers.push(("x-custom".to_owned(), "one".to_owned()));
    headers.push(("x-custom".to_owned(), "two".to_owned()));
    headers.push(("connection".to_owned(), "x-hop".to_owned()));
    headers.push(("x-hop".to_owned(), "stays behind".to_owned()));
    let answer = source
        .post(Method::POST, "", &headers, body.as_slice())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let got: Vec<Delivery> = receiver.got(1).await;
    let got = &got[0];
    assert_eq!(got.body, body.as_slice());
    assert_eq!(got.method, "POST");
    assert_eq!(got.header("svix-id"), Some(id));
    let values = got.headers.iter().filter(|(name, _)| name == "x-custom");
    let values: Vec<_> = values.map(|(_, value)| value.clone()).collect();
    assert_eq!(values, ["one", "two"], "repeated headers do not survive");
    assert_eq!(got.header("x-hop"), None, "a hop-by-hop header went on");
    assert_eq!(
        got.header("hookplane-request-id"),
        Some(answer.request_id().as_str())
    );
    assert!(
        got.header("hookplane-event-id")
            .is_some_and(|id| id.starts_with("evt_"))
    );
    assert_eq!(got.header("hookplane-attempt"), Some("1"));
    assert!(got.header("traceparent").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_shows_the_request_its_branches_and_their_attempts() {
    let system = System::start().await;
    let (source, receivers) = owners(&system).await;
    let body = r#"{"type":"user.created","data":{"id":"user_1"}}"#;
    let request_id = source.send(body).await.request_id();
    receivers["users"].got(1).await;
    let trace = system
        .trace_until(&request_id, "the delivery is in the trace", |trace| {
            trace["events"][0]["event"]["status"] == "SUCCESSFUL"
        })
        .await;
    assert_eq!(trace["request"]["status"], "accepted");
    assert_eq!(trace["request"]["verified"], true);
    assert_eq!(trace["request"]["event_type"], "user.created");
    assert_eq!(trace["request"]["verified_by"], "clerk v1 secret 1 of 1");
    assert_eq!(trace["events"].as_array().map(Vec::len), Some(1));
    let attempt = &trace["events"][0]["attempts"][0];
    assert_eq!(attempt["status"], "SUCCESSFUL");
    assert_eq!(attempt["response_status"], 200);
    let ignored = trace["ignored_events"].as_array().expect("a list");
    assert_eq!(ignored.len(), 3);
    assert!(
        ignored
            .iter()
            .all(|event| event["ignored_reason"] == "FILTERED"),
        "{ignored:?}"
    );
    let timeline = trace["timeline"].as_array().expect("a list");
    assert!(timeline.len() >= 6, "{timeline:?}");

    let listed = system
        .api()
        .list("/v1/requests?event_type=user.created")
        .await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], request_id.as_str());
    let counted = system.api().get("/v1/events/count").await;
    assert_eq!(
        (&counted["count"], &counted["cancelled"]),
        (&json!(4), &json!(3))
    );
    let events = system
        .api()
        .get(&format!("/v1/requests/{request_id}/events"))
        .await;
    assert_eq!(events["models"].as_array().map(Vec::len), Some(1));
    let attempts = system.api().list("/v1/attempts").await;
    assert_eq!(attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_over_grpc_works_the_same() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let settings = Settings::new(&system.api().url, &system.api().key);
    let client = Client::connect(settings).expect("a client");
    let signature = v1::ProviderSignature {
        provider: v1::SourceType::Clerk.into(),
        webhook_signing_secrets: vec![SECRET.to_owned()],
        terms: Vec::new(),
    };
    let source = v1::Source {
        name: "Clerk".to_owned(),
        r#type: v1::SourceType::Clerk.into(),
        config: Some(v1::SourceConfig {
            auth: Some(v1::SourceAuth {
                scheme: Some(v1::source_auth::Scheme::ProviderSignature(signature)),
            }),
            ..v1::SourceConfig::default()
        }),
        ..v1::Source::default()
    };
    let asked = v1::CreateSourceRequest {
        source: Some(source),
        ..v1::CreateSourceRequest::default()
    };
    let made = client
        .sources()
        .create_source(asked)
        .await
        .expect("it is right")
        .into_inner();
    let destination = v1::Destination {
        name: "receiver".to_owned(),
        config: Some(v1::DestinationConfig {
            url: receiver.url(),
            ..v1::DestinationConfig::default()
        }),
        ..v1::Destination::default()
    };
    let asked = v1::CreateDestinationRequest {
        destination: Some(destination),
        ..v1::CreateDestinationRequest::default()
    };
    let to = client
        .destinations()
        .create_destination(asked)
        .await
        .expect("it is right");
    let connection = v1::Connection {
        name: "all".to_owned(),
        source_id: made.id.clone(),
        destination_id: to.into_inner().id,
        ..v1::Connection::default()
    };
    let asked = v1::CreateConnectionRequest {
        connection: Some(connection),
        ..v1::CreateConnectionRequest::default()
    };
    client
        .connections()
        .create_connection(asked)
        .await
        .expect("it is right");
    system.settled().await;
    let provider = hookplane_signature::Provider::Clerk;
    let source = Source::new(&made.id, &system.ingest(0), provider, SECRET);
    let body = r#"{"type":"user.created"}"#;
    let answer = source.send(body).await;
    assert_eq!(answer.status, 200);
    let id = answer.request_id();
    let trace = system
        .trace_until(&id, "the event is delivered", |trace| {
            trace["events"][0]["event"]["status"] == "SUCCESSFUL"
        })
        .await;
    let count = |list: &Value| list.as_array().map(Vec::len);
    assert_eq!(count(&trace["events"]), Some(1), "{trace}");
    assert_eq!(count(&trace["events"][0]["attempts"]), Some(1), "{trace}");
    let got = receiver.so_far();
    assert_eq!(got.len(), 1, "something else arrived");
    assert_eq!(got[0].body, body);
    assert_eq!(got[0].header("hookplane-request-id"), Some(id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_reach_the_status_and_both_planes_serve_metrics() {
    let system = System::start().await;
    let receiver = Receiver::start().await;
    let (source, _) = system.clerk_to(&receiver, json!([])).await;
    for _ in 0..5 {
        source.send(r#"{"type":"user.created"}"#).await;
    }
    let mut wrong = source.clone();
    wrong.secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned();
    wrong.send("{}").await;
    receiver.got(5).await;
    let status = until("the numbers are reported", || async {
        let status = system.api().get("/v1/status").await;
        let throughput = &status["throughput"];
        (throughput["accepted"] == 5
            && throughput["rejected"] == 1
            && throughput["successful"] == 5)
            .then_some(status)
    })
    .await;
    let by_source = status["by_source"].as_array().expect("a list");
    let row = by_source
        .iter()
        .find(|row| row["event_type"] == "user.created")
        .expect("a row");
    assert_eq!(
        (&row["source_name"], &row["accepted"]),
        (&json!("Clerk"), &json!(5))
    );
    assert!(
        row["accept_p99_ms"]
            .as_f64()
            .is_some_and(|value| value > 0.0),
        "{row}"
    );
    let to = &status["by_destination"][0];
    assert_eq!(
        (&to["destination_name"], &to["successful"]),
        (&json!("receiver"), &json!(5))
    );
    assert_eq!(status["backlog"], 0);

    let agent = hookplane_tests::Api::new(
        format!("http://{}", system.agent(0).address("admin")),
        String::new(),
    );
    for (plane, api) in [("agent", &agent), ("control plane", system.api())] {
        let text = api.text("/metrics").await;
        assert!(text.ends_with("# EOF\n"), "{plane}: {text}");
        assert!(text.contains("hookplane_"), "{plane}: {text}");
        let (ready, _) = api.call(Method::GET, "/readyz", None).await;
        assert_eq!(ready, 200, "{plane}");
        let (healthy, _) = api.call(Method::GET, "/healthz", None).await;
        assert_eq!(healthy, 200, "{plane}");
    }
}
