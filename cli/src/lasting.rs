//! Spans of time on the command line, `90s`, `12h` or `30d`, and times that far away.

use hookplane_agent::clock::{Clock as _, SystemClock};
use prost_types::Timestamp;

/// A span of time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(i64);

impl Span {
    /// The time that is this far from now.
    pub(crate) fn hence(self) -> Timestamp {
        let now = i64::try_from(SystemClock.now_millis() / 1_000).unwrap_or_default();
        Timestamp {
            seconds: now.saturating_add(self.0),
            nanos: 0,
        }
    }

    /// Its length; past what 32 bits hold, the longest that they do.
    pub(crate) fn seconds(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is no span of time; give `90s`, `15m`, `12h` or `30d`");
        let unit = match text.chars().next_back() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(fault()),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| fault())?;
        Ok(Self(i64::from(number) * unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        assert_eq!("15m".parse(), Ok(Span(900)));
        assert_eq!("30d".parse(), Ok(Span(2_592_000)));
        for wrong in ["", "15", "m", "-1h", "1w", "1ä"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
