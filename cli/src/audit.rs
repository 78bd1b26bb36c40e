//! `audit`: who changed what, and whether the record is whole.

use clap::{Args, Subcommand};
use hookplane_client::Client;
use hookplane_client::v1::{AuditEntry, ListAuditRequest, VerifyAuditRequest};

use crate::failure::Failure;
use crate::json::to_json;
use crate::output::{Output, Table, day_time};
use crate::resources::{Page, PageArgs, each_page};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Show changes, newest first; `-o json` shows before and after
    List(ListArgs),
    /// Check that the record is whole, and show its end
    Verify {
        /// Go on after this entry of an earlier check
        #[arg(long, requires = "hash", default_value_t = 0)]
        after: u64,
        /// The hash that was shown with it
        #[arg(long, default_value = "")]
        hash: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// `source`, `destination`, `connection`, `api_key`, `team`
    #[arg(long = "type", default_value = "", hide_default_value = true)]
    resource_type: String,
    /// Of one resource
    #[arg(long = "resource", default_value = "", hide_default_value = true)]
    resource_id: String,
    /// By one key, `pak_…`
    #[arg(long = "by", default_value = "", hide_default_value = true)]
    key_id: String,
    /// `create`, `update`, `delete`, `rotate`, `revoke`
    #[arg(long, default_value = "", hide_default_value = true)]
    action: String,
    /// RFC 3339, or `now-24h`
    #[arg(long, default_value = "", hide_default_value = true)]
    from: String,
    /// RFC 3339, or `now-1h`
    #[arg(long, default_value = "", hide_default_value = true)]
    to: String,
    #[command(flatten)]
    page: PageArgs,
}

pub(crate) async fn run(
    verb: AuditVerb,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    match verb {
        AuditVerb::List(args) => list(args, client, output).await,
        AuditVerb::Verify { after, hash } => verify(after, hash, client, output).await,
    }
}

async fn list(args: ListArgs, client: &Client, output: &mut Output) -> Result<(), Failure> {
    let listed = each_page(&args.page, async |limit, page_token| {
        let request = ListAuditRequest {
            limit,
            page_token,
            resource_type: args.resource_type.clone(),
            resource_id: args.resource_id.clone(),
            key_id: args.key_id.clone(),
            action: args.action.clone(),
            from: args.from.clone(),
            to: args.to.clone(),
        };
        let answer = client.audit().list_audit(request).await?.into_inner();
        Ok(Page::whole(answer.pagination, answer.models))
    })
    .await?;
    if output.is_json() {
        return output.json(&listed.envelope(to_json));
    }
    let head = [
        "no", "at", "by", "action", "type", "name", "id", "revision", "applied",
    ];
    let mut table = Table::new(&head);
    for entry in &listed.models {
        table.row([
            entry.sequence.to_string(),
            day_time(entry.at.as_ref()),
            entry.key_name.clone(),
            entry.action.clone(),
            entry.resource_type.clone(),
            entry.resource_name.clone(),
            entry.resource_id.clone(),
            revision(entry),
            applied(entry),
        ]);
    }
    output.table(&table)?;
    listed.mention_rest(output);
    Ok(())
}

fn revision(entry: &AuditEntry) -> String {
    match entry.revision {
        0 => "-".to_owned(),
        revision => revision.to_string(),
    }
}

/// `2 of 3` agents.
fn applied(entry: &AuditEntry) -> String {
    if entry.revision == 0 {
        return "-".to_owned();
    }
    let have = entry.agents.iter().filter(|agent| agent.applied).count();
    format!("{have} of {}", entry.agents.len())
}

async fn verify(
    after: u64,
    hash: String,
    client: &Client,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut request = VerifyAuditRequest {
        after_sequence: after,
        after_hash: hash,
    };
    loop {
        let asked = request.clone();
        let answer = client.audit().verify_audit(asked).await?.into_inner();
        if answer.broken_sequence > 0 {
            let fault = format!("entry {}: {}", answer.broken_sequence, answer.fault);
            return Err(Failure::new("AUDIT_BROKEN", fault));
        }
        if answer.complete {
            if output.is_json() {
                return output.json(&to_json(&answer));
            }
            output.note("keep this: a record that was cut off later does not fit it");
            return output.table(&Table::of_values([
                ("entries", answer.sequence.to_string()),
                ("hash", answer.hash),
            ]));
        }
        request = VerifyAuditRequest {
            after_sequence: answer.sequence,
            after_hash: answer.hash,
        };
    }
}
