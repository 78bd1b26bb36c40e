//! A scripted agent with evidence: answers commands from what it was given.

use std::sync::{Arc, Mutex};

use hookplane_proto::agent::v1::command_stream_request::Result as Answer;
use hookplane_proto::agent::v1::command_stream_response::Command;
use hookplane_proto::agent::v1::{CommandError, CommandStreamRequest, CommandStreamResponse};
use hookplane_proto::id::{Id, Kind};
use hookplane_proto::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::agent::{Got, Holding, Talk, TestAgent};
use crate::plane::{Plane, within};

/// Answers in the agent's place; `None` leaves a command without answer.
pub(crate) type Script = Box<dyn Fn(&Witness, &Command) -> Option<Answer> + Send + Sync>;

/// What one agent holds and was asked.
pub(crate) struct Witness {
    pub(crate) store: u32,
    pub(crate) events: Vec<v1::Event>,
    asked: Mutex<Vec<(u64, String, Command)>>,
    say: mpsc::Sender<CommandStreamRequest>,
}

/// A connected agent with evidence. Dropped, it is gone.
pub(crate) struct Holder {
    pub(crate) agent: TestAgent,
    pub(crate) witness: Arc<Witness>,
    away: CancellationToken,
    _talk: Talk,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.away.cancel();
    }
}

pub(crate) fn event(store: u32, millis: u64) -> v1::Event {
    v1::Event {
        id: Id::new(Kind::Event, millis, store, millis).to_string(),
        status: v1::EventStatus::Failed.into(),
        ..v1::Event::default()
    }
}

impl Holder {
    /// An agent that holds an event of each of these times.
    pub(crate) async fn of(plane: &Plane, name: &str, times: &[u64]) -> Self {
        Self::scripted(plane, name, times, Box::new(Witness::answer)).await
    }

    pub(crate) async fn scripted(plane: &Plane, name: &str, times: &[u64], script: Script) -> Self {
        let agent = TestAgent::enrolled(plane, name, "default").await;
        let mut talk = agent.configuration(Holding::default()).await;
        assert!(matches!(talk.apply().await, Got::Snapshot(..)));
        let (say, hear) = agent.commands().await;
        let witness = Arc::new(Witness {
            store: agent.store,
            events: times.iter().map(|at| event(agent.store, *at)).collect(),
            asked: Mutex::new(Vec::new()),
            say,
        });
        let away = CancellationToken::new();
        let (listener, gone) = (Arc::clone(&witness), away.clone());
        plane.tasks.spawn(async move {
            tokio::select! {
                () = gone.cancelled() => {}
                () = listener.listen(hear, script) => {}
            }
        });
        let streams = plane.fleet.gauges().streams;
        assert!(streams >= 2, "{streams} streams are open");
        Self {
            agent,
            witness,
            away,
            _talk: talk,
        }
    }

    /// Ends its streams, and waits until the control plane knows.
    pub(crate) async fn leave(self, plane: &Plane) {
        let before = plane.fleet.gauges().streams;
        drop(self);
        within("its streams end", async {
            while plane.fleet.gauges().streams + 2 > before {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

impl Witness {
    async fn listen(&self, mut hear: Streaming<CommandStreamResponse>, script: Script) {
        while let Ok(Some(message)) = hear.message().await {
            let command = message.command.expect("a command says what it wants");
            let team = message.team_id.clone();
            let answer = script(self, &command);
            self.asked
                .lock()
                .expect("no test panics here")
                .push((message.id, team, command));
            if let Some(answer) = answer {
                self.say(message.id, answer).await;
            }
        }
    }

    pub(crate) async fn say(&self, id: u64, answer: Answer) {
        let result = Some(answer);
        let sent = self.say.send(CommandStreamRequest { id, result }).await;
        sent.expect("an open command stream");
    }

    /// The commands so far, cancellations included.
    pub(crate) fn asked(&self) -> Vec<Command> {
        let asked = self.asked.lock().expect("no test panics here");
        asked
            .iter()
            .map(|(_, _, command)| command.clone())
            .collect()
    }

    /// Waits for a command and gives its number and team.
    pub(crate) async fn heard(&self, what: &str, wanted: fn(&Command) -> bool) -> (u64, String) {
        within(what, async {
            loop {
                let found = {
                    let asked = self.asked.lock().expect("no test panics here");
                    let found = asked.iter().find(|(_, _, command)| wanted(command));
                    found.map(|(id, team, _)| (*id, team.clone()))
                };
                match found {
                    Some(found) => return found,
                    None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            }
        })
        .await
    }

    /// As a real agent would, from its events.
    pub(crate) fn answer(&self, command: &Command) -> Option<Answer> {
        let known = |id: &str| self.events.iter().find(|event| event.id == id).cloned();
        let missing = || {
            Answer::Error(CommandError {
                code: 5,
                message: "there is no such event".to_owned(),
                hint: "list the events".to_owned(),
            })
        };
        Some(match command {
            Command::ListEvents(asked) => Answer::ListEvents(self.page(asked)),
            Command::CountEvents(_) => Answer::CountEvents(v1::CountEventsResponse {
                count: self.events.len() as u64,
                failed: self.events.len() as u64,
                ..v1::CountEventsResponse::default()
            }),
            Command::GetEvent(asked) => known(&asked.id).map_or_else(missing, Answer::GetEvent),
            Command::RetryEvent(asked) => match known(&asked.id) {
                None => missing(),
                Some(event) => Answer::RetryEvent(v1::RetryEventResponse {
                    replay_event_id: Id::new(Kind::Event, 9, self.store, 9).to_string(),
                    event_id: event.id,
                }),
            },
            _ => return None,
        })
    }

    fn page(&self, asked: &v1::ListEventsRequest) -> v1::ListEventsResponse {
        let token = &asked.page_token;
        let mut models: Vec<_> = self
            .events
            .iter()
            .filter(|event| token.is_empty() || event.id < *token)
            .cloned()
            .collect();
        models.sort_by(|one, other| other.id.cmp(&one.id));
        let more = models.len() > asked.limit as usize;
        models.truncate(asked.limit as usize);
        let last = models.last().map(|event| event.id.clone());
        v1::ListEventsResponse {
            count: models.len() as u32,
            pagination: Some(v1::Pagination {
                next: last.filter(|_| more).unwrap_or_default(),
                ..v1::Pagination::default()
            }),
            models,
            ..v1::ListEventsResponse::default()
        }
    }
}
