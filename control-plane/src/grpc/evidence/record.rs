//! What is written into a team's audit record about evidence: who saw payloads, and who ordered something.
//!
//! Invariants: a payload is shown only after it is recorded who sees it; an entry holds no payload.

use hookplane_proto::id::Kind;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::payload::{self, Payload};
use crate::domain::audit::{Act, Action, Actor};
use crate::domain::{Caller, Scope};
use crate::fleet::Fleet;
use crate::grpc::status;

/// The message as this caller may see it; what he sees of payloads is recorded first.
pub(in crate::grpc) async fn shown<T: Payload>(
    fleet: &Fleet,
    caller: &Caller,
    (kind, id): (Kind, &str),
    message: T,
) -> Result<T, Status> {
    if caller.may(Scope::EventsPayload) && message.has_payload() {
        write(fleet, caller, act(Action::Read, kind, id, None)).await?;
    }
    Ok(payload::shown(caller, message))
}

/// The same for a list: one entry, with what was asked for in the place of an id.
pub(in crate::grpc) async fn listed<T: Payload>(
    fleet: &Fleet,
    caller: &Caller,
    kind: Kind,
    asked: Value,
    rows: Vec<T>,
) -> Result<Vec<T>, Status> {
    let payloads = rows.iter().filter(|row| row.has_payload()).count();
    // Who searches learns about payloads from what is found, and from what is not.
    let searched = asked["searched"] == true;
    if caller.may(Scope::EventsPayload) && (payloads > 0 || searched) {
        // Ids that found nothing may be anybody's.
        let asked = if rows.is_empty() {
            json!({ "searched": true })
        } else {
            asked
        };
        let after = json!({ "rows": rows.len(), "asked": asked });
        write(fleet, caller, act(Action::Read, kind, "", Some(after))).await?;
    }
    Ok(payload::shown(caller, rows))
}

/// Someone begins to see what comes in.
pub(in crate::grpc) async fn tailed(fleet: &Fleet, caller: &Caller) -> Result<(), Status> {
    if !caller.may(Scope::EventsPayload) {
        return Ok(());
    }
    let after = json!({ "tail": true });
    write(
        fleet,
        caller,
        act(Action::Read, Kind::Request, "", Some(after)),
    )
    .await
}

/// An order that was carried out.
pub(in crate::grpc) async fn ordered(
    fleet: &Fleet,
    caller: &Caller,
    action: Action,
    (kind, id): (Kind, &str),
    made: Option<&str>,
) -> Result<(), Status> {
    let after = made.map(|id| json!({ "made": id }));
    let written = write(fleet, caller, act(action, kind, id, after)).await;
    written.map_err(|fault| {
        status::refused(
            fault.code(),
            "NOT_RECORDED",
            format!(
                "the order was carried out, but it could not be recorded: {}",
                fault.message()
            ),
            "look at the trace before ordering it again",
        )
    })
}

async fn write(fleet: &Fleet, caller: &Caller, act: Act) -> Result<(), Status> {
    let now = fleet.clock().now_millis();
    let ledger = fleet.config().ledger();
    let noted = ledger.note(&Actor::from(caller), act, now).await?;
    if noted {
        return Ok(());
    }
    Err(status::refused(
        Code::Unavailable,
        "AUDIT_BUSY",
        "too many reads of payloads wait to be recorded",
        "try again, with fewer at once",
    ))
}

fn act(action: Action, kind: Kind, id: &str, after: Option<Value>) -> Act {
    Act {
        action,
        kind: match kind {
            Kind::Request => "request",
            Kind::Attempt => "attempt",
            _ => "event",
        },
        id: id.to_owned(),
        name: String::new(),
        revision: None,
        before: None,
        after,
        secrets_changed: false,
    }
}
