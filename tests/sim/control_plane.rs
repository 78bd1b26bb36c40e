//! The agent's control plane, speaking the real protocol from memory.
//!
//! Not the real one: that one waits for its database's threads, whose pace would be that of
//! the machine. Owns what a control plane owes to its agent: an answer to each hello, changes
//! as deltas, everything when a delta does not fit, each report counted once. What it holds
//! outlives its restarts.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookplane_proto::agent::v1 as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wire::configuration_stream_request::Message as Said;
use wire::configuration_stream_response::Message as Tell;

use crate::configuration::{Change, Configuration};
use crate::network::{incoming, listen};

pub(crate) const PORT: u16 = 8080;
pub(crate) const JOIN_TOKEN: &str = "join-me";
const LOOK: Duration = Duration::from_millis(100);
/// Looks between two heartbeats.
const BEAT: u32 = 20;

/// What was reported, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) received: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) repeats: u64,
    pub(crate) attempts: u64,
    pub(crate) successful: u64,
}

/// Clones share what is held.
#[derive(Clone)]
pub(crate) struct ControlPlane {
    held: Arc<Mutex<Held>>,
    tasks: TaskTracker,
}

struct Held {
    configuration: Configuration,
    /// Of the last report that was counted.
    counted: u64,
    sums: Sums,
    /// What no correct agent does.
    broken: Vec<String>,
}

impl ControlPlane {
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            held: Arc::new(Mutex::new(Held {
                configuration,
                counted: 0,
                sums: Sums::default(),
                broken: Vec::new(),
            })),
            tasks: TaskTracker::new(),
        }
    }

    /// A change, and the revision it made.
    pub(crate) fn change(&self, change: Change) -> u64 {
        let mut held = self.lock();
        held.configuration.change(change);
        held.configuration.revision()
    }

    pub(crate) fn sums(&self) -> Sums {
        self.lock().sums
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// Serves until its host is ended.
    pub(crate) async fn serve(self) -> io::Result<()> {
        use wire::command_service_server::CommandServiceServer;
        use wire::configuration_service_server::ConfigurationServiceServer;
        use wire::enrolment_service_server::EnrolmentServiceServer;
        use wire::report_service_server::ReportServiceServer;

        let listener = listen(PORT).await?;
        Server::builder()
            .add_service(EnrolmentServiceServer::new(self.clone()))
            .add_service(ConfigurationServiceServer::new(self.clone()))
            .add_service(CommandServiceServer::new(self.clone()))
            .add_service(ReportServiceServer::new(self))
            .serve_with_incoming(incoming(listener))
            .await
            .map_err(io::Error::other)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One session of the configuration stream; ends when either side is gone.
    async fn converse(
        self,
        mut heard: Streaming<wire::ConfigurationStreamRequest>,
        tell: mpsc::Sender<Result<wire::ConfigurationStreamResponse, Status>>,
    ) {
        let Ok(Some(hello)) = heard.message().await else {
            return;
        };
        let Some(Said::Hello(hello)) = hello.message else {
            self.lock().broken.push("no hello came first".to_owned());
            return;
        };
        let mut session = Session {
            plane: self,
            sent: 0,
            nonce: 0,
            looks: 0,
        };
        let mut looks = tokio::time::interval(LOOK);
        let mut next = Some(session.answer(hello.held.as_ref()));
        loop {
            if let Some(message) = next.take() {
                let message = wire::ConfigurationStreamResponse {
                    message: Some(message),
                };
                if tell.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                biased;
                said = heard.message() => match said {
                    Ok(Some(said)) => session.hear(said),
                    _ => return,
                },
                _ = looks.tick() => next = session.look(),
            }
        }
    }

    /// Counts a report unless it was counted; gives up to which one all are.
    fn count(&self, report: &wire::ReportStreamRequest) -> u64 {
        let mut held = self.lock();
        if report.sequence > held.counted {
            if report.sequence != held.counted + 1 {
                let text = format!("report {} came after {}", report.sequence, held.counted);
                held.broken.push(text);
            }
            held.counted = report.sequence;
            let sums = &mut held.sums;
            for source in &report.sources {
                sums.received += source.received;
                sums.accepted += source.accepted;
                sums.rejected += source.rejected;
                sums.repeats += source.repeats;
            }
            for destination in &report.destinations {
                sums.attempts += destination.attempts;
                sums.successful += destination.successful;
            }
        }
        held.counted
    }
}

struct Session {
    plane: ControlPlane,
    /// Revision of the last change that was sent.
    sent: u64,
    nonce: u64,
    looks: u32,
}

impl Session {
    fn answer(&mut self, theirs: Option<&wire::Held>) -> Tell {
        let configuration = self.plane.lock().configuration.clone();
        let held = configuration.held();
        self.sent = held.revision;
        if theirs == Some(&held) {
            return Tell::Current(wire::Current { held: Some(held) });
        }
        self.nonce += 1;
        Tell::Snapshot(wire::SnapshotChunk {
            nonce: self.nonce,
            held: Some(held),
            index: 0,
            last: true,
            resources: configuration.resources(),
            deleted_connections: Vec::new(),
        })
    }

    /// What is new since the last look.
    fn look(&mut self) -> Option<Tell> {
        let configuration = self.plane.lock().configuration.clone();
        self.looks += 1;
        if configuration.revision() > self.sent {
            let base = std::mem::replace(&mut self.sent, configuration.revision());
            self.nonce += 1;
            return Some(Tell::Delta(wire::Delta {
                nonce: self.nonce,
                held: Some(configuration.held()),
                base_revision: base,
                upserts: configuration.since(base),
                removals: Vec::new(),
                deleted_connections: Vec::new(),
            }));
        }
        self.looks.is_multiple_of(BEAT).then(|| {
            Tell::Heartbeat(wire::ControlHeartbeat {
                revision: configuration.revision(),
                at: None,
            })
        })
    }

    fn hear(&self, said: wire::ConfigurationStreamRequest) {
        if let Some(Said::Nack(nack)) = said.message {
            let text = format!("a good configuration is refused: {:?}", nack.refused);
            self.plane.lock().broken.push(text);
        }
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl wire::enrolment_service_server::EnrolmentService for ControlPlane {
    async fn enroll(
        &self,
        request: Request<wire::EnrollRequest>,
    ) -> Result<Response<wire::EnrollResponse>, Status> {
        if request.into_inner().join_token != JOIN_TOKEN {
            return Err(Status::unauthenticated("wrong token"));
        }
        Ok(Response::new(wire::EnrollResponse {
            agent_id: "agt_1".to_owned(),
            store: 1,
            epoch: "e".to_owned(),
        }))
    }
}

#[tonic::async_trait]
impl wire::configuration_service_server::ConfigurationService for ControlPlane {
    type StreamStream = Answers<wire::ConfigurationStreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::ConfigurationStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (tell, answers) = mpsc::channel(16);
        let conversation = self.clone().converse(request.into_inner(), tell);
        self.tasks.spawn(conversation);
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl wire::command_service_server::CommandService for ControlPlane {
    type StreamStream = Answers<wire::CommandStreamResponse>;

    /// Asks nothing, and holds the stream open as long as the agent does.
    async fn stream(
        &self,
        request: Request<Streaming<wire::CommandStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (tell, answers) = mpsc::channel(1);
        let mut heard = request.into_inner();
        self.tasks.spawn(async move {
            while let Ok(Some(_)) = heard.message().await {}
            drop(tell);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

#[tonic::async_trait]
impl wire::report_service_server::ReportService for ControlPlane {
    type StreamStream = Answers<wire::ReportStreamResponse>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::ReportStreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (tell, answers) = mpsc::channel(16);
        let mut heard = request.into_inner();
        let plane = self.clone();
        self.tasks.spawn(async move {
            while let Ok(Some(report)) = heard.message().await {
                let acknowledged = plane.count(&report);
                let answer = wire::ReportStreamResponse { acknowledged };
                if tell.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}
