//! The keys under which secrets are stored: which are needed, and their exchange.

use serde_json::json;

use super::ServiceError;
use crate::clock::SharedClock;
use crate::domain::audit::{Act, Action};
use crate::domain::{Caller, Violation};
use crate::store::ConfigStore;
use crate::store::rekey::{KeyUses, LAST_TABLE, Layer, RekeyPlace, RekeyStep};
use crate::store::seal::KeyId;

/// Operations on stored secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    store: ConfigStore,
    clock: SharedClock,
}

impl Secrets {
    #[must_use]
    pub fn new(store: ConfigStore, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// The given keys, the one that seals first, and how many values are under which.
    pub async fn uses(&self) -> Result<(Vec<KeyId>, KeyUses), ServiceError> {
        Ok((self.store.given_keys(), self.store.key_uses().await?))
    }

    /// One step of an exchange. The first one is recorded.
    pub async fn rekey(
        &self,
        caller: &Caller,
        layer: Layer,
        token: &str,
    ) -> Result<RekeyStep, ServiceError> {
        let place = place(token)?;
        let actor = caller.into();
        let first = place == RekeyPlace::default();
        let record = first.then(|| (&actor, self.act(layer), self.clock.now_millis()));
        Ok(self.store.rekey(layer, place, record).await?)
    }

    fn act(&self, layer: Layer) -> Act {
        let current = self.store.given_keys().first().map(hex::encode);
        Act {
            action: Action::Rotate,
            kind: "secret_key",
            id: current.unwrap_or_default(),
            name: String::new(),
            revision: None,
            before: None,
            after: Some(json!({ "reencrypt": layer == Layer::Data })),
            secrets_changed: false,
        }
    }
}

/// Where an exchange goes on, as text.
#[must_use]
pub fn token(place: &RekeyPlace) -> String {
    format!("{}:{}", place.table, place.after)
}

fn place(token: &str) -> Result<RekeyPlace, ServiceError> {
    if token.is_empty() {
        return Ok(RekeyPlace::default());
    }
    let read = token.split_once(':').and_then(|(table, after)| {
        let printable = !after.chars().any(char::is_control);
        let table = table
            .parse()
            .ok()
            .filter(|table| (1..=LAST_TABLE).contains(table))?;
        let after = after.to_owned();
        printable.then_some(RekeyPlace { table, after })
    });
    let fault = "the token is not one that was answered; start again without it";
    read.ok_or_else(|| vec![Violation::new("page_token", fault)].into())
}
