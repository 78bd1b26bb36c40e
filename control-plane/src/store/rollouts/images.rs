//! Rows as they were before a rollout: put over a pool's configuration, they make
//! what the agents outside the share keep.

use std::collections::{BTreeMap, BTreeSet};

use hookplane_entity::{connection, destination, filter, rollout_image, source};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};
use serde::de::DeserializeOwned;

use crate::store::pool::{PoolConfiguration, SourceGroup, resolve};
use crate::store::{
    Sealer, StoreError, broken, connections, destinations, filters, sources, unsigned,
};

/// The images of one rollout, by id; `None` where there was no row.
#[derive(Default)]
pub(in crate::store) struct Images {
    pub(super) sources: BTreeMap<String, Option<source::Model>>,
    pub(super) connections: BTreeMap<String, Option<connection::Model>>,
    pub(super) destinations: BTreeMap<String, Option<destination::Model>>,
    pub(super) filters: BTreeMap<String, Option<filter::Model>>,
    /// Shared ones that changed without the rollout: the agents outside the share
    /// keep them, and a return only uses one that is gone and needed.
    pub(super) spare_destinations: BTreeMap<String, Option<destination::Model>>,
    pub(super) spare_filters: BTreeMap<String, Option<filter::Model>>,
}

/// Kinds of the rows that belong to no rollout.
pub(super) const SPARE_DESTINATION: &str = "spare destination";
pub(super) const SPARE_FILTER: &str = "spare filter";

pub(in crate::store) async fn images(
    db: &impl ConnectionTrait,
    rollout: &str,
) -> Result<Images, StoreError> {
    let rows = rollout_image::Entity::find()
        .filter(rollout_image::Column::RolloutId.eq(rollout))
        .all(db)
        .await?;
    let mut images = Images::default();
    for row in rows {
        let id = row.id.clone();
        match row.kind.as_str() {
            "source" => drop(images.sources.insert(id, read(&row)?)),
            "connection" => drop(images.connections.insert(id, read(&row)?)),
            "destination" => drop(images.destinations.insert(id, read(&row)?)),
            "filter" => drop(images.filters.insert(id, read(&row)?)),
            SPARE_DESTINATION => drop(images.spare_destinations.insert(id, read(&row)?)),
            SPARE_FILTER => drop(images.spare_filters.insert(id, read(&row)?)),
            other => return Err(broken("rollout_images", &id, format!("kind `{other}`"))),
        }
    }
    Ok(images)
}

fn read<T: DeserializeOwned>(row: &rollout_image::Model) -> Result<Option<T>, StoreError> {
    let before = row.before.as_deref().map(serde_json::from_str).transpose();
    before.map_err(|fault| broken("rollout_images", &row.id, fault))
}

impl Images {
    /// Makes a pool what it was before the rollout.
    pub(in crate::store) async fn put_back(
        &self,
        pool: &mut PoolConfiguration,
        name: &str,
        db: &impl ConnectionTrait,
        sealer: &Sealer,
    ) -> Result<(), StoreError> {
        let mut groups: BTreeMap<String, SourceGroup> = std::mem::take(&mut pool.sources)
            .into_iter()
            .map(|group| (group.source.id.clone(), group))
            .collect();
        for (id, before) in &self.sources {
            let here = before.as_ref().filter(|row| row.pool == name);
            let Some(row) = here.cloned() else {
                groups.remove(id);
                continue;
            };
            let version = unsigned(row.group_revision);
            let source = sources::domain(row, sealer)?;
            // Keys of handlers have no images: one that is revoked is revoked everywhere.
            let (connections, handler_keys) = match groups.remove(id) {
                Some(now) => (now.connections, now.handler_keys),
                None => (now_of_source(db, id).await?, Vec::new()),
            };
            let group = SourceGroup {
                source,
                connections,
                handler_keys,
                version,
            };
            groups.insert(id.clone(), group);
        }
        self.put_back_connections(&mut groups)?;
        self.resolve(&mut groups, db).await?;
        pool.sources = groups.into_values().collect();
        self.put_back_destinations(pool, db, sealer).await
    }

    fn put_back_connections(
        &self,
        groups: &mut BTreeMap<String, SourceGroup>,
    ) -> Result<(), StoreError> {
        for group in groups.values_mut() {
            let changed = |id: &str| self.connections.contains_key(id);
            group.connections.retain(|one| !changed(&one.id));
        }
        for row in self.connections.values().flatten() {
            if let Some(group) = groups.get_mut(&row.source_id) {
                group.connections.push(connections::domain(row.clone())?);
                group.connections.sort_by(|a, b| a.id.cmp(&b.id));
            }
        }
        Ok(())
    }

    /// Stored filters as they were before, in the connections that were put back.
    async fn resolve(
        &self,
        groups: &mut BTreeMap<String, SourceGroup>,
        db: &impl ConnectionTrait,
    ) -> Result<(), StoreError> {
        let branches = || groups.values().flat_map(|group| &group.connections);
        let named = branches().flat_map(|one| one.spec.filter_ids());
        let named: BTreeSet<String> = named.map(|(_, id)| id.to_owned()).collect();
        let rows = filter::Entity::find()
            .filter(filter::Column::Id.is_in(named))
            .all(db)
            .await?;
        // One that has both was spare first, and that row is the older one.
        let before = self.filters.values().chain(self.spare_filters.values());
        let before = before.flatten().cloned();
        let mut stored = BTreeMap::new();
        for row in rows.into_iter().chain(before) {
            stored.insert(row.id.clone(), filters::domain(row)?);
        }
        let branches = groups.values_mut().flat_map(|group| &mut group.connections);
        for connection in branches {
            resolve(connection, &stored)?;
        }
        Ok(())
    }

    async fn put_back_destinations(
        &self,
        pool: &mut PoolConfiguration,
        db: &impl ConnectionTrait,
        sealer: &Sealer,
    ) -> Result<(), StoreError> {
        let branches = pool.sources.iter().flat_map(|group| &group.connections);
        let wanted: BTreeSet<String> = branches.map(|one| one.destination_id.clone()).collect();
        let mut receivers: BTreeMap<String, _> = std::mem::take(&mut pool.destinations)
            .into_iter()
            .map(|to| (to.id.clone(), to))
            .collect();
        for (id, before) in self.destinations.iter().chain(&self.spare_destinations) {
            match before.clone() {
                Some(row) => drop(receivers.insert(id.clone(), destinations::domain(row, sealer)?)),
                None => drop(receivers.remove(id)),
            }
        }
        receivers.retain(|id, _| wanted.contains(id));
        let lacking: Vec<String> = wanted
            .into_iter()
            .filter(|id| !receivers.contains_key(id))
            .collect();
        let rows = destination::Entity::find()
            .filter(destination::Column::Id.is_in(lacking))
            .all(db)
            .await?;
        for row in rows {
            let to = destinations::domain(row, sealer)?;
            receivers.insert(to.id.clone(), to);
        }
        pool.destinations = receivers.into_values().collect();
        Ok(())
    }
}

/// The connections that a source has now, in whatever pool it is.
async fn now_of_source(
    db: &impl ConnectionTrait,
    source_id: &str,
) -> Result<Vec<crate::domain::Connection>, StoreError> {
    let rows = connection::Entity::find()
        .filter(connection::Column::SourceId.eq(source_id))
        .order_by_asc(connection::Column::Id)
        .all(db)
        .await?;
    rows.into_iter().map(connections::domain).collect()
}
