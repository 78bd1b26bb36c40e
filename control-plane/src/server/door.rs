//! Who may call over REST: the same judgement as over gRPC, before a body is read.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use tonic::Status;

use crate::auth::Authenticator;
use crate::metrics::Metrics;
use crate::rest::Gate;

pub(super) struct Door {
    pub(super) authenticator: Authenticator,
    /// Counts who is refused here: the layer that counts calls sees the others only.
    pub(super) metrics: Metrics,
}

impl Gate for Door {
    fn judge<'a>(
        &'a self,
        call: &'a str,
        head: &'a mut Parts,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let judged = self.authenticator.admit(call, head);
        judged
            .inspect(|verdict| {
                if let Err(refusal) = verdict {
                    self.metrics.refused(call, refusal.code());
                }
            })
            .boxed()
    }
}
