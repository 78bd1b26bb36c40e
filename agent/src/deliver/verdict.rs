//! What a handler says about its work in the headers of its answer.
//!
//! Owns their names and how they are read. Refuses to know what follows from a verdict (`attempt`).
//! Invariants: the headers never reach what is kept of the exchange; what is longer, more or
//! stranger than agreed is cut or left out, and never makes the answer another one.

use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

use crate::store::{Deferral, HandlerOutcome, HandlerVerdict, StepState};

const OUTCOME: &str = "hookplane-outcome";
const REASON: &str = "hookplane-outcome-reason";
const RETRY: &str = "hookplane-outcome-retry";
const STEPS: &str = "hookplane-outcome-steps";
const DEFERRAL: &str = "hookplane-deferral";
const ALL: [&str; 5] = [OUTCOME, REASON, RETRY, STEPS, DEFERRAL];

/// The longest that work may go on after the answer: 7 days.
const LONGEST_DEFERRAL: u64 = 7 * 24 * 3_600_000;
const LONGEST_TOKEN: usize = 128;

/// Takes the verdict out of an answer. `None` when the handler said nothing that is known here.
pub(super) fn take(
    headers: &mut HeaderMap,
    status: StatusCode,
    now_millis: u64,
) -> Option<HandlerVerdict> {
    let [outcome, reason, retry, steps, deferral] =
        ALL.map(|name| headers.remove(name).and_then(readable));
    let mut verdict = HandlerVerdict::of(HandlerOutcome::parse(outcome?.trim())?);
    verdict.reason = reason.as_deref().and_then(words);
    verdict.steps = steps.as_deref().map(each_step).unwrap_or_default();
    match verdict.outcome {
        HandlerOutcome::Failed => {
            verdict.retry = retry.is_some_and(|retry| retry.trim() == "true");
        }
        // Without a deadline nobody would ever know that it was dropped; of a refusal there is none.
        HandlerOutcome::Deferred => {
            verdict.deferral = Some(until(deferral.as_deref()?, now_millis)?);
            if !status.is_success() {
                return None;
            }
        }
        _ => {}
    }
    Some(verdict)
}

fn readable(value: HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

/// Percent-encoded UTF-8, cut at a character.
fn words(encoded: &str) -> Option<String> {
    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
    let mut text = decoded.trim().to_owned();
    text.truncate(text.floor_char_boundary(HandlerVerdict::MOST_REASON));
    (!text.is_empty()).then_some(text)
}

/// `profile=done,billing=missing`.
fn each_step(list: &str) -> Vec<(String, StepState)> {
    let step = |part: &str| {
        let (name, state) = part.trim().split_once('=')?;
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
        let named = (1..=HandlerVerdict::MOST_STEP_NAME).contains(&name.len());
        let valid = named && name.bytes().all(allowed);
        Some((valid.then(|| name.to_owned())?, StepState::parse(state)?))
    };
    let steps = list.split(',').filter_map(step);
    steps.take(HandlerVerdict::MOST_STEPS).collect()
}

/// `dfr_…; deadline=1700000000`, in Unix seconds.
fn until(text: &str, now_millis: u64) -> Option<Deferral> {
    let (token, deadline) = text.split_once(';')?;
    let token = token.trim();
    let rest = token.strip_prefix("dfr_")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if rest.is_empty() || token.len() > LONGEST_TOKEN || !rest.bytes().all(plain) {
        return None;
    }
    let seconds: u64 = deadline.trim().strip_prefix("deadline=")?.parse().ok()?;
    let latest = now_millis.saturating_add(LONGEST_DEFERRAL);
    Some(Deferral {
        token: token.to_owned(),
        deadline_at: seconds.saturating_mul(1_000).clamp(now_millis, latest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    fn read(pairs: &[(&'static str, &str)]) -> Option<HandlerVerdict> {
        take(&mut headers(pairs), StatusCode::OK, NOW)
    }

    #[test]
    fn a_verdict_is_taken_out_whole() {
        let mut all = headers(&[
            ("hookplane-outcome", "failed"),
            ("hookplane-outcome-reason", "no%20plan%3A%20%C3%A9"),
            ("hookplane-outcome-retry", "true"),
            ("hookplane-outcome-steps", "profile=done, billing=missing"),
            ("content-type", "text/plain"),
        ]);
        let verdict = take(&mut all, StatusCode::OK, NOW).expect("a verdict");
        assert_eq!(verdict.outcome, HandlerOutcome::Failed);
        assert_eq!(verdict.reason.as_deref(), Some("no plan: é"));
        assert!(verdict.retry);
        let steps = [
            ("profile".to_owned(), StepState::Done),
            ("billing".to_owned(), StepState::Missing),
        ];
        assert_eq!(verdict.steps, steps);
        assert_eq!(all.len(), 1, "the rest of the answer stays: {all:?}");
    }

    #[test]
    fn deferred_work_has_a_token_and_a_deadline_within_bounds() {
        let deferred = |value| {
            let verdict = read(&[
                ("hookplane-outcome", "deferred"),
                ("hookplane-deferral", value),
            ]);
            verdict.and_then(|verdict| verdict.deferral)
        };
        let good = deferred("dfr_01ab; deadline=1700000060").expect("a deferral");
        assert_eq!(good.token, "dfr_01ab");
        assert_eq!(good.deadline_at, NOW + 60_000);
        let far = deferred("dfr_01ab; deadline=99999999999999999").expect("a deferral");
        assert_eq!(far.deadline_at, NOW + LONGEST_DEFERRAL);
        let past = deferred("dfr_01ab; deadline=5").expect("a deferral");
        assert_eq!(past.deadline_at, NOW);
        for bad in [
            "",
            "dfr_; deadline=1700000060",
            "x; deadline=1",
            "dfr_a",
            "dfr_a; deadline=x",
        ] {
            assert_eq!(deferred(bad), None, "{bad:?}");
        }
        let mut refusal = headers(&[
            ("hookplane-outcome", "deferred"),
            ("hookplane-deferral", "dfr_01ab; deadline=1700000060"),
        ]);
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(take(&mut refusal, status, NOW), None);
    }

    #[test]
    fn what_is_strange_is_left_out_and_what_is_long_is_cut() {
        assert_eq!(read(&[("hookplane-outcome", "splendid")]), None);
        assert_eq!(read(&[("hookplane-outcome-reason", "alone")]), None);
        let long = "é".repeat(400);
        let encoded: String =
            percent_encoding::utf8_percent_encode(&long, percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        let steps = ["UPPER=done", "a=perhaps", "=done", "b", "ok=failed"].join(",");
        let verdict = read(&[
            ("hookplane-outcome", "silent_drop"),
            ("hookplane-outcome-reason", &encoded),
            ("hookplane-outcome-retry", "true"),
            ("hookplane-outcome-steps", &steps),
        ]);
        let verdict = verdict.expect("a verdict");
        assert_eq!(verdict.reason.map(|text| text.len()), Some(512));
        assert!(!verdict.retry, "only a failure asks for another try");
        assert_eq!(verdict.steps, [("ok".to_owned(), StepState::Failed)]);
        let many = (0..99).map(|at| format!("s{at}=done")).collect::<Vec<_>>();
        let verdict = read(&[
            ("hookplane-outcome", "completed"),
            ("hookplane-outcome-steps", &many.join(",")),
        ]);
        assert_eq!(verdict.map(|one| one.steps.len()), Some(32));
    }
}
