//! Numbers and times as people read them. Times are UTC.

use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

/// `2026-11-25 22:05:45.123Z`; empty when absent.
pub(crate) fn day_time(at: Option<&Timestamp>) -> String {
    let layout =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    moment(at)
        .and_then(|at| at.format(&layout).ok())
        .unwrap_or_default()
}

/// `22:05:45.123`; empty when absent.
pub(crate) fn clock_time(at: Option<&Timestamp>) -> String {
    let layout = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    moment(at)
        .and_then(|at| at.format(&layout).ok())
        .unwrap_or_default()
}

/// `+0.012 s` from one time to another.
pub(crate) fn since(start: Option<&Timestamp>, at: Option<&Timestamp>) -> String {
    match (moment(start), moment(at)) {
        (Some(start), Some(at)) => format!("{:+.3} s", (at - start).as_seconds_f64()),
        _ => String::new(),
    }
}

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,381 bytes`
pub(crate) fn bytes(number: u64) -> String {
    format!(
        "{} {}",
        count(number),
        if number == 1 { "byte" } else { "bytes" }
    )
}

/// `12.3 ms`; a dash when nothing was measured.
pub(crate) fn millis(number: f64) -> String {
    if number <= 0.0 {
        "-".to_owned()
    } else if number < 10.0 {
        format!("{number:.2} ms")
    } else {
        format!("{number:.1} ms")
    }
}

/// Sequences of `Output::paint`; the worst a sender can do with them is colour.
const OURS: [&str; 6] = ["[32m", "[31m", "[33m", "[2m", "[1m", "[0m"];

/// What a sender wrote may hold anything; a terminal must not act on it.
pub(super) fn visible(text: &str, kept: &[char]) -> String {
    if !text.contains(|c: char| c.is_control()) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for (place, letter) in text.char_indices() {
        let ours =
            letter == '\u{1b}' && OURS.iter().any(|code| text[place + 1..].starts_with(code));
        if letter.is_control() && !ours && !kept.contains(&letter) {
            shown.push('\u{fffd}');
        } else {
            shown.push(letter);
        }
    }
    shown
}

fn moment(at: Option<&Timestamp>) -> Option<OffsetDateTime> {
    let at = at?;
    let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_senders_do_not_reach_a_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\nc", &[]), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(
            visible("\u{1b}[32mok\u{1b}[0m\n", &['\n']),
            "\u{1b}[32mok\u{1b}[0m\n"
        );
    }

    #[test]
    fn times_and_counts_read_as_people_write_them() {
        let at = Timestamp {
            seconds: 1_790_000_000,
            nanos: 123_000_000,
        };
        let later = Timestamp {
            seconds: 1_790_000_001,
            nanos: 0,
        };
        assert_eq!(day_time(Some(&at)), "2026-09-21 14:13:20.123Z");
        assert_eq!(clock_time(Some(&at)), "14:13:20.123");
        assert_eq!(since(Some(&at), Some(&later)), "+0.877 s");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            (count(123), millis(0.0)),
            ("123".to_owned(), "-".to_owned())
        );
    }
}
