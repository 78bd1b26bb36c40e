//! Who may call over REST: the same judgement as over gRPC, before a body is read.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use tonic::Status;

use crate::auth::Authenticator;
use crate::rest::Gate;

pub(super) struct Door {
    pub(super) authenticator: Authenticator,
}

impl Gate for Door {
    fn judge<'a>(
        &'a self,
        call: &'a str,
        head: &'a mut Parts,
    ) -> BoxFuture<'a, Result<(), Status>> {
        self.authenticator.admit(call, head).boxed()
    }
}
