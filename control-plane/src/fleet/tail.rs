//! A live tail over all agents: their tails merged, joined by agents that come later.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, unfold};
use hookplane_proto::agent::v1::CommandError;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1::{TailRequestsRequest, TailRequestsResponse};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Ending;
use super::commands::Commands;
use super::outbound::{self, Outbound, Outgoing};
use super::relay::Relay;
use super::replicas::Replicas;

/// Items that wait for the caller; past it the agents' own queues fill, then gaps are told.
const QUEUE: usize = 16;

/// The longest interval that a timer takes.
const NEVER: Duration = Duration::from_secs(86_400);

/// Answers with the replica they came through; `None` at its end.
type Tails = SelectAll<BoxStream<'static, (String, Option<Answer>)>>;

/// What is followed.
pub(super) struct Tail {
    pub(super) team_id: String,
    pub(super) asked: TailRequestsRequest,
    /// Without them, only agents that are connected here are followed.
    pub(super) others: Option<Others>,
}

/// The other replicas, whose agents are followed through them.
pub(super) struct Others {
    pub(super) replicas: Arc<Replicas>,
    pub(super) relay: Arc<Relay>,
    /// How often new ones are looked for.
    pub(super) look: Duration,
}

/// Follows agents until the caller leaves.
pub(super) fn follow(
    commands: &Arc<Commands>,
    tail: Tail,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> Outgoing<TailRequestsResponse> {
    let (out, outgoing) = outbound::channel(QUEUE);
    let commands = Arc::clone(commands);
    tasks.spawn(async move {
        let ending = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ending::Shutdown,
            () = out.closed() => Ending::Gone,
            ending = merge(&commands, &tail, &out) => ending,
        };
        out.end(ending);
    });
    outgoing
}

async fn merge(commands: &Commands, tail: &Tail, out: &Outbound<TailRequestsResponse>) -> Ending {
    let mut joins = commands.open.joins();
    let mut followed = HashSet::new();
    let mut replicas = HashSet::new();
    let mut tails = Tails::new();
    let look = tail
        .others
        .as_ref()
        .map_or(Duration::MAX, |others| others.look);
    let mut look = tokio::time::interval(look.min(NEVER));
    joins.mark_changed();
    loop {
        let outcome = tokio::select! {
            changed = joins.changed() => {
                join(commands, tail, &mut followed, &mut tails);
                changed.map_err(|_| Ending::Shutdown)
            }
            _ = look.tick() => {
                join_replicas(tail, &mut replicas, &mut tails).await;
                Ok(())
            }
            Some((from, answer)) = tails.next(), if !tails.is_empty() => match answer {
                Some(answer) => {
                    let alone = tails.len() <= 1;
                    pass(answer, alone, out).await
                }
                // A replica that ended its tail is looked for again.
                None => {
                    replicas.remove(&from);
                    Ok(())
                }
            }
        };
        if let Err(ending) = outcome {
            return ending;
        }
    }
}

/// Starts the tails of replicas that are not followed yet.
async fn join_replicas(tail: &Tail, followed: &mut HashSet<String>, tails: &mut Tails) {
    let Some(others) = &tail.others else { return };
    for replica in others.replicas.others() {
        if followed.contains(&replica.id) {
            continue;
        }
        let items = others
            .relay
            .tail(&replica, &tail.team_id, tail.asked.clone());
        match items.await {
            Ok(items) => {
                followed.insert(replica.id.clone());
                let (id, last) = (replica.id.clone(), replica.id);
                let items = items.map(move |answer| (id.clone(), Some(answer)));
                let end = futures::stream::once(async move { (last, None) });
                tails.push(items.chain(end).boxed());
            }
            Err(error) => {
                tracing::warn!(replica = %replica.id, error = %error, "agents of another replica cannot be tailed");
            }
        }
    }
}

/// Starts the tails of agents that are not followed yet.
fn join(commands: &Commands, tail: &Tail, followed: &mut HashSet<u64>, tails: &mut Tails) {
    let present = commands.open.all();
    followed.retain(|serial| present.iter().any(|(here, _)| here == serial));
    for (serial, link) in present {
        if followed.contains(&serial) {
            continue;
        }
        let command = Command::TailRequests(tail.asked.clone());
        match link.tail(&tail.team_id, command) {
            Ok(waiting) => {
                followed.insert(serial);
                let items = unfold(waiting, |mut waiting| async {
                    let answer = waiting.next().await?;
                    Some(((String::new(), Some(answer)), waiting))
                });
                tails.push(items.boxed());
            }
            Err(error) => {
                tracing::warn!(agent.id = %link.agent.id, error = %error, "an agent cannot be tailed");
            }
        }
    }
}

async fn pass(
    answer: Answer,
    alone: bool,
    out: &Outbound<TailRequestsResponse>,
) -> Result<(), Ending> {
    match answer {
        Answer::TailRequests(item) => out.wait_send(item).await,
        Answer::Error(CommandError {
            code,
            message,
            hint,
        }) if alone => Err(Ending::Refused {
            code,
            message,
            hint,
        }),
        Answer::Error(error) => {
            tracing::warn!(error = %error.message, "an agent refused to be tailed");
            Ok(())
        }
        _ => Ok(()),
    }
}
