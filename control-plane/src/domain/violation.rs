//! A fault in something that was asked for: which field, and what would be right.

/// One fault. Several are reported together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path below the resource, `config.auth.webhook_signing_secret` for example.
    pub field: String,
    /// The fault and what would be right. Never holds a secret.
    pub message: String,
}

impl Violation {
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Longest name of a resource, in characters.
pub const MAX_NAME: usize = 155;
/// Bytes of an authentication's settings: ten long secrets, and what names them.
const MAX_AUTH: usize = 16 * 1_024;
const MAX_DESCRIPTION: usize = 1_024;
const MAX_LABELS: usize = 32;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 255;

/// A text of at most 155 characters that may be missing.
pub(super) fn short(field: &str, text: &str, into: &mut Vec<Violation>) {
    if text.chars().count() > MAX_NAME {
        into.push(Violation::new(
            field,
            format!("at most {MAX_NAME} characters are kept"),
        ));
    }
    printable(field, text, into);
}

/// A text of one line.
pub(super) fn printable(field: &str, text: &str, into: &mut Vec<Violation>) {
    if text.chars().any(char::is_control) {
        into.push(Violation::new(
            field,
            "control characters are not possible here",
        ));
    }
}

/// Any printable text of 1 to 155 characters.
pub(super) fn name(field: &str, text: &str, into: &mut Vec<Violation>) {
    let length = text.chars().count();
    if length == 0 || length > MAX_NAME {
        into.push(Violation::new(
            field,
            format!("a name of 1 to {MAX_NAME} characters is needed; this one has {length}"),
        ));
    } else if text.trim() != text || text.chars().any(char::is_control) {
        into.push(Violation::new(
            field,
            "a name has no control characters and no white space around it",
        ));
    }
}

/// A name of 1 to 155 characters of `[A-Za-z0-9_-]`.
pub(super) fn slug(field: &str, text: &str, into: &mut Vec<Violation>) {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(fits) {
        into.push(Violation::new(
            field,
            format!("1 to {MAX_NAME} letters, digits, `_` and `-` are allowed here"),
        ));
    }
}

pub(super) fn description(text: &str, into: &mut Vec<Violation>) {
    if text.chars().count() > MAX_DESCRIPTION {
        into.push(Violation::new(
            "description",
            format!("at most {MAX_DESCRIPTION} characters are kept"),
        ));
    }
    let unprintable = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
    if text.chars().any(unprintable) {
        into.push(Violation::new(
            "description",
            "a description has no control characters but line ends and tabs",
        ));
    }
}

pub(super) fn labels(
    labels: &std::collections::BTreeMap<String, String>,
    into: &mut Vec<Violation>,
) {
    if labels.len() > MAX_LABELS {
        into.push(Violation::new(
            "labels",
            format!("{} labels; {MAX_LABELS} are allowed", labels.len()),
        ));
        return;
    }
    for (key, value) in labels {
        let at = || {
            let shown: String = key.chars().take(MAX_LABEL_KEY).collect();
            format!("labels.{shown}")
        };
        printable(&at(), key, into);
        printable(&at(), value, into);
        if key.is_empty() || key.len() > MAX_LABEL_KEY || value.len() > MAX_LABEL_VALUE {
            into.push(Violation::new(
                at(),
                format!(
                    "a label has a key of 1 to {MAX_LABEL_KEY} bytes and a value of at most {MAX_LABEL_VALUE}"
                ),
            ));
        }
    }
}

/// Whether the settings of an authentication are as short as they can be expected to be.
pub(super) fn auth(settings: &impl serde::Serialize, into: &mut Vec<Violation>) {
    let length = serde_json::to_vec(settings).map_or(usize::MAX, |text| text.len());
    if length > MAX_AUTH {
        into.push(Violation::new(
            "config.auth",
            format!("{length} bytes; at most {MAX_AUTH} are possible"),
        ));
    }
}
