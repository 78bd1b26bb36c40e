//! Which keys seal the secrets of the database, and exchanging them row by row.
//!
//! Owns the list of sealed columns: a new one gets its line here. Invariant: a
//! row is exchanged in a transaction of its own batch, so a crash leaves every
//! row under one key or the other, and both open as long as both are given.

use std::collections::BTreeMap;

use hookplane_entity::{agent_authority, destination, installation, remembered_answer, source};
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait,
    ExprTrait as _, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use super::answers;
use super::audit;
use super::authorities;
use super::config::ConfigStore;
use super::database::INSTALLATION;
use super::seal::{DIRECT, ENVELOPE, HEAD, KeyId, Under};
use super::{Sealer, StoreError, unsigned};
use crate::domain::Millis;
use crate::domain::audit::{Act, Actor};

const SOURCES: &str = "sources";
const DESTINATIONS: &str = "destinations";
/// Number of the table that is exchanged last.
pub const LAST_TABLE: usize = 4;
/// Rows of one transaction.
const BATCH: u64 = 200;

/// Which of the two layers is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The key that wraps: values stay as they are.
    Wrapping,
    /// The data keys: every value is sealed anew.
    Data,
}

/// Where an exchange goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RekeyPlace {
    /// Number of the table, in a fixed order.
    pub table: usize,
    /// The row after which it goes on.
    pub after: String,
}

/// What one step of an exchange did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyStep {
    pub changed: u64,
    /// None when it was the last.
    pub next: Option<RekeyPlace>,
}

/// How many values are under which key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUses {
    pub wrapped: BTreeMap<KeyId, u64>,
    /// Sealed by the first release, under a wrapping key itself.
    pub direct: u64,
}

impl ConfigStore {
    /// How many values are under which key.
    pub async fn key_uses(&self) -> Result<KeyUses, StoreError> {
        uses(self.database().read()).await
    }

    /// The ids of the keys that are given: the one that seals comes first.
    #[must_use]
    pub fn given_keys(&self) -> Vec<KeyId> {
        self.sealer().known().collect()
    }

    /// Exchanges one layer for a part of the rows. `act` is recorded with the first part.
    pub async fn rekey(
        &self,
        layer: Layer,
        place: RekeyPlace,
        record: Option<(&Actor, Act, Millis)>,
    ) -> Result<RekeyStep, StoreError> {
        let tx = self.database().write().await?;
        if let Some((actor, act, now)) = record {
            self.ledger().chain().append(&tx, actor, act, now).await?;
        }
        let sealer = self.sealer();
        let step = match place.table {
            0 => {
                let changed = audit_key(&tx, sealer, layer).await?;
                let next = Some(RekeyPlace {
                    table: 1,
                    after: String::new(),
                });
                RekeyStep { changed, next }
            }
            1 => {
                use source::{Column, Entity};
                let columns = (Column::Id, Column::Auth);
                rows::<Entity>(&tx, sealer, layer, SOURCES, columns, place).await?
            }
            2 => {
                use destination::{Column, Entity};
                let columns = (Column::Id, Column::Auth);
                rows::<Entity>(&tx, sealer, layer, DESTINATIONS, columns, place).await?
            }
            3 => {
                use agent_authority::{Column, Entity};
                let columns = (Column::Id, Column::PrivateKey);
                rows::<Entity>(&tx, sealer, layer, authorities::TABLE, columns, place).await?
            }
            _ => answers(&tx, sealer).await?,
        };
        tx.commit().await?;
        Ok(step)
    }
}

/// Refuses keys that do not open everything that is there.
pub(super) async fn check(db: &impl ConnectionTrait, sealer: &Sealer) -> Result<(), StoreError> {
    let uses = uses(db).await?;
    let known: Vec<KeyId> = sealer.known().collect();
    let strange = |id: &&KeyId| !known.contains(*id);
    let missing: Vec<String> = uses
        .wrapped
        .keys()
        .filter(strange)
        .map(hex::encode)
        .collect();
    if !missing.is_empty() {
        return Err(StoreError::KeyMissing(missing.join(", ")));
    }
    if uses.direct > 0 {
        let direct = |auth: Expr| starts(auth, &[DIRECT]);
        use source::Column as In;
        let rows = source::Entity::find().filter(direct(Expr::col(In::Auth)));
        if let Some(row) = rows.one(db).await? {
            opens(sealer, SOURCES, &row.id, &row.auth)?;
        }
        use destination::Column as To;
        let rows = destination::Entity::find().filter(direct(Expr::col(To::Auth)));
        if let Some(row) = rows.one(db).await? {
            opens(sealer, DESTINATIONS, &row.id, &row.auth)?;
        }
    }
    Ok(())
}

fn opens(sealer: &Sealer, table: &'static str, id: &str, auth: &[u8]) -> Result<(), StoreError> {
    let opened = sealer.open::<serde_json::Value>(table, id, auth);
    opened
        .map(drop)
        .map_err(|_| StoreError::KeyMissing(Under::Direct.name()))
}

async fn uses(db: &impl ConnectionTrait) -> Result<KeyUses, StoreError> {
    let mut uses = KeyUses::default();
    count::<source::Entity>(db, source::Column::Auth, &mut uses).await?;
    count::<destination::Entity>(db, destination::Column::Auth, &mut uses).await?;
    let key = agent_authority::Column::PrivateKey;
    count::<agent_authority::Entity>(db, key, &mut uses).await?;
    let answer = remembered_answer::Column::Answer;
    count::<remembered_answer::Entity>(db, answer, &mut uses).await?;
    Ok(uses)
}

async fn count<E: EntityTrait>(
    db: &impl ConnectionTrait,
    auth: E::Column,
    into: &mut KeyUses,
) -> Result<(), StoreError>
where
    E::Model: Sync,
{
    let direct = E::find().filter(starts(Expr::col(auth), &[DIRECT]));
    into.direct += direct.count(db).await?;
    let head = first_bytes(Expr::col(auth), HEAD);
    let grouped = E::find()
        .select_only()
        .expr(head.clone())
        .expr(Expr::col(auth).count())
        .filter(starts(Expr::col(auth), &[ENVELOPE]))
        .group_by(head)
        .into_tuple::<(Vec<u8>, i64)>()
        .all(db)
        .await?;
    for (head, number) in grouped {
        if let Ok(id) = KeyId::try_from(head.get(1..).unwrap_or_default()) {
            *into.wrapped.entry(id).or_default() += unsigned(number);
        }
    }
    Ok(())
}

fn first_bytes(auth: Expr, length: usize) -> Expr {
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    // Inlined: a statement that groups by it must have it twice in the same words.
    let call = Func::cust("SUBSTR").arg(auth).arg(Expr::cust("1"));
    call.arg(Expr::cust(length.to_string())).into()
}

fn starts(auth: Expr, with: &[u8]) -> Expr {
    first_bytes(auth, with.len()).eq(with.to_vec())
}

async fn audit_key(
    tx: &DatabaseTransaction,
    sealer: &Sealer,
    layer: Layer,
) -> Result<u64, StoreError> {
    let row = installation::Entity::find_by_id(INSTALLATION)
        .lock_exclusive()
        .one(tx)
        .await?;
    let Some((row, sealed)) = row.and_then(|row| Some((row.clone(), row.audit_key?))) else {
        return Ok(0);
    };
    let (table, id) = audit::PLACE;
    let Some(fresh) = exchanged(sealer, layer, table, id, &sealed)? else {
        return Ok(0);
    };
    let mut row = row.into_active_model();
    row.audit_key = Set(Some(fresh));
    row.update(tx).await?;
    Ok(1)
}

async fn rows<E: EntityTrait>(
    tx: &DatabaseTransaction,
    sealer: &Sealer,
    layer: Layer,
    table: &'static str,
    (id, auth): (E::Column, E::Column),
    place: RekeyPlace,
) -> Result<RekeyStep, StoreError> {
    let found = E::find()
        .select_only()
        .column(id)
        .column(auth)
        .filter(id.gt(place.after))
        .order_by_asc(id)
        .limit(BATCH)
        .lock_exclusive()
        .into_tuple::<(String, Vec<u8>)>()
        .all(tx)
        .await?;
    let next = match found.last() {
        Some((last, _)) if found.len() as u64 == BATCH => RekeyPlace {
            table: place.table,
            after: last.clone(),
        },
        _ => RekeyPlace {
            table: place.table + 1,
            after: String::new(),
        },
    };
    let mut changed = 0;
    for (row, sealed) in found {
        if let Some(fresh) = exchanged(sealer, layer, table, &row, &sealed)? {
            E::update_many()
                .col_expr(auth, Expr::value(fresh))
                .filter(id.eq(row))
                .exec(tx)
                .await?;
            changed += 1;
        }
    }
    Ok(RekeyStep {
        changed,
        next: Some(next),
    })
}

/// Answers are forgotten after a day, so their data keys stay.
async fn answers(tx: &DatabaseTransaction, sealer: &Sealer) -> Result<RekeyStep, StoreError> {
    use remembered_answer::{Column, Entity};
    let current = [&[ENVELOPE][..], &sealer.current()].concat();
    let found = Entity::find()
        .filter(starts(Expr::col(Column::Answer), &current).not())
        .limit(BATCH)
        .lock_exclusive()
        .all(tx)
        .await?;
    let changed = found.len() as u64;
    for row in found {
        let place = answers::place(&row.team_id, &row.request_id);
        if let Some(fresh) = sealer.rewrapped(answers::TABLE, &place, &row.answer)? {
            let mut row = row.into_active_model();
            row.answer = Set(fresh);
            row.update(tx).await?;
        }
    }
    let again = RekeyPlace {
        table: LAST_TABLE,
        after: String::new(),
    };
    Ok(RekeyStep {
        changed,
        next: (changed == BATCH).then_some(again),
    })
}

fn exchanged(
    sealer: &Sealer,
    layer: Layer,
    table: &'static str,
    id: &str,
    sealed: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    match layer {
        Layer::Wrapping => sealer.rewrapped(table, id, sealed),
        Layer::Data => sealer.reencrypted(table, id, sealed).map(Some),
    }
}
