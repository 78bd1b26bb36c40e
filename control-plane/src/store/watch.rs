//! What changed since a revision: for those who watch.
//!
//! Reads pages, never a table. Deletions are remembered for a while; who comes
//! later than that gets the whole state.

use hookplane_entity::{connection, deletion, destination, filter, installation, source};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::config::Head;
use super::{ConfigStore, Sealer, StoreError, signed, unsigned};
use super::{connections, destinations, filters, sources};
use crate::domain::{Connection, Destination, Filter, ResourceKind, Source};

/// Rows of one read.
const PAGE: u64 = 255;

/// Where a read goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub revision: u64,
    /// After this id of the revision; after all of them when there is none.
    id: Option<String>,
}

impl Cursor {
    /// Everything up to the revision was read.
    #[must_use]
    pub const fn behind(revision: u64) -> Self {
        Self { revision, id: None }
    }
}

/// Some of what changed, oldest change first.
#[derive(Clone, Debug)]
pub struct Changed<R> {
    pub rows: Vec<R>,
    /// `None` when that was all.
    pub next: Option<Cursor>,
}

/// A kind of resource that can be watched.
pub trait Watched: Sized + Send {
    const KIND: ResourceKind;

    fn cursor(&self) -> Cursor;
    /// Rows of a team that changed after the cursor.
    fn after(
        db: &impl ConnectionTrait,
        sealer: &Sealer,
        team_id: &str,
        cursor: &Cursor,
    ) -> impl Future<Output = Result<Vec<Self>, StoreError>> + Send;
}

macro_rules! watched {
    ($resource:ident, $entity:ident, |$row:ident, $sealer:ident| $domain:expr) => {
        impl Watched for $resource {
            const KIND: ResourceKind = ResourceKind::$resource;

            fn cursor(&self) -> Cursor {
                Cursor {
                    revision: self.revision,
                    id: Some(self.id.clone()),
                }
            }

            async fn after(
                db: &impl ConnectionTrait,
                $sealer: &Sealer,
                team_id: &str,
                cursor: &Cursor,
            ) -> Result<Vec<Self>, StoreError> {
                use $entity::Column;
                let revision = signed(cursor.revision);
                let mut beyond = Condition::any().add(Column::Revision.gt(revision));
                if let Some(id) = &cursor.id {
                    let same = Condition::all().add(Column::Revision.eq(revision));
                    beyond = beyond.add(same.add(Column::Id.gt(id)));
                }
                let rows = $entity::Entity::find()
                    .filter(Column::TeamId.eq(team_id))
                    .filter(beyond)
                    .order_by_asc(Column::Revision)
                    .order_by_asc(Column::Id)
                    .limit(PAGE)
                    .all(db)
                    .await?;
                rows.into_iter().map(|$row| $domain).collect()
            }
        }
    };
}

watched!(Source, source, |row, sealer| sources::domain(row, sealer));
watched!(Destination, destination, |row, sealer| {
    destinations::domain(row, sealer)
});
watched!(Connection, connection, |row, _sealer| connections::domain(
    row
));
watched!(Filter, filter, |row, _sealer| filters::domain(row));

impl ConfigStore {
    /// The head, and the revision up to which deletions may have been forgotten.
    pub async fn watch_floor(&self) -> Result<(Head, u64), StoreError> {
        let row = installation::Entity::find_by_id(super::database::INSTALLATION)
            .one(self.database().read())
            .await?;
        let row = row.ok_or_else(|| super::broken("installation", "1", "it is missing"))?;
        let head = Head {
            epoch: row.epoch,
            revision: unsigned(row.revision),
        };
        Ok((head, unsigned(row.deletions_floor)))
    }

    /// A page of what changed after a cursor. What changes meanwhile comes later,
    /// under its newer revision.
    pub async fn changed<R: Watched>(
        &self,
        team_id: &str,
        cursor: &Cursor,
    ) -> Result<Changed<R>, StoreError> {
        let rows = R::after(self.database().read(), self.sealer(), team_id, cursor).await?;
        let full = rows.len() as u64 == PAGE;
        let next = rows.last().filter(|_| full).map(R::cursor);
        Ok(Changed { rows, next })
    }

    /// A page of the ids of what was deleted after a cursor.
    pub async fn deleted(
        &self,
        kind: ResourceKind,
        team_id: &str,
        cursor: &Cursor,
    ) -> Result<Changed<String>, StoreError> {
        use deletion::Column;
        let revision = signed(cursor.revision);
        let mut beyond = Condition::any().add(Column::Revision.gt(revision));
        if let Some(id) = &cursor.id {
            let same = Condition::all().add(Column::Revision.eq(revision));
            beyond = beyond.add(same.add(Column::Id.gt(id)));
        }
        let rows = deletion::Entity::find()
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Kind.eq(kind.noun()))
            .filter(beyond)
            .order_by_asc(Column::Revision)
            .order_by_asc(Column::Id)
            .limit(PAGE)
            .all(self.database().read())
            .await?;
        let full = rows.len() as u64 == PAGE;
        let next = rows.last().filter(|_| full).map(|last| Cursor {
            revision: unsigned(last.revision),
            id: Some(last.id.clone()),
        });
        let rows = rows.into_iter().map(|row| row.id).collect();
        Ok(Changed { rows, next })
    }
}
