//! Services that remember what they were asked and answer it back, and the
//! gate in front of them that judges the caller.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::extract::Request as HttpRequest;
use axum::middleware::Next;
use axum::response::Response as HttpResponse;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use hookplane_control_plane::rest::Gate;
use hookplane_proto::v1;
use hookplane_proto::v1::connection_service_server::ConnectionService;
use hookplane_proto::v1::request_service_server::RequestService;
use hookplane_proto::v1::source_auth::Scheme;
use hookplane_proto::v1::source_service_server::SourceService;
use http::HeaderMap;
use http::request::Parts;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

pub(crate) const GOOD_KEY: &str = "Bearer hpk_good";
pub(crate) const WEAK_KEY: &str = "Bearer hpk_weak";

/// Put into the extensions by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) &'static str);

/// What the services do, and what they saw.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    pub(crate) fails_with: Option<Status>,
    pub(crate) hangs: bool,
    /// Bytes of the description in every source of an answer.
    pub(crate) padding: usize,
    pub(crate) tail: Vec<Result<v1::TailRequestsResponse, Status>>,
    /// The tail goes on in silence after its items.
    pub(crate) endless: bool,
    /// Cancelled when a tail is dropped.
    pub(crate) tail_dropped: CancellationToken,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

/// One call.
pub(crate) struct Seen {
    message: Box<dyn Any + Send>,
    metadata: MetadataMap,
    peer: Option<Peer>,
}

impl Echo {
    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The last message, which must be of this type.
    pub(crate) fn last<M: Clone + 'static>(&self) -> M {
        let seen = self.seen.lock().unwrap();
        let last = seen.last().expect("a call");
        last.message.downcast_ref::<M>().expect("this type").clone()
    }

    pub(crate) fn metadata(&self) -> MetadataMap {
        self.seen.lock().unwrap().last().unwrap().metadata.clone()
    }

    pub(crate) fn peer(&self) -> Option<Peer> {
        self.seen.lock().unwrap().last().unwrap().peer.clone()
    }

    async fn take<M: Clone + Send + 'static>(&self, request: Request<M>) -> Result<M, Status> {
        let (metadata, extensions, message) = request.into_parts();
        self.seen.lock().unwrap().push(Seen {
            message: Box::new(message.clone()),
            metadata,
            peer: extensions.get().cloned(),
        });
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.fails_with.clone().map_or(Ok(message), Err)
    }

    fn source(&self, id: &str, source: Option<v1::Source>) -> Answer<v1::Source> {
        let mut source = source.unwrap_or_default();
        source.id = id.to_owned();
        source.url = format!("http://127.0.0.1:8088/{id}");
        if self.padding > 0 {
            source.description = "x".repeat(self.padding);
        }
        let auth = source.config.as_mut().and_then(|c| c.auth.as_mut());
        if let Some(Scheme::ProviderSignature(auth)) = auth.and_then(|a| a.scheme.as_mut()) {
            for secret in &mut auth.webhook_signing_secrets {
                *secret = "whsec_••••".to_owned();
            }
        }
        let mut response = Response::new(source);
        let limit = "99".parse().unwrap();
        response
            .metadata_mut()
            .insert("x-ratelimit-remaining", limit);
        Ok(response)
    }
}

/// Lets callers through who have the good key.
pub(crate) struct Judge;

/// The same judgement as a layer in front of gRPC.
pub(crate) async fn judge(request: HttpRequest, next: Next) -> HttpResponse {
    match verdict(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_http(),
    }
}

fn verdict(headers: &HeaderMap) -> Result<(), Status> {
    let key = headers.get("authorization");
    match key.and_then(|key| key.to_str().ok()) {
        Some(GOOD_KEY) => Ok(()),
        Some(WEAK_KEY) => Err(Status::permission_denied("this key may not")),
        _ => Err(Status::unauthenticated("no valid API key")),
    }
}

impl Gate for Judge {
    fn judge<'a>(
        &'a self,
        _call: &'a str,
        head: &'a mut Parts,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(std::future::ready(verdict(&head.headers)))
    }
}

type Silent<M> = stream::BoxStream<'static, Result<M, Status>>;
type Answer<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl SourceService for Echo {
    type WatchSourcesStream = Silent<v1::WatchSourcesResponse>;

    async fn watch_sources(
        &self,
        r: Request<v1::WatchSourcesRequest>,
    ) -> Answer<Self::WatchSourcesStream> {
        self.take(r).await?;
        Ok(Response::new(stream::empty().boxed()))
    }
    async fn create_source(&self, r: Request<v1::CreateSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source("src_1", message.source)
    }
    async fn upsert_source(&self, r: Request<v1::UpsertSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source("src_1", message.source)
    }
    async fn list_sources(
        &self,
        r: Request<v1::ListSourcesRequest>,
    ) -> Answer<v1::ListSourcesResponse> {
        let message = self.take(r).await?;
        Ok(Response::new(v1::ListSourcesResponse {
            pagination: Some(v1::Pagination {
                order_by: message.order_by,
                dir: message.dir,
                limit: message.limit,
                next: "page-2".to_owned(),
            }),
            count: 1,
            models: vec![v1::Source::default()],
        }))
    }
    async fn get_source(&self, r: Request<v1::GetSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source(&message.id, None)
    }
    async fn replace_source(&self, r: Request<v1::ReplaceSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source(&message.id, message.source)
    }
    async fn patch_source(&self, r: Request<v1::PatchSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source(&message.id, message.source)
    }
    async fn delete_source(
        &self,
        r: Request<v1::DeleteSourceRequest>,
    ) -> Answer<v1::DeleteSourceResponse> {
        let id = self.take(r).await?.id;
        Ok(Response::new(v1::DeleteSourceResponse { id }))
    }
    async fn enable_source(&self, r: Request<v1::EnableSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source(&message.id, None)
    }
    async fn disable_source(&self, r: Request<v1::DisableSourceRequest>) -> Answer<v1::Source> {
        let message = self.take(r).await?;
        self.source(&message.id, None)
    }
}

#[tonic::async_trait]
impl ConnectionService for Echo {
    type WatchConnectionsStream = Silent<v1::WatchConnectionsResponse>;

    async fn watch_connections(
        &self,
        r: Request<v1::WatchConnectionsRequest>,
    ) -> Answer<Self::WatchConnectionsStream> {
        self.take(r).await?;
        Ok(Response::new(stream::empty().boxed()))
    }
    async fn get_latest_input(
        &self,
        r: Request<v1::GetLatestInputRequest>,
    ) -> Answer<v1::LatestInput> {
        self.take(r).await?;
        Ok(Response::new(v1::LatestInput::default()))
    }
    async fn create_connection(
        &self,
        r: Request<v1::CreateConnectionRequest>,
    ) -> Answer<v1::Connection> {
        let message = self.take(r).await?;
        Ok(Response::new(message.connection.unwrap_or_default()))
    }
    async fn upsert_connection(
        &self,
        r: Request<v1::UpsertConnectionRequest>,
    ) -> Answer<v1::Connection> {
        let message = self.take(r).await?;
        Ok(Response::new(message.connection.unwrap_or_default()))
    }
    async fn list_connections(
        &self,
        r: Request<v1::ListConnectionsRequest>,
    ) -> Answer<v1::ListConnectionsResponse> {
        self.take(r).await?;
        Ok(Response::new(v1::ListConnectionsResponse::default()))
    }
    async fn get_connection(&self, r: Request<v1::GetConnectionRequest>) -> Answer<v1::Connection> {
        self.take(r).await?;
        Ok(Response::new(v1::Connection::default()))
    }
    async fn replace_connection(
        &self,
        r: Request<v1::ReplaceConnectionRequest>,
    ) -> Answer<v1::Connection> {
        let message = self.take(r).await?;
        Ok(Response::new(message.connection.unwrap_or_default()))
    }
    async fn patch_connection(
        &self,
        r: Request<v1::PatchConnectionRequest>,
    ) -> Answer<v1::Connection> {
        let message = self.take(r).await?;
        Ok(Response::new(message.connection.unwrap_or_default()))
    }
    async fn delete_connection(
        &self,
        r: Request<v1::DeleteConnectionRequest>,
    ) -> Answer<v1::DeleteConnectionResponse> {
        let id = self.take(r).await?.id;
        Ok(Response::new(v1::DeleteConnectionResponse { id }))
    }
    async fn enable_connection(
        &self,
        r: Request<v1::EnableConnectionRequest>,
    ) -> Answer<v1::Connection> {
        self.take(r).await?;
        Ok(Response::new(v1::Connection::default()))
    }
    async fn pause_connection(
        &self,
        r: Request<v1::PauseConnectionRequest>,
    ) -> Answer<v1::Connection> {
        self.take(r).await?;
        Ok(Response::new(v1::Connection::default()))
    }
    async fn unpause_connection(
        &self,
        r: Request<v1::UnpauseConnectionRequest>,
    ) -> Answer<v1::Connection> {
        self.take(r).await?;
        Ok(Response::new(v1::Connection::default()))
    }
    async fn disable_connection(
        &self,
        r: Request<v1::DisableConnectionRequest>,
    ) -> Answer<v1::Connection> {
        self.take(r).await?;
        Ok(Response::new(v1::Connection::default()))
    }
}

type Tail = Pin<Box<dyn Stream<Item = Result<v1::TailRequestsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RequestService for Echo {
    type TailRequestsStream = Tail;

    async fn tail_requests(&self, r: Request<v1::TailRequestsRequest>) -> Answer<Tail> {
        self.take(r).await?;
        let guard: DropGuard = self.tail_dropped.clone().drop_guard();
        let items = stream::iter(self.tail.clone());
        let items: Tail = if self.endless {
            items.chain(stream::pending()).boxed()
        } else {
            items.boxed()
        };
        Ok(Response::new(Box::pin(items.map(move |item| {
            let _held = &guard;
            item
        }))))
    }
    async fn list_requests(
        &self,
        r: Request<v1::ListRequestsRequest>,
    ) -> Answer<v1::ListRequestsResponse> {
        self.take(r).await?;
        Ok(Response::new(v1::ListRequestsResponse::default()))
    }
    async fn count_requests(
        &self,
        r: Request<v1::CountRequestsRequest>,
    ) -> Answer<v1::CountRequestsResponse> {
        self.take(r).await?;
        Ok(Response::new(v1::CountRequestsResponse::default()))
    }
    async fn get_request(&self, r: Request<v1::GetRequestRequest>) -> Answer<v1::Request> {
        let id = self.take(r).await?.id;
        Ok(Response::new(v1::Request {
            id,
            ..Default::default()
        }))
    }
    async fn replay_request(
        &self,
        r: Request<v1::ReplayRequestRequest>,
    ) -> Answer<v1::ReplayRequestResponse> {
        let request_id = self.take(r).await?.id;
        Ok(Response::new(v1::ReplayRequestResponse {
            request_id,
            ..Default::default()
        }))
    }
    async fn list_request_events(
        &self,
        r: Request<v1::ListRequestEventsRequest>,
    ) -> Answer<v1::ListEventsResponse> {
        self.take(r).await?;
        Ok(Response::new(v1::ListEventsResponse::default()))
    }
    async fn list_ignored_events(
        &self,
        r: Request<v1::ListIgnoredEventsRequest>,
    ) -> Answer<v1::ListEventsResponse> {
        self.take(r).await?;
        Ok(Response::new(v1::ListEventsResponse::default()))
    }
    async fn diagnose_request(
        &self,
        r: Request<v1::DiagnoseRequestRequest>,
    ) -> Answer<v1::RequestDiagnosis> {
        self.take(r).await?;
        Ok(Response::new(v1::RequestDiagnosis::default()))
    }

    async fn get_request_trace(
        &self,
        r: Request<v1::GetRequestTraceRequest>,
    ) -> Answer<v1::RequestTrace> {
        self.take(r).await?;
        Ok(Response::new(v1::RequestTrace::default()))
    }
}
