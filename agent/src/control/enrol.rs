//! Enrolment: the join token and a credential of one's own for an identity.
//!
//! Tried until it succeeds. A control plane that cannot be reached is tried
//! again soon; a refusal needs a person, so it is told and tried again slowly.

use std::path::Path;

use hookplane_proto::agent::v1::EnrollRequest;
use hookplane_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use hookplane_proto::id::MAX_STORE;
use tonic::{Code, Status};

use super::identity::{Enrolled, Identity};
use crate::link::{Link, describe};
use crate::readiness::{Readiness, Reason};
use crate::settings::Settings;

/// Why a try did not succeed, and whether a person has to do something.
struct Refused {
    reason: Reason,
    needs_a_person: bool,
}

/// Tries until the control plane gives an identity.
pub(crate) async fn enrol(
    identity: &Identity,
    store_number: u32,
    settings: &Settings,
    link: &Link,
    readiness: &Readiness,
) -> Enrolled {
    let mut wait = link.redial();
    let mut told = None;
    loop {
        let refused = match once(identity, store_number, settings, link).await {
            Ok(enrolled) => {
                readiness.update(|facts| facts.enrolment_problem = None);
                return enrolled;
            }
            Err(refused) => refused,
        };
        if told.as_ref() != Some(&refused.reason) {
            tracing::warn!(
                reason = refused.reason.code,
                error = refused.reason.message,
                "the agent is not enrolled"
            );
        }
        told = Some(refused.reason.clone());
        readiness.update(|facts| facts.enrolment_problem = Some(refused.reason));
        let pause = if refused.needs_a_person {
            // Jittered as well: a fleet with one wrong token should not knock in step.
            settings
                .pace
                .refused_enrolment
                .mul_f64(0.5 + link.fraction() / 2.0)
        } else {
            wait.next()
        };
        tokio::time::sleep(pause).await;
    }
}

async fn once(
    identity: &Identity,
    store_number: u32,
    settings: &Settings,
    link: &Link,
) -> Result<Enrolled, Refused> {
    let join_token = token(settings.join_token_file.as_deref())?;
    let unreachable = |message: String| Refused {
        reason: reason("control_plane_unreachable", message),
        needs_a_person: false,
    };
    let channel = link.dial_bare().await.map_err(unreachable)?;
    let request = EnrollRequest {
        join_token,
        name: settings.name.clone(),
        pool: settings.pool.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        credential_hash: identity.credential_hash(),
        store: store_number,
    };
    let mut client = EnrolmentServiceClient::new(channel);
    let answer = tokio::time::timeout(settings.pace.call, client.enroll(request)).await;
    let given = match answer {
        Err(_) => return Err(unreachable("no answer to the enrolment in time".to_owned())),
        Ok(Err(status)) => return Err(refusal(&status, settings)),
        Ok(Ok(answer)) => answer.into_inner(),
    };
    if given.agent_id.is_empty() || !(1..=MAX_STORE).contains(&given.store) {
        let message = format!("the control plane gave the store number {}", given.store);
        return Err(Refused {
            reason: reason("enrolment_invalid", message),
            needs_a_person: true,
        });
    }
    Ok(Enrolled {
        agent_id: given.agent_id,
        store: given.store,
        epoch: given.epoch,
    })
}

/// Read at each try, so that a corrected file needs no restart.
fn token(path: Option<&Path>) -> Result<String, Refused> {
    let missing = |message: String| Refused {
        reason: reason("join_token_missing", message),
        needs_a_person: true,
    };
    let path = path.ok_or_else(|| missing("no --join-token-file is given".to_owned()))?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| missing(format!("{} cannot be read: {error}", path.display())))?;
    match text.trim() {
        "" => Err(missing(format!("{} is empty", path.display()))),
        token => Ok(token.to_owned()),
    }
}

fn refusal(status: &Status, settings: &Settings) -> Refused {
    let (code, message) = match status.code() {
        Code::Unauthenticated => (
            "join_token_refused",
            format!("the control plane refused: {}", status.message()),
        ),
        Code::AlreadyExists => (
            "name_taken",
            format!(
                "the name {} belongs to another agent; choose another --name, or restore that agent's identity",
                settings.name
            ),
        ),
        Code::InvalidArgument | Code::FailedPrecondition | Code::PermissionDenied => {
            ("enrolment_refused", status.message().to_owned())
        }
        _ => {
            return Refused {
                reason: reason("control_plane_unreachable", describe(status)),
                needs_a_person: false,
            };
        }
    };
    Refused {
        reason: reason(code, message),
        needs_a_person: true,
    }
}

fn reason(code: &'static str, message: String) -> Reason {
    Reason { code, message }
}
