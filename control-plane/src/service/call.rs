//! How a caller wants a change made: for real or not, once, and on top of what was read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ServiceError;
use crate::domain::audit::Actor;
use crate::domain::{Millis, Violation};
use crate::store::{Change, Recalled};

const MAX_REQUEST_ID: usize = 128;

/// Who changes something, and under which conditions.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub team_id: String,
    /// The key that calls.
    pub key_id: String,
    /// Its name at this time.
    pub key_name: String,
    /// Everything is checked, nothing is kept.
    pub validate_only: bool,
    /// The resource has to be the one that was read.
    pub etag: Option<String>,
    pub repeat: Option<Repeat>,
}

/// What makes a call sent again the same call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Chosen by the caller.
    pub request_id: String,
    /// Hash of the method and all that is asked.
    pub fingerprint: String,
}

impl Repeat {
    /// # Errors
    /// [`ServiceError::Invalid`] for an id that could not be told apart in a log.
    pub fn new(request_id: String, fingerprint: String) -> Result<Self, ServiceError> {
        let printable = request_id.bytes().all(|byte| byte.is_ascii_graphic());
        if request_id.len() > MAX_REQUEST_ID || !printable {
            let text = format!("1 to {MAX_REQUEST_ID} printable ASCII characters without spaces");
            return Err(vec![Violation::new("request_id", text)].into());
        }
        Ok(Self {
            request_id,
            fingerprint,
        })
    }
}

impl Call {
    /// For real, of a team, on top of whatever there is.
    #[must_use]
    pub fn of_team(team_id: &str) -> Self {
        Self {
            team_id: team_id.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn actor(&self) -> Actor {
        Actor {
            team_id: self.team_id.clone(),
            key_id: self.key_id.clone(),
            key_name: self.key_name.clone(),
        }
    }

    /// What this call was answered when it was made before.
    pub(super) async fn answered<A: DeserializeOwned>(
        &self,
        change: &Change,
        now: Millis,
    ) -> Result<Option<A>, ServiceError> {
        let Some(repeat) = &self.repeat else {
            return Ok(None);
        };
        // A dry run is never remembered, and never an answer to a real one.
        if self.validate_only {
            return Ok(None);
        }
        let call = (self.team_id.as_str(), repeat.request_id.as_str());
        match change.recall(call, &repeat.fingerprint, now).await? {
            Recalled::Answer(answer) => Ok(Some(answer)),
            Recalled::Other => Err(ServiceError::RequestIdReused {
                id: repeat.request_id.clone(),
            }),
            Recalled::Nothing => Ok(None),
        }
    }

    /// Ends the change: kept with its answer, or dropped when it was a dry run.
    pub(super) async fn finish<A: Serialize>(
        &self,
        change: Change,
        answer: &A,
        changed: bool,
        now: Millis,
    ) -> Result<(), ServiceError> {
        if self.validate_only {
            return Ok(());
        }
        if let Some(repeat) = &self.repeat {
            let call = (self.team_id.as_str(), repeat.request_id.as_str());
            let answered = (repeat.fingerprint.as_str(), answer);
            change.remember(call, answered, now).await?;
        }
        match (changed, &self.repeat) {
            (true, _) => change.commit().await?,
            (false, Some(_)) => change.commit_unrevised().await?,
            (false, None) => {}
        }
        Ok(())
    }
}
