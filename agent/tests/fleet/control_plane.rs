//! A control plane that does exactly what the test says: a real gRPC server on
//! loopback whose streams are handed to the test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookplane_proto::agent::v1 as wire;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use wire::configuration_stream_request::Message as Said;
use wire::configuration_stream_response::Message as Tell;

const PATIENCE: Duration = Duration::from_secs(20);

/// What outlives a restart of the scripted control plane: its database, so to say.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// Credential hash to agent id and store number.
    agents: Arc<Mutex<HashMap<String, (String, u32)>>>,
    enrolments: Arc<Mutex<Vec<wire::EnrollRequest>>>,
}

impl Known {
    pub(crate) fn forget_everybody(&self) {
        self.agents.lock().unwrap().clear();
    }

    pub(crate) fn enrolments(&self) -> Vec<wire::EnrollRequest> {
        self.enrolments.lock().unwrap().clone()
    }
}

pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    configurations: mpsc::Receiver<Conversation>,
    commands: mpsc::Receiver<Questions>,
    reports: mpsc::Receiver<Reports>,
    stop: CancellationToken,
    served: Option<std::thread::JoinHandle<()>>,
}

/// One configuration stream; the hello was heard.
pub(crate) struct Conversation {
    pub(crate) hello: wire::Hello,
    heard: Streaming<wire::ConfigurationStreamRequest>,
    tell: mpsc::Sender<Result<wire::ConfigurationStreamResponse, Status>>,
    nonce: u64,
}

/// One command stream.
pub(crate) struct Questions {
    heard: Streaming<wire::CommandStreamRequest>,
    tell: mpsc::Sender<Result<wire::CommandStreamResponse, Status>>,
    last: u64,
}

/// One report stream.
pub(crate) struct Reports {
    heard: Streaming<wire::ReportStreamRequest>,
    tell: mpsc::Sender<Result<wire::ReportStreamResponse, Status>>,
}

/// How an agent ended a change.
#[derive(Debug)]
pub(crate) enum Verdict {
    Ack(wire::Ack),
    Nack(wire::Nack),
}

impl ControlPlane {
    pub(crate) async fn start(known: &Known, token: &str) -> Self {
        Self::serve(known, token, "127.0.0.1:0", None).await
    }

    pub(crate) async fn start_at(known: &Known, token: &str, address: SocketAddr) -> Self {
        Self::serve(known, token, &address.to_string(), None).await
    }

    pub(crate) async fn start_with_tls(known: &Known, token: &str, tls: Identity) -> Self {
        Self::serve(known, token, "127.0.0.1:0", Some(tls)).await
    }

    async fn serve(known: &Known, token: &str, address: &str, tls: Option<Identity>) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_configurations, configurations) = mpsc::channel(8);
        let (to_commands, commands) = mpsc::channel(8);
        let (to_reports, reports) = mpsc::channel(8);
        let desk = Desk {
            known: known.clone(),
            token: token.to_owned(),
            to_configurations,
            to_commands,
            to_reports,
        };
        let listener = listener.into_std().unwrap();
        let stop = CancellationToken::new();
        let told = stop.clone();
        // A runtime of its own: dropping it cuts every connection, as a crash would.
        let served = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = told.cancelled() => {}
                    () = desk.serve(listener, tls) => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            address,
            configurations,
            commands,
            reports,
            stop,
            served: Some(served),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn configuration(&mut self) -> Conversation {
        within("a configuration stream", self.configurations.recv())
            .await
            .unwrap()
    }

    pub(crate) async fn commands(&mut self) -> Questions {
        within("a command stream", self.commands.recv())
            .await
            .unwrap()
    }

    pub(crate) async fn reports(&mut self) -> Reports {
        within("a report stream", self.reports.recv())
            .await
            .unwrap()
    }

    /// Gone, with everything under way.
    pub(crate) fn crash(mut self) {
        self.stop.cancel();
        if let Some(served) = self.served.take() {
            served.join().unwrap();
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Conversation {
    /// Tells and hears the verdict; gives it with the nonce checked.
    async fn change(&mut self, message: Tell) -> Verdict {
        let nonce = self.nonce;
        self.tell(message).await;
        let verdict = self.verdict().await;
        let echoed = match &verdict {
            Verdict::Ack(ack) => ack.nonce,
            Verdict::Nack(nack) => nack.nonce,
        };
        assert_eq!(echoed, nonce, "the nonce is not echoed");
        verdict
    }

    pub(crate) async fn snapshot(
        &mut self,
        held: wire::Held,
        resources: Vec<wire::Resource>,
    ) -> Verdict {
        let message = self.chunk(held, 0, true, resources);
        self.change(message).await
    }

    pub(crate) fn chunk(
        &mut self,
        held: wire::Held,
        index: u32,
        last: bool,
        resources: Vec<wire::Resource>,
    ) -> Tell {
        self.nonce += 1;
        Tell::Snapshot(wire::SnapshotChunk {
            nonce: self.nonce,
            held: Some(held),
            index,
            last,
            resources,
            deleted_connections: Vec::new(),
        })
    }

    pub(crate) async fn delta(
        &mut self,
        base_revision: u64,
        held: wire::Held,
        upserts: Vec<wire::Resource>,
        removals: Vec<wire::ResourceKey>,
    ) -> Verdict {
        let message = self.delta_message(base_revision, held, upserts, removals);
        self.change(message).await
    }

    pub(crate) fn delta_message(
        &mut self,
        base_revision: u64,
        held: wire::Held,
        upserts: Vec<wire::Resource>,
        removals: Vec<wire::ResourceKey>,
    ) -> Tell {
        self.nonce += 1;
        Tell::Delta(wire::Delta {
            nonce: self.nonce,
            held: Some(held),
            base_revision,
            upserts,
            removals,
            deleted_connections: Vec::new(),
        })
    }

    pub(crate) async fn tell(&self, message: Tell) {
        let message = wire::ConfigurationStreamResponse {
            message: Some(message),
        };
        self.tell.send(Ok(message)).await.unwrap();
    }

    pub(crate) async fn verdict(&mut self) -> Verdict {
        loop {
            match self.said().await {
                Said::Ack(ack) => return Verdict::Ack(ack),
                Said::Nack(nack) => return Verdict::Nack(nack),
                Said::Heartbeat(_) => {}
                Said::Hello(_) => panic!("a second hello"),
            }
        }
    }

    pub(crate) async fn heartbeat(&mut self) -> wire::AgentHeartbeat {
        loop {
            if let Said::Heartbeat(heartbeat) = self.said().await {
                return heartbeat;
            }
        }
    }

    async fn said(&mut self) -> Said {
        let message = within("a message of the agent", self.heard.message()).await;
        message
            .unwrap()
            .expect("the stream is open")
            .message
            .unwrap()
    }
}

impl Questions {
    pub(crate) async fn tell(
        &mut self,
        team: &str,
        command: wire::command_stream_response::Command,
    ) -> u64 {
        self.last += 1;
        let message = wire::CommandStreamResponse {
            id: self.last,
            team_id: team.to_owned(),
            deadline_ms: 10_000,
            command: Some(command),
        };
        self.tell.send(Ok(message)).await.unwrap();
        self.last
    }

    pub(crate) async fn cancel(&mut self, id: u64) {
        let command = wire::command_stream_response::Command::Cancel(wire::CancelCommand {});
        let message = wire::CommandStreamResponse {
            id,
            command: Some(command),
            ..wire::CommandStreamResponse::default()
        };
        self.tell.send(Ok(message)).await.unwrap();
    }

    pub(crate) async fn heard(&mut self) -> (u64, wire::command_stream_request::Result) {
        let message = within("an answer to a command", self.heard.message()).await;
        let message = message.unwrap().expect("the stream is open");
        (message.id, message.result.unwrap())
    }

    /// Asks and hears the one answer.
    pub(crate) async fn ask(
        &mut self,
        team: &str,
        command: wire::command_stream_response::Command,
    ) -> wire::command_stream_request::Result {
        let id = self.tell(team, command).await;
        let (answered, result) = self.heard().await;
        assert_eq!(answered, id);
        result
    }
}

impl Reports {
    pub(crate) async fn next(&mut self) -> wire::ReportStreamRequest {
        let message = within("a report", self.heard.message()).await;
        message.unwrap().expect("the stream is open")
    }

    pub(crate) async fn acknowledge(&self, up_to: u64) {
        let answer = wire::ReportStreamResponse {
            acknowledged: up_to,
        };
        self.tell.send(Ok(answer)).await.unwrap();
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

#[derive(Clone)]
struct Desk {
    known: Known,
    token: String,
    to_configurations: mpsc::Sender<Conversation>,
    to_commands: mpsc::Sender<Questions>,
    to_reports: mpsc::Sender<Reports>,
}

impl Desk {
    async fn serve(self, listener: std::net::TcpListener, tls: Option<Identity>) {
        let mut server = Server::builder();
        if let Some(identity) = tls {
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).unwrap();
        }
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        server
            .add_service(wire::enrolment_service_server::EnrolmentServiceServer::new(
                self.clone(),
            ))
            .add_service(
                wire::configuration_service_server::ConfigurationServiceServer::new(self.clone()),
            )
            .add_service(wire::command_service_server::CommandServiceServer::new(
                self.clone(),
            ))
            .add_service(wire::report_service_server::ReportServiceServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let credential = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Bearer hpa_"))
            .ok_or_else(|| Status::unauthenticated("no credential"))?;
        let hash = hex::encode(Sha256::digest(format!("hpa_{credential}")));
        match self.known.agents.lock().unwrap().contains_key(&hash) {
            true => Ok(()),
            false => Err(Status::unauthenticated("unknown agent")),
        }
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl wire::enrolment_service_server::EnrolmentService for Desk {
    async fn enroll(
        &self,
        request: Request<wire::EnrollRequest>,
    ) -> Result<Response<wire::EnrollResponse>, Status> {
        let request = request.into_inner();
        self.known.enrolments.lock().unwrap().push(request.clone());
        if request.join_token != self.token {
            return Err(Status::unauthenticated("wrong token"));
        }
        let mut agents = self.known.agents.lock().unwrap();
        let number = agents.len() as u32 + 1;
        let (agent_id, store) = agents
            .entry(request.credential_hash)
            .or_insert_with(|| (format!("agt_{number}"), number))
            .clone();
        Ok(Response::new(wire::EnrollResponse {
            agent_id,
            store,
            epoch: "e".into(),
        }))
    }
}

#[tonic::async_trait]
impl wire::configuration_service_server::ConfigurationService for Desk {
    type StreamStream = Answers<wire::ConfigurationStreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::ConfigurationStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.admit(&request)?;
        let mut heard = request.into_inner();
        let Some(Said::Hello(hello)) = heard.message().await?.and_then(|first| first.message)
        else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (tell, answers) = mpsc::channel(16);
        let conversation = Conversation {
            hello,
            heard,
            tell,
            nonce: 0,
        };
        self.to_configurations.send(conversation).await.ok();
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl wire::command_service_server::CommandService for Desk {
    type StreamStream = Answers<wire::CommandStreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::CommandStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.admit(&request)?;
        let heard = request.into_inner();
        let (tell, answers) = mpsc::channel(16);
        let questions = Questions {
            heard,
            tell,
            last: 0,
        };
        self.to_commands.send(questions).await.ok();
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl wire::report_service_server::ReportService for Desk {
    type StreamStream = Answers<wire::ReportStreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::ReportStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        self.admit(&request)?;
        let heard = request.into_inner();
        let (tell, answers) = mpsc::channel(16);
        self.to_reports.send(Reports { heard, tell }).await.ok();
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
