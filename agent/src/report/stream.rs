//! The report stream: unacknowledged reports go out in order, with their numbers.
//!
//! Each session starts with the oldest one that is not acknowledged, so what
//! was under way when a stream broke is sent again.

use std::sync::Arc;

use hookplane_proto::agent::v1::ReportStreamRequest;
use hookplane_proto::agent::v1::report_service_client::ReportServiceClient;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use super::spool::Spool;
use crate::causes::chain;
use crate::link::{Link, Pass, SessionEnd, Stream};
use crate::store::{SpooledReport, StoreError};

const OUTGOING: usize = 16;
/// Reports sent and not acknowledged.
const WINDOW: u64 = 256;

/// Sends reports over all sessions of the stream.
pub(crate) struct ReportStream {
    pub(crate) link: Link,
    pub(crate) spool: Arc<Spool>,
}

/// What one session has sent and what was counted of it.
#[derive(Default)]
struct Progress {
    sent: u64,
    /// Sent and not acknowledged.
    open: u64,
    acknowledged: u64,
    /// Since when the oldest of those has not been acknowledged; new ones do not renew it.
    waiting_since: Option<Instant>,
}

impl Stream for ReportStream {
    fn name(&self) -> &'static str {
        "reports"
    }

    async fn session(&mut self, pass: &Pass) -> SessionEnd {
        let channel = match self.link.dial().await {
            Ok(channel) => channel,
            Err(why) => return SessionEnd::lost(false, why),
        };
        let (out, rest) = mpsc::channel(OUTGOING);
        let mut client = ReportServiceClient::new(channel);
        let call = client.stream(pass.request(ReceiverStream::new(rest)));
        let mut heard = match tokio::time::timeout(self.link.pace.call, call).await {
            Err(_) => return SessionEnd::lost(false, "no answer to the stream in time"),
            Ok(Err(status)) => return SessionEnd::status(false, &status),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        let mut progress = Progress::default();
        loop {
            if let Err(error) = self.send(&out, &mut progress).await {
                return SessionEnd::lost(progress.acknowledged > 0, error);
            }
            let lived = progress.acknowledged > 0;
            let patience = async {
                match progress.waiting_since {
                    // Nothing to wait for: keep-alives notice a dead connection.
                    None => std::future::pending().await,
                    Some(since) => sleep_until(since + self.link.pace.dead_after).await,
                }
            };
            tokio::select! {
                biased;
                answer = heard.message() => match answer {
                    Err(status) => return SessionEnd::status(lived, &status),
                    Ok(None) => return SessionEnd::lost(lived, "the control plane ended the stream"),
                    Ok(Some(answer)) => {
                        if let Err(error) = self.counted(answer.acknowledged, &mut progress).await {
                            return SessionEnd::lost(lived, chain(&error));
                        }
                    }
                },
                () = self.spool.news() => {}
                () = patience => return SessionEnd::lost(lived, "reports are not acknowledged"),
            }
        }
    }
}

impl ReportStream {
    /// Sends what waits, within the window.
    async fn send(
        &self,
        out: &mpsc::Sender<ReportStreamRequest>,
        progress: &mut Progress,
    ) -> Result<(), String> {
        while progress.open < WINDOW {
            let waiting = self.spool.after(progress.sent).await;
            let waiting = waiting.map_err(|error| chain(&error))?;
            if waiting.is_empty() {
                return Ok(());
            }
            for spooled in waiting {
                progress.sent = spooled.sequence;
                progress.open += 1;
                progress.waiting_since.get_or_insert_with(Instant::now);
                let report = read(spooled);
                let told = out.send_timeout(report, self.link.pace.call).await;
                told.map_err(|_| "the control plane takes no reports".to_owned())?;
            }
        }
        Ok(())
    }

    async fn counted(&self, up_to: u64, progress: &mut Progress) -> Result<(), StoreError> {
        // Never past what was sent: an answer of another store must not empty the spool.
        let up_to = up_to.min(progress.sent);
        if up_to <= progress.acknowledged {
            return Ok(());
        }
        self.spool.acknowledge(up_to).await?;
        progress.acknowledged = up_to;
        progress.open = progress.open.min(progress.sent - up_to);
        progress.waiting_since = (progress.open > 0).then(Instant::now);
        Ok(())
    }
}

/// A report that does not read back goes out empty, so that its number is counted.
fn read(spooled: SpooledReport) -> ReportStreamRequest {
    let report = ReportStreamRequest::decode(spooled.payload.as_slice()).unwrap_or_else(|error| {
        tracing::error!(sequence = spooled.sequence, error = %error, "a spooled report is broken");
        ReportStreamRequest::default()
    });
    ReportStreamRequest {
        sequence: spooled.sequence,
        ..report
    }
}
