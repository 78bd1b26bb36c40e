//! Times as people write them: RFC 3339, `now`, `now-24h`.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fault::Fault;

const HINT: &str = "give RFC 3339 (2026-03-01T00:00:00Z) or now-24h with s, m, h or d";

/// Unix milliseconds; `None` for an empty text.
pub(super) fn parse(field: &str, text: &str, now: u64) -> Result<Option<u64>, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let found = match text.strip_prefix("now") {
        Some(rest) => relative(rest, now),
        None => absolute(text),
    };
    match found {
        Some(millis) => Ok(Some(millis)),
        None => {
            let shown: String = text.chars().take(64).collect();
            Err(Fault::invalid(
                format!("`{field}`: {shown:?} is no time"),
                HINT,
            ))
        }
    }
}

fn relative(rest: &str, now: u64) -> Option<u64> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Some(now);
    }
    let amount = rest.strip_prefix('-')?.trim();
    let unit = amount.chars().last()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &amount[..amount.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let back = digits
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)?
        .checked_mul(1_000)?;
    Some(now.saturating_sub(back))
}

fn absolute(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_others_are_refused_with_a_hint() {
        let now = 1_790_000_000_000;
        for (text, told) in [
            ("", None),
            ("now", Some(now)),
            ("now-90s", Some(now - 90_000)),
            ("now-24h", Some(now - 86_400_000)),
            ("now - 2d", Some(now - 172_800_000)),
            ("now-99999d", Some(0)),
            ("1970-01-01T00:00:01.5Z", Some(1_500)),
            ("2026-09-21T15:33:20+01:00", Some(1_790_001_200_000)),
        ] {
            assert_eq!(parse("from", text, now), Ok(told), "{text}");
        }
        for text in [
            "yesterday",
            "now+1h",
            "now-h",
            "now-5w",
            "now--5h",
            "2026-01-01",
            "5",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(parse("from", text, now).is_err(), "{text} is taken");
        }
    }
}
