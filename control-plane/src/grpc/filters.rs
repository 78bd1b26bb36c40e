//! `hookplane.v1.FilterService`.

use futures::stream::BoxStream;
use hookplane_proto::v1;
use hookplane_proto::v1::filter_service_server::FilterService;
use hookplane_proto::v1::watch_filters_response::Item;
use hookplane_rules::{Filter as Compiled, Input, Verdict};
use tonic::{Request, Response, Status};

use super::changing::parts;
use super::watch::{Resume, Told, Watches};
use super::{caller, conditions, required, status, wanted};
use crate::domain::{Filter, ResourceKind, Violation};
use crate::fleet::Fleet;
use crate::service::{FilterDraft, Filters, ServiceError};
use crate::store::PageRequest;
use crate::store::config::FilterUse;
use crate::wire::{filter, mask, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct FilterApi {
    filters: Filters,
    fleet: Fleet,
    watches: Watches,
}

impl FilterApi {
    #[must_use]
    pub const fn new(filters: Filters, fleet: Fleet, watches: Watches) -> Self {
        Self {
            filters,
            fleet,
            watches,
        }
    }

    async fn messages(&self, filters: &[Filter]) -> Result<Vec<v1::Filter>, Status> {
        let ids = filters.iter().map(|one| one.id.clone()).collect();
        let uses = self.filters.store().filter_uses(ids).await?;
        let unused = FilterUse::default();
        Ok(filters
            .iter()
            .map(|one| filter::message(one, uses.get(&one.id).unwrap_or(&unused)))
            .collect())
    }

    async fn reply(&self, filter: Filter) -> Reply<v1::Filter> {
        let mut messages = self.messages(&[filter]).await?;
        Ok(Response::new(messages.remove(0)))
    }

    /// The conditions to test: those of the call, or stored ones.
    async fn tested(&self, team: &str, asked: v1::TestFilterRequest) -> Result<Compiled, Status> {
        let (spec, field) = match (asked.filter, asked.filter_id) {
            (Some(conditions), id) if id.is_empty() => (filter::spec(conditions), "filter"),
            (None, id) if !id.is_empty() => {
                let found = self.filters.store().filter(team, &id).await?;
                let kind = ResourceKind::Filter;
                let found = found.ok_or(ServiceError::NotFound { kind, id })?;
                (found.spec.conditions, "filter_id")
            }
            _ => {
                let text = "give conditions here, or a stored filter by `filter_id`";
                return Err(status::invalid(&[Violation::new("filter", text)]));
            }
        };
        Compiled::compile(&spec).map_err(|fault| {
            let field = format!("{field}.{}", fault.path);
            status::invalid(&[Violation::new(field, fault.message)])
        })
    }
}

fn patched(
    stored: &Filter,
    request: &v1::PatchFilterRequest,
    patch: &v1::Filter,
) -> Result<FilterDraft, ServiceError> {
    let current = filter::message(stored, &FilterUse::default());
    let mask = request.update_mask.as_ref();
    let merged = mask::merge("hookplane.v1.Filter", &current, patch, mask)?;
    Ok(filter::draft(merged))
}

#[tonic::async_trait]
impl FilterService for FilterApi {
    type WatchFiltersStream = BoxStream<'static, Result<v1::WatchFiltersResponse, Status>>;

    async fn create_filter(&self, request: Request<v1::CreateFilterRequest>) -> Reply<v1::Filter> {
        let (call, asked) = parts(request)?;
        let draft = filter::draft(required("filter", asked.filter)?);
        self.reply(self.filters.create(&call, draft).await?).await
    }

    async fn upsert_filter(&self, request: Request<v1::UpsertFilterRequest>) -> Reply<v1::Filter> {
        let (call, asked) = parts(request)?;
        let draft = filter::draft(required("filter", asked.filter)?);
        self.reply(self.filters.upsert(&call, draft).await?).await
    }

    async fn list_filters(
        &self,
        request: Request<v1::ListFiltersRequest>,
    ) -> Reply<v1::ListFiltersResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse(&asked.order_by, &asked.dir, asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let name = wanted("name", asked.name)?;
        let store = self.filters.store();
        let found = store.filters(&team, name.as_deref(), &page).await?;
        let models = self.messages(&found.rows).await?;
        Ok(Response::new(v1::ListFiltersResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_filter(&self, request: Request<v1::GetFilterRequest>) -> Reply<v1::Filter> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        let found = self.filters.store().filter(&team, &id).await?;
        let kind = ResourceKind::Filter;
        let found = found.ok_or(ServiceError::NotFound { kind, id })?;
        let subject = conditions::of_filter(&self.fleet, &found).await?;
        let mut reply = self.reply(found).await?;
        reply.get_mut().agents = conditions::of(&self.fleet, &subject).await?;
        Ok(reply)
    }

    async fn replace_filter(
        &self,
        request: Request<v1::ReplaceFilterRequest>,
    ) -> Reply<v1::Filter> {
        let (call, asked) = parts(request)?;
        let draft = filter::draft(required("filter", asked.filter)?);
        self.reply(self.filters.replace(&call, &asked.id, draft).await?)
            .await
    }

    async fn patch_filter(&self, request: Request<v1::PatchFilterRequest>) -> Reply<v1::Filter> {
        let (call, mut asked) = parts(request)?;
        let patch = required("filter", asked.filter.take())?;
        let edit = |stored: &Filter| patched(stored, &asked, &patch);
        self.reply(self.filters.patch(&call, &asked.id, edit).await?)
            .await
    }

    async fn delete_filter(
        &self,
        request: Request<v1::DeleteFilterRequest>,
    ) -> Reply<v1::DeleteFilterResponse> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.filters.delete(&call, &id).await?;
        Ok(Response::new(v1::DeleteFilterResponse { id }))
    }

    async fn test_filter(
        &self,
        request: Request<v1::TestFilterRequest>,
    ) -> Reply<v1::TestFilterResponse> {
        let team = caller(&request)?.team_id;
        let mut asked = request.into_inner();
        let input = filter::input(asked.input.take().unwrap_or_default());
        let compiled = self.tested(&team, asked).await?;
        let verdict = compiled.evaluate(&Input {
            headers: &input.headers,
            body: input.body.as_ref(),
            query: &input.query,
            path: &input.path,
            raw_body: b"",
        });
        Ok(Response::new(match verdict {
            Verdict::Match => v1::TestFilterResponse {
                matched: true,
                condition: String::new(),
            },
            Verdict::NoMatch { detail } | Verdict::Undecidable { detail } => {
                v1::TestFilterResponse {
                    matched: false,
                    condition: detail,
                }
            }
        }))
    }

    async fn watch_filters(
        &self,
        request: Request<v1::WatchFiltersRequest>,
    ) -> Reply<Self::WatchFiltersStream> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let from = Resume {
            caller,
            epoch: asked.epoch,
            revision: asked.after_revision,
        };

        let items = self.watches.follow(from, move |told: Told<Filter>| {
            let item = match told {
                Told::Changed(it) => Item::Changed(filter::message(&it, &FilterUse::default())),
                Told::Deleted(id) => Item::DeletedId(id),
                Told::Mark(mark) => Item::Mark(mark),
            };
            v1::WatchFiltersResponse { item: Some(item) }
        })?;
        Ok(Response::new(items))
    }
}
