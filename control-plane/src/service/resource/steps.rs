//! The writes that operations are made of, inside a change that somebody else
//! begins and ends: so that several can be one.

use super::{Resource, Stamp, mint};
use crate::domain::Millis;
use crate::service::ServiceError;
use crate::store::Change;

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
    team_id: &str,
    draft: R::Draft,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let taken = R::namesake(change, team_id, &draft).await?;
    let stamp = stamp::<R>(change, now);
    let made = R::admit(change, team_id, draft, None, stamp).await?;
    if let Some(taken) = taken {
        return Err(exists(&taken));
    }
    made.insert(change).await?;
    Ok(Step {
        made,
        before: None,
        effect: Effect::Created,
    })
}

/// Makes a stored one what the draft says.
pub(in crate::service) async fn put<R: Resource>(
    change: &Change,
    team_id: &str,
    draft: R::Draft,
    stored: R,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let namesake = R::namesake(change, team_id, &draft).await?;
    let stamp = stamp::<R>(change, now);
    let made = R::admit(change, team_id, draft, Some(&stored), stamp).await?;
    if let Some(taken) = namesake.filter(|taken| taken.id() != stored.id()) {
        return Err(exists(&taken));
    }
    keep(change, made, stored, now).await
}

/// Writes what differs from the stored one; what does not takes nothing.
pub(in crate::service) async fn keep<R: Resource>(
    change: &Change,
    mut made: R,
    stored: R,
    now: Millis,
) -> Result<Step<R>, ServiceError> {
    let effect = if made == stored {
        Effect::None
    } else {
        made.touch(now, change.revision());
        made.update(change).await?;
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
    Ok(stored.delete(change, now).await?)
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
