//! `apply`: one file with the whole configuration, made so as often as one likes.
//!
//! Owns the order (sources, destinations, connections) and what is told of each
//! resource. Refuses to delete: what the file does not name is left alone.
//! Invariants: the whole file is read and its shape understood before anything
//! is written; a second run changes nothing and says so. Whether secrets, URLs
//! and rules are right is the control plane's to judge, when they are written: a
//! fault there leaves what stands before it in the file in force, and a dry run,
//! which only compares, cannot see it.

use std::collections::HashMap;
use std::path::PathBuf;

use hookplane_client::Client;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, Tone};
use crate::resources::{Connections, Destinations, Kind, Sources, find_by_name, resolve};

mod compare;
mod document;

use compare::Comparable;
use document::{Document, Written};

/// Flags of `apply`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// TOML or JSON file; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Compare with what there is, show what would change, and change nothing;
    /// the control plane judges values only when they are written
    #[arg(long)]
    dry_run: bool,
    /// Value of `${NAME}` in the file; the environment is asked for the others
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    variables: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a variable is given as `NAME=value`".to_owned())
}

/// What became of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Created,
    Updated,
    Unchanged,
}

/// One resource after its turn.
struct Outcome<M> {
    action: Action,
    message: M,
    /// What differed, `config.url: a -> b`.
    changes: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(
    args: &ApplyArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let document = Document::read(&args.file, &args.variables)?;
    let mut turn = Turn {
        client,
        dry_run: args.dry_run,
        output,
        told: Vec::new(),
    };
    let done = turn.all(document).await;
    if args.dry_run && done.is_ok() {
        turn.output
            .note("compared only: secrets, URLs and rules are judged when they are written");
    }
    // What was done is told even when the rest failed.
    if turn.output.is_json() {
        let told = json!({"dry_run": args.dry_run, "resources": turn.told});
        turn.output.json(&told)?;
    }
    done
}

struct Turn<'a> {
    client: &'a Client,
    dry_run: bool,
    output: &'a mut Output,
    told: Vec<Value>,
}

impl Turn<'_> {
    async fn all(&mut self, document: Document) -> Result<(), Failure> {
        // Ids of what the file names; empty for what a dry run would have made.
        let mut sources = HashMap::new();
        for Written { place, message } in document.sources {
            let name = message.name.clone();
            let made = self.one::<Sources>(&place, message, |_| true).await?;
            sources.insert(name, made.id);
        }
        let mut destinations = HashMap::new();
        for Written { place, message } in document.destinations {
            let name = message.name.clone();
            let made = self.one::<Destinations>(&place, message, |_| true).await?;
            destinations.insert(name, made.id);
        }
        for connection in document.connections {
            let mut message = connection.written.message;
            message.source_id = self.end::<Sources>(&sources, &connection.source).await?;
            message.destination_id = self
                .end::<Destinations>(&destinations, &connection.destination)
                .await?;
            let source_id = message.source_id.clone();
            self.one::<Connections>(&connection.written.place, message, |found| {
                found.source_id == source_id
            })
            .await?;
        }
        Ok(())
    }

    async fn end<K: Kind>(
        &self,
        of_file: &HashMap<String, String>,
        text: &str,
    ) -> Result<String, Failure> {
        match of_file.get(text) {
            Some(id) => Ok(id.clone()),
            None => Ok(K::id(&resolve::<K>(self.client, text).await?).to_owned()),
        }
    }

    async fn one<K: Kind>(
        &mut self,
        place: &str,
        wanted: K::Message,
        is_same: impl Fn(&K::Message) -> bool,
    ) -> Result<K::Message, Failure>
    where
        K::Message: Comparable,
    {
        let found = find_by_name::<K>(self.client, K::name(&wanted)).await?;
        let held = found.into_iter().find(is_same);
        let outcome = self
            .settle::<K>(wanted, held)
            .await
            .map_err(|failure| in_place(failure, place))?;
        self.tell::<K>(&outcome)?;
        Ok(outcome.message)
    }

    async fn settle<K: Kind>(
        &self,
        wanted: K::Message,
        held: Option<K::Message>,
    ) -> Result<Outcome<K::Message>, Failure>
    where
        K::Message: Comparable,
    {
        let Some(held) = held else {
            let message = match self.dry_run {
                true => wanted,
                false => K::upsert(self.client, wanted).await?,
            };
            return Ok(Outcome {
                action: Action::Created,
                message,
                changes: Vec::new(),
            });
        };
        let changes = compare::changes(&wanted, &held);
        // A secret can be compared by its visible ends only, so one that looks
        // the same is sent all the same and the revision tells.
        let decided = if changes.is_empty() {
            !wanted.has_secret()
        } else {
            false
        };
        if decided || self.dry_run {
            let action = if changes.is_empty() {
                Action::Unchanged
            } else {
                Action::Updated
            };
            return Ok(Outcome {
                action,
                message: held,
                changes,
            });
        }
        let before = K::revision(&held);
        let message = K::upsert(self.client, wanted).await?;
        let changed = !changes.is_empty() || K::revision(&message) != before;
        Ok(Outcome {
            action: if changed {
                Action::Updated
            } else {
                Action::Unchanged
            },
            message,
            changes: if changed && changes.is_empty() {
                vec!["config.auth: another secret".to_owned()]
            } else {
                changes
            },
        })
    }

    fn tell<K: Kind>(&mut self, outcome: &Outcome<K::Message>) -> Result<(), Failure> {
        let (word, tone) = match (outcome.action, self.dry_run) {
            (Action::Created, false) => ("created", Tone::Good),
            (Action::Created, true) => ("would be created", Tone::Good),
            (Action::Updated, false) => ("updated", Tone::Waiting),
            (Action::Updated, true) => ("would be updated", Tone::Waiting),
            (Action::Unchanged, _) => ("unchanged", Tone::Quiet),
        };
        let (name, id) = (K::name(&outcome.message), K::id(&outcome.message));
        if self.output.is_json() {
            let action = word.trim_start_matches("would be ");
            self.told.push(json!({
                "kind": K::NOUN, "name": name, "id": id,
                "action": action, "changes": outcome.changes,
            }));
            return Ok(());
        }
        let word = self.output.paint(tone, word);
        let line = format!("{:<11} {name:<28} {word}", K::NOUN);
        self.output.line(&line)?;
        for change in &outcome.changes {
            self.output.line(&format!("            {change}"))?;
        }
        Ok(())
    }
}

/// Says which resource of the file the control plane did not like.
fn in_place(mut failure: Failure, place: &str) -> Failure {
    failure.message = format!("{place}: {}", failure.message);
    failure
}
