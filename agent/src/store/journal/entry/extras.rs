//! What an event, an attempt or a request may have beyond the first shape: numbered parts, each with its length.
//!
//! A part that is not there costs nothing; a number that is not known is an error like any other.
//! Invariant: a number never changes its meaning.

use super::super::codec::{Decoder, Encoder, Malformed};
use crate::store::{
    AttemptRecord, Deferral, EventHandler, EventRecord, HandlerOutcome, HandlerVerdict, Replay,
    RequestRecord, SentBody, StepState,
};

mod of_event {
    pub(super) const HANDLER: u64 = 1;
    pub(super) const OPERATION: u64 = 2;
}

mod of_request {
    pub(super) const REPLAY: u64 = 1;
    /// Of the replay.
    pub(super) const OPERATION: u64 = 3;
}

mod of_attempt {
    pub(super) const HANDLER: u64 = 1;
    pub(super) const SENT_BODY: u64 = 2;
}

pub(super) const fn event_has(event: &EventRecord) -> bool {
    event.handler.is_some() || event.operation_id.is_some()
}

pub(super) fn event(out: &mut Encoder, event: &EventRecord) {
    let mut parts = Parts::default();
    if let Some(handler) = &event.handler {
        parts.add(of_event::HANDLER, |out| {
            out.number(outcome_code(handler.outcome));
            out.maybe_text(handler.reason.as_deref());
        });
    }
    if let Some(id) = &event.operation_id {
        parts.add(of_event::OPERATION, |out| out.text(id));
    }
    parts.write(out);
}

pub(super) fn read_event(from: &mut Decoder, event: &mut EventRecord) -> Result<(), Malformed> {
    each(from, "a part of an event", |number, part| {
        match number {
            of_event::HANDLER => {
                event.handler = Some(EventHandler {
                    outcome: outcome_from(part.number()?)?,
                    reason: part.maybe_text()?,
                });
            }
            of_event::OPERATION => event.operation_id = Some(part.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

pub(super) const fn request_has(request: &RequestRecord) -> bool {
    request.replay.is_some()
}

pub(super) fn request(out: &mut Encoder, request: &RequestRecord) {
    let mut parts = Parts::default();
    if let Some(replay) = &request.replay {
        parts.add(of_request::REPLAY, |out| {
            out.text(&replay.parent_request_id);
            out.flag(replay.modified);
        });
        if let Some(id) = &replay.operation_id {
            parts.add(of_request::OPERATION, |out| out.text(id));
        }
    }
    parts.write(out);
}

pub(super) fn read_request(
    from: &mut Decoder,
    request: &mut RequestRecord,
) -> Result<(), Malformed> {
    each(from, "a part of a request", |number, part| {
        match number {
            of_request::REPLAY => {
                request.replay = Some(Replay {
                    parent_request_id: part.text()?,
                    modified: part.flag()?,
                    operation_id: None,
                });
            }
            of_request::OPERATION => {
                let id = part.text()?;
                if let Some(replay) = &mut request.replay {
                    replay.operation_id = Some(id);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })
}

pub(super) const fn attempt_has(attempt: &AttemptRecord) -> bool {
    attempt.handler.is_some() || attempt.sent_body.is_some()
}

pub(super) fn attempt(out: &mut Encoder, attempt: &AttemptRecord) {
    let mut parts = Parts::default();
    if let Some(verdict) = &attempt.handler {
        parts.add(of_attempt::HANDLER, |out| handler(out, verdict));
    }
    if let Some(body) = &attempt.sent_body {
        parts.add(of_attempt::SENT_BODY, |out| {
            out.number(body.size);
            out.bytes(&body.kept);
        });
    }
    parts.write(out);
}

pub(super) fn read_attempt(
    from: &mut Decoder,
    attempt: &mut AttemptRecord,
) -> Result<(), Malformed> {
    each(from, "a part of an attempt", |number, part| {
        match number {
            of_attempt::HANDLER => attempt.handler = Some(read_handler(part)?),
            of_attempt::SENT_BODY => {
                attempt.sent_body = Some(SentBody {
                    size: part.number()?,
                    kept: part.bytes()?,
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    })
}

pub(super) fn handler(out: &mut Encoder, verdict: &HandlerVerdict) {
    out.number(outcome_code(verdict.outcome));
    out.maybe_text(verdict.reason.as_deref());
    out.flag(verdict.retry);
    out.number(verdict.steps.len() as u64);
    for (name, state) in &verdict.steps {
        out.text(name);
        out.number(step_code(*state));
    }
    out.flag(verdict.deferral.is_some());
    if let Some(deferral) = &verdict.deferral {
        out.text(&deferral.token);
        out.number(deferral.deadline_at);
    }
}

pub(super) fn read_handler(from: &mut Decoder) -> Result<HandlerVerdict, Malformed> {
    let outcome = outcome_from(from.number()?)?;
    let (reason, retry) = (from.maybe_text()?, from.flag()?);
    // No capacity ahead: the count is checked by reading that many.
    let mut steps = Vec::new();
    for _ in 0..from.number()? {
        let name = from.text()?;
        steps.push((name, step_from(from.number()?)?));
    }
    let deferral = if from.flag()? {
        Some(Deferral {
            token: from.text()?,
            deadline_at: from.number()?,
        })
    } else {
        None
    };
    Ok(HandlerVerdict {
        outcome,
        reason,
        retry,
        steps,
        deferral,
    })
}

pub(in super::super) const fn outcome_code(outcome: HandlerOutcome) -> u64 {
    match outcome {
        HandlerOutcome::Completed => 1,
        HandlerOutcome::Ignored => 2,
        HandlerOutcome::Failed => 3,
        HandlerOutcome::Deferred => 4,
        HandlerOutcome::SilentDrop => 5,
        HandlerOutcome::Crashed => 6,
        HandlerOutcome::TimedOut => 7,
        HandlerOutcome::Unreported => 8,
    }
}

pub(in super::super) fn outcome_from(value: u64) -> Result<HandlerOutcome, Malformed> {
    let mut all = HandlerOutcome::ALL.into_iter();
    let what = "what a handler came to";
    let found = all.find(|outcome| outcome_code(*outcome) == value);
    found.ok_or(Malformed::Unknown { what, value })
}

const fn step_code(state: StepState) -> u64 {
    match state {
        StepState::Done => 1,
        StepState::Failed => 2,
        StepState::Missing => 3,
    }
}

fn step_from(value: u64) -> Result<StepState, Malformed> {
    let mut all = StepState::ALL.into_iter();
    let what = "the state of a step";
    let found = all.find(|state| step_code(*state) == value);
    found.ok_or(Malformed::Unknown { what, value })
}

/// Parts on their way out.
#[derive(Default)]
struct Parts(Vec<(u64, Encoder)>);

impl Parts {
    fn add(&mut self, number: u64, fill: impl FnOnce(&mut Encoder)) {
        let mut part = Encoder::default();
        fill(&mut part);
        self.0.push((number, part));
    }

    fn write(self, out: &mut Encoder) {
        out.number(self.0.len() as u64);
        for (number, part) in self.0 {
            out.number(number);
            out.bytes(&part.finish());
        }
    }
}

/// Gives each part to `take`, which says whether it knows it.
fn each(
    from: &mut Decoder,
    what: &'static str,
    mut take: impl FnMut(u64, &mut Decoder) -> Result<bool, Malformed>,
) -> Result<(), Malformed> {
    for _ in 0..from.number()? {
        let value = from.number()?;
        let mut part = Decoder::new(from.bytes()?);
        if !take(value, &mut part)? {
            return Err(Malformed::Unknown { what, value });
        }
        part.end()?;
    }
    Ok(())
}
