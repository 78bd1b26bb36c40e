//! A return: the kept rows are written again, each with the new revision, so that
//! agents of the share see a newer version of the old content and never an older
//! revision.
//!
//! People go on editing during a hold, so what is kept may not fit any more. A
//! return succeeds all the same: it leaves what others use by now, gives another
//! name where the old one is taken, and says so.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_entity::{connection, deleted_connection, deletion, destination, filter, source};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait,
    IntoActiveModel as _, ModelTrait as _, PaginatorTrait as _, QueryFilter as _, Set,
};

use super::Images;
use crate::domain::Millis;
use crate::store::{StoreError, broken, connections, filters, signed};

/// Longest name of anything, in characters.
const MAX_NAME: usize = 155;
/// Names that are tried before the id is taken for one.
const TRIES: usize = 20;
/// Most that is told of one return.
const MOST_NOTES: usize = 10;

/// A return under way.
struct Return<'a> {
    tx: &'a DatabaseTransaction,
    revision: u64,
    now: Millis,
    /// What is not as it was before.
    notes: Vec<String>,
}

impl Images {
    /// Gives what could not be put back as it was.
    pub(super) async fn write(
        &self,
        tx: &DatabaseTransaction,
        pool: &str,
        revision: u64,
        now: Millis,
    ) -> Result<Vec<String>, StoreError> {
        let mut back = Return {
            tx,
            revision,
            now,
            notes: Vec::new(),
        };
        let unused = self.unused_destinations(tx).await?;
        let (gone, left) = self.gone_sources(tx, pool).await?;
        self.free_names(tx, &unused, &gone).await?;
        for row in self.destinations.values().flatten() {
            back.destination(row.clone()).await?;
        }
        for row in self.filters.values().flatten() {
            back.filter(row.clone()).await?;
        }
        self.write_lacking(&mut back).await?;
        for row in self.sources.values().flatten() {
            back.source(row.clone()).await?;
        }
        self.write_connections(&mut back).await?;
        for row in gone {
            back.note_deletion("source", &row.team_id, &row.id).await?;
            row.delete(tx).await?;
        }
        for row in unused {
            back.note_deletion("destination", &row.team_id, &row.id)
                .await?;
            row.delete(tx).await?;
        }
        let left = left.into_iter();
        back.notes.extend(
            left.map(|id| format!("the source {id} is new and in use elsewhere, so it stays")),
        );
        back.notes.truncate(MOST_NOTES);
        Ok(back.notes)
    }

    /// Destinations that came during the rollout, that only its connections use,
    /// and that nothing uses after it.
    async fn unused_destinations(
        &self,
        tx: &DatabaseTransaction,
    ) -> Result<Vec<destination::Model>, StoreError> {
        let ours: Vec<&String> = self.connections.keys().collect();
        let users = connection::Entity::find()
            .filter(connection::Column::Id.is_in(ours))
            .all(tx)
            .await?;
        let receivers: BTreeSet<String> = users.into_iter().map(|row| row.destination_id).collect();
        let mut unused = Vec::new();
        for id in receivers {
            if !matches!(self.spare_destinations.get(&id), Some(None)) {
                continue;
            }
            let others = connection::Entity::find()
                .filter(connection::Column::DestinationId.eq(&id))
                .filter(connection::Column::Id.is_not_in(self.connections.keys()));
            let restored = self.connections.values().flatten();
            if others.count(tx).await? == 0 && restored.clone().all(|row| row.destination_id != id)
            {
                unused.extend(destination::Entity::find_by_id(id).one(tx).await?);
            }
        }
        Ok(unused)
    }

    /// Sources that were not there before: those that go, and the ids of those that
    /// belong to others by now.
    async fn gone_sources(
        &self,
        tx: &DatabaseTransaction,
        pool: &str,
    ) -> Result<(Vec<source::Model>, Vec<String>), StoreError> {
        let (mut gone, mut left) = (Vec::new(), Vec::new());
        for id in missing(&self.sources) {
            let Some(row) = source::Entity::find_by_id(id).one(tx).await? else {
                continue;
            };
            let others = connection::Entity::find()
                .filter(connection::Column::SourceId.eq(id))
                .filter(connection::Column::Id.is_not_in(self.connections.keys()));
            if row.pool == pool && others.count(tx).await? == 0 {
                gone.push(row);
            } else {
                left.push(row.id);
            }
        }
        Ok((gone, left))
    }

    /// Names are unique, and rows may have exchanged theirs: for a moment none is taken.
    async fn free_names(
        &self,
        tx: &DatabaseTransaction,
        unused: &[destination::Model],
        gone: &[source::Model],
    ) -> Result<(), StoreError> {
        let gone = gone.iter().map(|row| &row.id);
        let ids: Vec<&String> = present(&self.sources).chain(gone).collect();
        source::Entity::update_many()
            .col_expr(source::Column::Name, Expr::col(source::Column::Id))
            .filter(source::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let unused = unused.iter().map(|row| &row.id);
        let ids: Vec<&String> = present(&self.destinations).chain(unused).collect();
        destination::Entity::update_many()
            .col_expr(
                destination::Column::Name,
                Expr::col(destination::Column::Id),
            )
            .filter(destination::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let ids: Vec<&String> = present(&self.filters).collect();
        filter::Entity::update_many()
            .col_expr(filter::Column::Name, Expr::col(filter::Column::Id))
            .filter(filter::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        let ids: Vec<&String> = self.connections.keys().collect();
        connection::Entity::update_many()
            .col_expr(connection::Column::Name, Expr::col(connection::Column::Id))
            .filter(connection::Column::Id.is_in(ids))
            .exec(tx)
            .await?;
        Ok(())
    }

    /// What was deleted meanwhile by somebody else, and a connection that comes back needs.
    async fn write_lacking(&self, back: &mut Return<'_>) -> Result<(), StoreError> {
        let tx = back.tx;
        let mut receivers = BTreeSet::new();
        let mut named = BTreeSet::new();
        for row in self.connections.values().flatten() {
            receivers.insert(row.destination_id.clone());
            let meant = connections::domain(row.clone())?;
            named.extend(meant.spec.filter_ids().map(|(_, id)| id.to_owned()));
        }
        for id in receivers {
            if let Some(Some(row)) = self.spare_destinations.get(&id)
                && destination::Entity::find_by_id(&id)
                    .one(tx)
                    .await?
                    .is_none()
            {
                back.destination(row.clone()).await?;
            }
        }
        for id in named {
            if let Some(Some(row)) = self.spare_filters.get(&id)
                && filter::Entity::find_by_id(&id).one(tx).await?.is_none()
            {
                back.filter(row.clone()).await?;
            }
        }
        Ok(())
    }

    async fn write_connections(&self, back: &mut Return<'_>) -> Result<(), StoreError> {
        // First those that go: they free the names that others come back with.
        for id in missing(&self.connections) {
            back.without_connection(id).await?;
        }
        for row in self.connections.values().flatten() {
            back.connection(row.clone()).await?;
        }
        Ok(())
    }
}

impl Return<'_> {
    async fn source(&mut self, mut row: source::Model) -> Result<(), StoreError> {
        use source::{Column, Entity};
        let exists = self.begin::<Entity>(&row.id).await?;
        let place = (Column::TeamId, Column::Name, Column::Id);
        let names = (row.team_id.as_str(), row.name.as_str(), row.id.as_str());
        let name = self.free_name::<Entity>("source", place, names).await?;
        row.settings = named(&row.settings, &name)
            .map_err(|fault| broken("rollout_images", &row.id, fault))?;
        row.name = name;
        (row.revision, row.updated_at) = (signed(self.revision), self.now);
        row.group_revision = row.revision;
        let row = row.into_active_model().reset_all();
        if exists {
            row.update(self.tx).await?;
        } else {
            row.insert(self.tx).await?;
        }
        Ok(())
    }

    async fn destination(&mut self, mut row: destination::Model) -> Result<(), StoreError> {
        use destination::{Column, Entity};
        let exists = self.begin::<Entity>(&row.id).await?;
        let place = (Column::TeamId, Column::Name, Column::Id);
        let names = (row.team_id.as_str(), row.name.as_str(), row.id.as_str());
        let name = self
            .free_name::<Entity>("destination", place, names)
            .await?;
        row.settings = named(&row.settings, &name)
            .map_err(|fault| broken("rollout_images", &row.id, fault))?;
        row.name = name;
        (row.revision, row.updated_at) = (signed(self.revision), self.now);
        let row = row.into_active_model().reset_all();
        if exists {
            row.update(self.tx).await?;
        } else {
            row.insert(self.tx).await?;
        }
        Ok(())
    }

    /// Whoever uses it changes with it, in other pools too.
    async fn filter(&mut self, mut row: filter::Model) -> Result<(), StoreError> {
        use filter::{Column, Entity};
        let exists = self.begin::<Entity>(&row.id).await?;
        let place = (Column::TeamId, Column::Name, Column::Id);
        let names = (row.team_id.as_str(), row.name.as_str(), row.id.as_str());
        let name = self.free_name::<Entity>("filter", place, names).await?;
        row.settings = named(&row.settings, &name)
            .map_err(|fault| broken("rollout_images", &row.id, fault))?;
        row.name = name;
        (row.revision, row.updated_at) = (signed(self.revision), self.now);
        let id = row.id.clone();
        let row = row.into_active_model().reset_all();
        if exists {
            row.update(self.tx).await?;
        } else {
            row.insert(self.tx).await?;
        }
        filters::touch_users(self.tx, &id, self.revision).await
    }

    async fn connection(&mut self, mut row: connection::Model) -> Result<(), StoreError> {
        use connection::{Column, Entity};
        let exists = self.begin::<Entity>(&row.id).await?;
        // Agents may have heard of its deletion; it is none any more.
        deleted_connection::Entity::delete_by_id(&row.id)
            .exec(self.tx)
            .await?;
        let place = (Column::SourceId, Column::Name, Column::Id);
        let names = (row.source_id.as_str(), row.name.as_str(), row.id.as_str());
        let name = self.free_name::<Entity>("connection", place, names).await?;
        row.settings = named(&row.settings, &name)
            .map_err(|fault| broken("rollout_images", &row.id, fault))?;
        row.name = name;
        (row.revision, row.updated_at) = (signed(self.revision), self.now);
        let meant = connections::domain(row.clone())?;
        let row = row.into_active_model().reset_all();
        if exists {
            row.update(self.tx).await?;
        } else {
            row.insert(self.tx).await?;
        }
        filters::forget_uses(self.tx, &meant.id).await?;
        filters::note_uses(self.tx, &meant).await
    }

    async fn without_connection(&self, id: &str) -> Result<(), StoreError> {
        let tx = self.tx;
        let Some(row) = connection::Entity::find_by_id(id).one(tx).await? else {
            return Ok(());
        };
        let from = source::Entity::find_by_id(&row.source_id).one(tx).await?;
        // The share may have events for it, which nobody would ever end.
        let note = deleted_connection::ActiveModel {
            id: Set(id.to_owned()),
            pool: Set(from.map(|source| source.pool).unwrap_or_default()),
            revision: Set(signed(self.revision)),
            deleted_at: Set(self.now),
        };
        note.insert(tx).await?;
        self.note_deletion("connection", &row.team_id, id).await?;
        filters::forget_uses(tx, id).await?;
        row.delete(tx).await?;
        Ok(())
    }

    /// Before a row is written. Watchers are told that it is there again by its new
    /// revision. Gives whether there is a row.
    async fn begin<E>(&self, id: &str) -> Result<bool, StoreError>
    where
        E: EntityTrait<PrimaryKey: sea_orm::PrimaryKeyTrait<ValueType = String>>,
    {
        deletion::Entity::delete_by_id(id).exec(self.tx).await?;
        Ok(E::find_by_id(id.to_owned()).one(self.tx).await?.is_some())
    }

    /// The name that a row had, or one like it when another row has that by now.
    async fn free_name<E>(
        &mut self,
        kind: &str,
        (scope, name, key): (E::Column, E::Column, E::Column),
        (within, wanted, id): (&str, &str, &str),
    ) -> Result<String, StoreError>
    where
        E: EntityTrait<Model: Send + Sync>,
    {
        for number in 0..TRIES {
            let candidate = like(wanted, number);
            let taken = E::find()
                .filter(scope.eq(within))
                .filter(name.eq(&candidate))
                .filter(key.ne(id));
            if taken.count(self.tx).await? > 0 {
                continue;
            }
            if number > 0 {
                self.notes.push(format!(
                    "the name of the {kind} {id} was taken, so it is called `{candidate}`"
                ));
            }
            return Ok(candidate);
        }
        self.notes.push(format!(
            "the name of the {kind} {id} was taken, so it has its id"
        ));
        Ok(id.to_owned())
    }

    async fn note_deletion(&self, kind: &str, team_id: &str, id: &str) -> Result<(), StoreError> {
        let note = deletion::ActiveModel {
            id: Set(id.to_owned()),
            team_id: Set(team_id.to_owned()),
            kind: Set(kind.to_owned()),
            revision: Set(signed(self.revision)),
            deleted_at: Set(self.now),
        };
        note.insert(self.tx).await?;
        Ok(())
    }
}

/// Settings have the name too.
fn named(settings: &str, name: &str) -> Result<String, serde_json::Error> {
    let mut settings: serde_json::Value = serde_json::from_str(settings)?;
    if let Some(settings) = settings.as_object_mut() {
        settings.insert("name".to_owned(), name.into());
    }
    serde_json::to_string(&settings)
}

/// The name itself, then with a suffix that fits every kind of name.
fn like(name: &str, number: usize) -> String {
    let suffix = match number {
        0 => return name.to_owned(),
        1 => "-returned".to_owned(),
        more => format!("-returned-{more}"),
    };
    let room = MAX_NAME - suffix.len();
    let kept: String = name.chars().take(room).collect();
    format!("{}{suffix}", kept.trim_end())
}

fn missing<T>(images: &BTreeMap<String, Option<T>>) -> impl Iterator<Item = &String> {
    let missing = images.iter().filter(|(_, before)| before.is_none());
    missing.map(|(id, _)| id)
}

fn present<T>(images: &BTreeMap<String, Option<T>>) -> impl Iterator<Item = &String> {
    let present = images.iter().filter(|(_, before)| before.is_some());
    present.map(|(id, _)| id)
}
