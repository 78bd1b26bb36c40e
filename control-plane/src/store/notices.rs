//! What other replicas did: PostgreSQL tells, and whoever hears nothing looks by itself.
//!
//! A notice may get lost with its connection, so it only wakes: what changed is
//! always read from the tables.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::time::timeout;

pub(super) const CHANNEL: &str = "hookplane_revision";

/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Wakes when a replica committed a change.
pub(crate) struct Notices {
    url: Option<Arc<str>>,
    listener: Option<PgListener>,
}

impl Notices {
    pub(super) const fn new(url: Option<Arc<str>>) -> Self {
        Self {
            url,
            listener: None,
        }
    }

    /// Returns at a notice, and in any case after `patience`.
    pub(crate) async fn wait(&mut self, patience: Duration) {
        let Some(url) = self.url.clone() else {
            return tokio::time::sleep(patience).await;
        };
        if self.listener.is_none() {
            match timeout(CONNECT, listen(&url)).await {
                // Something may have changed while nobody listened.
                Ok(Ok(listener)) => {
                    self.listener = Some(listener);
                    return;
                }
                Ok(Err(error)) => {
                    tracing::debug!(error = %error, "changes of other replicas are polled for");
                }
                Err(_) => tracing::debug!("listening for changes of other replicas took too long"),
            }
            return tokio::time::sleep(patience).await;
        }
        if let Some(listener) = &mut self.listener {
            match timeout(patience, listener.try_recv()).await {
                Ok(Ok(Some(_))) | Err(_) => {}
                Ok(Ok(None) | Err(_)) => self.listener = None,
            }
        }
    }
}

async fn listen(url: &str) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
