//! How an operation stands: followed to its end, or told once.

use std::time::Duration;

use hookplane_client::Client;
use hookplane_client::v1::{BulkOperation, BulkOperationStatus, GetBulkOperationRequest};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, count, day_time};

/// Between two looks at an operation.
const LOOK: Duration = Duration::from_millis(500);
/// Characters of the bar.
const BAR: u64 = 30;

/// Until it has ended, or waits for a person.
pub(super) async fn watch(id: String, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let mut told = String::new();
    let ended = loop {
        let request = GetBulkOperationRequest { id: id.clone() };
        let now = client
            .bulk_operations()
            .get_bulk_operation(request)
            .await?
            .into_inner();
        let line = progress(&now);
        if line != told {
            output.progress(&line);
            told = line;
        }
        if now.status() != BulkOperationStatus::Running {
            break now;
        }
        tokio::time::sleep(LOOK).await;
    };
    output.end_progress();
    show(&ended, output)?;
    verdict(&ended)
}

fn verdict(ended: &BulkOperation) -> Result<(), Failure> {
    let id = &ended.id;
    match ended.status() {
        BulkOperationStatus::Completed if ended.failed_count == 0 => Ok(()),
        BulkOperationStatus::Completed => Err(Failure::new(
            "REPLAY_FAILED",
            format!("{} failed again", count(ended.failed_count)),
        )
        .hint("see why: hookplane events dead-letters")),
        BulkOperationStatus::Paused => Err(Failure::new(
            "BULK_OPERATION_PAUSED",
            format!("it is paused: {}", ended.status_reason),
        )
        .hint(format!(
            "send the rest: hookplane bulk resume {id}; end it: hookplane bulk cancel {id}"
        ))),
        _ => Err(Failure::new("BULK_OPERATION_CANCELLED", "it was cancelled")),
    }
}

/// `[#####.....] 120 of 300 sent, 2 failed, 18 s left`
fn progress(now: &BulkOperation) -> String {
    let dealt = now.made_count + now.skipped_count;
    let total = now.total_count.max(dealt);
    let full = (dealt * BAR).checked_div(total).unwrap_or(BAR);
    let full = usize::try_from(full).unwrap_or(0);
    let empty = usize::try_from(BAR).unwrap_or(0) - full;
    let mut line = format!(
        "[{}{}] {} of {} sent, {} delivered",
        "#".repeat(full),
        ".".repeat(empty),
        count(now.made_count),
        count(total),
        count(now.done_count),
    );
    for (number, what) in [
        (now.queued_count, "queued"),
        (now.scheduled_count, "to be tried again"),
        (now.failed_count, "failed"),
        (now.skipped_count, "skipped"),
    ] {
        if number > 0 {
            line.push_str(&format!(", {} {what}", count(number)));
        }
    }
    if now.seconds_left > 0 {
        line.push_str(&format!(", about {} s left", now.seconds_left));
    }
    if !now.status_reason.is_empty() {
        line.push_str(&format!(" ({})", now.status_reason));
    }
    line
}

pub(super) fn show(one: &BulkOperation, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&to_json(one));
    }
    output.table(&Table::of_values(vec![
        ("id", one.id.clone()),
        ("type", one.r#type.clone()),
        ("status", status(one).to_owned()),
        ("reason", one.status_reason.clone()),
        (
            "sent",
            format!("{} of {}", count(one.made_count), count(one.total_count)),
        ),
        ("skipped", count(one.skipped_count)),
        ("skipped because", one.skipped_reason.clone()),
        ("delivered", count(one.done_count)),
        ("queued", count(one.queued_count)),
        ("to be tried again", count(one.scheduled_count)),
        ("failed", count(one.failed_count)),
        ("rate", format!("{} per second", one.rate)),
        ("asked for by", one.requested_by.clone()),
        ("begun", day_time(one.created_at.as_ref())),
        ("ended", day_time(one.finished_at.as_ref())),
    ]))
}

pub(super) fn status(one: &BulkOperation) -> &'static str {
    match one.status() {
        BulkOperationStatus::Unspecified => "unknown",
        BulkOperationStatus::Running => "running",
        BulkOperationStatus::Paused => "paused",
        BulkOperationStatus::Completed => "completed",
        BulkOperationStatus::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_when_all_targets_were_dealt_with() {
        let mut one = BulkOperation {
            total_count: 4,
            made_count: 1,
            skipped_count: 1,
            done_count: 1,
            seconds_left: 2,
            ..BulkOperation::default()
        };
        let half = progress(&one);
        assert!(
            half.starts_with("[###############...............] 1 of 4 sent, 1 delivered"),
            "{half}"
        );
        assert!(half.ends_with("1 skipped, about 2 s left"), "{half}");
        (one.made_count, one.seconds_left) = (3, 0);
        assert!(progress(&one).starts_with(&format!("[{}]", "#".repeat(30))));
        assert!(progress(&BulkOperation::default()).starts_with(&format!("[{}]", "#".repeat(30))));
    }

    #[test]
    fn only_a_completed_operation_without_failures_is_a_success() {
        let of = |status: BulkOperationStatus, failed_count| BulkOperation {
            status: status.into(),
            failed_count,
            ..BulkOperation::default()
        };
        assert!(verdict(&of(BulkOperationStatus::Completed, 0)).is_ok());
        for (status, failed, code) in [
            (BulkOperationStatus::Completed, 1, "REPLAY_FAILED"),
            (BulkOperationStatus::Paused, 0, "BULK_OPERATION_PAUSED"),
            (
                BulkOperationStatus::Cancelled,
                0,
                "BULK_OPERATION_CANCELLED",
            ),
        ] {
            assert_eq!(verdict(&of(status, failed)).unwrap_err().code, code);
        }
    }
}
