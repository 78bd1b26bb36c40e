//! What a sender wrote to do harm stays harmless on the way out.

use bytes::Bytes;
use hookplane_agent::ingest::HIDDEN;
use hookplane_agent::store::{EventStatus, RequestRecord};
use hookplane_rules::RetryPolicy;

use crate::receiver::{Receiver, answer};
use crate::world::{LOOPBACK, configuration, destination, run};

#[tokio::test]
async fn a_stored_path_that_climbs_out_of_the_receivers_url_is_never_sent() {
    for path in [
        "/../admin",
        "/%2e%2e/admin",
        "/deep/../../hooked",
        "/..\\admin",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(vec![answer(200)]).await;
        let mut to = destination("des_1", &receiver.url);
        to.path_forwarding = true;
        let config = configuration(vec![to], &RetryPolicy::default());
        let running = run(dir.path(), &config, LOOPBACK);
        let event = running
            .put_changed("des_1", |request| request.path = path.into())
            .await;
        let event = running.reaches(&event, EventStatus::Failed).await;
        assert_eq!(event.error_code.as_deref(), Some("path_escapes"), "{path}");
        running.stop().await;
        assert!(receiver.got().is_empty(), "{path} was sent");
    }
}

#[tokio::test]
async fn what_a_source_demands_of_its_senders_never_reaches_a_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let config = configuration(
        vec![destination("des_1", &receiver.url)],
        &RetryPolicy::default(),
    );
    let running = run(dir.path(), &config, LOOPBACK);
    let hide = |request: &mut RequestRecord| {
        let hidden = Bytes::from_static(HIDDEN);
        request.headers.push(("X-Partner-Key".into(), hidden));
    };
    let event = running.put_changed("des_1", hide).await;
    running.reaches(&event, EventStatus::Successful).await;
    running.stop().await;
    let got = receiver.got();
    assert!(!got[0].headers.contains_key("x-partner-key"));
    assert!(got[0].headers.contains_key("svix-signature"));
}
