//! Diagnosis by proof: why a request was refused, found by trying what would have been believed.
//!
//! Owns the hypotheses and their order. Each is a body, a time or a key under which the signature that
//! came is right: what matches is proven, what does not is ruled out. Refuses to accept anything: a
//! diagnosis is words for operators, and nothing of it may let a request in.
//!
//! Invariants: only for what was refused; at most [`MAX_DIAGNOSED_BYTES`] of body and 128
//! signatures; no secret, no expected signature and nothing of the body is in what is said.

mod json;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::headers::HeaderView;
use crate::refusal::{Reason, Refusal};
use crate::verifier::{Inbound, Verifier};

/// Bytes of a body that is worked on; of a larger one only time and secrets are tested.
pub const MAX_DIAGNOSED_BYTES: usize = 256 * 1_024;
/// Signatures that are computed for one diagnosis.
const MAX_TRIES: u32 = 128;
/// Verifiers of other sources that are tried.
const MAX_OTHERS: usize = 64;
/// Where the provider says when it signed.
const TIMES: [&str; 4] = [
    "svix-timestamp",
    "webhook-timestamp",
    "x-slack-request-timestamp",
    "stripe-signature",
];

/// What is the matter, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Machine-readable: `body_reserialised`, `secret_of_another_source`, or the refusal's own reason.
    pub cause: &'static str,
    /// A signature matched.
    pub proven: bool,
    /// What was found, in words.
    pub evidence: String,
    /// What to do.
    pub fix: &'static str,
    /// Causes that were tested and are not it.
    pub ruled_out: Vec<&'static str>,
}

/// Somebody else's verifier, with what to call it.
#[derive(Clone, Copy)]
pub struct Other<'a> {
    pub name: &'a str,
    pub verifier: &'a Verifier,
}

/// Tests one hypothesis after the other; the first that matches is the answer.
#[must_use]
pub fn diagnose(
    verifier: &Verifier,
    inbound: &Inbound<'_>,
    received_at: i64,
    refusal: &Refusal,
    others: &[Other<'_>],
) -> Diagnosis {
    if let Some(found) = by_itself(refusal) {
        return found;
    }
    let signed_at = signed_at(inbound.headers);
    let mut trial = Trial {
        headers: inbound.headers,
        // Of its own time, so that only the signature decides.
        at: signed_at.unwrap_or(received_at),
        left: MAX_TRIES,
        ruled_out: Vec::new(),
    };
    trial
        .time(verifier, inbound.body, received_at, signed_at)
        .or_else(|| trial.secrets(verifier, inbound.body, received_at, others))
        .or_else(|| trial.bodies(verifier, inbound.body))
        .unwrap_or_else(|| trial.nothing(inbound.body))
}

/// Refusals that say it all: something is not there, or not in its form.
fn by_itself(refusal: &Refusal) -> Option<Diagnosis> {
    let fix = match refusal.reason {
        Reason::SignatureMismatch | Reason::TimestampTooOld | Reason::TimestampTooNew => {
            return None;
        }
        Reason::HeaderMissing => {
            "let the provider sign its webhooks, and let proxies between pass its headers on; is this the provider at all?"
        }
        Reason::HeaderDuplicated => {
            "find what adds the header a second time between the provider and here"
        }
        Reason::HeaderMalformed => {
            "compare the header with the provider's documentation; something between may cut it"
        }
        Reason::HeadersMixed => {
            "send either `svix-*` or `webhook-*` headers; something between adds the other ones"
        }
        Reason::IdInvalid => {
            "the message id is not one that the provider makes; look at what sends this"
        }
        Reason::TimestampMalformed => "send whole Unix seconds",
        Reason::TimestampInMilliseconds => "send seconds: divide by 1,000 before signing",
        Reason::VersionsUnsupported => "let the sender sign with a version that is supported",
        Reason::CredentialsMissing => "send the credentials that the source asks for",
        Reason::CredentialsWrong => {
            "compare the credentials of the sender with those of the source"
        }
    };
    Some(Diagnosis {
        cause: refusal.reason.as_str(),
        proven: false,
        evidence: refusal.detail.clone(),
        fix,
        ruled_out: Vec::new(),
    })
}

struct Trial<'a> {
    headers: &'a dyn HeaderView,
    at: i64,
    left: u32,
    ruled_out: Vec<&'static str>,
}

impl Trial<'_> {
    fn matches(&mut self, verifier: &Verifier, body: &[u8], at: i64) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let headers = self.headers;
        verifier.verify(&Inbound { headers, body }, at).is_ok()
    }

    fn proven(&self, cause: &'static str, evidence: String, fix: &'static str) -> Diagnosis {
        Diagnosis {
            cause,
            proven: true,
            evidence,
            fix,
            ruled_out: self.ruled_out.clone(),
        }
    }

    /// Signed right, at a time that is too far away.
    fn time(
        &mut self,
        verifier: &Verifier,
        body: &[u8],
        received_at: i64,
        signed_at: Option<i64>,
    ) -> Option<Diagnosis> {
        let signed_at = signed_at?;
        if self.matches(verifier, body, signed_at) {
            let drift = received_at.saturating_sub(signed_at);
            let evidence = if drift >= 0 {
                format!("the signature is right, and was made {drift} s before the request came")
            } else {
                let ahead = drift.unsigned_abs();
                format!(
                    "the signature is right, and says that it was made {ahead} s after the request came"
                )
            };
            let fix = "one of many: it was delayed or sent again; all of them, always the same way: a clock is wrong, the sender's or this one";
            return Some(self.proven("time", evidence, fix));
        }
        self.ruled_out.push("time");
        None
    }

    /// Signed right, by another secret than those in force.
    fn secrets(
        &mut self,
        verifier: &Verifier,
        body: &[u8],
        received_at: i64,
        others: &[Other<'_>],
    ) -> Option<Diagnosis> {
        let at = self.at;
        if let Some(timeless) = verifier.without_terms() {
            if self.matches(&timeless, body, at) {
                let evidence = format!(
                    "a secret of this source signed it that is not in force at {received_at} (Unix time)"
                );
                let fix = "let the sender use the secret that is in force, or give the old one a later end";
                return Some(self.proven("secret_out_of_term", evidence, fix));
            }
            self.ruled_out.push("secret_out_of_term");
        }
        if let Some(undecoded) = verifier.with_undecoded_secrets() {
            if self.matches(&undecoded, body, at) {
                let evidence = "the sender signed with the text of the secret instead of the bytes that it stands for".to_owned();
                let fix = "take away `whsec_` and decode the rest as base64 before signing";
                return Some(self.proven("secret_undecoded", evidence, fix));
            }
            self.ruled_out.push("secret_undecoded");
        }
        for other in others.iter().take(MAX_OTHERS) {
            if !other.verifier.demands_nothing() && self.matches(other.verifier, body, at) {
                let evidence = format!("the secret of the source `{}` signed it", other.name);
                let fix = "the address of one source and the secret of another one are mixed up: correct either at the provider";
                return Some(self.proven("secret_of_another_source", evidence, fix));
            }
        }
        // Of more than were tried nothing is known.
        if (1..=MAX_OTHERS).contains(&others.len()) {
            self.ruled_out.push("secret_of_another_source");
        }
        None
    }

    /// Signed right, before something changed the body.
    fn bodies(&mut self, verifier: &Verifier, body: &[u8]) -> Option<Diagnosis> {
        if body.len() > MAX_DIAGNOSED_BYTES {
            return None;
        }
        let at = self.at;
        let mut last = None;
        for hypothesis in json::rewritten(body).into_iter().chain(changed(body)) {
            let Hypothesis {
                cause,
                how,
                body,
                fix,
            } = hypothesis;
            if let Some(last) = last.filter(|last| *last != cause && !self.ruled_out.contains(last))
            {
                self.ruled_out.push(last);
            }
            last = Some(cause);
            if self.matches(verifier, &body, at) {
                return Some(self.proven(cause, how, fix));
            }
        }
        if let Some(last) = last.filter(|last| !self.ruled_out.contains(last)) {
            self.ruled_out.push(last);
        }
        None
    }

    fn nothing(&self, body: &[u8]) -> Diagnosis {
        let evidence = if body.is_empty() {
            "no hypothesis matches; the body is empty, so it may have been taken away on the way"
        } else if body.len() > MAX_DIAGNOSED_BYTES {
            "no hypothesis matches; the body is too large for those about changes of it"
        } else {
            "no hypothesis matches: another secret signed it, or the body was changed in another way"
        };
        Diagnosis {
            cause: Reason::SignatureMismatch.as_str(),
            proven: false,
            evidence: evidence.to_owned(),
            fix: "copy the signing secret from the provider's page of this endpoint again; then look for what changes bodies between",
            ruled_out: self.ruled_out.clone(),
        }
    }
}

/// A body that may have been signed, and what would have changed it.
struct Hypothesis {
    cause: &'static str,
    how: String,
    body: Vec<u8>,
    fix: &'static str,
}

const PASS_RAW: &str = "pass the body on byte by byte, and never parse and write it again";

/// Other changes than writing JSON anew, undone.
fn changed(body: &[u8]) -> Vec<Hypothesis> {
    let mut all = Vec::new();
    let mut add = |cause, how: &str, made: Vec<u8>| {
        if made != body && made.len() <= 2 * MAX_DIAGNOSED_BYTES {
            all.push(Hypothesis {
                cause,
                how: how.to_owned(),
                body: made,
                fix: PASS_RAW,
            });
        }
    };
    let with = |end: &[u8]| [body, end].concat();
    let less = |end: &[u8]| body.strip_suffix(end).unwrap_or(body).to_vec();
    add(
        "body_newline",
        "a line end was added to the body",
        less(b"\n"),
    );
    add(
        "body_newline",
        "a line end was added to the body",
        less(b"\r\n"),
    );
    add(
        "body_newline",
        "the line end of the body was taken away",
        with(b"\n"),
    );
    add(
        "body_newline",
        "the line end of the body was taken away",
        with(b"\r\n"),
    );
    let trimmed = body.trim_ascii().to_vec();
    add(
        "body_whitespace",
        "spaces were added around the body",
        trimmed,
    );
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let without = body.strip_prefix(BOM).unwrap_or(body).to_vec();
    add(
        "body_byte_order_mark",
        "a byte-order mark was added to the body",
        without,
    );
    let marked = [BOM, body].concat();
    add(
        "body_byte_order_mark",
        "the byte-order mark of the body was taken away",
        marked,
    );
    let text = std::str::from_utf8(body).ok();
    if let Some(text) = text {
        let unix = text.replace("\r\n", "\n");
        add(
            "body_line_ends",
            "line ends were changed to CRLF",
            unix.clone().into(),
        );
        add(
            "body_line_ends",
            "line ends were changed to LF",
            unix.replace('\n', "\r\n").into(),
        );
        // Each of its bytes was taken for a Latin-1 character and written as UTF-8.
        let narrow: Option<Vec<u8>> = text
            .chars()
            .map(|one| u8::try_from(u32::from(one)).ok())
            .collect();
        if let Some(narrow) = narrow {
            add(
                "body_encoding",
                "UTF-8 was read as Latin-1 and written as UTF-8 again",
                narrow,
            );
        }
        let inner: Option<String> = serde_json::from_str(text).ok();
        if let Some(inner) = inner {
            add(
                "body_wrapped",
                "the body was written as a JSON text",
                inner.into(),
            );
        }
        if let Ok(inner) = STANDARD.decode(text.trim()) {
            add("body_wrapped", "the body was wrapped in base64", inner);
        }
    }
    let wide: String = body.iter().map(|byte| char::from(*byte)).collect();
    add(
        "body_encoding",
        "the body was turned from UTF-8 into Latin-1",
        wide.into(),
    );
    add(
        "body_wrapped",
        "the body was taken out of base64",
        STANDARD.encode(body).into(),
    );
    all
}

/// When the provider says that it signed, in Unix seconds.
fn signed_at(headers: &dyn HeaderView) -> Option<i64> {
    TIMES.iter().find_map(|name| {
        let values = headers.all(name);
        let text = std::str::from_utf8(values.first()?).ok()?;
        let digits = match text
            .split(',')
            .find_map(|part| part.trim().strip_prefix("t="))
        {
            Some(time) => time,
            None => text,
        };
        digits.parse().ok().filter(|seconds| *seconds >= 0)
    })
}

#[cfg(test)]
mod tests;
