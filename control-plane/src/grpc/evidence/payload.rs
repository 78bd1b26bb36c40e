//! Payloads in answers: only for callers with the scope `events:payload`.
//!
//! Owns what of a message is payload: what a sender or a receiver wrote. All
//! else (who, when, how large, what came of it) is for `events:read`.

use hookplane_proto::v1;
use hookplane_proto::v1::tail_requests_response::Item;
use tonic::Status;

use crate::domain::{Caller, Scope};
use crate::grpc::status::lacking;

/// A message that may carry payloads.
pub(in crate::grpc) trait Payload {
    fn strip(&mut self);
    /// Whether there is anything to strip.
    fn has_payload(&self) -> bool;
}

/// The message as this caller may see it.
pub(in crate::grpc) fn shown<T: Payload>(caller: &Caller, mut message: T) -> T {
    if !caller.may(Scope::EventsPayload) {
        message.strip();
    }
    message
}

/// Refuses to look for payloads for a caller who may not see them.
pub(in crate::grpc) fn asked_for(caller: &Caller, asked: bool) -> Result<(), Status> {
    if asked && !caller.may(Scope::EventsPayload) {
        return Err(lacking(Scope::EventsPayload));
    }
    Ok(())
}

impl<T: Payload> Payload for Vec<T> {
    fn strip(&mut self) {
        self.iter_mut().for_each(Payload::strip);
    }

    fn has_payload(&self) -> bool {
        self.iter().any(Payload::has_payload)
    }
}

impl<T: Payload> Payload for Option<T> {
    fn strip(&mut self) {
        self.iter_mut().for_each(Payload::strip);
    }

    fn has_payload(&self) -> bool {
        self.iter().any(Payload::has_payload)
    }
}

impl Payload for v1::Request {
    fn strip(&mut self) {
        self.data = None;
    }

    fn has_payload(&self) -> bool {
        self.data.is_some()
    }
}

impl Payload for v1::Attempt {
    fn strip(&mut self) {
        self.request_headers.clear();
        self.response_headers.clear();
        self.response_body.clear();
        self.body.clear();
        // Its size says no more than that of the request.
        if let Some(sent) = &mut self.sent_body {
            sent.body.clear();
            sent.body_text.clear();
        }
    }

    fn has_payload(&self) -> bool {
        let headers = !self.request_headers.is_empty() || !self.response_headers.is_empty();
        let made = self.sent_body.as_ref();
        let sent = made.is_some_and(|sent| !sent.body.is_empty());
        headers || sent || !self.response_body.is_empty() || !self.body.is_empty()
    }
}

impl Payload for v1::EventTrace {
    fn strip(&mut self) {
        self.attempts.strip();
    }

    fn has_payload(&self) -> bool {
        self.attempts.has_payload()
    }
}

impl Payload for v1::RequestTrace {
    fn strip(&mut self) {
        self.request.strip();
        self.events.strip();
    }

    fn has_payload(&self) -> bool {
        self.request.has_payload() || self.events.has_payload()
    }
}

impl Payload for v1::LatestInput {
    fn strip(&mut self) {
        self.request.strip();
    }

    fn has_payload(&self) -> bool {
        self.request.has_payload()
    }
}

impl Payload for v1::TailRequestsResponse {
    fn strip(&mut self) {
        match &mut self.item {
            Some(Item::Stored(stored)) => stored.request.strip(),
            Some(Item::Attempt(ended)) => ended.attempt.strip(),
            Some(Item::Gap(_)) | None => {}
        }
    }

    fn has_payload(&self) -> bool {
        match &self.item {
            Some(Item::Stored(stored)) => stored.request.has_payload(),
            Some(Item::Attempt(ended)) => ended.attempt.has_payload(),
            Some(Item::Gap(_)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scopes;

    fn attempt() -> v1::Attempt {
        v1::Attempt {
            response_status: 200,
            body: "what the receiver wrote".to_owned(),
            ..v1::Attempt::default()
        }
    }

    fn request() -> v1::Request {
        v1::Request {
            body_size: 7,
            data: Some(v1::RequestData::default()),
            ..v1::Request::default()
        }
    }

    fn trace() -> v1::RequestTrace {
        v1::RequestTrace {
            request: Some(request()),
            events: vec![v1::EventTrace {
                attempts: vec![attempt()],
                ..v1::EventTrace::default()
            }],
            ..v1::RequestTrace::default()
        }
    }

    #[test]
    fn a_caller_without_the_scope_sees_everything_but_payloads() {
        let mut caller = Caller::system("tm_1");
        assert_eq!(shown(&caller, trace()), trace());
        assert!(asked_for(&caller, true).is_ok());
        caller.grant.scopes = Scopes::parse(["events:read"]).expect("it is one");
        let seen = shown(&caller, trace());
        let inner = seen.request.expect("the request itself is shown");
        assert_eq!((inner.body_size, inner.data), (7, None));
        let tried = &seen.events[0].attempts[0];
        assert_eq!((tried.response_status, tried.body.as_str()), (200, ""));
        assert!(asked_for(&caller, true).is_err());
        assert!(asked_for(&caller, false).is_ok());
        let stored = v1::RequestStored {
            request: Some(request()),
            events: Vec::new(),
        };
        let item = v1::TailRequestsResponse {
            item: Some(Item::Stored(stored)),
        };
        match shown(&caller, item).item {
            Some(Item::Stored(stored)) => assert_eq!(stored.request.and_then(|one| one.data), None),
            other => panic!("another item: {other:?}"),
        }
    }
}
