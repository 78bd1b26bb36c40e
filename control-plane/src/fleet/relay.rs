//! Questions to agents that are connected to another replica, passed on to it.
//!
//! Evidence goes straight from replica to replica and is never written anywhere.
//! Invariant: what came from another replica is not passed on again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CommandStreamRequest, CommandStreamResponse};
use hookplane_proto::replica::v1::relay_service_client::RelayServiceClient;
use hookplane_proto::replica::v1::{
    AskFault, AskRequest, AskResponse, TailRequest, ask_response::Outcome,
};
use hookplane_proto::v1::TailRequestsRequest;
use thiserror::Error;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::commands::AskError;
use crate::store::replicas::Replica;

const CONNECT: Duration = Duration::from_secs(2);
/// Beyond what the agent may take: the way to the other replica and back.
const WAY: Duration = Duration::from_millis(500);
/// As large as what an agent may answer.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Ways to the other replicas, each dialled once.
pub(super) struct Relay {
    authority: Option<Certificate>,
    dialled: Mutex<HashMap<String, Channel>>,
}

/// The file with the authority of the other replicas' certificates is no use.
#[derive(Debug, Error)]
#[error("the authority of the other replicas cannot be read from {path}")]
pub struct InvalidAuthority {
    path: std::path::PathBuf,
    source: std::io::Error,
}

/// Reads the authority that vouches for the other replicas.
///
/// # Errors
/// [`InvalidAuthority`] when the file cannot be read.
pub fn authority(file: &Path) -> Result<Certificate, InvalidAuthority> {
    let pem = std::fs::read(file).map_err(|source| InvalidAuthority {
        path: file.to_owned(),
        source,
    })?;
    Ok(Certificate::from_pem(pem))
}

impl Relay {
    pub(super) fn new(authority: Option<Certificate>) -> Arc<Self> {
        Arc::new(Self {
            authority,
            dialled: Mutex::default(),
        })
    }

    /// Asks an agent through the replica that has it.
    pub(super) async fn ask(
        &self,
        replica: &Replica,
        agent_id: &str,
        team_id: &str,
        command: Command,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let mut client = self.client(replica).map_err(|_| AskError::Away)?;
        let asked = AskRequest {
            agent_id: agent_id.to_owned(),
            command: Some(CommandStreamResponse {
                id: 0,
                team_id: team_id.to_owned(),
                deadline_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX),
                command: Some(command),
            }),
        };
        let answer = client.ask(shown(replica, asked));
        match tokio::time::timeout(patience + WAY, answer).await {
            Err(_) => Err(AskError::Late(patience)),
            Ok(Err(status)) => Err(self.failed(replica, &status)),
            Ok(Ok(answer)) => outcome(answer.into_inner(), patience),
        }
    }

    /// Follows what the agents of another replica store.
    pub(super) async fn tail(
        &self,
        replica: &Replica,
        team_id: &str,
        asked: TailRequestsRequest,
    ) -> Result<BoxStream<'static, Answer>, AskError> {
        let mut client = self.client(replica).map_err(|_| AskError::Away)?;
        let asked = TailRequest {
            team_id: team_id.to_owned(),
            tail: Some(asked),
        };
        let opened = tokio::time::timeout(CONNECT, client.tail(shown(replica, asked))).await;
        let items = match opened {
            Err(_) => return Err(AskError::Late(CONNECT)),
            Ok(Err(status)) => return Err(self.failed(replica, &status)),
            Ok(Ok(items)) => items.into_inner(),
        };
        let items = items.take_while(|item| std::future::ready(item.is_ok()));
        let item = |item: Result<hookplane_proto::replica::v1::TailResponse, Status>| async {
            Some(Answer::TailRequests(item.ok()?.item?))
        };
        Ok(items.filter_map(item).boxed())
    }

    fn client(
        &self,
        replica: &Replica,
    ) -> Result<RelayServiceClient<Channel>, tonic::transport::Error> {
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match dialled.get(&replica.id) {
            Some(channel) => channel.clone(),
            None => {
                let mut endpoint = Endpoint::from_shared(replica.url.clone())?
                    .connect_timeout(CONNECT)
                    .tcp_nodelay(true);
                if replica.url.starts_with("https:") {
                    let tls = ClientTlsConfig::new();
                    endpoint = endpoint.tls_config(match &self.authority {
                        Some(authority) => tls.ca_certificate(authority.clone()),
                        None => tls.with_webpki_roots(),
                    })?;
                }
                let channel = endpoint.connect_lazy();
                dialled.insert(replica.id.clone(), channel.clone());
                channel
            }
        };
        Ok(RelayServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE))
    }

    fn failed(&self, replica: &Replica, status: &Status) -> AskError {
        tracing::warn!(
            replica = %replica.id,
            url = %replica.url,
            error = %status.message(),
            "another replica did not pass a question on"
        );
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        dialled.remove(&replica.id);
        match status.code() {
            // Sent, and then the connection broke.
            Code::Cancelled | Code::Unknown => AskError::Lost,
            _ => AskError::Away,
        }
    }
}

fn shown<T>(replica: &Replica, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(mut value) = MetadataValue::try_from(format!("Bearer {}", replica.token)) {
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn outcome(answer: AskResponse, patience: Duration) -> Result<Answer, AskError> {
    match answer.outcome {
        Some(Outcome::Answer(CommandStreamRequest { result, .. })) => match result {
            Some(Answer::Error(error)) => Err(AskError::Refused(error)),
            Some(answer) => Ok(answer),
            None => Err(AskError::Mismatch),
        },
        Some(Outcome::Fault(fault)) => Err(match AskFault::try_from(fault) {
            Ok(AskFault::Busy) => AskError::Busy,
            Ok(AskFault::Late) => AskError::Late(patience),
            Ok(AskFault::Lost) => AskError::Lost,
            Ok(AskFault::Away | AskFault::Unspecified) | Err(_) => AskError::Away,
        }),
        None => Err(AskError::Mismatch),
    }
}
