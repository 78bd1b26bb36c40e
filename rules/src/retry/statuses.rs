//! Lists of response statuses: `429` or `500-599`.

use crate::InvalidRule;

/// Entries of one list.
const MOST: usize = 64;

/// Inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    pub(super) fn parse(field: &str, texts: &[String]) -> Result<Self, InvalidRule> {
        if texts.len() > MOST {
            let text = format!("{} entries; {MOST} are the most", texts.len());
            return Err(InvalidRule::new(field, text));
        }
        let ranges = texts.iter().enumerate().map(|(place, text)| {
            range(text).ok_or_else(|| {
                InvalidRule::new(
                    format!("{field}[{place}]"),
                    "is neither a status from 100 to 599 nor a range; `429` or `500-599` would be right",
                )
            })
        });
        Ok(Self(ranges.collect::<Result<_, _>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&status))
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let parse = |part: &str| {
        let status = part.trim().parse::<u16>().ok();
        status.filter(|status| (100..=599).contains(status))
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (parse(low), parse(high)) {
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        _ => None,
    }
}
