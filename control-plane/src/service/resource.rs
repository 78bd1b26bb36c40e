//! The life of a configured resource, the same for every kind: a kind says how it
//! is found, admitted and stored, the operations are written once.

use std::future::Future;

use hookplane_proto::id::{Id, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Call, ServiceError};
use crate::clock::SharedClock;
use crate::domain::{Millis, ResourceKind};
use crate::store::{Change, ConfigStore, StoreError};

pub(super) mod steps;

use steps::{Effect, Step};

/// A kind of resource. Methods take the change they are part of.
pub trait Resource:
    Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + Sized + 'static
{
    /// What is asked for.
    type Draft: Send + Sync + 'static;

    const KIND: ResourceKind;
    const PREFIX: Kind;

    fn id(&self) -> &str;
    fn name(&self) -> &str;
    /// As the audit record keeps it: everything people set, secrets redacted.
    fn shown(&self) -> serde_json::Value;
    /// Whether the secrets are the same, which what is shown cannot tell.
    fn has_secrets_of(&self, _other: &Self) -> bool {
        true
    }
    /// Differs whenever the resource does.
    fn etag(&self) -> String;
    fn find(
        change: &Change,
        team_id: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;
    /// The one whose place in the team the draft claims.
    fn namesake(
        change: &Change,
        team_id: &str,
        draft: &Self::Draft,
    ) -> impl Future<Output = Result<Option<Self>, StoreError>> + Send;
    /// The one that an upsert means, which is the namesake unless the draft names an id.
    fn meant(
        change: &Change,
        team_id: &str,
        draft: &Self::Draft,
    ) -> impl Future<Output = Result<Option<Self>, ServiceError>> + Send {
        async move { Ok(Self::namesake(change, team_id, draft).await?) }
    }
    /// Checks a draft and makes the resource of it, on top of the stored one if there is one.
    fn admit(
        change: &Change,
        team_id: &str,
        draft: Self::Draft,
        stored: Option<&Self>,
        stamp: Stamp,
    ) -> impl Future<Output = Result<Self, ServiceError>> + Send;
    /// Sets when it was changed last, and by which revision.
    fn touch(&mut self, now: Millis, revision: u64);
    fn insert(&self, change: &Change) -> impl Future<Output = Result<(), StoreError>> + Send;
    fn update(&self, change: &Change) -> impl Future<Output = Result<(), StoreError>> + Send;
    fn delete(
        &self,
        change: &Change,
        now: Millis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// How many connections refer to it.
    fn users(&self, change: &Change) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// The etag of whatever there is.
const ANY: &str = "*";

/// What a new resource is stamped with.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub id: String,
    pub now: Millis,
    pub revision: u64,
}

/// A kind that can be taken out and put back.
pub trait Switchable: Resource {
    fn set_disabled_at(&mut self, at: Option<Millis>);
    fn disabled_at(&self) -> Option<Millis>;
}

/// The operations on one kind. Cheap to clone.
#[derive(Clone)]
pub struct Resources<R> {
    store: ConfigStore,
    clock: SharedClock,
    kind: std::marker::PhantomData<fn() -> R>,
}

/// A change that has begun, or the answer of the same call before.
enum Begun<A> {
    Fresh(Change, Millis),
    Answered(A),
}

impl<R: Resource> Resources<R> {
    #[must_use]
    pub fn new(store: ConfigStore, clock: SharedClock) -> Self {
        Self {
            store,
            clock,
            kind: std::marker::PhantomData,
        }
    }

    /// For reading.
    #[must_use]
    pub const fn store(&self) -> &ConfigStore {
        &self.store
    }

    pub async fn create(&self, call: &Call, draft: R::Draft) -> Result<R, ServiceError> {
        let (change, now) = match self.begin(call).await? {
            Begun::Fresh(change, now) => (change, now),
            Begun::Answered(made) => return Ok(made),
        };
        let step = steps::create(&change, call, draft, now).await?;
        finish(call, change, step, now).await
    }

    /// Creates, or replaces the one that is meant.
    pub async fn upsert(&self, call: &Call, draft: R::Draft) -> Result<R, ServiceError> {
        let (change, now) = match self.begin(call).await? {
            Begun::Fresh(change, now) => (change, now),
            Begun::Answered(made) => return Ok(made),
        };
        let step = match R::meant(&change, &call.team_id, &draft).await? {
            Some(stored) => {
                unchanged_since(call, &stored)?;
                steps::put(&change, call, draft, stored, now).await?
            }
            None if call.etag.is_some() => return Err(ServiceError::Missing { kind: R::KIND }),
            None => steps::create(&change, call, draft, now).await?,
        };
        finish(call, change, step, now).await
    }

    pub async fn replace(&self, call: &Call, id: &str, draft: R::Draft) -> Result<R, ServiceError> {
        self.patch(call, id, |_: &R| Ok(draft)).await
    }

    /// Replaces it by what `edit` makes of it.
    pub async fn patch<F>(&self, call: &Call, id: &str, edit: F) -> Result<R, ServiceError>
    where
        F: FnOnce(&R) -> Result<R::Draft, ServiceError> + Send,
    {
        let (change, now) = match self.begin(call).await? {
            Begun::Fresh(change, now) => (change, now),
            Begun::Answered(made) => return Ok(made),
        };
        let stored: R = stored(&change, call, id).await?;
        let draft = edit(&stored)?;
        let step = steps::put(&change, call, draft, stored, now).await?;
        finish(call, change, step, now).await
    }

    /// Refused while connections refer to it.
    pub async fn delete(&self, call: &Call, id: &str) -> Result<(), ServiceError> {
        let (change, now) = match self.begin::<()>(call).await? {
            Begun::Fresh(change, now) => (change, now),
            Begun::Answered(()) => return Ok(()),
        };
        let stored: R = stored(&change, call, id).await?;
        steps::delete(&change, call, &stored, now).await?;
        call.finish(change, &(), true, now).await
    }

    /// Changes what `alter` changes of a stored one, which nothing has to admit.
    pub(super) async fn alter<F>(&self, call: &Call, id: &str, alter: F) -> Result<R, ServiceError>
    where
        F: FnOnce(&mut R, Millis) -> Result<(), ServiceError> + Send,
    {
        let (change, now) = match self.begin(call).await? {
            Begun::Fresh(change, now) => (change, now),
            Begun::Answered(made) => return Ok(made),
        };
        let stored: R = stored(&change, call, id).await?;
        let mut made = stored.clone();
        alter(&mut made, now)?;
        let step = steps::keep(&change, call, made, stored, now).await?;
        finish(call, change, step, now).await
    }

    async fn begin<A: DeserializeOwned>(&self, call: &Call) -> Result<Begun<A>, ServiceError> {
        let now = self.clock.now_millis();
        let change = self.store.change().await?;
        Ok(match call.answered(&change, now).await? {
            Some(answer) => Begun::Answered(answer),
            None => Begun::Fresh(change, now),
        })
    }
}

impl<R: Switchable> Resources<R> {
    /// Enables or disables. Doing it again changes nothing.
    pub async fn set_enabled(
        &self,
        call: &Call,
        id: &str,
        enabled: bool,
    ) -> Result<R, ServiceError> {
        self.alter(call, id, |made, now| {
            if made.disabled_at().is_none() != enabled {
                made.set_disabled_at((!enabled).then_some(now));
            }
            Ok(())
        })
        .await
    }
}

async fn stored<R: Resource>(change: &Change, call: &Call, id: &str) -> Result<R, ServiceError> {
    let found = R::find(change, &call.team_id, id).await?;
    let found = found.ok_or_else(|| not_found::<R>(id))?;
    unchanged_since(call, &found)?;
    Ok(found)
}

async fn finish<R: Resource>(
    call: &Call,
    change: Change,
    step: Step<R>,
    now: Millis,
) -> Result<R, ServiceError> {
    let changed = step.effect != Effect::None;
    call.finish(change, &step.made, changed, now).await?;
    Ok(step.made)
}

fn unchanged_since<R: Resource>(call: &Call, stored: &R) -> Result<(), ServiceError> {
    has_etag(call.etag.as_deref(), stored)
}

/// Whether the resource is still the one that the caller read, if that matters.
pub(super) fn has_etag<R: Resource>(etag: Option<&str>, stored: &R) -> Result<(), ServiceError> {
    match etag {
        Some(etag) if etag != ANY && etag != stored.etag() => Err(ServiceError::Changed {
            kind: R::KIND,
            id: stored.id().to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A fresh id of something that lives in the control plane.
pub(crate) fn mint(kind: Kind, now: Millis) -> String {
    let millis = u64::try_from(now).unwrap_or(0);
    Id::new(kind, millis, 0, rand::random()).to_string()
}

pub(crate) fn not_found<R: Resource>(id: &str) -> ServiceError {
    ServiceError::NotFound {
        kind: R::KIND,
        id: id.chars().take(64).collect(),
    }
}
