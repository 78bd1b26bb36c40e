//! Membership in the fleet: enrolled, and three streams open side by side.
//!
//! When the control plane does not know the agent any more (a rebuilt database),
//! it enrols again with the same credential. None of this holds up accepting
//! or delivering.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::causes::chain;
use crate::clock::SharedClock;
use crate::command::{Bulks, CommandStream, Desk, Searches};
use crate::config::CurrentConfiguration;
use crate::control::certify::Certifier;
use crate::control::convert;
use crate::control::enrol::enrol;
use crate::control::holder::Holder;
use crate::control::identity::{Enrolled, Identity};
use crate::control::papers::Papers;
use crate::control::stream::ConfigurationStream;
use crate::deliver::Gates;
use crate::ids::StoreIds;
use crate::link::{Link, Redial, UnknownAgent, keep_open};
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::report::spool::Spool;
use crate::report::stream::ReportStream;
use crate::settings::Settings;
use crate::store::{Store, StoreError};

pub(super) struct Fleet {
    pub(super) settings: Settings,
    pub(super) clock: SharedClock,
    pub(super) store: Arc<dyn Store>,
    pub(super) identity: Identity,
    pub(super) holder: Holder,
    pub(super) link: Link,
    /// Where the link speaks TLS.
    pub(super) papers: Option<Papers>,
    pub(super) spool: Arc<Spool>,
    pub(super) ids: StoreIds,
    pub(super) readiness: Arc<Readiness>,
    pub(super) config: CurrentConfiguration,
    pub(super) meter: Arc<Meter>,
    pub(super) gates: Arc<Gates>,
    pub(super) commands: TaskTracker,
}

impl Fleet {
    pub(super) async fn run(self, stop: CancellationToken) {
        let pace = self.settings.pace;
        let mut identity = self.identity;
        let clock = Arc::clone(&self.clock);
        let mut configuration = ConfigurationStream::new(self.holder, self.link.clone(), clock);
        let mut reports = ReportStream {
            link: self.link.clone(),
            spool: self.spool,
        };
        let mut certifier = self.papers.map(|papers| {
            let (link, clock) = (self.link.clone(), Arc::clone(&self.clock));
            Certifier::new(papers, link, clock, Arc::clone(&self.readiness))
        });
        let mut wait = self.link.redial();
        let diagnoses = Arc::default();
        let bulks = Bulks::default();
        let mut known = identity.enrolled().cloned();
        loop {
            let anew = known.is_none();
            let member = match known.take() {
                Some(member) => member,
                None => {
                    // A rebuilt control plane gives it again, so that old ids still find the store.
                    let number = self.store.store_number().await.ok().flatten().unwrap_or(0);
                    let enrolment = enrol(
                        &identity,
                        number,
                        &self.settings,
                        &self.link,
                        &self.readiness,
                    );
                    let member = tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        member = enrolment => member,
                    };
                    let settled = settle(
                        &member,
                        &mut identity,
                        &self.store,
                        &self.ids,
                        &self.readiness,
                        self.link.redial(),
                    );
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        () = settled => member,
                    }
                }
            };
            let desk = Desk {
                store: Arc::clone(&self.store),
                clock: Arc::clone(&self.clock),
                ids: self.ids.clone(),
                agent_id: member.agent_id,
                searches: Searches::default(),
                config: Arc::clone(&self.config),
                meter: Arc::clone(&self.meter),
                bulks: bulks.clone(),
                prepare: convert::source,
                diagnoses: Arc::clone(&diagnoses),
                gates: Arc::clone(&self.gates),
                tasks: self.commands.clone(),
            };
            let mut commands = CommandStream::new(self.link.clone(), desk, self.commands.clone());
            let pass = identity.pass();
            if let Some(certifier) = &mut certifier {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = certifier.prepare(&pass, anew) => {}
                }
            }
            let began = Instant::now();
            let certified = async {
                match &mut certifier {
                    Some(certifier) => certifier.keep(&pass, &stop).await,
                    None => Ok(()),
                }
            };
            let streams = async {
                let (link, settled) = (&self.link, pace.settled());
                tokio::try_join!(
                    certified,
                    keep_open(&mut configuration, &pass, link.redial(), settled, &stop),
                    keep_open(&mut commands, &pass, link.redial(), settled, &stop),
                    keep_open(&mut reports, &pass, link.redial(), settled, &stop),
                )
            };
            match Box::pin(streams).await {
                Ok(_) => return,
                Err(UnknownAgent) => {
                    let text = "the control plane does not know this agent; it enrols again";
                    tracing::warn!("{text}");
                    if began.elapsed() >= pace.settled() {
                        wait.reset();
                    }
                    self.readiness.update(|facts| {
                        facts.connected = false;
                        facts.connection_problem = Some(text.to_owned());
                    });
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait.next()) => {}
            }
        }
    }
}

/// Keeps what enrolment gave. The store's number comes first: ids are made with it, so
/// nothing can be accepted until the store has taken it, however long that takes.
async fn settle(
    member: &Enrolled,
    identity: &mut Identity,
    store: &Arc<dyn Store>,
    ids: &StoreIds,
    readiness: &Readiness,
    mut wait: Redial,
) {
    while let Err(error) = number_store(store.as_ref(), member.store, ids, readiness).await {
        let text = chain(&error);
        tracing::error!(error = text, "the number of the store could not be kept");
        readiness.update(|facts| facts.store_problem = Some(text));
        tokio::time::sleep(wait.next()).await;
    }
    if let Err(error) = identity.set_enrolled(member.clone()) {
        let text = chain(&error);
        tracing::error!(error = text, "the identity could not be kept");
        readiness.warn("identity_not_kept", text);
    }
    tracing::info!(
        agent.id = member.agent_id,
        store = member.store,
        "the agent is enrolled"
    );
}

/// Gives the store its number, once. A store that has one keeps it, because its ids carry it.
pub(super) async fn number_store(
    store: &dyn Store,
    given: u32,
    ids: &StoreIds,
    readiness: &Readiness,
) -> Result<(), StoreError> {
    let number = match store.store_number().await? {
        Some(number) => number,
        None => {
            store.set_store_number(given).await?;
            given
        }
    };
    if number != given {
        let text = format!(
            "the control plane calls this store {given}, its ids say {number}; look-ups by id may \
             be sent to another agent"
        );
        tracing::error!("{text}");
        readiness.warn("store_number_differs", text);
    }
    ids.set(number);
    readiness.update(|facts| facts.enrolled = true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookplane_journal::io::simulated::SimulatedDisk;

    use super::*;
    use crate::store::journal::{JournalStore, Options};

    #[tokio::test]
    async fn a_store_that_cannot_take_its_number_yet_is_asked_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, index) = (SimulatedDisk::new(7), dir.path().join("index.db"));
        let options = Options::default();
        let store = JournalStore::open_on(disk.directory(), &index, &options, u64::MAX).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let mut identity = Identity::load_or_make(dir.path(), rand::random()).unwrap();
        let (ids, readiness) = (StoreIds::default(), Arc::new(Readiness::default()));
        let member = Enrolled {
            agent_id: "agt_1".into(),
            store: 7,
            epoch: "e".into(),
        };
        disk.set_capacity(0);
        let bounds = (Duration::from_millis(10), Duration::from_millis(50));
        let redial = Redial::new(bounds, crate::chance::system);
        let settled = settle(&member, &mut identity, &store, &ids, &readiness, redial);
        let unlock = async {
            while readiness.facts().store_problem.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(ids.get().is_none());
            disk.set_capacity(u64::MAX);
        };
        let both = async { tokio::join!(settled, unlock) };
        tokio::time::timeout(Duration::from_secs(60), both)
            .await
            .expect("it is settled when the store works again");
        assert!(ids.get().is_some(), "nothing can be accepted");
        assert!(identity.enrolled().is_some());
    }
}
