//! What a proposed configuration of a source would have made of the requests that were recorded.
//!
//! Owns the comparison: of each request what today's configuration and the proposal make, by the same
//! stages that live requests go through. Refuses to write anything and to tell values of payloads.
//! Invariants: a question reads a bounded number of requests for a bounded time and says whether it
//! came to the end; what cannot be verified again is counted and never told as a change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use hookplane_proto::agent::v1::EvaluateShadowCommand;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::v1::{ShadowConnection, ShadowDifference, ShadowSource};
use sha2::{Digest as _, Sha256};

use super::Desk;
use super::fault::Fault;
use super::{replay, when};
use crate::clock::{SharedClock, timestamp};
use crate::config::{Configuration, Source};
use crate::deliver::transform::as_sent;
use crate::ids::IdMint;
use crate::ingest;
use crate::route::route;
use crate::store::{EventRecord, EventStatus, Look, RequestQuery, RequestRecord};
use crate::verify;

/// Requests between two turns of the store.
const STEP: u32 = 64;
const USUAL: u32 = 10_000;
const MOST: u32 = 50_000;
/// Within the deadline of a command, with room for its turn.
const MAX_MILLIS: u64 = 4_000;
const MAX_EXAMPLES: usize = 5;

pub(super) async fn evaluate(
    desk: &Desk,
    team: &str,
    asked: EvaluateShadowCommand,
) -> Result<Answer, Fault> {
    let group = |group: Option<_>| {
        let group = group.ok_or_else(|| Fault::invalid("a source is missing", "give both"))?;
        (desk.prepare)(&group).map_err(|why| {
            let message = format!("this agent cannot do what is proposed: {why}");
            Fault::precondition(message, "upgrade the agent, or leave out what it lacks")
        })
    };
    let (current, proposed) = (group(asked.current)?, group(asked.proposed)?);
    if current.team_id != team || proposed.team_id != team || current.id != proposed.id {
        let message = "both are to be one source of the team";
        return Err(Fault::invalid(message, "give the same id and team"));
    }
    let ids = desk.ids.get();
    let ids = ids.ok_or_else(|| Fault::unavailable("the agent is not enrolled"))?;
    let turn = desk.searches.0.acquire().await;
    let _turn = turn.map_err(|_| Fault::unavailable("the agent is stopping"))?;
    let now = desk.clock.now_millis();
    let mut query = RequestQuery {
        team_id: team.to_owned(),
        from: when::parse("from", &asked.from, now)?,
        to: when::parse("to", &asked.to, now)?,
        source_id: Some(current.id.clone()),
        limit: STEP,
        ..RequestQuery::default()
    };
    let evaluation = Arc::new(Mutex::new(Evaluation {
        judge: Judge {
            current: Arc::new(current),
            proposed: Arc::new(proposed),
            verify: asked.verify,
            configuration: desk.config.load_full(),
            ids,
        },
        told: Told::default(),
        left: match asked.limit {
            0 => USUAL,
            limit => limit.min(MOST),
        },
        clock: Arc::clone(&desk.clock),
        until: now.saturating_add(MAX_MILLIS),
    }));
    let truncated = loop {
        let came_to = desk.store.look_through(query.clone(), look(&evaluation));
        let Some(came_to) = came_to.await? else {
            break false;
        };
        query.before_id = Some(came_to);
        if lock(&evaluation).is_over() {
            break true;
        }
    };
    let told = std::mem::take(&mut lock(&evaluation).told);
    let inside = lock(&evaluation);
    Ok(Answer::EvaluateShadow(
        told.report(&inside.judge, truncated),
    ))
}

/// Ends when nobody waits for it any more.
fn look(evaluation: &Arc<Mutex<Evaluation>>) -> Look {
    let evaluation = Arc::downgrade(evaluation);
    Box::new(move |request, _| match evaluation.upgrade() {
        Some(evaluation) => lock(&evaluation).see(&request),
        None => ControlFlow::Break(()),
    })
}

fn lock(evaluation: &Mutex<Evaluation>) -> std::sync::MutexGuard<'_, Evaluation> {
    evaluation.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One evaluation under way.
struct Evaluation {
    judge: Judge,
    told: Told,
    /// Requests that may still be looked at.
    left: u32,
    clock: SharedClock,
    until: u64,
}

impl Evaluation {
    fn see(&mut self, request: &RequestRecord) -> ControlFlow<()> {
        self.left = self.left.saturating_sub(1);
        // A replay is a copy of what is looked at anyway.
        if request.replay.is_none() {
            self.told.note(request, self.judge.judge(request));
        }
        if self.is_over() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn is_over(&self) -> bool {
        self.left == 0 || self.clock.now_millis() > self.until
    }
}

/// Makes of a request what either configuration makes of it.
struct Judge {
    current: Arc<Source>,
    proposed: Arc<Source>,
    verify: bool,
    configuration: Arc<Configuration>,
    ids: IdMint,
}

/// What both made of a request.
#[derive(Debug, Default, PartialEq)]
struct Judged {
    /// Why neither can tell whether the sender is believed.
    unverifiable: bool,
    /// `None`: it is refused, today or by the proposal.
    before: Option<Branches>,
    after: Option<Branches>,
    /// Why the proposal refuses what is accepted today.
    refusal: Option<String>,
}

/// By connection.
type Branches = BTreeMap<String, Branch>;

#[derive(Clone, Debug, PartialEq)]
enum Branch {
    /// With when it is due, and a hash of what a transformation makes of it.
    Sent(u64, Option<[u8; 32]>),
    Ignored(String),
    Failed(String),
}

/// Why one configuration does not take a request.
enum Untaken {
    Refused(String),
    /// What was kept is not enough to tell.
    Unknown,
}

impl Judge {
    fn judge(&self, request: &RequestRecord) -> Judged {
        let accepted = request.rejection.is_none();
        let before = if accepted {
            self.branches(&self.current, request, false).ok()
        } else {
            None
        };
        // Whoever was believed is believed as long as the source stays what it is.
        let demanded = self.verify;
        if !accepted && !demanded {
            return Judged::default();
        }
        match self.branches(&self.proposed, request, demanded) {
            Ok(after) => Judged {
                before,
                after: Some(after),
                ..Judged::default()
            },
            Err(Untaken::Refused(why)) if accepted && before.is_some() => {
                // What today's secret cannot verify any more says nothing about the proposal.
                let again = self.branches(&self.current, request, demanded);
                if again.is_ok() {
                    return Judged {
                        before,
                        refusal: Some(why),
                        ..Judged::default()
                    };
                }
                Judged {
                    unverifiable: true,
                    before,
                    after: self.branches(&self.proposed, request, false).ok(),
                    refusal: None,
                }
            }
            Err(Untaken::Refused(_)) => Judged {
                before,
                ..Judged::default()
            },
            Err(Untaken::Unknown) => Judged {
                unverifiable: true,
                ..Judged::default()
            },
        }
    }

    fn branches(
        &self,
        source: &Arc<Source>,
        request: &RequestRecord,
        verify: bool,
    ) -> Result<Branches, Untaken> {
        if !replay::is_whole(request) {
            return Err(Untaken::Unknown);
        }
        let revision = self.configuration.revision;
        let call = replay::call(request, None, request.ingested_at, revision);
        let call = call.map_err(|_| Untaken::Unknown)?;
        let received = ingest::again(Arc::clone(source), call);
        let received =
            received.map_err(|why| Untaken::Refused(replay::untaken(&why).0.to_owned()))?;
        let verified = if verify {
            verify::verify_as_of(received, request.ingested_at)
                .map_err(|why| Untaken::Refused(why.refusal.reason.as_str().to_owned()))?
        } else {
            verify::believe(received, request.verified_by.clone())
        };
        let routed = route(verified, &self.configuration, self.ids);
        let events = routed.new_request().events.iter();
        let branch = |event: &EventRecord| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let due = event.next_attempt_at.unwrap_or_default();
            match event.status {
                EventStatus::Cancelled => Branch::Ignored(text(&event.ignored_detail)),
                EventStatus::Failed => Branch::Failed(text(&event.failure_message)),
                _ => match transformed(source, &event.connection_id, request) {
                    None => Branch::Sent(due, None),
                    Some(Ok(content)) => Branch::Sent(due, Some(content)),
                    Some(Err(why)) => Branch::Failed(why),
                },
            }
        };
        Ok(events
            .map(|event| (event.connection_id.clone(), branch(event)))
            .collect())
    }
}

/// A hash of what the connection sends of a request, if it does not send it as it came.
fn transformed(
    source: &Source,
    connection_id: &str,
    request: &RequestRecord,
) -> Option<Result<[u8; 32], String>> {
    let mut all = source.connections.iter();
    let transform = all
        .find(|one| one.id == connection_id)?
        .transform
        .as_ref()?;
    Some(as_sent(request, transform).map(|sent| {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(sent.path.as_bytes());
        part(sent.query.as_bytes());
        part(&sent.body);
        for (name, value) in &sent.headers {
            part(name.as_bytes());
            part(value);
        }
        hash.finalize().into()
    }))
}

/// What all of them came to.
#[derive(Default)]
struct Told {
    requests: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
    unverifiable: u64,
    refused: ShadowDifference,
    accepted: ShadowDifference,
    connections: BTreeMap<String, ShadowConnection>,
}

impl Told {
    fn note(&mut self, request: &RequestRecord, judged: Judged) {
        self.requests += 1;
        let at = request.ingested_at;
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.unverifiable += u64::from(judged.unverifiable);
        let id = &request.id;
        if let Some(why) = &judged.refusal {
            count(&mut self.refused, id, why);
        }
        let newly = judged.before.is_none() && judged.after.is_some();
        if newly && request.rejection.is_some() {
            let was = request.rejection.as_ref().map(|was| was.reason.as_str());
            let why = format!("was refused: {}", was.unwrap_or_default());
            count(&mut self.accepted, id, &why);
        }
        let (before, after) = (
            judged.before.unwrap_or_default(),
            judged.after.unwrap_or_default(),
        );
        let refusal = judged.refusal.unwrap_or_default();
        for (connection, branch) in &before {
            let then = after.get(connection);
            self.of(connection)
                .compare(id, Some(branch), then, &refusal);
        }
        for (connection, branch) in &after {
            if !before.contains_key(connection) {
                self.of(connection)
                    .compare(id, None, Some(branch), &refusal);
            }
        }
    }

    fn of(&mut self, connection: &str) -> &mut ShadowConnection {
        self.connections.entry(connection.to_owned()).or_default()
    }

    fn report(mut self, judge: &Judge, truncated: bool) -> ShadowSource {
        let find = |source: &Source, id: &str| {
            let mut all = source.connections.iter();
            all.find(|one| one.id == id).map(|one| one.name.clone())
        };
        // Those without a request, too.
        let both = judge.current.connections.iter();
        for connection in both.chain(judge.proposed.connections.iter()) {
            self.of(&connection.id);
        }
        let mut connections = Vec::new();
        for (id, told) in self.connections {
            let (before, after) = (find(&judge.current, &id), find(&judge.proposed, &id));
            connections.push(ShadowConnection {
                created: before.is_none(),
                deleted: after.is_none(),
                name: after.or(before).unwrap_or_default(),
                connection_id: id,
                ..told
            });
        }
        ShadowSource {
            source_id: judge.current.id.clone(),
            name: judge.current.name.clone(),
            requests: self.requests,
            truncated,
            oldest_at: self.oldest.map(timestamp),
            newest_at: self.newest.map(timestamp),
            unverifiable: self.unverifiable,
            refused: Some(self.refused),
            accepted: Some(self.accepted),
            connections,
        }
    }
}

/// One branch of one request, before and after.
trait Compare {
    fn compare(
        &mut self,
        id: &str,
        before: Option<&Branch>,
        after: Option<&Branch>,
        else_why: &str,
    );
}

impl Compare for ShadowConnection {
    fn compare(
        &mut self,
        id: &str,
        before: Option<&Branch>,
        after: Option<&Branch>,
        else_why: &str,
    ) {
        let sent = |branch: Option<&Branch>| matches!(branch, Some(Branch::Sent(..)));
        let (was, is) = (sent(before), sent(after));
        self.sent_before += u64::from(was);
        self.sent_after += u64::from(is);
        match (before, after) {
            (Some(Branch::Sent(due, content)), Some(Branch::Sent(then_due, then_content))) => {
                if due != then_due {
                    let moved = self.moved.get_or_insert_default();
                    count(moved, id, &by_how_much(*due, *then_due));
                }
                if content != then_content {
                    count(self.changed.get_or_insert_default(), id, "");
                }
            }
            (before, Some(Branch::Failed(why))) if !matches!(before, Some(Branch::Failed(_))) => {
                count(self.failing.get_or_insert_default(), id, why);
            }
            _ => {}
        }
        if was && !is {
            let why = match after {
                Some(Branch::Ignored(why) | Branch::Failed(why)) => why.as_str(),
                Some(Branch::Sent(..)) | None => else_why,
            };
            count(self.lost.get_or_insert_default(), id, why);
        }
        if is && !was {
            let why = match before {
                Some(Branch::Ignored(why) | Branch::Failed(why)) => why.as_str(),
                Some(Branch::Sent(..)) | None => "",
            };
            count(self.gained.get_or_insert_default(), id, why);
        }
    }
}

fn by_how_much(before: u64, after: u64) -> String {
    let seconds = after.abs_diff(before) as f64 / 1_000.0;
    let word = if after > before { "later" } else { "earlier" };
    format!("{seconds} s {word}")
}

/// They come newest first.
fn count(into: &mut ShadowDifference, id: &str, why: &str) {
    if into.count == 0 {
        why.clone_into(&mut into.reason);
    }
    into.count += 1;
    if into.request_ids.len() < MAX_EXAMPLES {
        into.request_ids.push(id.to_owned());
    }
}
