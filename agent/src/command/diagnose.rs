//! Why a stored request was refused, by the proofs of `hookplane_signature`.
//!
//! Owns what is tried: the source's own verifier of today and those of the team's other sources. Refuses to
//! accept anything. Invariants: one at a time with searches, and so many per minute; what is told holds
//! nothing of headers, body or secrets.

use std::sync::{Mutex, PoisonError};

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::v1::RequestDiagnosis;
use hookplane_signature::{Diagnosis, Inbound, Other, diagnose};

use super::fault::Fault;
use super::{Desk, replay};
use crate::config::Configuration;
use crate::store::{Rejection, RequestRecord};

const A_MINUTE: u64 = 60_000;
/// Each computes a hundred signatures.
const MOST_A_MINUTE: u32 = 60;

/// How many there were this minute.
#[derive(Default)]
pub(crate) struct Diagnoses(Mutex<(u64, u32)>);

impl Diagnoses {
    fn admit(&self, now: u64) -> bool {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now / A_MINUTE;
        if inside.0 != minute {
            *inside = (minute, 0);
        }
        inside.1 += 1;
        inside.1 <= MOST_A_MINUTE
    }
}

pub(super) async fn request(desk: &Desk, team: &str, id: String) -> Result<Answer, Fault> {
    if !desk.diagnoses.admit(desk.clock.now_millis()) {
        return Err(Fault::busy());
    }
    let turn = desk.searches.0.acquire().await;
    let _turn = turn.map_err(|_| Fault::unavailable("the agent is stopping"))?;
    let found = desk.store.request(team, &id).await?;
    let (record, _) = found.ok_or_else(|| Fault::not_found("request", &id))?;
    let Some(rejection) = record.rejection.clone() else {
        let hint = "look at its events instead: `hookplane trace`";
        return Err(Fault::precondition("the request was accepted", hint));
    };
    let configuration = desk.config.load_full();
    // A hundred signatures over a quarter of a megabyte are no work for a thread that serves others.
    let judging = desk.tasks.spawn_blocking(move || {
        let told = judged(&configuration, &record, &rejection);
        (record, rejection, told)
    });
    let judged = judging.await;
    let (record, rejection, told) =
        judged.map_err(|_| Fault::unavailable("the diagnosis broke off"))?;
    Ok(Answer::DiagnoseRequest(RequestDiagnosis {
        request_id: record.id,
        source_id: record.source_id,
        rejection_cause: rejection.cause,
        rejection_reason: rejection.reason,
        cause: told.cause.to_owned(),
        proven: told.proven,
        evidence: told.evidence,
        fix: told.fix.to_owned(),
        ruled_out: told.ruled_out.into_iter().map(str::to_owned).collect(),
    }))
}

fn judged(
    configuration: &Configuration,
    record: &RequestRecord,
    rejection: &Rejection,
) -> Diagnosis {
    let unproven = |cause, evidence: &str, fix| Diagnosis {
        cause,
        proven: false,
        evidence: evidence.to_owned(),
        fix,
        ruled_out: Vec::new(),
    };
    if rejection.cause != Rejection::UNVERIFIED {
        let fix = "change what the source takes, or what is sent; the cause says which";
        return unproven("not_a_matter_of_signatures", &rejection.detail, fix);
    }
    let sources = configuration.sources.values();
    let (own, others): (Vec<_>, Vec<_>) = sources
        .filter(|source| source.team_id == record.team_id)
        .partition(|source| source.id == record.source_id);
    let Some(own) = own.first() else {
        let evidence = "the agent does not have the source of the request any more";
        return unproven("source_gone", evidence, "ask while the source is there");
    };
    if !replay::is_whole(record) {
        let evidence = "its body was not kept whole, so no signature can be tried on it";
        return unproven("body_not_kept", evidence, "let the provider send it again");
    }
    let inbound = Inbound {
        headers: &record.headers,
        body: &record.body,
    };
    let at = i64::try_from(record.ingested_at / 1_000).unwrap_or(i64::MAX);
    match own.verifier.verify(&inbound, at) {
        Ok(_) => Diagnosis {
            proven: true,
            ..unproven(
                "healed",
                "the source of today believes it: its secret was put right since",
                "replay the request: `hookplane requests replay`",
            )
        },
        Err(refusal) => {
            let others: Vec<Other<'_>> = others
                .iter()
                .map(|source| Other {
                    name: &source.name,
                    verifier: &source.verifier,
                })
                .collect();
            diagnose(&own.verifier, &inbound, at, &refusal, &others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_and_the_next_one_begins_anew() {
        let diagnoses = Diagnoses::default();
        let admitted = (0..100).filter(|_| diagnoses.admit(5)).count();
        assert_eq!(admitted, MOST_A_MINUTE as usize);
        assert!(diagnoses.admit(A_MINUTE));
    }
}
