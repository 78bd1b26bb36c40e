//! The order of the measurements.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use hookplane_client::Client;
use hookplane_proto::v1;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::agent::{Agent, Standing, Tally};
use super::arguments::Plan;
use super::figures::Figures;
use super::plane::Plane;
use super::postgres::Postgres;
use super::{Fault, observer, say};

const DESTINATIONS: usize = 100;
/// Nothing takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn everything(plan: &Plan) -> Result<Figures, Fault> {
    let folder = std::path::Path::new("target/bench/fleet");
    // Of an earlier run; there may be none.
    std::fs::remove_dir_all(folder).ok();
    std::fs::create_dir_all(folder)?;
    let postgres = Postgres::start(folder)?;
    let mut plane = Plane::start(&plan.program, folder, &postgres.url).await?;
    let mut figures = Figures::default();
    let client = plane.client()?;
    say("the configuration is made");
    let made = configure(plan, &client).await?;
    figures.writes = made.rate;
    say(&format!("{:.0} writes/s", figures.writes));

    let tally = Arc::new(Tally::default());
    let tasks = TaskTracker::new();
    say("agents enrol and connect");
    let agents = enrol(plan, &plane, &tally).await?;
    one_snapshot(&plane, &mut figures).await?;
    let began = Instant::now();
    let standings: Vec<_> = agents.iter().map(Agent::standing).collect();
    for agent in agents {
        tasks.spawn(agent.run());
    }
    all_have(&standings, 1).await?;
    figures.first_contact = began.elapsed();
    say(&format!(
        "all have everything after {:.1} s",
        figures.first_contact.as_secs_f64()
    ));

    figures.change = changes(plan, &client, &made.sources, &standings).await?;
    figures.writes_with_agents = writes(plan, &client, &made.sources).await?;
    say(&format!(
        "{:.0} writes/s with all agents",
        figures.writes_with_agents
    ));
    sleep(Duration::from_secs(5)).await;
    let before = plane.processor()?;
    sleep(Duration::from_secs(plan.rest_seconds())).await;
    let used = plane.processor()? - before;
    figures.processor = used.as_secs_f64() / Duration::from_secs(plan.rest_seconds()).as_secs_f64();
    figures.memory = plane.memory()?;

    say("the control plane is restarted");
    let snapshots = tally.snapshots.load(Ordering::Relaxed);
    let dials = tally.refused_dials.load(Ordering::Relaxed);
    plane.restart().await?;
    let began = Instant::now();
    all_back(&standings, began).await?;
    figures.back = began.elapsed();
    figures.back_snapshots = tally.snapshots.load(Ordering::Relaxed) - snapshots;
    figures.back_dials = tally.refused_dials.load(Ordering::Relaxed) - dials;
    let (_, most) = plane.memory()?;
    figures.memory.1 = figures.memory.1.max(most);
    drop(plane);
    drop(postgres);
    Ok(figures)
}

struct Made {
    sources: Vec<String>,
    rate: f64,
}

async fn configure(plan: &Plan, client: &Client) -> Result<Made, Fault> {
    let began = Instant::now();
    let destinations = at_once(plan, DESTINATIONS, |number| {
        let client = client.clone();
        async move {
            let destination = v1::Destination {
                name: format!("receiver-{number}"),
                config: Some(v1::DestinationConfig {
                    url: format!("https://receiver-{number}.internal/hooks"),
                    ..v1::DestinationConfig::default()
                }),
                ..v1::Destination::default()
            };
            let destination = Some(destination);
            let request = v1::CreateDestinationRequest {
                destination,
                ..v1::CreateDestinationRequest::default()
            };
            Ok(client
                .destinations()
                .create_destination(request)
                .await?
                .into_inner()
                .id)
        }
    })
    .await?;
    let sources = at_once(plan, plan.sources(), |number| {
        let client = client.clone();
        async move {
            let source = Some(source(number));
            let request = v1::CreateSourceRequest {
                source,
                ..v1::CreateSourceRequest::default()
            };
            Ok(client
                .sources()
                .create_source(request)
                .await?
                .into_inner()
                .id)
        }
    })
    .await?;
    at_once(plan, plan.connections(), |number| {
        let client = client.clone();
        let connection = v1::Connection {
            name: format!("branch-{number}"),
            source_id: sources[number % sources.len()].clone(),
            destination_id: destinations[number % DESTINATIONS].clone(),
            ..v1::Connection::default()
        };
        async move {
            let connection = Some(connection);
            let request = v1::CreateConnectionRequest {
                connection,
                ..v1::CreateConnectionRequest::default()
            };
            Ok(client
                .connections()
                .create_connection(request)
                .await?
                .into_inner()
                .id)
        }
    })
    .await?;
    #[expect(clippy::cast_precision_loss, reason = "shown without digits")]
    let writes = (DESTINATIONS + plan.sources() + plan.connections()) as f64;
    let rate = writes / began.elapsed().as_secs_f64();
    Ok(Made { sources, rate })
}

fn source(number: usize) -> v1::Source {
    let secret = v1::ProviderSignature {
        webhook_signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()],
        ..v1::ProviderSignature::default()
    };
    v1::Source {
        name: format!("source-{number}"),
        r#type: v1::SourceType::Clerk.into(),
        config: Some(v1::SourceConfig {
            auth: Some(v1::SourceAuth {
                scheme: Some(v1::source_auth::Scheme::ProviderSignature(secret)),
            }),
            ..v1::SourceConfig::default()
        }),
        ..v1::Source::default()
    }
}

/// Does something so many times, as many at once as the plan says.
async fn at_once<F>(
    plan: &Plan,
    count: usize,
    one: impl FnMut(usize) -> F,
) -> Result<Vec<String>, Fault>
where
    F: Future<Output = Result<String, Fault>>,
{
    let all = stream::iter(0..count)
        .map(one)
        .buffer_unordered(plan.writers);
    all.collect::<Vec<_>>().await.into_iter().collect()
}

async fn enrol(plan: &Plan, plane: &Plane, tally: &Arc<Tally>) -> Result<Vec<Agent>, Fault> {
    let (api, token) = (plane.api(), plane.join_token()?);
    let one = |number| {
        let (api, token, tally) = (api.clone(), token.clone(), Arc::clone(tally));
        async move { Agent::enrol(&api, &token, number, tally).await }
    };
    let all = stream::iter(0..plan.agents()).map(one).buffer_unordered(16);
    all.collect::<Vec<_>>().await.into_iter().collect()
}

/// Five snapshots to an agent of its own, one after the other.
async fn one_snapshot(plane: &Plane, figures: &mut Figures) -> Result<(), Fault> {
    let tally = Arc::new(Tally::default());
    let number = 99_999;
    drop(Agent::enrol(&plane.api(), &plane.join_token()?, number, tally).await?);
    let name = format!("sim-{number:05}");
    let credential = format!("hpa_{}", hex::encode(Sha256::digest(name)));
    let mut took = Vec::new();
    for _ in 0..5 {
        let snapshot = observer::snapshot(&plane.api(), &credential).await?;
        figures.snapshot_bytes = snapshot.bytes;
        figures.snapshot_resources = snapshot.resources;
        took.push(snapshot.took);
    }
    took.sort_unstable();
    figures.snapshot = took[took.len() / 2];
    say(&format!(
        "a snapshot takes {:.0} ms",
        figures.snapshot.as_secs_f64() * 1_000.0
    ));
    Ok(())
}

/// Waits until every agent has at least a revision.
async fn all_have(
    standings: &[watch::Receiver<Standing>],
    revision: u64,
) -> Result<Instant, Fault> {
    let mut last = Instant::now();
    for standing in standings {
        let mut standing = standing.clone();
        let has = standing.wait_for(|now| now.revision >= revision);
        let has = timeout(PATIENCE, has)
            .await
            .map_err(|_| "not every agent got it")??;
        last = last.max(has.since);
    }
    Ok(last)
}

async fn all_back(standings: &[watch::Receiver<Standing>], began: Instant) -> Result<(), Fault> {
    for standing in standings {
        let mut standing = standing.clone();
        let back = standing.wait_for(|now| now.connected && now.since >= began);
        timeout(PATIENCE, back)
            .await
            .map_err(|_| "not every agent came back")??;
    }
    Ok(())
}

async fn touch(client: &Client, id: &str, text: String) -> Result<v1::Source, Fault> {
    let source = v1::Source {
        description: text,
        ..v1::Source::default()
    };
    let request = v1::PatchSourceRequest {
        id: id.to_owned(),
        source: Some(source),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["description".to_owned()],
        }),
        ..v1::PatchSourceRequest::default()
    };
    Ok(client.sources().patch_source(request).await?.into_inner())
}

/// From the call to the last agent, change by change.
async fn changes(
    plan: &Plan,
    client: &Client,
    sources: &[String],
    standings: &[watch::Receiver<Standing>],
) -> Result<[Duration; 3], Fault> {
    let mut took = Vec::new();
    for number in 0..plan.changes() {
        // Not in step with what the control plane gathers.
        sleep(Duration::from_millis(200 + rand::random::<u64>() % 200)).await;
        let began = Instant::now();
        let id = &sources[number % sources.len()];
        let changed = touch(client, id, format!("change {number}")).await?;
        let last = all_have(standings, changed.revision).await?;
        took.push(last.saturating_duration_since(began));
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    Ok([at(50), at(99), at(100)])
}

async fn writes(plan: &Plan, client: &Client, sources: &[String]) -> Result<f64, Fault> {
    let count = if plan.quick { 50 } else { 2_000 };
    let began = Instant::now();
    at_once(plan, count, |number| {
        let client = client.clone();
        let id = sources[number % sources.len()].clone();
        async move { Ok(touch(&client, &id, format!("write {number}")).await?.id) }
    })
    .await?;
    #[expect(clippy::cast_precision_loss, reason = "shown without digits")]
    let count = count as f64;
    Ok(count / began.elapsed().as_secs_f64())
}
