//! The demo: one signed Clerk event through a source to a receiver, and its trace.
//!
//! Owns the order of the play. Everything it does, a user can do by the
//! commands it prints; running it again changes only what has to change.

use std::path::Path;

use hookplane_client::v1::{AgentState, EventStatus, RequestTrace};
use hookplane_client::{Client, Settings};
use hookplane_signature::{Provider, generate_secret};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::files::write_private;
use super::receiver::Receiver;
use crate::evidence::{self, Names};
use crate::failure::Failure;
use crate::output::{Output, Tone};
use crate::resources::{Connections, Destinations, Kind, Sources};
use crate::session::{DemoFile, DevFile, admin_key_file, demo_file, read_json};
use crate::shape::{self, ConnectionShape, DestinationShape, InvalidShape, SourceShape};
use crate::{fleet, send};

/// Longest wait for an agent to hold the configuration, and for the delivery.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Where the play takes place.
pub(super) struct Stage<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) listening: &'a DevFile,
    /// How the user called this program.
    pub(super) program: &'a str,
    pub(super) quiet: bool,
}

impl Stage<'_> {
    pub(super) fn say(&self, output: &mut Output, text: &str) {
        if !self.quiet {
            output.note(text);
        }
    }

    fn client(&self) -> Result<Client, Failure> {
        let path = admin_key_file(self.data_dir);
        let key = std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let settings = Settings::new(&self.listening.api, key.trim());
        Client::connect(settings).map_err(|invalid| hookplane_client::Error::from(invalid).into())
    }
}

/// Plays the demo. The receiver lives as long as what is returned.
pub(super) async fn play(stage: &Stage<'_>, output: &mut Output) -> Result<Receiver, Failure> {
    let client = stage.client()?;
    let receiver = Receiver::start().await?;
    let held = read_json::<DemoFile>(&demo_file(stage.data_dir));
    let secret = held.map_or_else(|| generate_secret(rand::random()), |demo| demo.secret);
    let (demo, revision) = configure(&client, &receiver, secret).await?;
    write_private(&demo_file(stage.data_dir), &demo)?;
    stage.say(
        output,
        "demo: waiting for the agent to hold the configuration",
    );
    until_held(&client, revision).await?;
    stage.say(output, "demo: sending one signed user.created");
    let request_id = send::one(Provider::Clerk, "user.created", &demo.url, &demo.secret).await?;
    let trace = until_delivered(&client, &request_id).await?;
    if !stage.quiet {
        let names = Names::fetch(&client).await;
        output.line("")?;
        for line in evidence::draw(&trace, &names, true, output) {
            output.untrusted(&line)?;
        }
        output.line("")?;
        for line in next(stage, &receiver, &trace, output) {
            output.line(&line)?;
        }
    }
    Ok(receiver)
}

/// Makes the demo's resources as they have to be; gives the newest revision of them.
async fn configure(
    client: &Client,
    receiver: &Receiver,
    secret: String,
) -> Result<(DemoFile, u64), Failure> {
    let wrong = |invalid: InvalidShape| invalid.in_resource("the demo");
    let source = shape::read::<SourceShape>(json!({
        "name": "demo",
        "type": "CLERK",
        "description": "Made by `hookplane dev --demo`",
        "config": {
            "auth_type": "PROVIDER_SIGNATURE",
            "auth": {"webhook_signing_secret": secret},
        },
    }));
    let source = source.and_then(|shape| shape.to_proto()).map_err(wrong)?;
    let source = Sources::upsert(client, source).await?;
    let destination = shape::read::<DestinationShape>(json!({
        "name": "demo-receiver",
        "description": "Made by `hookplane dev --demo`",
        "config": {"url": receiver.url},
    }));
    let destination = destination
        .and_then(|shape| shape.to_proto())
        .map_err(wrong)?;
    let destination = Destinations::upsert(client, destination).await?;
    let mut revision = source.revision.max(destination.revision);
    // One that takes everything but sessions, and one that takes nothing else: the
    // trace shows a branch taken and a branch ignored.
    for (name, types) in [
        (
            "demo-accounts",
            json!({"$regex": "^(user|organization|email|sms|role|permission|waitlist|subscription|payment)"}),
        ),
        ("demo-sessions", json!({"$starts_with": "session."})),
    ] {
        let connection = shape::read::<ConnectionShape>(json!({
            "name": name,
            "source": source.id,
            "destination": destination.id,
            "rules": [{"type": "filter", "body": {"type": types}}],
        }));
        let mut connection = connection
            .and_then(|shape| shape.to_proto())
            .map_err(wrong)?;
        connection.source_id.clone_from(&source.id);
        connection.destination_id.clone_from(&destination.id);
        let made = Connections::upsert(client, connection).await?;
        revision = revision.max(made.revision);
    }
    let demo = DemoFile {
        source_id: source.id,
        url: source.url,
        secret,
    };
    Ok((demo, revision))
}

/// Waits until a connected agent has acknowledged the revision.
async fn until_held(client: &Client, revision: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = fleet::fetch(client, 1).await?;
        let holds = status
            .agents
            .iter()
            .any(|agent| agent.state() == AgentState::Connected && agent.revision >= revision);
        if holds {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(
                "DEMO",
                format!("no agent holds revision {revision} after 30 s"),
            )
            .hint("`hookplane status` shows what the agent holds and what it refused"));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits until every branch of the request has ended.
async fn until_delivered(client: &Client, request_id: &str) -> Result<RequestTrace, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let late = Instant::now() > deadline;
        match evidence::fetch_trace(client, request_id.to_owned()).await {
            Ok(trace)
                if late || (!trace.events.is_empty() && trace.events.iter().all(has_ended)) =>
            {
                return Ok(trace);
            }
            // The agent may not have opened its command stream yet.
            Err(failure) if late => return Err(failure),
            Ok(_) | Err(_) => sleep(BETWEEN_LOOKS).await,
        }
    }
}

fn has_ended(branch: &hookplane_client::v1::EventTrace) -> bool {
    branch.event.as_ref().is_some_and(|event| {
        matches!(
            event.status(),
            EventStatus::Successful | EventStatus::Failed | EventStatus::Cancelled
        )
    })
}

/// What to try next, by commands that work as they stand.
fn next(
    stage: &Stage<'_>,
    receiver: &Receiver,
    trace: &RequestTrace,
    output: &Output,
) -> Vec<String> {
    let command = if stage.data_dir == Path::new(".hookplane") {
        stage.program.to_owned()
    } else {
        format!(
            "{} --data-dir '{}'",
            stage.program,
            stage.data_dir.display()
        )
    };
    let key_file = admin_key_file(stage.data_dir);
    let request = trace.request.as_ref().map(|request| request.id.as_str());
    let event = trace
        .events
        .first()
        .and_then(|branch| branch.event.as_ref());
    let steps = [
        ("watch live, in another terminal", format!("{command} tail")),
        (
            "send another event",
            format!("{command} send --event session.created"),
        ),
        (
            "send a realistic mix",
            format!("{command} send --count 200 --rate 50"),
        ),
        (
            "see what came in",
            format!("{command} requests list --limit 10"),
        ),
        (
            "see what came of the first one",
            format!("{command} trace {}", request.unwrap_or_default()),
        ),
        (
            "send its bytes again",
            format!(
                "{command} events retry {}",
                event.map(|event| event.id.as_str()).unwrap_or_default()
            ),
        ),
        (
            "see agents, throughput, backlog",
            format!("{command} status"),
        ),
        (
            "see what the receiver got",
            format!("curl -s {}", receiver.log_url),
        ),
        (
            "the same over REST",
            format!(
                "curl -s -H \"Authorization: Bearer $(cat '{}')\" {}/v1/requests?limit=1",
                key_file.display(),
                stage.listening.api
            ),
        ),
    ];
    let mut lines = vec![output.paint(Tone::Strong, "what to try next")];
    for (what, command) in steps {
        lines.push(format!("  # {what}"));
        lines.push(format!("  {command}"));
    }
    lines
}
