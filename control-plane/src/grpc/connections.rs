//! `hookplane.v1.ConnectionService`.

use futures::stream::BoxStream;
use hookplane_proto::id::Kind;
use hookplane_proto::v1;
use hookplane_proto::v1::connection_service_server::ConnectionService;
use hookplane_proto::v1::watch_connections_response::Item;
use tonic::{Request, Response, Status};

use super::changing::parts;
use super::evidence::record;
use super::watch::{Resume, Told, Watches};
use super::{caller, conditions, evidence, required, wanted};
use crate::domain::{Connection, ResourceKind};
use crate::fleet::Fleet;
use crate::service::{ConnectionDraft, Connections, ServiceError};
use crate::store::PageRequest;
use crate::store::config::ConnectionFilter;
use crate::wire::{connection, mask, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct ConnectionApi {
    connections: Connections,
    ingest_base: String,
    fleet: Fleet,
    watches: Watches,
}

impl ConnectionApi {
    #[must_use]
    pub const fn new(
        connections: Connections,
        ingest_base: String,
        fleet: Fleet,
        watches: Watches,
    ) -> Self {
        Self {
            connections,
            ingest_base,
            fleet,
            watches,
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
        flow: draft.flow.settled(),
        ..draft
    })
}

#[tonic::async_trait]
impl ConnectionService for ConnectionApi {
    type WatchConnectionsStream = BoxStream<'static, Result<v1::WatchConnectionsResponse, Status>>;

    async fn create_connection(
        &self,
        request: Request<v1::CreateConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let message = required("connection", asked.connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.create(&call, draft).await?)
            .await
    }

    async fn upsert_connection(
        &self,
        request: Request<v1::UpsertConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let message = required("connection", asked.connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.upsert(&call, draft).await?)
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
        let found = found.ok_or(ServiceError::NotFound { kind, id })?;
        let source = self.connections.store().source(&team, &found.source_id);
        let subject = source
            .await?
            .map(|source| conditions::of_connection(&found, &source));
        let mut reply = self.reply(found).await?;
        reply.get_mut().agents = conditions::of(&self.fleet, &subject.unwrap_or_default()).await?;
        Ok(reply)
    }

    async fn get_latest_input(
        &self,
        request: Request<v1::GetLatestInputRequest>,
    ) -> Reply<v1::LatestInput> {
        let caller = caller(&request)?;
        let team = caller.team_id.clone();
        let id = request.into_inner().id;
        let found = self.connections.store().connection(&team, &id).await?;
        let kind = ResourceKind::Connection;
        let found = found.ok_or(ServiceError::NotFound { kind, id })?;
        let newest = evidence::newest_of(&self.fleet, &team, found.source_id).await?;
        let id = newest.request.as_ref().map(|request| request.id.clone());
        let named = (Kind::Request, id.as_deref().unwrap_or_default());
        let shown = record::shown(&self.fleet, &caller, named, newest).await?;
        Ok(Response::new(shown))
    }

    async fn replace_connection(
        &self,
        request: Request<v1::ReplaceConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let message = required("connection", asked.connection)?;
        let draft = connection::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(self.connections.replace(&call, &asked.id, draft).await?)
            .await
    }

    async fn patch_connection(
        &self,
        request: Request<v1::PatchConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, mut asked) = parts(request)?;
        let patch = required("connection", asked.connection.take())?;
        let edit = |stored: &Connection| patched(stored, &asked, &patch);
        self.reply(self.connections.patch(&call, &asked.id, edit).await?)
            .await
    }

    async fn delete_connection(
        &self,
        request: Request<v1::DeleteConnectionRequest>,
    ) -> Reply<v1::DeleteConnectionResponse> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.connections.delete(&call, &id).await?;
        Ok(Response::new(v1::DeleteConnectionResponse { id }))
    }

    async fn enable_connection(
        &self,
        request: Request<v1::EnableConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(self.connections.set_enabled(&call, &id, true).await?)
            .await
    }

    async fn disable_connection(
        &self,
        request: Request<v1::DisableConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(self.connections.set_enabled(&call, &id, false).await?)
            .await
    }

    async fn pause_connection(
        &self,
        request: Request<v1::PauseConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        self.reply(self.connections.pause(&call, &asked.id).await?)
            .await
    }

    async fn unpause_connection(
        &self,
        request: Request<v1::UnpauseConnectionRequest>,
    ) -> Reply<v1::Connection> {
        let (call, asked) = parts(request)?;
        let rate = (asked.rate > 0).then_some(asked.rate);
        self.reply(self.connections.resume(&call, &asked.id, rate).await?)
            .await
    }

    async fn watch_connections(
        &self,
        request: Request<v1::WatchConnectionsRequest>,
    ) -> Reply<Self::WatchConnectionsStream> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let from = Resume {
            caller,
            epoch: asked.epoch,
            revision: asked.after_revision,
        };

        let items = self.watches.follow(from, move |told: Told<Connection>| {
            let item = match told {
                Told::Changed(it) => Item::Changed(connection::with_ends(&it, None, None, "")),
                Told::Deleted(id) => Item::DeletedId(id),
                Told::Mark(mark) => Item::Mark(mark),
            };
            v1::WatchConnectionsResponse { item: Some(item) }
        })?;
        Ok(Response::new(items))
    }
}
