//! Bulk operations as messages.

use hookplane_proto::v1;
use prost::Message as _;

use super::timestamp;
use crate::domain::bulk::{BulkKind, BulkOperation, BulkStatus};

/// What is shown of an operation, without who could not be asked.
#[must_use]
pub fn message(operation: &BulkOperation) -> v1::BulkOperation {
    let selection = operation.selection.as_slice();
    let counts = operation.counts;
    // Encoded by this control plane.
    let (events, requests) = match operation.kind {
        BulkKind::Events => (v1::EventSelection::decode(selection).ok(), None),
        BulkKind::Requests => (None, v1::RequestSelection::decode(selection).ok()),
    };
    v1::BulkOperation {
        id: operation.id.clone(),
        team_id: operation.team_id.clone(),
        r#type: operation.kind.word().to_owned(),
        status: status(operation.status).into(),
        status_reason: operation.status_reason.clone(),
        events,
        requests,
        rate: operation.rate,
        canary: operation.canary != crate::domain::bulk::Canary::None,
        requested_by: operation.requested_by.clone(),
        total_count: operation.total,
        made_count: counts.made,
        skipped_count: counts.skipped,
        skipped_reason: operation.skipped_reason.clone(),
        remaining_count: operation.remaining(),
        queued_count: counts.queued,
        scheduled_count: counts.scheduled,
        done_count: counts.done,
        failed_count: counts.failed,
        cancelled_count: counts.cancelled,
        seconds_left: operation.seconds_left(),
        cancelable: operation.is_ongoing(),
        created_at: Some(timestamp(operation.created_at)),
        updated_at: Some(timestamp(operation.updated_at)),
        finished_at: operation.finished_at.map(timestamp),
        partial: false,
        unreachable: Vec::new(),
    }
}

const fn status(status: BulkStatus) -> v1::BulkOperationStatus {
    match status {
        BulkStatus::Running => v1::BulkOperationStatus::Running,
        BulkStatus::Paused => v1::BulkOperationStatus::Paused,
        BulkStatus::Completed => v1::BulkOperationStatus::Completed,
        BulkStatus::Cancelled => v1::BulkOperationStatus::Cancelled,
    }
}
