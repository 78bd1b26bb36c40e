//! `hookplane.v1.SourceService`.

use hookplane_proto::v1;
use hookplane_proto::v1::source_service_server::SourceService;
use tonic::{Request, Response, Status};

use super::{caller, required, wanted};
use crate::domain::{ResourceKind, Source};
use crate::service::{ServiceError, SourceDraft, Sources};
use crate::store::PageRequest;
use crate::wire::{Secrets, mask, pagination, source};

type Reply<T> = Result<Response<T>, Status>;

pub struct SourceApi {
    sources: Sources,
    ingest_base: String,
}

impl SourceApi {
    #[must_use]
    pub const fn new(sources: Sources, ingest_base: String) -> Self {
        Self {
            sources,
            ingest_base,
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
        let merged = mask::merge("hookplane.v1.Source", &current, patch, mask)?;
        let draft = source::draft(merged)?;
        Ok(SourceDraft {
            state: draft.state.settled(),
            ..draft
        })
    }
}

#[tonic::async_trait]
impl SourceService for SourceApi {
    async fn create_source(&self, request: Request<v1::CreateSourceRequest>) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let message = required("source", request.into_inner().source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.create(&team, draft).await?)
    }

    async fn upsert_source(&self, request: Request<v1::UpsertSourceRequest>) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let message = required("source", request.into_inner().source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.upsert(&team, draft).await?)
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
        self.reply(&found.ok_or(ServiceError::NotFound { kind, id })?)
    }

    async fn replace_source(
        &self,
        request: Request<v1::ReplaceSourceRequest>,
    ) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let message = required("source", asked.source)?;
        let draft = source::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.sources.replace(&team, &asked.id, draft).await?)
    }

    async fn patch_source(&self, request: Request<v1::PatchSourceRequest>) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let patch = required("source", asked.source.take())?;
        let edit = |stored: &Source| self.patched(stored, &asked, &patch);
        self.reply(&self.sources.patch(&team, &asked.id, edit).await?)
    }

    async fn delete_source(
        &self,
        request: Request<v1::DeleteSourceRequest>,
    ) -> Reply<v1::DeleteSourceResponse> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.sources.delete(&team, &id).await?;
        Ok(Response::new(v1::DeleteSourceResponse { id }))
    }

    async fn enable_source(&self, request: Request<v1::EnableSourceRequest>) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.reply(&self.sources.set_enabled(&team, &id, true).await?)
    }

    async fn disable_source(
        &self,
        request: Request<v1::DisableSourceRequest>,
    ) -> Reply<v1::Source> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        self.reply(&self.sources.set_enabled(&team, &id, false).await?)
    }
}
