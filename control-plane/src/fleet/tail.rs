//! A live tail over all agents: their tails merged, joined by agents that come later.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, unfold};
use hookplane_proto::agent::v1::CommandError;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::v1::TailRequestsResponse;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Ending;
use super::commands::Commands;
use super::outbound::{self, Outbound, Outgoing};

/// Items that wait for the caller; past it the agents' own queues fill, then gaps are told.
const QUEUE: usize = 16;

type Tails = SelectAll<BoxStream<'static, Answer>>;

/// Follows every agent until the caller leaves.
pub(super) fn follow(
    commands: &Arc<Commands>,
    team_id: String,
    command: Command,
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
            ending = merge(&commands, &team_id, &command, &out) => ending,
        };
        out.end(ending);
    });
    outgoing
}

async fn merge(
    commands: &Commands,
    team_id: &str,
    command: &Command,
    out: &Outbound<TailRequestsResponse>,
) -> Ending {
    let mut joins = commands.open.joins();
    let mut followed = HashSet::new();
    let mut tails = Tails::new();
    joins.mark_changed();
    loop {
        let outcome = tokio::select! {
            changed = joins.changed() => {
                join(commands, team_id, command, &mut followed, &mut tails);
                changed.map_err(|_| Ending::Shutdown)
            }
            Some(answer) = tails.next(), if !tails.is_empty() => {
                let alone = tails.len() <= 1;
                pass(answer, alone, out).await
            }
        };
        if let Err(ending) = outcome {
            return ending;
        }
    }
}

/// Starts the tails of agents that are not followed yet.
fn join(
    commands: &Commands,
    team_id: &str,
    command: &Command,
    followed: &mut HashSet<u64>,
    tails: &mut Tails,
) {
    let present = commands.open.all();
    followed.retain(|serial| present.iter().any(|(here, _)| here == serial));
    for (serial, link) in present {
        if followed.contains(&serial) {
            continue;
        }
        match link.tail(team_id, command.clone()) {
            Ok(waiting) => {
                followed.insert(serial);
                let items = unfold(waiting, |mut waiting| async {
                    waiting.next().await.map(|answer| (answer, waiting))
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
