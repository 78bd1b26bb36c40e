//! Before something is pruned: the plan, and the question whether it shall be.
//!
//! Both go where notes go, so that the answer stays what it is without them.
//! Invariant: where nobody can be asked, nobody is.

use std::io::{self, IsTerminal as _};

use hookplane_client::v1::{ApplyConfigurationResponse, ChangeAction};

use super::fate;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn plan(
    plan: &ApplyConfigurationResponse,
    yes: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let changes = plan.changes.iter();
    for change in changes.filter(|one| one.action() != ChangeAction::Unchanged) {
        let fate = fate(change, true);
        output.note(&format!("{:<11} {:<28} {fate}", change.kind, change.name));
    }
    let deletions = plan.changes.iter();
    let deletions = deletions.filter(|one| one.action() == ChangeAction::Delete);
    let deletions = deletions.count();
    let is_asked = output.is_attended() && io::stdin().is_terminal();
    if yes || deletions == 0 || !is_asked {
        return Ok(());
    }
    output.note(&format!(
        "{deletions} to delete: go on? Answer `yes`, or anything else to stop."
    ));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::file(std::path::Path::new("-"), &error))?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::new("NOT_CONFIRMED", "nothing was changed")
        .hint("answer `yes`, or give --yes to go on without being asked"))
}
