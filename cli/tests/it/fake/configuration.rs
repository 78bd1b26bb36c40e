//! Sources, destinations, connections.

use hookplane_client::v1::connection_service_server::ConnectionService;
use hookplane_client::v1::destination_service_server::DestinationService;
use hookplane_client::v1::source_service_server::SourceService;
use hookplane_client::v1::{self, Connection, Destination, Source, source_auth};
use prost_types::Timestamp;
use tokio_stream::Empty;
use tonic::{Code, Request, Response, Status};

use super::{Fake, State, not_found, refused};

/// The secrets of a resource, to be taken out and put back.
fn secrets(source: &mut Source) -> Vec<&mut String> {
    let auth = source
        .config
        .as_mut()
        .and_then(|config| config.auth.as_mut());
    match auth.and_then(|auth| auth.scheme.as_mut()) {
        Some(source_auth::Scheme::ProviderSignature(signature)) => {
            signature.webhook_signing_secrets.iter_mut().collect()
        }
        Some(source_auth::Scheme::Hmac(hmac)) => vec![&mut hmac.secret],
        _ => Vec::new(),
    }
}

fn check(source: &mut Source) -> Result<(), Status> {
    if source.r#type() != v1::SourceType::Clerk {
        return Ok(());
    }
    for secret in secrets(source) {
        if !secret.starts_with("whsec_") {
            let field = "config.auth.webhook_signing_secret";
            return Err(refused(
                Code::InvalidArgument,
                "SECRET_INVALID",
                "the signing secret cannot be used",
                "copy the endpoint's signing secret from Clerk's dashboard",
                &[(field, "a signing secret is `whsec_` and base64")],
            ));
        }
    }
    Ok(())
}

fn redacted(secret: &str) -> String {
    let end = secret
        .get(secret.len().saturating_sub(4)..)
        .unwrap_or_default();
    format!("whsec_\u{2022}\u{2022}\u{2022}\u{2022}{end}")
}

trait Kept: Clone + PartialEq {
    const PREFIX: &'static str;
    fn list(state: &mut State) -> &mut Vec<Self>;
    fn same(&self, other: &Self) -> bool;
    /// Brings it to the form that is kept.
    fn admit(&mut self, _state: &mut State) -> Result<(), Status> {
        Ok(())
    }
    fn fields(&mut self) -> (&mut String, &mut u64, &mut Option<Timestamp>);
}

impl Kept for Source {
    const PREFIX: &'static str = "src_";
    fn list(state: &mut State) -> &mut Vec<Self> {
        &mut state.sources
    }
    fn same(&self, other: &Self) -> bool {
        self.name == other.name
    }
    fn admit(&mut self, state: &mut State) -> Result<(), Status> {
        check(self)?;
        let plain: Vec<String> = secrets(self)
            .iter()
            .map(|secret| (*secret).clone())
            .collect();
        if state
            .secrets
            .insert(self.id.clone(), plain.clone())
            .is_some_and(|old| old != plain)
        {
            // Only the revision tells that a secret changed.
            state.revision += 1;
            self.revision = state.revision;
        }
        for secret in secrets(self) {
            *secret = redacted(secret);
        }
        self.url = format!("http://127.0.0.1:1/{}", self.id);
        "default".clone_into(&mut self.pool);
        Ok(())
    }
    fn fields(&mut self) -> (&mut String, &mut u64, &mut Option<Timestamp>) {
        (&mut self.id, &mut self.revision, &mut self.disabled_at)
    }
}

impl Kept for Destination {
    const PREFIX: &'static str = "des_";
    fn list(state: &mut State) -> &mut Vec<Self> {
        &mut state.destinations
    }
    fn same(&self, other: &Self) -> bool {
        self.name == other.name
    }
    fn fields(&mut self) -> (&mut String, &mut u64, &mut Option<Timestamp>) {
        (&mut self.id, &mut self.revision, &mut self.disabled_at)
    }
}

impl Kept for Connection {
    const PREFIX: &'static str = "web_";
    fn list(state: &mut State) -> &mut Vec<Self> {
        &mut state.connections
    }
    fn same(&self, other: &Self) -> bool {
        self.name == other.name && self.source_id == other.source_id
    }
    fn admit(&mut self, state: &mut State) -> Result<(), Status> {
        self.source = state
            .sources
            .iter()
            .find(|source| source.id == self.source_id)
            .cloned();
        let destination = state
            .destinations
            .iter()
            .find(|found| found.id == self.destination_id);
        self.destination = destination.cloned();
        Ok(())
    }
    fn fields(&mut self) -> (&mut String, &mut u64, &mut Option<Timestamp>) {
        (&mut self.id, &mut self.revision, &mut self.disabled_at)
    }
}

fn create<K: Kept>(state: &mut State, mut made: K) -> Result<K, Status> {
    if K::list(state).iter().any(|kept| kept.same(&made)) {
        let hint = "choose another name";
        return Err(refused(
            Code::AlreadyExists,
            "RESOURCE_ALREADY_EXISTS",
            "the name is taken",
            hint,
            &[],
        ));
    }
    let id = state.id(K::PREFIX);
    let (its_id, _, _) = made.fields();
    *its_id = id;
    made.admit(state)?;
    state.revision += 1;
    *made.fields().1 = state.revision;
    K::list(state).push(made.clone());
    Ok(made)
}

fn place<K: Kept>(state: &mut State, id: &str) -> Result<usize, Status> {
    let list = K::list(state);
    let found = list
        .iter_mut()
        .position(|kept| kept.fields().0.as_str() == id);
    found.ok_or_else(|| not_found(id))
}

fn replace<K: Kept>(state: &mut State, place: usize, mut wanted: K) -> Result<K, Status> {
    let mut held = K::list(state)[place].clone();
    let (id, revision, disabled) = held.fields();
    let (wanted_id, wanted_revision, wanted_disabled) = wanted.fields();
    (*wanted_id, *wanted_revision, *wanted_disabled) = (id.clone(), *revision, *disabled);
    wanted.admit(state)?;
    if wanted != held && *wanted.fields().1 == *held.fields().1 {
        state.revision += 1;
        *wanted.fields().1 = state.revision;
    }
    K::list(state)[place] = wanted.clone();
    Ok(wanted)
}

fn upsert<K: Kept>(state: &mut State, wanted: K) -> Result<K, Status> {
    match K::list(state).iter().position(|kept| kept.same(&wanted)) {
        Some(place) => replace(state, place, wanted),
        None => create(state, wanted),
    }
}

fn switch<K: Kept>(state: &mut State, id: &str, on: bool) -> Result<K, Status> {
    let place = place::<K>(state, id)?;
    let kept = &mut K::list(state)[place];
    *kept.fields().2 = (!on).then_some(Timestamp {
        seconds: 1_790_000_000,
        nanos: 0,
    });
    Ok(kept.clone())
}

fn hold(state: &mut State, id: &str, since: Option<i64>) -> Result<Connection, Status> {
    let place = place::<Connection>(state, id)?;
    let kept = &mut state.connections[place];
    kept.paused_at = since.map(|seconds| Timestamp { seconds, nanos: 0 });
    Ok(kept.clone())
}

/// One page of what has this name, cut by a token that is a place.
fn page<K: Kept>(all: Vec<K>, limit: u32, token: &str) -> (v1::Pagination, Vec<K>) {
    let start: usize = token.parse().unwrap_or(0);
    let end = all.len().min(start + limit.max(1) as usize);
    let pagination = v1::Pagination {
        limit,
        next: if end < all.len() {
            end.to_string()
        } else {
            String::new()
        },
        ..v1::Pagination::default()
    };
    (pagination, all[start..end].to_vec())
}

macro_rules! service {
    ($service:ident, $kind:ident, $field:ident: $(
        $create:ident $create_request:ident, $upsert:ident $upsert_request:ident,
        $list:ident $list_request:ident $list_response:ident, $get:ident $get_request:ident,
        $replace:ident $replace_request:ident, $patch:ident $patch_request:ident,
        $delete:ident $delete_request:ident $delete_response:ident,
        $enable:ident $enable_request:ident, $disable:ident $disable_request:ident;
        $($more:tt)*
    )?) => {$(
        #[tonic::async_trait]
        impl $service for Fake {
            $($more)*

            async fn $create(&self, request: Request<v1::$create_request>) -> Result<Response<$kind>, Status> {
                let wanted = request.into_inner().$field.unwrap();
                create(&mut self.state(), wanted).map(Response::new)
            }
            async fn $upsert(&self, request: Request<v1::$upsert_request>) -> Result<Response<$kind>, Status> {
                let wanted = request.into_inner().$field.unwrap();
                upsert(&mut self.state(), wanted).map(Response::new)
            }
            async fn $list(&self, request: Request<v1::$list_request>) -> Result<Response<v1::$list_response>, Status> {
                let request = request.into_inner();
                let mut all = <$kind>::list(&mut self.state()).clone();
                all.retain(|kept| request.name.is_empty() || kept.name == request.name);
                let (pagination, models) = page(all, request.limit, &request.page_token);
                let count = u32::try_from(models.len()).unwrap();
                Ok(Response::new(v1::$list_response { pagination: Some(pagination), count, models }))
            }
            async fn $get(&self, request: Request<v1::$get_request>) -> Result<Response<$kind>, Status> {
                let state = &mut self.state();
                let place = place::<$kind>(state, &request.into_inner().id)?;
                Ok(Response::new(<$kind>::list(state)[place].clone()))
            }
            async fn $replace(&self, request: Request<v1::$replace_request>) -> Result<Response<$kind>, Status> {
                let request = request.into_inner();
                let state = &mut self.state();
                let place = place::<$kind>(state, &request.id)?;
                replace(state, place, request.$field.unwrap()).map(Response::new)
            }
            async fn $patch(&self, request: Request<v1::$patch_request>) -> Result<Response<$kind>, Status> {
                let request = request.into_inner();
                let state = &mut self.state();
                let place = place::<$kind>(state, &request.id)?;
                let kept = &mut <$kind>::list(state)[place];
                let patch = request.$field.unwrap();
                for path in request.update_mask.unwrap().paths {
                    match path.as_str() {
                        "description" => kept.description.clone_from(&patch.description),
                        "labels" => kept.labels.clone_from(&patch.labels),
                        other => return Err(Status::invalid_argument(format!("no patch of {other} here"))),
                    }
                }
                Ok(Response::new(kept.clone()))
            }
            async fn $delete(&self, request: Request<v1::$delete_request>) -> Result<Response<v1::$delete_response>, Status> {
                let id = request.into_inner().id;
                let state = &mut self.state();
                let place = place::<$kind>(state, &id)?;
                <$kind>::list(state).remove(place);
                Ok(Response::new(v1::$delete_response { id }))
            }
            async fn $enable(&self, request: Request<v1::$enable_request>) -> Result<Response<$kind>, Status> {
                switch(&mut self.state(), &request.into_inner().id, true).map(Response::new)
            }
            async fn $disable(&self, request: Request<v1::$disable_request>) -> Result<Response<$kind>, Status> {
                switch(&mut self.state(), &request.into_inner().id, false).map(Response::new)
            }
        }
    )?};
}

service! { SourceService, Source, source:
    create_source CreateSourceRequest, upsert_source UpsertSourceRequest,
    list_sources ListSourcesRequest ListSourcesResponse, get_source GetSourceRequest,
    replace_source ReplaceSourceRequest, patch_source PatchSourceRequest,
    delete_source DeleteSourceRequest DeleteSourceResponse,
    enable_source EnableSourceRequest, disable_source DisableSourceRequest;

    type WatchSourcesStream = Empty<Result<v1::WatchSourcesResponse, Status>>;

    async fn watch_sources(
        &self,
        _: Request<v1::WatchSourcesRequest>,
    ) -> Result<Response<Self::WatchSourcesStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}
service! { DestinationService, Destination, destination:
    create_destination CreateDestinationRequest, upsert_destination UpsertDestinationRequest,
    list_destinations ListDestinationsRequest ListDestinationsResponse, get_destination GetDestinationRequest,
    replace_destination ReplaceDestinationRequest, patch_destination PatchDestinationRequest,
    delete_destination DeleteDestinationRequest DeleteDestinationResponse,
    enable_destination EnableDestinationRequest, disable_destination DisableDestinationRequest;

    type WatchDestinationsStream = Empty<Result<v1::WatchDestinationsResponse, Status>>;

    async fn watch_destinations(
        &self,
        _: Request<v1::WatchDestinationsRequest>,
    ) -> Result<Response<Self::WatchDestinationsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}
service! { ConnectionService, Connection, connection:
    create_connection CreateConnectionRequest, upsert_connection UpsertConnectionRequest,
    list_connections ListConnectionsRequest ListConnectionsResponse, get_connection GetConnectionRequest,
    replace_connection ReplaceConnectionRequest, patch_connection PatchConnectionRequest,
    delete_connection DeleteConnectionRequest DeleteConnectionResponse,
    enable_connection EnableConnectionRequest, disable_connection DisableConnectionRequest;

    type WatchConnectionsStream = Empty<Result<v1::WatchConnectionsResponse, Status>>;

    async fn watch_connections(
        &self,
        _: Request<v1::WatchConnectionsRequest>,
    ) -> Result<Response<Self::WatchConnectionsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn pause_connection(
        &self,
        request: Request<v1::PauseConnectionRequest>,
    ) -> Result<Response<Connection>, Status> {
        let asked = request.into_inner();
        hold(&mut self.state(), &asked.id, Some(0)).map(Response::new)
    }

    async fn unpause_connection(
        &self,
        request: Request<v1::UnpauseConnectionRequest>,
    ) -> Result<Response<Connection>, Status> {
        let asked = request.into_inner();
        let held = hold(&mut self.state(), &asked.id, None)?;
        Ok(Response::new(Connection {
            drain: Some(v1::Drain {
                resumed_at: None,
                rate: asked.rate,
            }),
            ..held
        }))
    }

    async fn get_latest_input(
        &self,
        _: Request<v1::GetLatestInputRequest>,
    ) -> Result<Response<v1::LatestInput>, Status> {
        Ok(Response::new(v1::LatestInput::default()))
    }
}
