//! `hookplane.v1.ConnectionService`.

use hookplane_proto::v1;
use hookplane_proto::v1::connection_service_server::ConnectionService;
use tonic::{Request, Response, Status};

use super::{caller, required, wanted};
use crate::domain::{Connection, ResourceKind};
use crate::service::{ConnectionDraft, Connections, ServiceError};
use crate::store::PageRequest;
use crate::store::config::ConnectionFilter;
use crate::wire::{connection, mask, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct ConnectionApi {
    connections: Connections,
    ingest_base: String,
}

impl ConnectionApi {
    #[must_use]
    pub const fn new(connections: Connections, ingest_base: String) -> Self {
        Self {
            connections,
            ingest_base,
        }
    }

    /// The messages of some connections of one team, with copies of their ends.
    async fn messages(
        &self,
        team_id: &str,
        connections: &[Connection],
    ) -> Result<Vec<v1::Connection>, Status> {
        let ids = |id: fn(&Connection) -> &String| {
            let mut ids: Vec<String> = connections.iter().map(id).cloned().collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let store = self.connections.store();
        let from = store
            .sources_by_id(team_id, ids(|one| &one.source_id))
            .await?;
        let to = store
            .destinations_by_id(team_id, ids(|one| &one.destination_id))
            .await?;
        Ok(connections
            .iter()
            .map(|one| {
                let (from, to) = (from.get(&one.source_id), to.get(&one.destination_id));
                connection::with_ends(one, from, to, &self.ingest_base)
            })
            .collect())
    }

    async fn reply(&self, connection: Connection) -> Reply<v1::Connection> {
        let team = connection.team_id.clone();
        let mut messages = self.messages(&team, &[connection]).await?;
        Ok(Response::new(messages.remove(0)))
    }
}

fn patched(
    stored: &Connection,
    request: &v1::PatchConnectionRequest,
    patch: &v1::Connection,
) -> Result<ConnectionDraft, ServiceError> {
    let current = connection::message(stored);
    let mask = request.update_mask.as_ref();
    let merged = mask::merge("hookplane.v1.Connection", &current, patch, mask)?;
    let draft = connection::draft(merged)?;
    Ok(ConnectionDraft {
        state: draft.state.settled(),
        ..draft
    })
}

#[tonic::async_trait]
impl ConnectionService for ConnectionApi {
    async fn create_connection(
        &self,
        request: Request<v1::CreateConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let message = required("connection", request.into_inner().connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.create(&team, draft).await?)
            .await
    }

    async fn upsert_connection(
        &self,
        request: Request<v1::UpsertConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let message = required("connection", request.into_inner().connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.upsert(&team, draft).await?)
            .await
    }

    async fn list_connections(
        &self,
        request: Request<v1::ListConnectionsRequest>,
    ) -> Reply<v1::ListConnectionsResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse(&asked.order_by, &asked.dir, asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let filter = ConnectionFilter {
            name: wanted("name", asked.name)?,
            source_id: wanted("source_id", asked.source_id)?,
            destination_id: wanted("destination_id", asked.destination_id)?,
        };
        let found = self
            .connections
            .store()
            .connections(&team, &filter, &page)
            .await?;
        let models = self.messages(&team, &found.rows).await?;
        Ok(Response::new(v1::ListConnectionsResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_connection(
        &self,
        request: Request<v1::GetConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        let found = self.connections.store().connection(&team, &id).await?;
        let kind = ResourceKind::Connection;
        self.reply(found.ok_or(ServiceError::NotFound { kind, id })?)
            .await
    }

    async fn replace_connection(
        &self,
        request: Request<v1::ReplaceConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let message = required("connection", asked.connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.replace(&team, &asked.id, draft).await?)
            .await
    }

    async fn patch_connection(
        &self,
        request: Request<v1::PatchConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let patch = required("connection", asked.connection.take())?;
        let edit = |stored: &Connection| patched(stored, &asked, &patch);
        self.reply(self.connections.patch(&team, &asked.id, edit).await?)
            .await
    }

    async fn delete_connection(
        &self,
        request: Request<v1::DeleteConnectionRequest>,
    ) -> Reply<v1::DeleteConnectionResponse> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.connections.delete(&team, &id).await?;
        Ok(Response::new(v1::DeleteConnectionResponse { id }))
    }

    async fn enable_connection(
        &self,
        request: Request<v1::EnableConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.reply(self.connections.set_enabled(&team, &id, true).await?)
            .await
    }

    async fn disable_connection(
        &self,
        request: Request<v1::DisableConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.reply(self.connections.set_enabled(&team, &id, false).await?)
            .await
    }
}
