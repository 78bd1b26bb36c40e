//! JSON as others write it: the same values in the same order, with other spaces and escapes.
//!
//! Works on the text, so that numbers and the order of keys stay as they are. Refuses what is no JSON.

use serde::de::IgnoredAny;

use super::{Hypothesis, MAX_DIAGNOSED_BYTES, PASS_RAW};

/// How somebody writes JSON.
struct Style {
    name: &'static str,
    between_items: &'static str,
    behind_key: &'static str,
    /// Spaces of one level; 0 writes everything on one line.
    indent: usize,
    escapes: Escapes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// What has to be.
    Few,
    /// All that is not ASCII.
    Ascii,
    /// What means something in HTML.
    Html,
    /// Not ASCII, and slashes.
    Php,
}

const fn style(
    name: &'static str,
    (between_items, behind_key): (&'static str, &'static str),
    indent: usize,
    escapes: Escapes,
) -> Style {
    Style {
        name,
        between_items,
        behind_key,
        indent,
        escapes,
    }
}

const STYLES: [Style; 11] = [
    style(
        "without spaces, as JavaScript writes it",
        (",", ":"),
        0,
        Escapes::Few,
    ),
    style(
        "with spaces and ASCII escapes, as Python writes it",
        (", ", ": "),
        0,
        Escapes::Ascii,
    ),
    style("with spaces", (", ", ": "), 0, Escapes::Few),
    style(
        "without spaces and with ASCII escapes",
        (",", ":"),
        0,
        Escapes::Ascii,
    ),
    style("as Go writes it", (",", ":"), 0, Escapes::Html),
    style("as PHP writes it", (",", ":"), 0, Escapes::Php),
    style("indented by 2 spaces", (",", ": "), 2, Escapes::Few),
    style("indented by 4 spaces", (",", ": "), 4, Escapes::Few),
    style(
        "indented by 2 spaces with ASCII escapes",
        (",", ": "),
        2,
        Escapes::Ascii,
    ),
    style(
        "indented by 4 spaces with ASCII escapes",
        (",", ": "),
        4,
        Escapes::Ascii,
    ),
    style("indented by 3 spaces", (",", ": "), 3, Escapes::Few),
];

/// The forms that the body may have had when it was signed.
pub(super) fn rewritten(body: &[u8]) -> Vec<Hypothesis> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Vec::new();
    };
    if text.len() > MAX_DIAGNOSED_BYTES || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for style in &STYLES {
        let Some(made) = written(text, style).filter(|made| made != text) else {
            continue;
        };
        for (made, end) in [(made.clone(), ""), (made + "\n", " and a line end")] {
            all.push(Hypothesis {
                cause: "body_reserialised",
                how: format!(
                    "the body was signed as JSON {}{end}, and written anew on the way",
                    style.name
                ),
                body: made.into_bytes(),
                fix: PASS_RAW,
            });
        }
    }
    all
}

/// `text` is JSON.
fn written(text: &str, style: &Style) -> Option<String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text;
    let line = |out: &mut String, depth: usize| {
        if style.indent > 0 {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth.checked_mul(style.indent)?));
        }
        Some(())
    };
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            return Some(out);
        };
        if out.len() > 8 * MAX_DIAGNOSED_BYTES {
            return None;
        }
        match first {
            '{' | '[' => {
                out.push(first);
                rest = rest.get(1..)?.trim_start_matches([' ', '\t', '\r', '\n']);
                if let Some(end) = rest.chars().next().filter(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                    rest = rest.get(1..)?;
                } else {
                    depth += 1;
                    line(&mut out, depth)?;
                }
            }
            '}' | ']' => {
                depth = depth.checked_sub(1)?;
                line(&mut out, depth)?;
                out.push(first);
                rest = rest.get(1..)?;
            }
            ',' => {
                out.push_str(style.between_items);
                line(&mut out, depth)?;
                rest = rest.get(1..)?;
            }
            ':' => {
                out.push_str(style.behind_key);
                rest = rest.get(1..)?;
            }
            '"' => {
                let length = string_length(rest)?;
                let (string, behind) = rest.split_at_checked(length)?;
                let value: String = serde_json::from_str(string).ok()?;
                string_into(&mut out, &value, style.escapes);
                rest = behind;
            }
            _ => {
                let end = rest
                    .find(|one: char| matches!(one, ',' | '}' | ']') || one.is_ascii_whitespace());
                let (literal, behind) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
                out.push_str(literal);
                rest = behind;
            }
        }
    }
}

/// Bytes of the string that the text begins with, quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn string_into(out: &mut String, value: &str, escapes: Escapes) {
    let ascii = matches!(escapes, Escapes::Ascii | Escapes::Php);
    out.push('"');
    for one in value.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if escapes == Escapes::Php => out.push_str("\\/"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escapes == Escapes::Html => unit(out, one),
            one if u32::from(one) < 0x20 || (ascii && !one.is_ascii()) => unit(out, one),
            one => out.push(one),
        }
    }
    out.push('"');
}

fn unit(out: &mut String, one: char) {
    let mut units = [0; 2];
    for unit in one.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}
