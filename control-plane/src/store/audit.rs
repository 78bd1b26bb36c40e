//! The audit record of each team: appended with the change it tells of, in the
//! same transaction, and chained by keyed hashes.
//!
//! Owns the chain. Invariants: entries are only ever appended; whoever writes
//! to the database without the key that is sealed in it cannot make an entry
//! that fits; the end of the chain stands beside it, so that cut-off entries
//! are missed.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use hookplane_entity::audit_entry::{ActiveModel, Column, Entity, Model};
use hookplane_entity::{installation, team};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::database::INSTALLATION;
use super::{Database, Sealer, StoreError, broken, can_be_stored, seal, signed, unsigned};
use crate::domain::Millis;
use crate::domain::audit::{Act, Actor, Entry};

/// Entries without a change that are written at once: readers must not keep changes from the database.
const NOTES: usize = 4;
/// How long one waits for its turn.
const NOTE_WAIT: Duration = Duration::from_secs(10);

/// Where the sealed key stands.
pub(super) const PLACE: (&str, &str) = ("installation", "audit_key");

/// A handle; clones share the database and the key.
#[derive(Clone)]
pub struct Ledger {
    database: Database,
    chain: Arc<Chain>,
    /// Turns of entries that come with no change: so many wait for the database at once.
    notes: Arc<Semaphore>,
}

/// What makes the hashes.
pub(super) struct Chain {
    key: hmac::Key,
}

/// Which entries to list. `None` means any.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub kind: Option<String>,
    pub id: Option<String>,
    pub key_id: Option<String>,
    pub action: Option<String>,
    pub from: Option<Millis>,
    pub to: Option<Millis>,
}

/// How far a check of the chain came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The last entry that is as it was written, and its hash.
    pub sequence: u64,
    pub hash: String,
    /// Whether that is the end of the record.
    pub complete: bool,
    /// The first entry that is not, and why.
    pub fault: Option<(u64, &'static str)>,
}

impl Ledger {
    /// Opens the key of the records, or makes it in a database that has none.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] when another key sealed it.
    pub async fn open(database: Database, sealer: &Sealer) -> Result<Self, StoreError> {
        let tx = database.write().await?;
        let row = installation::Entity::find_by_id(INSTALLATION)
            .lock_exclusive()
            .one(&tx)
            .await?
            .ok_or_else(|| broken("installation", "1", "it is missing"))?;
        let key: Zeroizing<Vec<u8>> = match &row.audit_key {
            Some(sealed) => {
                let opened = sealer.open(PLACE.0, PLACE.1, sealed);
                let id = seal::under(sealed).map_or_else(String::new, seal::Under::name);
                Zeroizing::new(opened.map_err(|_| StoreError::KeyMissing(id))?)
            }
            None => {
                let fresh = Zeroizing::new(rand::random::<[u8; 32]>().to_vec());
                let mut row = row.into_active_model();
                row.audit_key = Set(Some(sealer.seal(PLACE.0, PLACE.1, &*fresh)?));
                row.update(&tx).await?;
                fresh
            }
        };
        tx.commit().await?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Self {
            database,
            chain: Arc::new(Chain { key }),
            notes: Arc::new(Semaphore::new(NOTES)),
        })
    }

    pub(super) fn chain(&self) -> Arc<Chain> {
        Arc::clone(&self.chain)
    }

    /// Records something that changes nothing here. False when too many wait to do so.
    pub async fn note(&self, actor: &Actor, act: Act, now: Millis) -> Result<bool, StoreError> {
        let Ok(turn) = tokio::time::timeout(NOTE_WAIT, self.notes.acquire()).await else {
            return Ok(false);
        };
        let tx = self.database.write().await?;
        self.chain.append(&tx, actor, act, now).await?;
        tx.commit().await?;
        drop(turn);
        Ok(true)
    }

    /// Entries of one team, newest first, those before `before` if it is given.
    pub async fn list(
        &self,
        team_id: &str,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut select = Entity::find().filter(Column::TeamId.eq(team_id));
        let texts = [
            (Column::ResourceKind, &filter.kind),
            (Column::ResourceId, &filter.id),
            (Column::KeyId, &filter.key_id),
            (Column::Action, &filter.action),
        ];
        for (column, wanted) in texts {
            match wanted {
                Some(text) if can_be_stored(text) => select = select.filter(column.eq(text)),
                Some(_) => return Ok(Vec::new()),
                None => {}
            }
        }
        if let Some(from) = filter.from {
            select = select.filter(Column::At.gte(from));
        }
        if let Some(to) = filter.to {
            select = select.filter(Column::At.lt(to));
        }
        if let Some(before) = before {
            select = select.filter(Column::Sequence.lt(signed(before)));
        }
        let rows = select
            .order_by_desc(Column::Sequence)
            .limit(limit)
            .all(self.database.read())
            .await?;
        Ok(rows.into_iter().map(|row| domain(row).0).collect())
    }

    /// Checks at most `limit` entries after one whose hash is known: 0 and an
    /// empty hash for the beginning.
    pub async fn check(
        &self,
        team_id: &str,
        after: u64,
        hash: &str,
        limit: u64,
    ) -> Result<Checked, StoreError> {
        let snapshot = self.database.snapshot().await?;
        let end = team::Entity::find_by_id(team_id).one(&snapshot).await?;
        let (end, end_hash) = end.map_or((0, String::new()), |team| {
            let sequence = team.audit_sequence.map_or(0, unsigned);
            (sequence, team.audit_hash.unwrap_or_default())
        });
        let rows = Entity::find()
            .filter(Column::TeamId.eq(team_id))
            .filter(Column::Sequence.gt(signed(after)))
            .order_by_asc(Column::Sequence)
            .limit(limit)
            .all(&snapshot)
            .await?;
        snapshot.commit().await?;
        let full = rows.len() as u64 == limit;
        let mut checked = Checked {
            sequence: after,
            hash: hash.to_owned(),
            complete: false,
            fault: None,
        };
        for row in rows {
            let (entry, stored) = domain(row);
            let expected = checked.sequence + 1;
            if entry.sequence != expected {
                checked.fault = Some((expected, "the entry is missing"));
                return Ok(checked);
            }
            if !self.chain.fits(&entry, &checked.hash, &stored) {
                checked.fault = Some((expected, "the entry or one before it was changed"));
                return Ok(checked);
            }
            checked.sequence = expected;
            checked.hash = stored;
        }
        if !full {
            checked.complete = checked.sequence == end && checked.hash == end_hash;
            if !checked.complete {
                checked.fault = Some((checked.sequence + 1, "the end of the record is missing"));
            }
        }
        Ok(checked)
    }
}

impl Chain {
    /// Appends an entry. It becomes part of the record when the transaction commits.
    pub(super) async fn append(
        &self,
        tx: &impl ConnectionTrait,
        actor: &Actor,
        act: Act,
        now: Millis,
    ) -> Result<(), StoreError> {
        // The lock makes entries of one team take turns on PostgreSQL.
        let team = team::Entity::find_by_id(&actor.team_id)
            .lock_exclusive()
            .one(tx)
            .await?
            .ok_or_else(|| broken("teams", &actor.team_id, "it is missing"))?;
        let installation = installation::Entity::find_by_id(INSTALLATION)
            .one(tx)
            .await?;
        let previous = team.audit_hash.clone().unwrap_or_default();
        let text = |value: &serde_json::Value| value.to_string();
        let entry = Entry {
            actor: actor.clone(),
            sequence: team.audit_sequence.map_or(0, unsigned) + 1,
            at: now,
            action: act.action.as_str().to_owned(),
            kind: act.kind.to_owned(),
            id: act.id,
            name: act.name,
            epoch: installation.map(|row| row.epoch).unwrap_or_default(),
            revision: act.revision,
            secrets_changed: act.secrets_changed,
            before: act.before.as_ref().map(text),
            after: act.after.as_ref().map(text),
        };
        let hash = self.hash(&entry, &previous);
        let mut team = team.into_active_model();
        team.audit_sequence = Set(Some(signed(entry.sequence)));
        team.audit_hash = Set(Some(hash.clone()));
        row(entry, hash).insert(tx).await?;
        team.update(tx).await?;
        Ok(())
    }

    fn hash(&self, entry: &Entry, previous: &str) -> String {
        hex::encode(hmac::sign(&self.key, &entry.covered(previous)))
    }

    fn fits(&self, entry: &Entry, previous: &str, hash: &str) -> bool {
        let Ok(hash) = hex::decode(hash) else {
            return false;
        };
        hmac::verify(&self.key, &entry.covered(previous), &hash).is_ok()
    }
}

fn row(entry: Entry, hash: String) -> ActiveModel {
    ActiveModel {
        team_id: Set(entry.actor.team_id),
        sequence: Set(signed(entry.sequence)),
        at: Set(entry.at),
        key_id: Set(entry.actor.key_id),
        key_name: Set(entry.actor.key_name),
        action: Set(entry.action),
        resource_kind: Set(entry.kind),
        resource_id: Set(entry.id),
        resource_name: Set(entry.name),
        epoch: Set(entry.epoch),
        revision: Set(entry.revision.map(signed)),
        secrets_changed: Set(i64::from(entry.secrets_changed)),
        before_state: Set(entry.before),
        after_state: Set(entry.after),
        hash: Set(hash),
    }
}

/// The entry and its stored hash.
fn domain(row: Model) -> (Entry, String) {
    let entry = Entry {
        actor: Actor {
            team_id: row.team_id,
            key_id: row.key_id,
            key_name: row.key_name,
        },
        sequence: unsigned(row.sequence),
        at: row.at,
        action: row.action,
        kind: row.resource_kind,
        id: row.resource_id,
        name: row.resource_name,
        epoch: row.epoch,
        revision: row.revision.map(unsigned),
        secrets_changed: row.secrets_changed != 0,
        before: row.before_state,
        after: row.after_state,
    };
    (entry, row.hash)
}
