//! Whether an index is whole and agrees with its journal. Looks only; makes and changes nothing.

use std::path::Path;

use hookplane_journal::{Journal, Position};

use super::chain;
use crate::store::StoreError;
use crate::store::journal::index::{self, schema, totals, upkeep};

/// What there is to tell of a good one, or what is wrong.
pub(super) fn look(path: &Path, journal: &Journal) -> Result<String, String> {
    if index::is_marked_broken(path) {
        return Err("it was found broken".to_owned());
    }
    if !path.exists() {
        return Ok("none yet, the next start makes it".to_owned());
    }
    compare(path, journal).unwrap_or_else(|error| Err(chain(&error)))
}

fn compare(path: &Path, journal: &Journal) -> Result<Result<String, String>, StoreError> {
    let db = index::reader(path)?;
    if let Some(fault) = upkeep::check(&db)? {
        return Ok(Err(fault));
    }
    if !schema::is_current(&db).map_err(index::failed)? {
        return Ok(Ok("of another version, the next start makes it".to_owned()));
    }
    let resume = index::resume(&db)?.unwrap_or(Position::START);
    let end = journal.end().unwrap_or(Position::START);
    let oldest = journal.oldest().unwrap_or(Position::START);
    if resume > end || resume.segment < oldest.segment {
        let fault = format!("it is of another journal: it reflects {resume} of {oldest} to {end}");
        return Ok(Err(fault));
    }
    let out_of_balance = upkeep::imbalance(&db)?;
    let wrong_sums = totals::wrong(&db)?;
    if out_of_balance + wrong_sums > 0 {
        return Ok(Err(format!(
            "{out_of_balance} events are out of balance, {wrong_sums} sums are wrong"
        )));
    }
    Ok(Ok(if resume == end {
        "whole".to_owned()
    } else {
        format!("whole, up to {resume}; the next start takes in what came then")
    }))
}
