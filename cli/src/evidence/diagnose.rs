//! `diagnose`: why a request was refused, with what proves it.

use hookplane_client::Client;
use hookplane_client::v1::{DiagnoseRequestRequest, RequestDiagnosis};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, Tone};

/// Flags of `diagnose`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DiagnoseArgs {
    /// `req_…` of a refused request
    id: String,
}

/// Runs the command.
pub(crate) async fn diagnose(
    args: DiagnoseArgs,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = DiagnoseRequestRequest { id: args.id };
    let answer = client.requests().diagnose_request(request).await?;
    let told: RequestDiagnosis = answer.into_inner();
    if output.is_json() {
        return output.json(&to_json(&told));
    }
    let tone = if told.proven {
        Tone::Good
    } else {
        Tone::Waiting
    };
    let proven = if told.proven { "proven" } else { "not proven" };
    let cause = output.paint(tone, &format!("{} ({proven})", told.cause));
    output.table(&Table::of_values([
        ("request", told.request_id),
        (
            "refused",
            format!("{} {}", told.rejection_cause, told.rejection_reason),
        ),
        ("cause", cause),
        ("evidence", told.evidence),
        ("fix", told.fix),
        ("ruled out", told.ruled_out.join(", ")),
    ]))
}
