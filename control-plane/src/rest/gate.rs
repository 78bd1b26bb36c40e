//! Who may call, judged by the head of a call, before any of its body is read.
//!
//! Owns the question and when it is asked. Refuses to know what a caller is:
//! whoever assembles the router brings the judge.

use futures::future::BoxFuture;
use http::request::Parts;
use tonic::Status;

/// In the extensions of a head: how many bytes of body this caller may send.
#[derive(Clone, Copy, Debug)]
pub struct BodyCap(pub u32);

/// Judges callers. What it learns it may leave in the extensions of the head,
/// which go along with the call, so that nothing has to be found out twice.
pub trait Gate: Send + Sync + 'static {
    /// `call` is the path of the gRPC method that the call will become.
    ///
    /// # Errors
    /// The status that the caller is told instead of an answer.
    fn judge<'a>(&'a self, call: &'a str, head: &'a mut Parts)
    -> BoxFuture<'a, Result<(), Status>>;
}
