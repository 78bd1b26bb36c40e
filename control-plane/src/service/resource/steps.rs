//! The writes that operations are made of, inside a change that somebody else
//! begins and ends: so that several can be one.

use super::{Resource, Stamp, mint};
use crate::domain::Millis;
use crate::domain::audit::{Act, Action};
use crate::service::{Call, ServiceError};
use crate::store::{Change, StoreError};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Effect {
    Created,
    Changed,
    None,
}

/// A step that was taken.
pub(in crate::service) struct Step<R> {
    pub(in crate::service) made: R,
    /// As it was, unless it was created.
    pub(in crate::service) before: Option<R>,
    pub(in crate::service) effect: Effect,
}

pub(in crate::service) async fn create<R: Resource>(
    change: &Change,
    call: &Call,
    draft: R::Draft,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let team_id = &call.team_id;
    let taken = R::namesake(change, team_id, &draft).await?;
    let stamp = stamp::<R>(change, now);
    let made = R::admit(change, team_id, draft, None, stamp).await?;
    if let Some(taken) = taken {
        return Err(exists(&taken));
    }
    made.insert(change).await?;
    record(change, call, (None, Some(&made)), now).await?;
    Ok(Step {
        made,
        before: None,
        effect: Effect::Created,
    })
}

/// Makes a stored one what the draft says.
pub(in crate::service) async fn put<R: Resource>(
    change: &Change,
    call: &Call,
    draft: R::Draft,
    stored: R,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let team_id = &call.team_id;
    let namesake = R::namesake(change, team_id, &draft).await?;
    let stamp = stamp::<R>(change, now);
    let made = R::admit(change, team_id, draft, Some(&stored), stamp).await?;
    if let Some(taken) = namesake.filter(|taken| taken.id() != stored.id()) {
        return Err(exists(&taken));
    }
    keep(change, call, made, stored, now).await
}

/// Writes what differs from the stored one; what does not takes nothing.
pub(in crate::service) async fn keep<R: Resource>(
    change: &Change,
    call: &Call,
    mut made: R,
    stored: R,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let effect = if made == stored {
        Effect::None
    } else {
        made.touch(now, change.revision());
        made.update(change).await?;
        record(change, call, (Some(&stored), Some(&made)), now).await?;
        Effect::Changed
    };
    Ok(Step {
        made,
        before: Some(stored),
        effect,
    })
}

/// Refused while connections refer to it.
pub(in crate::service) async fn delete<R: Resource>(
    change: &Change,
    call: &Call,
    stored: &R,
    now: Millis,
) -> Result<(), ServiceError> {
    let by = stored.users(change).await?;
    if by > 0 {
        return Err(ServiceError::InUse {
            kind: R::KIND,
            id: stored.id().to_owned(),
            by,
        });
    }
    stored.delete(change, now).await?;
    Ok(record(change, call, (Some(stored), None), now).await?)
}

/// Writes what a step did into the team's audit record.
async fn record<R: Resource>(
    change: &Change,
    call: &Call,
    (before, after): (Option<&R>, Option<&R>),
    now: Millis,
) -> Result<(), StoreError> {
    let (action, subject) = match (before, after) {
        (None, Some(made)) => (Action::Create, made),
        (Some(_), Some(made)) => (Action::Update, made),
        (Some(gone), None) => (Action::Delete, gone),
        (None, None) => return Ok(()),
    };
    let same = |one: &R| after.is_none_or(|after| after.has_secrets_of(one));
    let act = Act {
        action,
        kind: R::KIND.slug(),
        id: subject.id().to_owned(),
        name: subject.name().to_owned(),
        revision: Some(change.revision()),
        before: before.map(R::shown),
        after: after.map(R::shown),
        secrets_changed: !before.is_none_or(same),
    };
    change.record(&call.actor(), act, now).await
}

fn stamp<R: Resource>(change: &Change, now: Millis) -> Stamp {
    Stamp {
        id: mint(R::PREFIX, now),
        now,
        revision: change.revision(),
    }
}

fn exists<R: Resource>(taken: &R) -> ServiceError {
    ServiceError::Exists {
        kind: R::KIND,
        id: taken.id().to_owned(),
        name: taken.name().to_owned(),
    }
}
