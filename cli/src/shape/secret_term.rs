//! The term of a signing secret as written. Counts that an answer shows are read over.

use hookplane_proto::v1::SecretTerm;
use prost_types::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::InvalidShape;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TermFields {
    #[serde(default)]
    version: u32,
    not_before: Option<String>,
    expires_at: Option<String>,
    #[serde(rename = "verified_count")]
    _verified_count: Option<Value>,
    #[serde(rename = "last_verified_at")]
    _last_verified_at: Option<Value>,
}

impl TermFields {
    pub(super) fn to_proto(&self, place: usize) -> Result<SecretTerm, InvalidShape> {
        let time = |name: &str, text: &Option<String>| {
            let read = |text: &String| {
                moment(text).ok_or_else(|| {
                    let field = format!("config.auth.terms[{place}].{name}");
                    InvalidShape::new(field, "give a time such as 2026-01-31T12:00:00Z")
                })
            };
            text.as_ref().map(read).transpose()
        };
        Ok(SecretTerm {
            version: self.version,
            not_before: time("not_before", &self.not_before)?,
            expires_at: time("expires_at", &self.expires_at)?,
            ..SecretTerm::default()
        })
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp {
        seconds: time.unix_timestamp(),
        nanos: i32::try_from(time.nanosecond()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_read_as_it_is_shown_and_a_time_that_is_none_is_named() {
        let shown = r#"{"version":2,"not_before":null,"expires_at":"2026-01-31T12:00:00Z",
            "verified_count":7,"last_verified_at":null}"#;
        let fields: TermFields = serde_json::from_str(shown).unwrap();
        let term = fields.to_proto(0).unwrap();
        assert_eq!((term.version, term.not_before), (2, None));
        assert_eq!(term.expires_at.map(|at| at.seconds), Some(1_769_860_800));
        let fields: TermFields = serde_json::from_str(r#"{"not_before":"soon"}"#).unwrap();
        let fault = fields.to_proto(1).expect_err("it is no time");
        assert_eq!(fault.field, "config.auth.terms[1].not_before");
    }
}
