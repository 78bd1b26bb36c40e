//! What a kind of resource can do over the API, in one form for all three.

use hookplane_client::Client;

use crate::failure::Failure;
use crate::json::Shown;
use crate::resources::paging::Page;

/// A kind of resource.
pub(crate) trait Kind {
    type Message: Shown + Default + Clone;

    /// `source`, for messages.
    const NOUN: &'static str;
    /// `src_`, of its ids.
    const PREFIX: &'static str;
    const COLUMNS: &'static [&'static str];

    fn id(message: &Self::Message) -> &str;
    fn name(message: &Self::Message) -> &str;
    /// Cells for [`Self::COLUMNS`].
    fn row(message: &Self::Message) -> Vec<String>;
    /// Everything, for one.
    fn values(message: &Self::Message) -> Vec<(&'static str, String)>;

    async fn get(client: &Client, id: &str) -> Result<Self::Message, Failure>;
    /// One page; a name asks for exactly that one.
    async fn list(
        client: &Client,
        limit: u32,
        page_token: String,
        name: &str,
    ) -> Result<Page<Self::Message>, Failure>;
    async fn create(client: &Client, message: Self::Message) -> Result<Self::Message, Failure>;
    async fn upsert(client: &Client, message: Self::Message) -> Result<Self::Message, Failure>;
    async fn patch(
        client: &Client,
        id: &str,
        message: Self::Message,
        paths: Vec<String>,
    ) -> Result<Self::Message, Failure>;
    async fn delete(client: &Client, id: &str) -> Result<(), Failure>;
}

/// A kind that can be taken out and put back.
pub(crate) trait Switchable: Kind {
    async fn switch(client: &Client, id: &str, on: bool) -> Result<Self::Message, Failure>;
}

/// The calls of a kind: the generated names follow one pattern.
macro_rules! calls {
    (
        $message:ident, $service:ident, $field:ident:
        $create:ident $create_request:ident, $upsert:ident $upsert_request:ident,
        $list:ident $list_request:ident, $get:ident $get_request:ident,
        $patch:ident $patch_request:ident, $delete:ident $delete_request:ident
    ) => {
        async fn get(client: &Client, id: &str) -> Result<v1::$message, Failure> {
            let request = v1::$get_request { id: id.to_owned() };
            Ok(Box::pin(client.$service().$get(request))
                .await?
                .into_inner())
        }

        async fn list(
            client: &Client,
            limit: u32,
            page_token: String,
            name: &str,
        ) -> Result<Page<v1::$message>, Failure> {
            let request = v1::$list_request {
                limit,
                page_token,
                name: name.to_owned(),
                ..Default::default()
            };
            let page = Box::pin(client.$service().$list(request))
                .await?
                .into_inner();
            Ok(Page::whole(page.pagination, page.models))
        }

        async fn create(client: &Client, message: v1::$message) -> Result<v1::$message, Failure> {
            let request = v1::$create_request {
                $field: Some(message),
                ..v1::$create_request::default()
            };
            Ok(Box::pin(client.$service().$create(request))
                .await?
                .into_inner())
        }

        async fn upsert(client: &Client, message: v1::$message) -> Result<v1::$message, Failure> {
            let request = v1::$upsert_request {
                $field: Some(message),
                ..v1::$upsert_request::default()
            };
            Ok(Box::pin(client.$service().$upsert(request))
                .await?
                .into_inner())
        }

        async fn patch(
            client: &Client,
            id: &str,
            message: v1::$message,
            paths: Vec<String>,
        ) -> Result<v1::$message, Failure> {
            let request = v1::$patch_request {
                id: id.to_owned(),
                $field: Some(message),
                update_mask: Some(prost_types::FieldMask { paths }),
                ..v1::$patch_request::default()
            };
            Ok(Box::pin(client.$service().$patch(request))
                .await?
                .into_inner())
        }

        async fn delete(client: &Client, id: &str) -> Result<(), Failure> {
            let request = v1::$delete_request {
                id: id.to_owned(),
                ..v1::$delete_request::default()
            };
            client.$service().$delete(request).await?;
            Ok(())
        }
    };
}

macro_rules! switchable {
    ($kind:ty, $message:ident, $service:ident: $enable:ident $enable_request:ident, $disable:ident $disable_request:ident) => {
        impl Switchable for $kind {
            async fn switch(client: &Client, id: &str, on: bool) -> Result<v1::$message, Failure> {
                let id = id.to_owned();
                let answer = if on {
                    client
                        .$service()
                        .$enable(v1::$enable_request {
                            id,
                            ..v1::$enable_request::default()
                        })
                        .await?
                } else {
                    client
                        .$service()
                        .$disable(v1::$disable_request {
                            id,
                            ..v1::$disable_request::default()
                        })
                        .await?
                };
                Ok(answer.into_inner())
            }
        }
    };
}

pub(super) use {calls, switchable};
