//! A whole configuration in one change: what is named is made so, what is pruned goes
//! with all that depends on it, or nothing happens at all.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::resource::Resource;
use super::resource::steps::{self, Effect, Step};
use super::{Call, ConnectionDraft, DestinationDraft, FilterDraft, ServiceError, SourceDraft};
use crate::clock::SharedClock;
use crate::domain::connection::Rule;
use crate::domain::{Connection, Destination, Filter, Millis, ResourceKind, Source, Violation};
use crate::store::{Change, ConfigStore};

mod conditions;
mod shadow;

pub use shadow::Shadowed;

/// More than this is no longer one change that people can read.
const MOST: usize = 10_000;

/// What shall be.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub sources: Vec<Conditioned<SourceDraft>>,
    pub destinations: Vec<Conditioned<DestinationDraft>>,
    pub filters: Vec<Conditioned<FilterDraft>>,
    pub connections: Vec<WantedConnection>,
    /// Resources with this label that are not named here go.
    pub prune: Option<(String, String)>,
}

/// A draft, and the resource that it is made on top of.
#[derive(Clone, Debug)]
pub struct Conditioned<D> {
    pub draft: D,
    /// The stored one has to have it; without one there is no condition.
    pub etag: Option<String>,
}

/// A connection whose ends may be named instead of identified.
#[derive(Clone, Debug)]
pub struct WantedConnection {
    pub draft: ConnectionDraft,
    pub etag: Option<String>,
    /// Looked at when the draft has no id of it.
    pub source_name: String,
    pub destination_name: String,
}

/// One resource, before and after.
#[derive(Clone, Debug)]
pub struct Planned {
    /// `None`: it is created.
    pub before: Option<Snapshot>,
    /// `None`: it is deleted.
    pub after: Option<Snapshot>,
    pub changed: bool,
    /// Which deletion takes it along; empty when its own label does.
    pub because: String,
}

#[derive(Clone, Debug)]
pub enum Snapshot {
    Source(Box<Source>),
    Destination(Box<Destination>),
    Filter(Box<Filter>),
    Connection(Box<Connection>),
}

/// What was made, in order.
#[derive(Clone, Debug)]
pub struct Applied {
    pub steps: Vec<Planned>,
    /// The one that holds it all.
    pub revision: u64,
}

/// Applies whole configurations. Cheap to clone.
#[derive(Clone)]
pub struct Configuration {
    store: ConfigStore,
    clock: SharedClock,
    /// Teams whose apply is under way.
    under_way: Arc<Mutex<HashSet<String>>>,
}

impl Configuration {
    #[must_use]
    pub fn new(store: ConfigStore, clock: SharedClock) -> Self {
        Self {
            store,
            clock,
            under_way: Arc::default(),
        }
    }

    /// For reading.
    #[must_use]
    pub const fn store(&self) -> &ConfigStore {
        &self.store
    }

    /// Gives what `tell` makes of it, which is also what a call sent again is answered:
    /// that keeps no copy of the resources.
    ///
    /// # Errors
    /// [`ServiceError`] says what stands in the way; then nothing was changed.
    pub async fn apply<A: Serialize + DeserializeOwned>(
        &self,
        call: &Call,
        wanted: Wanted,
        tell: impl FnOnce(&Applied) -> A,
    ) -> Result<A, ServiceError> {
        bounded(&wanted)?;
        let _turn = Turn::of(&self.under_way, &call.team_id)?;
        let now = self.clock.now_millis();
        let change = self.store.change().await?;
        if let Some(answer) = call.answered(&change, now).await? {
            return Ok(answer);
        }
        let mut applying = Applying {
            change: &change,
            call,
            now,
            steps: Vec::new(),
            named: HashSet::new(),
            names: HashMap::new(),
        };
        applying.all(wanted).await?;
        let steps = applying.steps;
        let changed = steps.iter().any(|step| step.changed);
        // An unchanged configuration takes no revision.
        let revision = change.revision() - u64::from(!changed);
        let answer = tell(&Applied { steps, revision });
        // Made again, a call that changed nothing changes nothing.
        if changed {
            call.finish(change, &answer, changed, now).await?;
        }
        Ok(answer)
    }
}

/// That no other apply of the team is under way. Each holds up all other changes, and
/// the second one would only wait.
struct Turn {
    under_way: Arc<Mutex<HashSet<String>>>,
    team_id: String,
}

impl Turn {
    fn of(under_way: &Arc<Mutex<HashSet<String>>>, team_id: &str) -> Result<Self, ServiceError> {
        let mut teams = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if !teams.insert(team_id.to_owned()) {
            return Err(ServiceError::UnderWay);
        }
        Ok(Self {
            under_way: Arc::clone(under_way),
            team_id: team_id.to_owned(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let teams = self.under_way.lock();
        let mut teams = teams.unwrap_or_else(PoisonError::into_inner);
        teams.remove(&self.team_id);
    }
}

fn bounded(wanted: &Wanted) -> Result<(), ServiceError> {
    let count = wanted.sources.len()
        + wanted.destinations.len()
        + wanted.filters.len()
        + wanted.connections.len();
    if count > MOST {
        let text = format!("{count} resources; {MOST} are possible in one call");
        return Err(vec![Violation::new("connections", text)].into());
    }
    Ok(())
}

/// The change under way.
struct Applying<'a> {
    change: &'a Change,
    call: &'a Call,
    now: Millis,
    steps: Vec<Planned>,
    /// Ids that the call names: they are not pruned.
    named: HashSet<String>,
    /// Ids of what the call names, by kind and name.
    names: HashMap<(ResourceKind, String), String>,
}

/// A resource as a snapshot.
trait Snap: Resource {
    fn snap(self) -> Snapshot;
}

macro_rules! snap {
    ($($kind:ident),+) => {
        $(impl Snap for $kind {
            fn snap(self) -> Snapshot {
                Snapshot::$kind(Box::new(self))
            }
        })+
    };
}

snap!(Source, Destination, Filter, Connection);

impl<'a> Applying<'a> {
    fn team(&self) -> &'a str {
        &self.call.team_id
    }

    async fn all(&mut self, wanted: Wanted) -> Result<(), ServiceError> {
        // Before the first write, which can change the etags of what depends on it.
        self.judge(&wanted).await?;
        for (place, one) in wanted.sources.into_iter().enumerate() {
            let step = self.upsert::<Source>(one.draft).await;
            let step = step.map_err(|error| at(error, "sources", place))?;
            self.note(step, "sources", place)?;
        }
        for (place, one) in wanted.destinations.into_iter().enumerate() {
            let step = self.upsert::<Destination>(one.draft).await;
            let step = step.map_err(|error| at(error, "destinations", place))?;
            self.note(step, "destinations", place)?;
        }
        for (place, one) in wanted.filters.into_iter().enumerate() {
            let step = self.upsert::<Filter>(one.draft).await;
            let step = step.map_err(|error| at(error, "filters", place))?;
            self.note(step, "filters", place)?;
        }
        for (place, one) in wanted.connections.into_iter().enumerate() {
            let step = self.connect(one).await;
            let step = step.map_err(|error| at(error, "connections", place))?;
            self.note(step, "connections", place)?;
        }
        match wanted.prune {
            Some((key, value)) => self.prune(&key, &value).await,
            None => Ok(()),
        }
    }

    async fn upsert<R: Resource>(&self, draft: R::Draft) -> Result<Step<R>, ServiceError> {
        let (change, call, now) = (self.change, self.call, self.now);
        match R::meant(change, &call.team_id, &draft).await? {
            Some(stored) => steps::put(change, call, draft, stored, now).await,
            None => steps::create(change, call, draft, now).await,
        }
    }

    async fn connect(&self, one: WantedConnection) -> Result<Step<Connection>, ServiceError> {
        let mut draft = one.draft;
        if draft.source_id.is_empty() {
            let known = self.change.source_named(self.team(), &one.source_name);
            draft.source_id = match self.named(ResourceKind::Source, &one.source_name) {
                Some(id) => id,
                None => known.await?.map(|source| source.id).unwrap_or_default(),
            };
            if draft.source_id.is_empty() {
                return Err(unknown("source", &one.source_name));
            }
        }
        if draft.destination_id.is_empty() {
            let known = self
                .change
                .destination_named(self.team(), &one.destination_name);
            draft.destination_id =
                match self.named(ResourceKind::Destination, &one.destination_name) {
                    Some(id) => id,
                    None => known.await?.map(|to| to.id).unwrap_or_default(),
                };
            if draft.destination_id.is_empty() {
                return Err(unknown("destination", &one.destination_name));
            }
        }
        for rule in &mut draft.spec.rules {
            if let Rule::FilterRef { filter_id } = rule {
                if let Some(id) = self.named(ResourceKind::Filter, filter_id) {
                    *filter_id = id;
                } else if let Some(found) = self.change.filter_named(self.team(), filter_id).await?
                {
                    *filter_id = found.id;
                }
            }
        }
        // Found by source and name, wherever the id came from.
        draft.id = String::new();
        self.upsert(draft).await
    }

    fn named(&self, kind: ResourceKind, name: &str) -> Option<String> {
        self.names.get(&(kind, name.to_owned())).cloned()
    }

    fn note<R: Snap>(
        &mut self,
        step: Step<R>,
        list: &str,
        place: usize,
    ) -> Result<(), ServiceError> {
        let (id, name) = (step.made.id().to_owned(), step.made.name().to_owned());
        if !self.named.insert(id.clone()) {
            let text = format!("`{name}` stands twice in the call");
            return Err(vec![Violation::new(format!("{list}[{place}].name"), text)].into());
        }
        self.names.insert((R::KIND, name), id);
        self.steps.push(Planned {
            changed: step.effect != Effect::None,
            before: step.before.map(Snap::snap),
            after: Some(step.made.snap()),
            because: String::new(),
        });
        Ok(())
    }

    /// Deletes what has the label and is not named, what depends on it first.
    async fn prune(&mut self, key: &str, value: &str) -> Result<(), ServiceError> {
        let has = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(key).is_some_and(|found| found == value)
        };
        let (change, team) = (self.change, self.team());
        let spared = |id: &String| self.named.contains(id);
        let keep = |one: &Source| !spared(&one.id) && has(&one.spec.labels);
        let sources = change.all_where::<Source>(team, keep).await?;
        let keep = |one: &Destination| !spared(&one.id) && has(&one.spec.labels);
        let destinations = change.all_where::<Destination>(team, keep).await?;
        let keep = |one: &Filter| !spared(&one.id) && has(&one.spec.labels);
        let filters = change.all_where::<Filter>(team, keep).await?;
        let mut doomed: HashMap<&str, String> = HashMap::new();
        for one in &sources {
            doomed.insert(&one.id, format!("source `{}`", one.spec.name));
        }
        for one in &destinations {
            doomed.insert(&one.id, format!("destination `{}`", one.spec.name));
        }
        for one in &filters {
            doomed.insert(&one.id, format!("filter `{}`", one.spec.name));
        }
        let because = |one: &Connection| {
            let filters = one.spec.filter_ids().map(|(_, id)| id);
            let mut ends = [one.source_id.as_str(), one.destination_id.as_str()]
                .into_iter()
                .chain(filters);
            ends.find_map(|id| doomed.get(id).cloned())
        };
        let keep = |one: &Connection| {
            !spared(&one.id) && (has(&one.spec.labels) || because(one).is_some())
        };
        let connections = change.all_where::<Connection>(team, keep).await?;
        let count = sources.len() + destinations.len() + filters.len() + connections.len();
        if self.steps.len() + count > MOST {
            let named = self.steps.len();
            let text =
                format!("{named} resources and {count} to delete; {MOST} are possible in one call");
            return Err(vec![Violation::new("prune_label", text)].into());
        }
        let mut gone = Vec::new();
        for one in connections {
            let own = has(&one.spec.labels);
            let reason = if own { None } else { because(&one) };
            gone.push(self.delete(one, reason.unwrap_or_default()).await?);
        }
        for one in filters.clone() {
            gone.push(self.delete(one, String::new()).await?);
        }
        for one in destinations.clone() {
            gone.push(self.delete(one, String::new()).await?);
        }
        for one in sources.clone() {
            gone.push(self.delete(one, String::new()).await?);
        }
        self.steps.extend(gone);
        Ok(())
    }

    async fn delete<R: Snap>(&self, one: R, because: String) -> Result<Planned, ServiceError> {
        steps::delete(self.change, self.call, &one, self.now).await?;
        Ok(Planned {
            before: Some(one.snap()),
            after: None,
            changed: true,
            because,
        })
    }
}

fn unknown(noun: &str, name: &str) -> ServiceError {
    let shown: String = name.chars().take(64).collect();
    let text = format!("there is no {noun} `{shown}`, neither in the call nor stored");
    vec![Violation::new(noun, text)].into()
}

/// Says which resource of the call the fault is in.
fn at(error: ServiceError, list: &str, place: usize) -> ServiceError {
    match error {
        ServiceError::Invalid(faults) => {
            let inside = faults.into_iter().map(|fault| Violation {
                field: format!("{list}[{place}].{}", fault.field),
                message: fault.message,
            });
            ServiceError::Invalid(inside.collect())
        }
        other => other,
    }
}
