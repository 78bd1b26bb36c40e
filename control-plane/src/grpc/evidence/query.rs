//! What callers may ask: limits, tokens, ids, times and enum values, checked with every fault named.

use hookplane_proto::id::{Id, Kind};
use hookplane_proto::v1::{AppliedRange, HandlerOutcome};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::Status;

use crate::domain::{Millis, Violation};
use crate::grpc::status;
use crate::wire::timestamp;

pub(in crate::grpc) const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 255;
const MAX_IDS: usize = 100;
const MAX_TEXT: usize = 256;

/// Collects the faults of one call.
#[derive(Default)]
pub(in crate::grpc) struct Check {
    faults: Vec<Violation>,
}

impl Check {
    /// # Errors
    /// INVALID_ARGUMENT with every fault that was found.
    pub(in crate::grpc) fn done(self) -> Result<(), Status> {
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(status::invalid(&self.faults))
    }

    /// Puts the default in the place of 0.
    pub(in crate::grpc) fn limit(&mut self, limit: &mut u32) {
        match *limit {
            0 => *limit = DEFAULT_LIMIT,
            1..=MAX_LIMIT => {}
            other => self.fault(
                "limit",
                format!("{other} rows; 1 to {MAX_LIMIT} are possible"),
            ),
        }
    }

    pub(in crate::grpc) fn token(&mut self, kind: Kind, token: &str) {
        if !token.is_empty() && Id::parse(kind, token).is_err() {
            let text = "the token is not one that this list gave; start again without it";
            self.fault("page_token", text);
        }
    }

    /// An id, which may be left out.
    pub(in crate::grpc) fn id(&mut self, field: &str, kind: Kind, text: &str) -> Option<Id> {
        if text.is_empty() {
            return None;
        }
        match Id::parse(kind, text) {
            Ok(id) => Some(id),
            Err(fault) => {
                self.fault(field, format!("`{}` {fault}", shown(text)));
                None
            }
        }
    }

    /// One id, or several separated by commas.
    pub(in crate::grpc) fn ids(&mut self, field: &str, kind: Kind, text: &str) -> Vec<Id> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.len() > MAX_IDS {
            self.fault(field, format!("at most {MAX_IDS} ids are possible"));
            return Vec::new();
        }
        parts
            .into_iter()
            .filter_map(|part| self.id(field, kind, part))
            .collect()
    }

    pub(in crate::grpc) fn status<E: TryFrom<i32>>(&mut self, status: i32) {
        if E::try_from(status).is_err() {
            self.fault("status", format!("{status} is no status"));
        }
    }

    pub(in crate::grpc) fn outcome(&mut self, outcome: i32) {
        if HandlerOutcome::try_from(outcome).is_err() {
            self.fault("handler_outcome", format!("{outcome} is no outcome"));
        }
    }

    pub(in crate::grpc) fn text(&mut self, field: &str, text: &str) {
        if text.chars().count() > MAX_TEXT {
            self.fault(field, format!("at most {MAX_TEXT} characters are possible"));
        }
    }

    /// A fault of the field unless something holds.
    pub(in crate::grpc) fn holds(&mut self, field: &str, holds: bool, otherwise: &str) {
        if !holds {
            self.fault(field, otherwise);
        }
    }

    /// A field that means nothing here; `why` says so.
    pub(in crate::grpc) fn absent(&mut self, field: &str, text: &str, why: &str) {
        if !text.trim().is_empty() {
            self.fault(field, why);
        }
    }

    pub(in crate::grpc) fn include(&mut self, include: &str) {
        if !matches!(include, "" | "data") {
            let text = format!("`{}` cannot be included; `data` can", shown(include));
            self.fault("include", text);
        }
    }

    /// Makes both ends absolute, so that every agent reads the same range.
    pub(in crate::grpc) fn range(
        &mut self,
        from: &mut String,
        to: &mut String,
        now: Millis,
    ) -> AppliedRange {
        let start = self.time("from", from, now);
        let end = self.time("to", to, now);
        if let (Some(start), Some(end)) = (start, end)
            && start >= end
        {
            self.fault("from", "the start of the range is not before its end");
        }
        AppliedRange {
            from: start.map(timestamp),
            to: Some(timestamp(end.unwrap_or(now))),
        }
    }

    fn time(&mut self, field: &str, text: &mut String, now: Millis) -> Option<Millis> {
        if text.trim().is_empty() {
            text.clear();
            return None;
        }
        let Some((millis, absolute)) = moment(text.trim(), now) else {
            let right = "give RFC 3339 such as 2026-03-01T00:00:00Z, or now-24h with s, m, h or d";
            self.fault(field, format!("`{}` is no time: {right}", shown(text)));
            return None;
        };
        *text = absolute;
        Some(millis)
    }

    fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(Violation::new(field, message));
    }
}

/// A time as Unix milliseconds and as RFC 3339.
fn moment(text: &str, now: Millis) -> Option<(Millis, String)> {
    let millis = match text.strip_prefix("now") {
        Some(rest) => now - back(rest.trim())?,
        None => {
            let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            Millis::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()?
        }
    };
    let millis = millis.max(0);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
    Some((millis, time.format(&Rfc3339).ok()?))
}

fn back(text: &str) -> Option<Millis> {
    if text.is_empty() {
        return Some(0);
    }
    let amount = text.strip_prefix('-')?.trim();
    let unit = amount.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = amount.strip_suffix(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: Millis = digits.parse().ok()?;
    count.checked_mul(seconds)?.checked_mul(1_000)
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_790_000_000_000;

    #[test]
    fn relative_and_absolute_times_become_absolute() {
        for (text, millis) in [
            ("now", NOW),
            ("now-90s", NOW - 90_000),
            ("now - 2d", NOW - 172_800_000),
            ("2026-09-21T15:33:20+01:00", 1_790_001_200_000),
        ] {
            let (found, absolute) = moment(text, NOW).expect(text);
            assert_eq!(found, millis, "{text}");
            assert_eq!(moment(&absolute, 0).map(|read| read.0), Some(millis));
        }
        for text in [
            "yesterday",
            "now+1h",
            "now-h",
            "now-5w",
            "now--5h",
            "2026-01-01",
            "now-é",
        ] {
            assert_eq!(moment(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn every_fault_of_a_call_is_named() {
        let mut check = Check::default();
        check.limit(&mut 256);
        check.token(Kind::Event, "evt_1");
        check.ids("connection_id", Kind::Connection, "web_x, src_y");
        let (mut from, mut to) = ("now".to_owned(), "now-1h".to_owned());
        check.range(&mut from, &mut to, NOW);
        let fields: Vec<&str> = check
            .faults
            .iter()
            .map(|fault| fault.field.as_str())
            .collect();
        let wanted = [
            "limit",
            "page_token",
            "connection_id",
            "connection_id",
            "from",
        ];
        assert_eq!(fields, wanted);
    }
}
