//! The `Retry-After` header: seconds, or an HTTP date against a given now.

use std::time::{Duration, UNIX_EPOCH};

/// How long the receiver asks to wait; `None` when the value is neither form.
/// A date in the past means now.
#[must_use]
pub fn parse_retry_after(value: &str, now_unix_seconds: i64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still a request to wait; the policy clamps it.
        return Some(Duration::from_secs(
            value.parse().unwrap_or(u64::from(u32::MAX)),
        ));
    }
    let at = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    let now = u64::try_from(now_unix_seconds).ok()?;
    Some(Duration::from_secs(at.as_secs().saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_and_junk_is_not() {
        let now = 784_111_700;
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(77)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(77)),
            ("Sun Nov  6 08:49:37 1994", Some(77)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
            ("99999999999999999999999", Some(u64::from(u32::MAX))),
        ];
        for (text, expected) in cases {
            let got = parse_retry_after(text, now).map(|wait| wait.as_secs());
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
