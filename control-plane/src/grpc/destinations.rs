//! `hookplane.v1.DestinationService`.

use futures::stream::BoxStream;
use hookplane_proto::v1;
use hookplane_proto::v1::destination_service_server::DestinationService;
use hookplane_proto::v1::watch_destinations_response::Item;
use tonic::{Request, Response, Status};

use super::changing::parts;
use super::watch::{Resume, Told, Watches};
use super::{caller, conditions, required, wanted};
use crate::domain::{Destination, ResourceKind};
use crate::fleet::Fleet;
use crate::service::{DestinationDraft, Destinations, ServiceError};
use crate::store::PageRequest;
use crate::wire::{Secrets, destination, mask, pagination};

type Reply<T> = Result<Response<T>, Status>;

pub struct DestinationApi {
    destinations: Destinations,
    fleet: Fleet,
    watches: Watches,
}

impl DestinationApi {
    #[must_use]
    pub const fn new(destinations: Destinations, fleet: Fleet, watches: Watches) -> Self {
        Self {
            destinations,
            fleet,
            watches,
        }
    }

    fn message(&self, destination: &Destination) -> v1::Destination {
        destination::message(destination, Secrets::Redacted)
    }

    fn reply(&self, destination: &Destination) -> Reply<v1::Destination> {
        Ok(Response::new(self.message(destination)))
    }

    fn patched(
        &self,
        stored: &Destination,
        request: &v1::PatchDestinationRequest,
        patch: &v1::Destination,
    ) -> Result<DestinationDraft, ServiceError> {
        let current = destination::message(stored, Secrets::Revealed);
        let mask = request.update_mask.as_ref();
        let merged = mask::merge("hookplane.v1.Destination", &current, patch, mask)?;
        let draft = destination::draft(merged)?;
        Ok(DestinationDraft {
            state: draft.state.settled(),
            ..draft
        })
    }
}

#[tonic::async_trait]
impl DestinationService for DestinationApi {
    type WatchDestinationsStream =
        BoxStream<'static, Result<v1::WatchDestinationsResponse, Status>>;

    async fn create_destination(
        &self,
        request: Request<v1::CreateDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, asked) = parts(request)?;
        let message = required("destination", asked.destination)?;
        let draft = destination::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.destinations.create(&call, draft).await?)
    }

    async fn upsert_destination(
        &self,
        request: Request<v1::UpsertDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, asked) = parts(request)?;
        let message = required("destination", asked.destination)?;
        let draft = destination::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.destinations.upsert(&call, draft).await?)
    }

    async fn list_destinations(
        &self,
        request: Request<v1::ListDestinationsRequest>,
    ) -> Reply<v1::ListDestinationsResponse> {
        let team = caller(&request)?.team_id;
        let asked = request.into_inner();
        let page = PageRequest::parse(&asked.order_by, &asked.dir, asked.limit, &asked.page_token)
            .map_err(ServiceError::from)?;
        let name = wanted("name", asked.name)?;
        let name = name.as_deref();
        let found = self
            .destinations
            .store()
            .destinations(&team, name, &page)
            .await?;
        let models: Vec<_> = found
            .rows
            .iter()
            .map(|destination| self.message(destination))
            .collect();
        Ok(Response::new(v1::ListDestinationsResponse {
            pagination: Some(pagination(&found)),
            count: u32::try_from(models.len()).unwrap_or(u32::MAX),
            models,
        }))
    }

    async fn get_destination(
        &self,
        request: Request<v1::GetDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let team = caller(&request)?.team_id;
        let id = request.into_inner().id;
        let found = self.destinations.store().destination(&team, &id).await?;
        let kind = ResourceKind::Destination;
        let found = found.ok_or(ServiceError::NotFound { kind, id })?;
        let mut message = self.message(&found);
        let subject = conditions::of_destination(&self.fleet, &found).await?;
        message.agents = conditions::of(&self.fleet, &subject).await?;
        Ok(Response::new(message))
    }

    async fn replace_destination(
        &self,
        request: Request<v1::ReplaceDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, asked) = parts(request)?;
        let message = required("destination", asked.destination)?;
        let draft = destination::draft(message).map_err(ServiceError::Invalid)?;
        self.reply(&self.destinations.replace(&call, &asked.id, draft).await?)
    }

    async fn patch_destination(
        &self,
        request: Request<v1::PatchDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, mut asked) = parts(request)?;
        let patch = required("destination", asked.destination.take())?;
        let edit = |stored: &Destination| self.patched(stored, &asked, &patch);
        self.reply(&self.destinations.patch(&call, &asked.id, edit).await?)
    }

    async fn delete_destination(
        &self,
        request: Request<v1::DeleteDestinationRequest>,
    ) -> Reply<v1::DeleteDestinationResponse> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.destinations.delete(&call, &id).await?;
        Ok(Response::new(v1::DeleteDestinationResponse { id }))
    }

    async fn enable_destination(
        &self,
        request: Request<v1::EnableDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(&self.destinations.set_enabled(&call, &id, true).await?)
    }

    async fn disable_destination(
        &self,
        request: Request<v1::DisableDestinationRequest>,
    ) -> Reply<v1::Destination> {
        let (call, asked) = parts(request)?;
        let id = asked.id;
        self.reply(&self.destinations.set_enabled(&call, &id, false).await?)
    }

    async fn watch_destinations(
        &self,
        request: Request<v1::WatchDestinationsRequest>,
    ) -> Reply<Self::WatchDestinationsStream> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let from = Resume {
            caller,
            epoch: asked.epoch,
            revision: asked.after_revision,
        };

        let items = self.watches.follow(from, move |told: Told<Destination>| {
            let item = match told {
                Told::Changed(it) => Item::Changed(destination::message(&it, Secrets::Redacted)),
                Told::Deleted(id) => Item::DeletedId(id),
                Told::Mark(mark) => Item::Mark(mark),
            };
            v1::WatchDestinationsResponse { item: Some(item) }
        })?;
        Ok(Response::new(items))
    }
}
