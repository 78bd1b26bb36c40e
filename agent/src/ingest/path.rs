//! Which paths below a source may be kept and forwarded.
//!
//! A path is put behind the receiver's own, so a sender who may write `..` would
//! choose where on the receiver's host the delivery goes. Judged is what any
//! reader between here and there could see: the text as it came, and each text
//! that percent-decoding makes of it. Pure.

use std::borrow::Cow;

/// Encodings within encodings that are looked through; nobody honest needs more.
const ROUNDS: usize = 3;

/// Why a path is refused, in words for operators; `None` for a path that can only go down.
pub(super) fn fault(path: &str) -> Option<&'static str> {
    let mut text = Cow::Borrowed(path.as_bytes());
    for _ in 0..=ROUNDS {
        if let Some(fault) = fault_as_written(&text) {
            return Some(fault);
        }
        // Nearly all paths, and those need no copy.
        if !text.contains(&b'%') {
            return None;
        }
        let decoded = decode_once(&text);
        if decoded == *text {
            return None;
        }
        text = Cow::Owned(decoded);
    }
    Some("the path is percent-encoded too many times over")
}

fn fault_as_written(text: &[u8]) -> Option<&'static str> {
    if text.iter().any(u8::is_ascii_control) {
        return Some("the path holds a control character");
    }
    if text.contains(&b'\\') {
        return Some("the path holds a backslash");
    }
    let climbs = text.split(|byte| *byte == b'/').any(|segment| {
        // Some servers cut `;parameters` off before they resolve the segment.
        let name = segment.split(|byte| *byte == b';').next();
        matches!(name, Some(b"." | b".."))
    });
    climbs.then_some("the path holds a dot segment")
}

/// Undoes one layer of percent-encoding; what is no escape stays as it is.
fn decode_once(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%'
            && let [high, low, tail @ ..] = after
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            decoded.push(high * 16 + low);
            rest = tail;
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    decoded
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn whatever_could_climb_is_refused_however_it_is_written() {
        for path in [
            "/..",
            "/../../admin",
            "/a/./b",
            "/%2e%2e/admin",
            "/%2E./admin",
            "/a/.%2e",
            "/..%2f..%2fadmin",
            "/%252e%252e/admin",
            "/%25252e%25252e/admin",
            "/..;x=1/admin",
            "/..\\admin",
            "/%5c..%5cadmin",
            "/a%00b",
            "/a%0d%0ab",
            "/a%7f",
            "/%2525252525252e",
        ] {
            assert!(fault(path).is_some(), "{path} passes");
        }
    }

    #[test]
    fn what_only_looks_alike_passes() {
        for path in [
            "/",
            "//",
            "/a/b.c/..d/e../...",
            "/100%/%zz/%e2%82%ac",
            "/a%20b%2fc",
            "/%2525",
            "/v1.2/;a=..",
        ] {
            assert_eq!(fault(path), None, "{path}");
        }
    }
}
