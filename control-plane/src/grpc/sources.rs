//! `hookplane.v1.SourceService`.

use futures::stream::BoxStream;
use hookplane_proto::v1;
use hookplane_proto::v1::source_service_server::SourceService;
use hookplane_proto::v1::watch_sources_response::Item;
use tonic::{Request, Response, Status};

use super::changing::parts;
use super::watch::{Resume, Told, Watches};
use super::{caller, conditions, required, wanted};
use crate::domain::{ResourceKind, Source};
use crate::fleet::Fleet;
use crate::service::{ServiceError, SourceDraft, Sources};
use crate::store::PageRequest;
use crate::wire::{Secrets, mask, pagination, source};

type Reply<T> = Result<Response<T>, Status>;

pub struct SourceApi {
    sources: Sources,
    ingest_base: String,
    fleet: Fleet,
    watches: Watches,
}

impl SourceApi {
    #[must_use]
    pub const fn new(
        sources: Sources,
        ingest_base: String,
        fleet: Fleet,
        watches: Watches,
    ) -> Self {
        Self {
            sources,
            ingest_base,
            fleet,
            watches,
        }
    }

    fn message(&self, source: &Source) -> v1::Source {
        source::message(source, &self.ingest_base, Secrets::Redacted)
    }

    fn reply(&self, source: &Source) -> Reply<v1::Source> {
        Ok(Response::new(self.message(source)))
    }

    fn patched(
        &self,
        stored: &Source,
        request: &v1::PatchSourceRequest,
        patch: &v1::Source,
    ) -> Result<SourceDraft, ServiceError> {
        let current = source::message(stored, &self.ingest_base, Secrets::Revealed);
        let mask = request.update_mask.as_ref();
        let mut merged = mask::merge("hookplane.v1.Source", &current, patch, mask)?;
        source::forget_terms(&mut merged, patch);
        let names = |field| mask.is_some_and(|mask| mask.paths.iter().any(|path| path == field));
        if names("disabled_at") && !names("status") {
            // What was stored must not outvote what is asked for.
            merged.status = v1::SourceStatus::Unspecified.into();
        }
        let draft = source::draft(merged)?;
        Ok(SourceDraft {
            state: draft.state.settled(),
            ..draft
        })
    }
}

#[tonic::async_trait]
impl SourceService for SourceApi {
    type WatchSourcesStream = BoxStream<'static, Result<v1::WatchSourcesResponse, Status>>;

    async fn create_source(&self, request: Request<v1::CreateSourceRequest>) -> Reply<v1::Source> {
        let (call, asked) = parts(request)?;
        let message = required("source", asked.source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.create(&call, draft).await?)
    }

    async fn upsert_source(&self, request: Request<v1::UpsertSourceRequest>) -> Reply<v1::Source> {
        let (call, asked) = parts(request)?;
        let message = required("source", asked.source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.upsert(&call, draft).await?)
    }

    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Reply<v1::ListSourcesResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse(&asked.order_by, &asked.dir, asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let name = wanted("name", asked.name)?;
        let name = name.as_deref();
        let found = self.sources.store().sources(&team, name, &page).await?;
        let models: Vec<_> = found
            .rows
            .iter()
            .map(|source| self.message(source))
            .collect();
        Ok(Response::new(v1::ListSourcesResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_source(&self, request: Request<v1::GetSourceRequest>) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        let found = self.sources.store().source(&team, &id).await?;
        let kind = ResourceKind::Source;
        let found = found.ok_or(ServiceError::NotFound { kind, id })?;
        let mut message = self.message(&found);
        let uses = self.sources.store().secret_uses(&team, &found.id).await?;
        source::tell_uses(&mut message, &uses);
        message.agents = conditions::of(&self.fleet, &conditions::of_source(&found)).await?;
        Ok(Response::new(message))
    }

    async fn replace_source(
        &self,
        request: Request<v1::ReplaceSourceRequest>,
    ) -> Reply<v1::Source> {
        let (call, asked) = parts(request)?;
        let message = required("source", asked.source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.replace(&call, &asked.id, draft).await?)
    }

    async fn patch_source(&self, request: Request<v1::PatchSourceRequest>) -> Reply<v1::Source> {
        let (call, mut asked) = parts(request)?;
        let patch = required("source", asked.source.take())?;
        let edit = |stored: &Source| self.patched(stored, &asked, &patch);
        self.reply(&self.sources.patch(&call, &asked.id, edit).await?)
    }

    async fn delete_source(
        &self,
        request: Request<v1::DeleteSourceRequest>,
    ) -> Reply<v1::DeleteSourceResponse> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.sources.delete(&call, &id).await?;
        Ok(Response::new(v1::DeleteSourceResponse { id }))
    }

    async fn enable_source(&self, request: Request<v1::EnableSourceRequest>) -> Reply<v1::Source> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(&self.sources.set_enabled(&call, &id, true).await?)
    }

    async fn disable_source(
        &self,
        request: Request<v1::DisableSourceRequest>,
    ) -> Reply<v1::Source> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(&self.sources.set_enabled(&call, &id, false).await?)
    }

    async fn watch_sources(
        &self,
        request: Request<v1::WatchSourcesRequest>,
    ) -> Reply<Self::WatchSourcesStream> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let from = Resume {
            caller,
            epoch: asked.epoch,
            revision: asked.after_revision,
        };
        let ingest_base = self.ingest_base.clone();
        let items = self.watches.follow(from, move |told: Told<Source>| {
            let item = match told {
                Told::Changed(it) => {
                    Item::Changed(source::message(&it, &ingest_base, Secrets::Redacted))
                }
                Told::Deleted(id) => Item::DeletedId(id),
                Told::Mark(mark) => Item::Mark(mark),
            };
            v1::WatchSourcesResponse { item: Some(item) }
        })?;
        Ok(Response::new(items))
    }
}
