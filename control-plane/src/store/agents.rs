//! Agents: enrolled once, looked up by credential, remembered with what they said last.

use hookplane_entity::agent::{ActiveModel, Column, Entity, Model};
use hookplane_entity::installation;
use hookplane_proto::id::MAX_STORE;
use sea_orm::sea_query::Query;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DatabaseTransaction,
    EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Set,
};
use thiserror::Error;

use super::database::INSTALLATION;
use super::page::Place;
use super::{Database, Page, PageRequest, StoreError, broken, can_be_stored, unsigned};
use crate::domain::{Agent, Millis, RefusedResource};

const TABLE: &str = "agents";
/// Most agents that one question can go to.
const MAX_FLEET: u64 = 4_096;
/// Most pools of one answer.
const MAX_POOLS: u64 = 100;

/// A handle; clones share the database.
#[derive(Clone, Debug)]
pub struct AgentStore {
    pub(super) database: Database,
}

/// An agent that asks to be enrolled.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Used when it is new.
    pub id: String,
    pub name: String,
    pub pool: String,
    pub version: String,
    /// SHA-256 of its credential, hex.
    pub credential_hash: String,
    /// Number that its store has already.
    pub store: Option<u32>,
}

/// Why nobody enrols with a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenFault {
    #[error("is not known")]
    Unknown,
    #[error("was used before")]
    Used,
    #[error("was revoked")]
    Revoked,
    #[error("has expired")]
    Expired,
    #[error("is for the pool `{0}`")]
    Pool(String),
}

/// Why an agent was not enrolled.
#[derive(Debug, Error)]
pub enum EnrolError {
    #[error("an agent with another credential has this name")]
    NameTaken,
    #[error("this credential belongs to the agent `{name}` of the pool `{pool}`")]
    CredentialTaken { name: String, pool: String },
    #[error("the agent `{name}` was revoked")]
    Revoked { name: String },
    #[error("the enrolment token {0}")]
    Token(TokenFault),
    #[error("every store number is given away")]
    NoStoreLeft,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sea_orm::DbErr> for EnrolError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Store(error.into())
    }
}

/// What an agent's configuration stream showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    pub capabilities: Vec<String>,
    pub drifted_at: Option<Millis>,
    pub version: String,
    pub epoch: String,
    pub revision: u64,
    pub digest: String,
    pub refused: Vec<RefusedResource>,
    pub connected_at: Millis,
    pub last_seen_at: Millis,
}

impl AgentStore {
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// Enrols an agent, or finds the one that it already is. A store number is
    /// never given to two agents.
    ///
    /// # Errors
    /// [`EnrolError`] when name or credential belong to another one.
    pub async fn enrol(&self, applicant: &Applicant, now: Millis) -> Result<Agent, EnrolError> {
        let tx = self.database.write().await?;
        take_turns(&tx).await?;
        let agent = enrol(&tx, applicant, now).await?;
        tx.commit().await?;
        Ok(agent)
    }

    /// Ids of the agents that were revoked at that time or later.
    pub async fn revoked_since(&self, at: Millis) -> Result<Vec<String>, StoreError> {
        let select = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::RevokedAt.gte(at))
            .order_by_desc(Column::RevokedAt)
            .limit(MAX_FLEET);
        Ok(select.into_tuple().all(self.database.read()).await?)
    }

    /// The agent whose credential has this hash.
    pub async fn by_credential(&self, hash: &str) -> Result<Option<Agent>, StoreError> {
        self.one(Column::CredentialHash.eq(hash)).await
    }

    pub async fn get(&self, id: &str) -> Result<Option<Agent>, StoreError> {
        if !can_be_stored(id) {
            return Ok(None);
        }
        self.one(Column::Id.eq(id)).await
    }

    /// The agent that writes this store.
    pub async fn by_store(&self, store: u32) -> Result<Option<Agent>, StoreError> {
        match i32::try_from(store) {
            Ok(store) => self.one(Column::Store.eq(store)).await,
            Err(_) => Ok(None),
        }
    }

    pub async fn list(
        &self,
        pool: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Agent>, StoreError> {
        let mut select = Entity::find();
        if let Some(pool) = pool {
            select = select.filter(Column::Pool.eq(pool));
        }
        let rows = page.cut(select).all(self.database.read()).await?;
        let agents = rows
            .into_iter()
            .map(domain)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(page.page(agents, |agent: &Agent| Place {
            id: &agent.id,
            name: &agent.name,
            created_at: agent.created_at,
            updated_at: agent.created_at,
        }))
    }

    /// The agents of some pools, by name.
    pub async fn of_pools(&self, pools: &[String]) -> Result<Vec<Agent>, StoreError> {
        let select = Entity::find()
            .filter(Column::Pool.is_in(pools))
            .filter(Column::RevokedAt.is_null())
            .order_by_asc(Column::Name)
            .limit(MAX_FLEET);
        let rows = select.all(self.database.read()).await?;
        rows.into_iter().map(domain).collect()
    }

    /// Every agent that may be asked for evidence: those that ever connected and were not
    /// revoked, by store number.
    pub async fn holders(&self) -> Result<Vec<Agent>, StoreError> {
        let select = Entity::find()
            .filter(Column::ConnectedAt.is_not_null())
            .filter(Column::RevokedAt.is_null())
            .order_by_asc(Column::Store)
            .limit(MAX_FLEET);
        let rows = select.all(self.database.read()).await?;
        rows.into_iter().map(domain).collect()
    }

    /// Ids of the agents of a pool that were not revoked.
    pub async fn of_pool(&self, pool: &str) -> Result<Vec<String>, StoreError> {
        let select = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Pool.eq(pool))
            .filter(Column::RevokedAt.is_null())
            .limit(MAX_FLEET);
        Ok(select.into_tuple().all(self.database.read()).await?)
    }

    /// Pools of a team's enabled sources that no agent is in, by name.
    pub async fn unserved_pools(&self, team_id: &str) -> Result<Vec<String>, StoreError> {
        use hookplane_entity::source;
        let mut served = Query::select();
        served
            .column(Column::Pool)
            .from(Entity)
            .and_where(Column::RevokedAt.is_null());
        let pools = source::Entity::find()
            .select_only()
            .column(source::Column::Pool)
            .distinct()
            .filter(source::Column::TeamId.eq(team_id))
            .filter(source::Column::DisabledAt.is_null())
            .filter(source::Column::Pool.not_in_subquery(served))
            .order_by_asc(source::Column::Pool)
            .limit(MAX_POOLS);
        Ok(pools.into_tuple().all(self.database.read()).await?)
    }

    async fn one(
        &self,
        condition: sea_orm::sea_query::SimpleExpr,
    ) -> Result<Option<Agent>, StoreError> {
        let found = Entity::find()
            .filter(condition)
            .one(self.database.read())
            .await?;
        found.map(domain).transpose()
    }
}

/// On PostgreSQL this lock makes enrolments take turns; SQLite has one writer.
pub(super) async fn take_turns(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    installation::Entity::find_by_id(INSTALLATION)
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(())
}

/// The agent with this credential, a new one if there is none. Enrolments take turns.
pub(super) async fn enrol(
    tx: &DatabaseTransaction,
    applicant: &Applicant,
    now: Millis,
) -> Result<Agent, EnrolError> {
    let holder = Entity::find().filter(Column::CredentialHash.eq(&applicant.credential_hash));
    if let Some(known) = holder.one(tx).await? {
        if known.revoked_at.is_some() {
            return Err(EnrolError::Revoked { name: known.name });
        }
        if known.name != applicant.name || known.pool != applicant.pool {
            return Err(EnrolError::CredentialTaken {
                name: known.name,
                pool: known.pool,
            });
        }
        return Ok(domain(known)?);
    }
    let named = Entity::find().filter(Column::Name.eq(&applicant.name));
    if let Some(known) = named.one(tx).await? {
        if known.revoked_at.is_none() {
            return Err(EnrolError::NameTaken);
        }
        // The host that was revoked comes back as another agent: the name is its.
        let mut known = known.into_active_model();
        known.name = Set(format!("{}-revoked-{}", applicant.name, known.id.as_ref()));
        known.update(tx).await?;
    }
    let store = match applicant.store {
        Some(store) if is_free(tx, store).await? => signed_store(store),
        _ => {
            let newest = Entity::find().order_by_desc(Column::Store).one(tx).await?;
            newest.map_or(1, |agent| agent.store.saturating_add(1))
        }
    };
    if u32::try_from(store).map_or(true, |store| store > MAX_STORE) {
        return Err(EnrolError::NoStoreLeft);
    }
    let row = ActiveModel {
        id: Set(applicant.id.clone()),
        name: Set(applicant.name.clone()),
        pool: Set(applicant.pool.clone()),
        store: Set(store),
        credential_hash: Set(applicant.credential_hash.clone()),
        version: Set(applicant.version.clone()),
        created_at: Set(now),
        epoch: Set(String::new()),
        revision: Set(0),
        digest: Set(String::new()),
        refused: Set("[]".to_owned()),
        connected_at: Set(None),
        last_seen_at: Set(None),
        backlog: Set(0),
        capabilities: Set(None),
        stream_replica: Set(None),
        commands_replica: Set(None),
        drifted_at: Set(None),
        revoked_at: Set(None),
        certificate_key: Set(None),
        certificate_expires_at: Set(None),
    };
    Ok(domain(row.insert(tx).await?)?)
}

/// Whether no agent has the store number.
async fn is_free(db: &impl ConnectionTrait, store: u32) -> Result<bool, StoreError> {
    let holder = Entity::find().filter(Column::Store.eq(signed_store(store)));
    Ok(holder.one(db).await?.is_none())
}

fn signed_store(store: u32) -> i32 {
    i32::try_from(store).unwrap_or(i32::MAX)
}

pub(super) fn domain(row: Model) -> Result<Agent, StoreError> {
    let refused =
        serde_json::from_str(&row.refused).map_err(|fault| broken(TABLE, &row.id, fault))?;
    let store = u32::try_from(row.store).map_err(|fault| broken(TABLE, &row.id, fault))?;
    let capabilities = row.capabilities.as_deref().unwrap_or("[]");
    let capabilities =
        serde_json::from_str(capabilities).map_err(|fault| broken(TABLE, &row.id, fault))?;
    Ok(Agent {
        id: row.id,
        name: row.name,
        pool: row.pool,
        store,
        version: row.version,
        created_at: row.created_at,
        epoch: row.epoch,
        revision: unsigned(row.revision),
        digest: row.digest,
        refused,
        connected_at: row.connected_at,
        last_seen_at: row.last_seen_at,
        backlog: unsigned(row.backlog),
        capabilities,
        stream_replica: row.stream_replica,
        commands_replica: row.commands_replica,
        drifted_at: row.drifted_at,
        revoked_at: row.revoked_at,
        certificate_key: row.certificate_key,
        certificate_expires_at: row.certificate_expires_at,
    })
}
