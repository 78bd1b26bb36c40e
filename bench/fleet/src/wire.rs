//! As much of the configuration stream's messages as a simulated agent reads.
//!
//! A thousand agents that decoded every resource would measure themselves. The
//! field numbers are the contract's; what is left out is skipped.

use hookplane_proto::agent::v1::{ConfigurationStreamRequest, Held};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

const STREAM: &str = "/hookplane.agent.v1.ConfigurationService/Stream";
/// One source with all its connections is one message.
const MAX_MESSAGE: usize = 16 << 20;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Told {
    #[prost(message, optional, tag = "1")]
    pub(crate) current: Option<Change>,
    #[prost(message, optional, tag = "2")]
    pub(crate) delta: Option<Delta>,
    #[prost(message, optional, tag = "3")]
    pub(crate) snapshot: Option<Chunk>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Change {
    #[prost(message, optional, tag = "1")]
    pub(crate) held: Option<Held>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Delta {
    #[prost(uint64, tag = "1")]
    pub(crate) nonce: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) held: Option<Held>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Chunk {
    #[prost(uint64, tag = "1")]
    pub(crate) nonce: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) held: Option<Held>,
    #[prost(bool, tag = "4")]
    pub(crate) last: bool,
}

/// Opens a configuration stream and reads it as `M`.
pub(crate) async fn open<M>(
    channel: Channel,
    credential: &str,
    outgoing: impl futures::Stream<Item = ConfigurationStreamRequest> + Send + 'static,
) -> Result<Streaming<M>, Status>
where
    M: prost::Message + Default + Send + 'static,
{
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<ConfigurationStreamRequest, M>::default();
    let path = PathAndQuery::from_static(STREAM);
    let request = with_credential(outgoing, credential)?;
    Ok(client.streaming(request, path, codec).await?.into_inner())
}

/// A request of an agent.
pub(crate) fn with_credential<T>(message: T, credential: &str) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {credential}"))
        .map_err(|error| Status::internal(error.to_string()))?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}
