//! The wait for agents: over when all have it, and who is behind when not.

use hookplane_proto::v1::{ConditionState, WaitAppliedRequest, WaitAppliedResponse};

use crate::agent::{Holding, TestAgent};
use crate::plane::{Plane, within};

async fn wait(plane: &Plane, timeout_ms: u32) -> WaitAppliedResponse {
    let asked = WaitAppliedRequest {
        timeout_ms,
        ..WaitAppliedRequest::default()
    };
    let stand = plane.configuration().wait_applied(asked).await;
    stand.expect("an answer").into_inner()
}

#[tokio::test]
async fn a_wait_ends_when_the_last_live_agent_has_the_revision() {
    let plane = Plane::start().await;
    plane.source("ours", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    TestAgent::enrolled(&plane, "edge-2", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    let behind = wait(&plane, 50).await;
    assert!(!behind.applied, "it has not acknowledged yet");
    assert_eq!(behind.behind[0].agent_name, "edge-1");
    assert_eq!(behind.behind[0].state(), ConditionState::Pending);
    assert_eq!(behind.away[0].agent_name, "edge-2", "it is not waited for");

    let waiting = wait(&plane, 10_000);
    let acknowledging = async {
        talk.ack(nonce).await;
    };
    let (stand, ()) = within("the wait is over", async {
        tokio::join!(waiting, acknowledging)
    })
    .await;
    assert_eq!((stand.applied, stand.agents), (true, 1));
}

#[tokio::test]
async fn a_refusal_ends_the_wait_at_once_and_is_told() {
    let plane = Plane::start().await;
    let bad = plane.source("bad", "default").await;
    let agent = TestAgent::enrolled(&plane, "edge-1", "default").await;
    let mut talk = agent.configuration(Holding::default()).await;
    let (_, nonce) = talk.take().await;
    talk.refuse(nonce, &bad.id, None).await;
    let stand = within("the refusal is told", async {
        loop {
            let stand = wait(&plane, 10_000).await;
            if !stand.behind.is_empty() {
                return stand;
            }
        }
    })
    .await;
    assert!(!stand.applied);
    assert_eq!(stand.behind[0].state(), ConditionState::Refused);
    assert_eq!(stand.behind[0].reason, "secret_invalid");
}
