//! What handlers say in the headers of their answers, and what follows from it.

use hookplane_agent::config::Destination;
use hookplane_agent::store::{
    AttemptRecord, EventQuery, EventRecord, EventStatus, HandlerOutcome, StepState, Store as _,
};
use hookplane_rules::{RetryPolicy, Strategy};

use crate::receiver::{Act, Receiver, answer};
use crate::world::{LOOPBACK, TEAM, configuration, destination, run};

fn saying(status: u16, headers: &[(&'static str, &str)]) -> Act {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Act::Answer(status, headers.collect(), b"ok".to_vec())
}

/// A second between tries, three of them.
fn soon() -> RetryPolicy {
    RetryPolicy::new(Strategy::Linear, 3, 1_000, &[]).unwrap()
}

/// What became of one event, its attempts, and whether a search for that outcome finds it.
async fn delivered(
    acts: Vec<Act>,
    change: impl FnOnce(&mut Destination),
    wanted: EventStatus,
    outcome: HandlerOutcome,
) -> (EventRecord, Vec<AttemptRecord>, bool) {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(acts).await;
    let mut to = destination("des_1", &receiver.url);
    change(&mut to);
    let running = run(dir.path(), &configuration(vec![to], &soon()), LOOPBACK);
    let event = running.put("des_1").await;
    let event = running.reaches(&event, wanted).await;
    let history = running.store.history(TEAM, &event.request_id).await;
    let query = EventQuery {
        team_id: TEAM.to_owned(),
        handler: Some(outcome),
        limit: 10,
        ..EventQuery::default()
    };
    let found = running.store.events(query).await.unwrap();
    running.stop().await;
    let attempts = history.unwrap().unwrap().attempts;
    let listed = found.iter().any(|one| one.id == event.id);
    (event, attempts, listed)
}

#[tokio::test]
async fn a_good_answer_that_asks_for_another_try_gets_one() {
    let failed = saying(
        200,
        &[
            ("hookplane-outcome", "failed"),
            ("hookplane-outcome-reason", "database%20is%20away"),
            ("hookplane-outcome-retry", "true"),
            ("hookplane-outcome-steps", "profile=done,billing=failed"),
        ],
    );
    let done = saying(200, &[("hookplane-outcome", "completed")]);
    let completed = HandlerOutcome::Completed;
    let (event, attempts, listed) = delivered(
        vec![failed, done],
        |_| {},
        EventStatus::Successful,
        completed,
    )
    .await;
    assert_eq!(event.attempts, 2, "it was not sent again");
    assert_eq!(event.handler.map(|one| one.outcome), Some(completed));
    assert!(listed, "its outcome does not find it");
    let first = &attempts[0];
    assert_eq!(
        (first.successful, first.response_status),
        (false, Some(200))
    );
    assert_eq!(first.error_code.as_deref(), Some("handler_failed"));
    let message = first.error_message.as_deref();
    assert_eq!(message, Some("the handler failed: database is away"));
    let verdict = first.handler.as_ref().expect("what the handler said");
    let steps = [
        ("profile".to_owned(), StepState::Done),
        ("billing".to_owned(), StepState::Failed),
    ];
    assert_eq!(
        (verdict.retry, verdict.steps.as_slice()),
        (true, &steps[..])
    );
    let kept = format!("{:?}", first.response_headers);
    assert!(
        !kept.contains("hookplane-"),
        "the exchange shows it: {kept}"
    );
}

#[tokio::test]
async fn work_that_was_dropped_fails_its_event_at_once_with_the_reason() {
    for (name, outcome, code) in [
        (
            "silent_drop",
            HandlerOutcome::SilentDrop,
            "handler_silent_drop",
        ),
        ("failed", HandlerOutcome::Failed, "handler_failed"),
        ("crashed", HandlerOutcome::Crashed, "handler_crashed"),
        ("timed_out", HandlerOutcome::TimedOut, "handler_timed_out"),
    ] {
        let act = saying(200, &[("hookplane-outcome", name)]);
        let (event, _, listed) = delivered(vec![act], |_| {}, EventStatus::Failed, outcome).await;
        assert_eq!(event.attempts, 1, "{name}: nobody asked for another try");
        assert_eq!(event.error_code.as_deref(), Some(code));
        assert_eq!(event.handler.map(|one| one.outcome), Some(outcome));
        assert!(listed, "{name}: its outcome does not find it");
    }
}

#[tokio::test]
async fn only_where_handlers_report_silence_is_noted() {
    let unreported = HandlerOutcome::Unreported;
    let reports = |to: &mut Destination| to.reports_outcome = true;
    let (event, _, listed) = delivered(
        vec![answer(200)],
        reports,
        EventStatus::Successful,
        unreported,
    )
    .await;
    assert_eq!(event.handler.map(|one| one.outcome), Some(unreported));
    assert!(listed, "an unreported event is not found");
    let (event, _, listed) = delivered(
        vec![answer(200)],
        |_| {},
        EventStatus::Successful,
        unreported,
    )
    .await;
    assert_eq!((event.handler, listed), (None, false));
}

#[tokio::test]
async fn of_a_refusal_the_status_decides_whatever_the_handler_says() {
    let refused = saying(
        503,
        &[
            ("hookplane-outcome", "failed"),
            ("hookplane-outcome-reason", "busy"),
        ],
    );
    let completed = HandlerOutcome::Completed;
    let done = saying(200, &[("hookplane-outcome", "completed")]);
    let (event, attempts, _) = delivered(
        vec![refused, done],
        |_| {},
        EventStatus::Successful,
        completed,
    )
    .await;
    assert_eq!(event.attempts, 2, "a 503 was not tried again");
    assert_eq!(attempts[0].error_code.as_deref(), Some("http_status"));
}

#[tokio::test]
async fn a_sender_cannot_pass_its_own_headers_off_as_ours() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(vec![answer(200)]).await;
    let to = destination("des_1", &receiver.url);
    let running = run(dir.path(), &configuration(vec![to], &soon()), LOOPBACK);
    let forged = ("Hookplane-Force".to_owned(), "1.00".into());
    let put = running.put_changed("des_1", |request| request.headers.push(forged));
    let event = put.await;
    running.reaches(&event, EventStatus::Successful).await;
    running.stop().await;
    let got = receiver.got();
    assert!(
        !got[0].headers.contains_key("hookplane-force"),
        "{:?}",
        got[0].headers
    );
}
