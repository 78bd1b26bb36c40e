//! What a sender wrote to do harm stays harmless on the way out.

use hookplane_agent::store::EventStatus;
use hookplane_rules::RetryPolicy;

use crate::receiver::{Receiver, answer};
use crate::{LOOPBACK, configuration, destination, run};

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
