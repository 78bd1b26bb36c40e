//! The Rust client of the control plane's gRPC API.
//!
//! Owns one lazy connection, the key attached to every call, and errors with
//! their code, detail, hint and fields. Refuses to know defaults, retries and
//! what resources mean: messages are those of [`hookplane_proto::v1`].
//!
//! Invariants: a key never travels over plain HTTP to another machine unless the
//! caller asked for exactly that; every unary call has a deadline; no value of
//! this crate prints a key.
//!
//! ```no_run
//! use hookplane_client::{Client, Error, Settings};
//! use hookplane_client::v1::{CreateSourceRequest, ListSourcesRequest, Source, SourceType};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::connect(Settings::new("http://127.0.0.1:8080", "hpk_…"))?;
//! let source = Source {
//!     name: "clerk".to_owned(),
//!     r#type: SourceType::Clerk.into(),
//!     ..Source::default()
//! };
//! let created = client
//!     .sources()
//!     .create_source(CreateSourceRequest { source: Some(source), ..CreateSourceRequest::default() })
//!     .await
//!     .map_err(Error::from);
//! if let Err(error) = created {
//!     println!("{error}; {}", error.hint.as_deref().unwrap_or_default());
//! }
//! let page = client
//!     .sources()
//!     .list_sources(ListSourcesRequest::default())
//!     .await?
//!     .into_inner();
//! println!("{} sources", page.count);
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod key;
mod settings;

pub use client::{Authorised, Client};
pub use error::{Error, FieldError};
pub use hookplane_proto::v1;
pub use key::BearerKey;
pub use settings::{InvalidSettings, Settings};
pub use tonic::Code;
