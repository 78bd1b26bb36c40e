//! The etags inside an apply: every resource that carries one has to be the one that
//! was read.

use super::{Applying, Conditioned, Wanted, WantedConnection};
use crate::domain::{Connection, Destination, Filter, Source};
use crate::service::ServiceError;
use crate::service::resource::{Resource, has_etag};

impl Applying<'_> {
    pub(super) async fn judge(&self, wanted: &Wanted) -> Result<(), ServiceError> {
        for one in &wanted.sources {
            self.judge_one::<Source>(one).await?;
        }
        for one in &wanted.destinations {
            self.judge_one::<Destination>(one).await?;
        }
        for one in &wanted.filters {
            self.judge_one::<Filter>(one).await?;
        }
        for one in &wanted.connections {
            self.judge_connection(one).await?;
        }
        Ok(())
    }

    async fn judge_one<R: Resource>(
        &self,
        one: &Conditioned<R::Draft>,
    ) -> Result<(), ServiceError> {
        if one.etag.is_none() {
            return Ok(());
        }
        let stored = R::meant(self.change, &self.call.team_id, &one.draft).await?;
        compare(one.etag.as_deref(), stored)
    }

    async fn judge_connection(&self, one: &WantedConnection) -> Result<(), ServiceError> {
        if one.etag.is_none() {
            return Ok(());
        }
        let (change, team) = (self.change, &self.call.team_id);
        let source_id = if one.draft.source_id.is_empty() {
            let source = change.source_named(team, &one.source_name).await?;
            source.map(|source| source.id).unwrap_or_default()
        } else {
            one.draft.source_id.clone()
        };
        let name = &one.draft.spec.name;
        let stored = change.connection_named(team, &source_id, name).await?;
        compare::<Connection>(one.etag.as_deref(), stored)
    }
}

fn compare<R: Resource>(etag: Option<&str>, stored: Option<R>) -> Result<(), ServiceError> {
    match stored {
        Some(stored) => has_etag(etag, &stored),
        None => Err(ServiceError::Missing { kind: R::KIND }),
    }
}
