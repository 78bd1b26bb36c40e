//! The life of a configured resource, the same for every kind: a kind says how it
//! is found, admitted and stored, the operations are written once.

use std::future::Future;

use hookplane_proto::id::{Id, Kind};

use super::ServiceError;
use crate::clock::SharedClock;
use crate::domain::{Millis, ResourceKind};
use crate::store::{Change, ConfigStore, StoreError};

/// A kind of resource. Methods take the change they are part of.
pub trait Resource: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// What is asked for.
    type Draft: Send + Sync + 'static;

    const KIND: ResourceKind;
    const PREFIX: Kind;

    fn id(&self) -> &str;
    fn name(&self) -> &str;
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
    fn set_disabled_at(&mut self, at: Option<Millis>);
    fn disabled_at(&self) -> Option<Millis>;
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

/// What a new resource is stamped with.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub id: String,
    pub now: Millis,
    pub revision: u64,
}

/// What an upsert or a patch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Created,
    Changed,
}

/// The operations on one kind. Cheap to clone.
#[derive(Clone)]
pub struct Resources<R> {
    store: ConfigStore,
    clock: SharedClock,
    kind: std::marker::PhantomData<fn() -> R>,
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

    pub async fn create(&self, team_id: &str, draft: R::Draft) -> Result<R, ServiceError> {
        let change = self.store.change().await?;
        let taken = R::namesake(&change, team_id, &draft).await?;
        let stamp = self.stamp(&change);
        let made = R::admit(&change, team_id, draft, None, stamp).await?;
        if let Some(taken) = taken {
            return Err(exists(&taken));
        }
        self.finish(change, made, Effect::Created).await
    }

    /// Creates, or replaces the one that is meant.
    pub async fn upsert(&self, team_id: &str, draft: R::Draft) -> Result<R, ServiceError> {
        let change = self.store.change().await?;
        match R::meant(&change, team_id, &draft).await? {
            Some(stored) => self.put(change, team_id, draft, stored).await,
            None => {
                let stamp = self.stamp(&change);
                let made = R::admit(&change, team_id, draft, None, stamp).await?;
                self.finish(change, made, Effect::Created).await
            }
        }
    }

    pub async fn replace(
        &self,
        team_id: &str,
        id: &str,
        draft: R::Draft,
    ) -> Result<R, ServiceError> {
        let change = self.store.change().await?;
        let stored = self.stored(&change, team_id, id).await?;
        self.put(change, team_id, draft, stored).await
    }

    /// Replaces it by what `edit` makes of it.
    pub async fn patch<F>(&self, team_id: &str, id: &str, edit: F) -> Result<R, ServiceError>
    where
        F: FnOnce(&R) -> Result<R::Draft, ServiceError> + Send,
    {
        let change = self.store.change().await?;
        let stored = self.stored(&change, team_id, id).await?;
        let draft = edit(&stored)?;
        self.put(change, team_id, draft, stored).await
    }

    /// Enables or disables. Doing it again changes nothing.
    pub async fn set_enabled(
        &self,
        team_id: &str,
        id: &str,
        enabled: bool,
    ) -> Result<R, ServiceError> {
        let change = self.store.change().await?;
        let stored = self.stored(&change, team_id, id).await?;
        if stored.disabled_at().is_none() == enabled {
            return Ok(stored);
        }
        let mut made = stored;
        let now = self.clock.now_millis();
        made.set_disabled_at((!enabled).then_some(now));
        made.touch(now, change.revision());
        self.finish(change, made, Effect::Changed).await
    }

    /// Refused while connections refer to it.
    pub async fn delete(&self, team_id: &str, id: &str) -> Result<(), ServiceError> {
        let change = self.store.change().await?;
        let stored = self.stored(&change, team_id, id).await?;
        let by = stored.users(&change).await?;
        if by > 0 {
            return Err(ServiceError::InUse {
                kind: R::KIND,
                id: id.to_owned(),
                by,
            });
        }
        stored.delete(&change, self.clock.now_millis()).await?;
        Ok(change.commit().await?)
    }

    async fn stored(&self, change: &Change, team_id: &str, id: &str) -> Result<R, ServiceError> {
        let found = R::find(change, team_id, id).await?;
        found.ok_or_else(|| not_found::<R>(id))
    }

    async fn put(
        &self,
        change: Change,
        team_id: &str,
        draft: R::Draft,
        stored: R,
    ) -> Result<R, ServiceError> {
        let namesake = R::namesake(&change, team_id, &draft).await?;
        let stamp = self.stamp(&change);
        let mut made = R::admit(&change, team_id, draft, Some(&stored), stamp).await?;
        if let Some(taken) = namesake.filter(|taken| taken.id() != stored.id()) {
            return Err(exists(&taken));
        }
        if made == stored {
            return Ok(stored);
        }
        made.touch(self.clock.now_millis(), change.revision());
        self.finish(change, made, Effect::Changed).await
    }

    async fn finish(&self, change: Change, made: R, effect: Effect) -> Result<R, ServiceError> {
        match effect {
            Effect::Created => made.insert(&change).await?,
            Effect::Changed => made.update(&change).await?,
        }
        change.commit().await?;
        Ok(made)
    }

    fn stamp(&self, change: &Change) -> Stamp {
        let now = self.clock.now_millis();
        Stamp {
            id: mint(R::PREFIX, now),
            now,
            revision: change.revision(),
        }
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

fn exists<R: Resource>(taken: &R) -> ServiceError {
    ServiceError::Exists {
        kind: R::KIND,
        id: taken.id().to_owned(),
        name: taken.name().to_owned(),
    }
}
