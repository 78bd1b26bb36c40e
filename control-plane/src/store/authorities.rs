//! Authorities of agents' certificates, and the keys that agents are known by.
//!
//! Invariants: private keys are sealed; whoever makes an authority has its turn, so that replicas
//! that start together make one; an agent's key is written once.

use std::sync::Arc;

use hookplane_entity::agent;
use hookplane_entity::agent_authority::{Column, Entity, Model};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction,
    EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use zeroize::Zeroizing;

use super::agents::take_turns;
use super::page::Place;
use super::{ConfigStore, Database, Ledger, Page, PageRequest, Sealer, StoreError};
use crate::domain::agent_authority::{MOST_TRUSTED, REMEMBERED, Signer, Standing};
use crate::domain::audit::{Act, Actor};
use crate::domain::{Agent, AgentAuthority, Millis};

pub(super) const TABLE: &str = "agent_authorities";

/// A handle; clones share the database.
#[derive(Clone)]
pub struct AuthorityStore {
    database: Database,
    sealer: Arc<Sealer>,
    ledger: Ledger,
}

/// What came of a rotation.
pub enum Rotated {
    Done(AgentAuthority),
    /// As many are trusted as can be.
    TooMany,
}

impl AuthorityStore {
    #[must_use]
    pub fn of(config: &ConfigStore) -> Self {
        Self {
            database: config.database().clone(),
            sealer: Arc::clone(&config.sealer),
            ledger: config.ledger().clone(),
        }
    }

    /// Those whose certificates count, newest first.
    pub async fn trusted(&self, now: Millis) -> Result<Vec<AgentAuthority>, StoreError> {
        trusted(self.database.read(), now).await
    }

    pub async fn list(&self, page: &PageRequest) -> Result<Page<AgentAuthority>, StoreError> {
        let rows = page.cut(Entity::find()).all(self.database.read()).await?;
        let all = rows.into_iter().map(domain).collect();
        Ok(page.page(all, |one: &AgentAuthority| Place {
            id: &one.id,
            name: &one.id,
            created_at: one.created_at,
            updated_at: one.created_at,
        }))
    }

    /// The one that signs; `fresh` is kept when there is none.
    pub async fn signer<E: From<StoreError>>(
        &self,
        fresh: impl FnOnce() -> Result<Signer, E> + Send,
        now: Millis,
    ) -> Result<Signer, E> {
        if let Some(found) = self.signing(self.database.read(), now).await? {
            return Ok(found);
        }
        let tx = self.database.write().await?;
        take_turns(&tx).await?;
        if let Some(found) = self.signing(&tx, now).await? {
            return Ok(found);
        }
        let fresh = fresh()?;
        self.keep(&tx, &fresh).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(fresh)
    }

    /// Makes another one sign; the others are trusted until then.
    pub async fn rotate(
        &self,
        actor: &Actor,
        fresh: Signer,
        act: Act,
        (now, until): (Millis, Millis),
    ) -> Result<Rotated, StoreError> {
        let tx = self.database.write().await?;
        take_turns(&tx).await?;
        // Those that shall not be trusted any longer make room.
        let stay = trusted(&tx, now).await?;
        let stay = stay.iter().filter(|one| one.ends_at().min(until) > now);
        if stay.count() >= MOST_TRUSTED {
            return Ok(Rotated::TooMany);
        }
        // A term that is set already only becomes shorter.
        let longer = Condition::any()
            .add(Column::TrustedUntil.is_null())
            .add(Column::TrustedUntil.gt(until));
        Entity::update_many()
            .col_expr(Column::TrustedUntil, Expr::value(until))
            .filter(longer)
            .exec(&tx)
            .await?;
        Entity::delete_many()
            .filter(Column::TrustedUntil.lt(now - REMEMBERED))
            .exec(&tx)
            .await?;
        self.keep(&tx, &fresh).await?;
        self.ledger.chain().append(&tx, actor, act, now).await?;
        tx.commit().await?;
        Ok(Rotated::Done(fresh.authority))
    }

    /// Notes that an agent has a certificate for a key. False when it is known by another one.
    pub async fn bind(
        &self,
        agent: &Agent,
        key_hash: &str,
        expires_at: Millis,
    ) -> Result<bool, StoreError> {
        use agent::Column as Of;
        let its = Condition::any()
            .add(Of::CertificateKey.is_null())
            .add(Of::CertificateKey.eq(key_hash));
        let tx = self.database.write().await?;
        let bound = agent::Entity::update_many()
            .col_expr(Of::CertificateKey, Expr::value(key_hash))
            .col_expr(Of::CertificateExpiresAt, Expr::value(expires_at))
            .filter(Of::Id.eq(&agent.id))
            .filter(Of::RevokedAt.is_null())
            .filter(its)
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(bound.rows_affected == 1)
    }

    async fn signing(
        &self,
        db: &impl ConnectionTrait,
        now: Millis,
    ) -> Result<Option<Signer>, StoreError> {
        let newest = Entity::find()
            .filter(Column::TrustedUntil.is_null())
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .one(db)
            .await?;
        let Some(row) = newest else { return Ok(None) };
        let sealed = row.private_key.clone();
        let authority = domain(row);
        if authority.standing(now) != Standing::Signing {
            return Ok(None);
        }
        let key: String = self.sealer.open(TABLE, &authority.id, &sealed)?;
        Ok(Some(Signer {
            authority,
            private_key: Zeroizing::new(key),
        }))
    }

    async fn keep(&self, tx: &DatabaseTransaction, fresh: &Signer) -> Result<(), StoreError> {
        let authority = &fresh.authority;
        let sealed = self
            .sealer
            .seal(TABLE, &authority.id, &*fresh.private_key)?;
        let row = Model {
            id: authority.id.clone(),
            certificate: authority.certificate.clone(),
            private_key: sealed,
            created_at: authority.created_at,
            expires_at: authority.expires_at,
            trusted_until: authority.trusted_until,
        };
        row.into_active_model().reset_all().insert(tx).await?;
        Ok(())
    }
}

async fn trusted(
    db: &impl ConnectionTrait,
    now: Millis,
) -> Result<Vec<AgentAuthority>, StoreError> {
    let in_term = Condition::any()
        .add(Column::TrustedUntil.is_null())
        .add(Column::TrustedUntil.gt(now));
    let rows = Entity::find()
        .filter(Column::ExpiresAt.gt(now))
        .filter(in_term)
        .order_by_desc(Column::CreatedAt)
        .limit(MOST_TRUSTED as u64)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(domain).collect())
}

fn domain(row: Model) -> AgentAuthority {
    AgentAuthority {
        id: row.id,
        certificate: row.certificate,
        created_at: row.created_at,
        expires_at: row.expires_at,
        trusted_until: row.trusted_until,
    }
}
