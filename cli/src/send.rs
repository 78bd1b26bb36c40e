//! `send`: signed sample traffic, so that nobody needs a provider's account to begin.
//!
//! Owns the flags, the pace and the summary. Refuses to try again: what was not
//! accepted is counted and makes the exit code 1, as a sender would see it.

use std::path::PathBuf;

use futures::StreamExt as _;
use hookplane_agent::clock::{Clock as _, SystemClock};
use hookplane_signature::Provider;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::failure::Failure;
use crate::output::{Output, Table};
use crate::samples::{self, Draw, Sample};
use crate::session::SessionArgs;

mod post;
mod summary;
mod target;

use post::{Answer, Poster};
use summary::Summary;
use target::{Signing, Target};

/// Sends of this many and more show a bar.
const BAR_FROM: u64 = 20;
/// Most that one command sends; every latency is kept for the percentiles.
const MAX_COUNT: u64 = 10_000_000;

/// Flags of `send`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Who seems to send; the source's type when --source is given, else CLERK
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Provider>,
    /// Event type; several take turns; none is a realistic mix
    #[arg(long = "event", value_name = "EVENT", conflicts_with = "body")]
    events: Vec<String>,
    /// One of each event type
    #[arg(long, conflicts_with_all = ["events", "body"])]
    each: bool,
    /// Show the event types and send nothing
    #[arg(long)]
    list: bool,
    /// Where to send
    #[arg(long, value_name = "URL", conflicts_with = "source")]
    url: Option<String>,
    /// Name or id of the source to send to
    #[arg(long)]
    source: Option<String>,
    /// Signing secret, or `@file` that holds it
    #[arg(long, env = "HOOKPLANE_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Message id; the same again is a repeat
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Send this file as it stands
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Further header, `Name: value`
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// How many
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u64).range(1..=MAX_COUNT))]
    count: Option<u64>,
    /// At most so many per second
    #[arg(long, value_name = "PER-SECOND")]
    rate: Option<f64>,
    /// At most so many at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: u32,
    /// Seconds to wait for each answer
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// The same draw gives the same bodies
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(
    args: SendArgs,
    session: &SessionArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    if args.list {
        return list(args.kind.unwrap_or(Provider::Clerk), output);
    }
    if args
        .rate
        .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
    {
        return Err(Failure::usage(
            "--rate is not above 0",
            "leave it out to send as fast as answers come",
        ));
    }
    let target = Target::find(&args, session).await?;
    let plan = Plan::new(&args, target.provider)?;
    let poster = Poster::new(target, &args.headers, Duration::from_secs(args.timeout))?;
    let summary = send_all(&args, &plan, &poster, output).await?;
    show(&summary, &poster, output)?;
    if summary.all_accepted() {
        return Ok(());
    }
    Err(Failure::new(
        "NOT_ACCEPTED",
        format!(
            "{} of {} were not accepted",
            summary.not_accepted(),
            summary.sent()
        ),
    )
    .hint(summary.hint()))
}

/// Sends one event and gives the id of the request it became.
pub(crate) async fn one(
    provider: Provider,
    event_type: &str,
    url: &str,
    secret: &str,
) -> Result<String, Failure> {
    let target = Target {
        provider,
        url: url.to_owned(),
        signing: Signing::Provider(secret.to_owned()),
    };
    let mut rng = StdRng::from_os_rng();
    let mut draw = Draw::new(&mut rng, SystemClock.now_millis());
    let sample = samples::compose(provider, event_type, None, &mut draw)
        .expect("callers name an event type of the table");
    let poster = Poster::new(target, &[], Duration::from_secs(30))?;
    let answer = poster.post(&sample).await?;
    answer
        .request_id
        .filter(|_| answer.accepted)
        .ok_or_else(|| {
            Failure::new(
                "NOT_ACCEPTED",
                format!("the event was not accepted: {}", answer.outcome),
            )
        })
}

fn list(provider: Provider, output: &mut Output) -> Result<(), Failure> {
    let types = samples::event_types(provider);
    if output.is_json() {
        return output.json(&json!({"type": provider.as_str(), "events": types}));
    }
    for event_type in types {
        output.line(event_type)?;
    }
    Ok(())
}

/// What is sent: which type at which turn, or one body as it stands.
struct Plan {
    provider: Provider,
    /// Taking turns; empty for a mix.
    events: Vec<String>,
    body: Option<Vec<u8>>,
    message_id: Option<String>,
    count: u64,
    seed: u64,
}

impl Plan {
    fn new(args: &SendArgs, provider: Provider) -> Result<Self, Failure> {
        let known = samples::event_types(provider);
        let events: Vec<String> = if args.each {
            known.iter().map(|&name| name.to_owned()).collect()
        } else {
            args.events.clone()
        };
        if let Some(unknown) = events.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(Failure::usage(
                format!("there is no sample of `{unknown}` for {provider}"),
                format!(
                    "`hookplane send --type {provider} --list` shows those there are; --body sends a file of yours"
                ),
            ));
        }
        let body = match &args.body {
            Some(path) => Some(std::fs::read(path).map_err(|error| Failure::file(path, &error))?),
            None => None,
        };
        let default = if args.each { events.len() as u64 } else { 1 };
        Ok(Self {
            provider,
            events,
            body,
            message_id: args.id.clone(),
            count: args.count.unwrap_or(default),
            seed: args.seed.unwrap_or_else(rand::random),
        })
    }

    /// The webhook of one turn.
    fn sample(&self, turn: u64) -> Sample {
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(turn));
        let event_type = match self.events.len() as u64 {
            0 => samples::draw_type(self.provider, &mut rng).to_owned(),
            several => self.events[usize::try_from(turn % several).unwrap_or_default()].clone(),
        };
        let mut draw = Draw::new(&mut rng, SystemClock.now_millis());
        let mut sample = samples::compose(
            self.provider,
            &event_type,
            self.message_id.as_deref(),
            &mut draw,
        )
        .expect("event types were checked against the table");
        if let Some(body) = &self.body {
            sample.body.clone_from(body);
            sample.event_type = String::new();
        }
        sample
    }
}

async fn send_all(
    args: &SendArgs,
    plan: &Plan,
    poster: &Poster,
    output: &Output,
) -> Result<Summary, Failure> {
    let bar = bar(plan.count, output.is_attended());
    let started = Instant::now();
    let pause = args.rate.map(|rate| 1.0 / rate);
    let turns = futures::stream::iter(0..plan.count).then(|turn| async move {
        if let Some(pause) = pause {
            // Against the start, so that late turns catch up.
            #[expect(clippy::cast_precision_loss, reason = "turns stay far below 2^52")]
            let due = Duration::try_from_secs_f64(turn as f64 * pause).unwrap_or(Duration::MAX);
            if let Some(at) = started.checked_add(due) {
                tokio::time::sleep_until(at).await;
            }
        }
        turn
    });
    let answers = turns
        .map(|turn| async move {
            let sample = plan.sample(turn);
            poster.post(&sample).await
        })
        .buffer_unordered(args.concurrency as usize);
    tokio::pin!(answers);
    let mut summary = Summary::default();
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        let answer: Option<Result<Answer, Failure>> = tokio::select! {
            answer = answers.next() => answer,
            _ = &mut stop => break,
        };
        let Some(answer) = answer else { break };
        summary.add(answer?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    summary.end(started.elapsed());
    Ok(summary)
}

fn bar(count: u64, attended: bool) -> ProgressBar {
    if !attended || count < BAR_FROM {
        return ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn show(summary: &Summary, poster: &Poster, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&summary.to_json(poster.url()));
    }
    output.table(&Table::of_values(summary.values(poster.url())))?;
    if let Some(id) = summary
        .request_ids()
        .first()
        .filter(|_| summary.sent() == 1)
    {
        output.note(&format!("see what came of it: hookplane trace {id}"));
    }
    Ok(())
}
