//! What every call that changes configuration has in common: who calls, for real
//! or not, once, and on top of what was read.

use hookplane_proto::v1;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};

use super::caller;
use crate::service::{Call, Repeat};

/// A request to change configuration.
pub(super) trait Changing: Message {
    /// Stands for the method in fingerprints.
    const NAME: &'static str;

    fn validate_only(&self) -> bool;
    fn request_id(&self) -> &str;
    /// Of the call, or of the resource in it.
    fn etag(&self) -> &str;
}

/// Who calls and how, and what is asked.
pub(super) fn parts<T: Changing>(request: Request<T>) -> Result<(Call, T), Status> {
    let caller = caller(&request)?;
    let asked = request.into_inner();
    let repeat = match asked.request_id() {
        "" => None,
        id => Some(Repeat::new(id.to_owned(), fingerprint(&asked))?),
    };
    let call = Call {
        team_id: caller.team_id,
        key_id: caller.key_id,
        key_name: caller.key_name,
        validate_only: asked.validate_only(),
        etag: Some(asked.etag().to_owned()).filter(|etag| !etag.is_empty()),
        repeat,
    };
    Ok((call, asked))
}

fn fingerprint<T: Changing>(asked: &T) -> String {
    let mut hash = Sha256::new();
    hash.update(T::NAME);
    hash.update(asked.encode_to_vec());
    hex::encode(hash.finalize())
}

macro_rules! changing {
    ($($request:ident: $etag:expr),+ $(,)?) => {
        $(impl Changing for v1::$request {
            const NAME: &'static str = stringify!($request);

            fn validate_only(&self) -> bool {
                self.validate_only
            }

            fn request_id(&self) -> &str {
                &self.request_id
            }

            fn etag(&self) -> &str {
                let etag: fn(&Self) -> &str = $etag;
                etag(self)
            }
        })+
    };
}

/// The call's own, or that of the resource, which was read with it.
fn either<'a>(call: &'a str, resource: Option<&'a String>) -> &'a str {
    match call {
        "" => resource.map_or("", String::as_str),
        etag => etag,
    }
}

changing! {
    CreateSourceRequest: |_| "",
    UpsertSourceRequest: |it| either(&it.etag, it.source.as_ref().map(|one| &one.etag)),
    ReplaceSourceRequest: |it| either(&it.etag, it.source.as_ref().map(|one| &one.etag)),
    PatchSourceRequest: |it| either(&it.etag, it.source.as_ref().map(|one| &one.etag)),
    DeleteSourceRequest: |it| &it.etag,
    EnableSourceRequest: |it| &it.etag,
    DisableSourceRequest: |it| &it.etag,
    CreateDestinationRequest: |_| "",
    UpsertDestinationRequest: |it| either(&it.etag, it.destination.as_ref().map(|one| &one.etag)),
    ReplaceDestinationRequest: |it| either(&it.etag, it.destination.as_ref().map(|one| &one.etag)),
    PatchDestinationRequest: |it| either(&it.etag, it.destination.as_ref().map(|one| &one.etag)),
    DeleteDestinationRequest: |it| &it.etag,
    EnableDestinationRequest: |it| &it.etag,
    DisableDestinationRequest: |it| &it.etag,
    CreateFilterRequest: |_| "",
    UpsertFilterRequest: |it| either(&it.etag, it.filter.as_ref().map(|one| &one.etag)),
    ReplaceFilterRequest: |it| either(&it.etag, it.filter.as_ref().map(|one| &one.etag)),
    PatchFilterRequest: |it| either(&it.etag, it.filter.as_ref().map(|one| &one.etag)),
    DeleteFilterRequest: |it| &it.etag,
    CreateConnectionRequest: |_| "",
    UpsertConnectionRequest: |it| either(&it.etag, it.connection.as_ref().map(|one| &one.etag)),
    ReplaceConnectionRequest: |it| either(&it.etag, it.connection.as_ref().map(|one| &one.etag)),
    PatchConnectionRequest: |it| either(&it.etag, it.connection.as_ref().map(|one| &one.etag)),
    DeleteConnectionRequest: |it| &it.etag,
    EnableConnectionRequest: |it| &it.etag,
    DisableConnectionRequest: |it| &it.etag,
    PauseConnectionRequest: |it| &it.etag,
    UnpauseConnectionRequest: |it| &it.etag,
    ApplyConfigurationRequest: |_| "",
}
