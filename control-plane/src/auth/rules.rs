//! Which method needs what: one closed table, one line per method.
//!
//! Owns the table. Invariant: what is not in it is refused, whoever calls. A new
//! method gets its line here; a test finds those that have none.

use crate::domain::Scope::{
    self, AuditRead, ConfigRead, ConfigWrite, EventsExecute, EventsPayload, EventsRead, FleetAdmin,
    FleetRead, InstallationAdmin, KeysAdmin,
};

/// What a path demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// An API key with this scope.
    Key(Scope),
    /// An agent's credential, and the certificate that it has.
    Agent,
    /// An agent's credential.
    Credential,
    Nothing,
    /// A key, which learns that there is no such method, or none with a rule.
    Unruled,
    /// Nobody gets in.
    Closed,
}

/// Methods of `hookplane.v1`, by service.
const TABLE: &[(&str, &[(&str, Scope)])] = &[
    (
        "SourceService",
        &[
            ("CreateSource", ConfigWrite),
            ("UpsertSource", ConfigWrite),
            ("ListSources", ConfigRead),
            ("GetSource", ConfigRead),
            ("ReplaceSource", ConfigWrite),
            ("PatchSource", ConfigWrite),
            ("DeleteSource", ConfigWrite),
            ("EnableSource", ConfigWrite),
            ("DisableSource", ConfigWrite),
            ("WatchSources", ConfigRead),
        ],
    ),
    (
        "DestinationService",
        &[
            ("CreateDestination", ConfigWrite),
            ("UpsertDestination", ConfigWrite),
            ("ListDestinations", ConfigRead),
            ("GetDestination", ConfigRead),
            ("ReplaceDestination", ConfigWrite),
            ("PatchDestination", ConfigWrite),
            ("DeleteDestination", ConfigWrite),
            ("EnableDestination", ConfigWrite),
            ("DisableDestination", ConfigWrite),
            ("WatchDestinations", ConfigRead),
        ],
    ),
    (
        "ConnectionService",
        &[
            ("CreateConnection", ConfigWrite),
            ("UpsertConnection", ConfigWrite),
            ("ListConnections", ConfigRead),
            ("GetConnection", ConfigRead),
            ("ReplaceConnection", ConfigWrite),
            ("PatchConnection", ConfigWrite),
            ("DeleteConnection", ConfigWrite),
            ("EnableConnection", ConfigWrite),
            ("DisableConnection", ConfigWrite),
            ("PauseConnection", ConfigWrite),
            ("UnpauseConnection", ConfigWrite),
            ("WatchConnections", ConfigRead),
            ("GetLatestInput", EventsPayload),
        ],
    ),
    (
        "FilterService",
        &[
            ("CreateFilter", ConfigWrite),
            ("UpsertFilter", ConfigWrite),
            ("ListFilters", ConfigRead),
            ("GetFilter", ConfigRead),
            ("ReplaceFilter", ConfigWrite),
            ("PatchFilter", ConfigWrite),
            ("DeleteFilter", ConfigWrite),
            ("TestFilter", ConfigRead),
            ("WatchFilters", ConfigRead),
        ],
    ),
    (
        "ConfigurationService",
        &[
            ("ApplyConfiguration", ConfigWrite),
            // A proposal may hold secrets to try.
            ("EvaluateShadow", ConfigWrite),
            ("WaitApplied", ConfigRead),
        ],
    ),
    // Payloads in their answers need `events:payload` besides: grpc/evidence/payload.rs.
    (
        "RequestService",
        &[
            ("ListRequests", EventsRead),
            ("CountRequests", EventsRead),
            ("TailRequests", EventsRead),
            ("GetRequest", EventsRead),
            ("ListRequestEvents", EventsRead),
            ("ListIgnoredEvents", EventsRead),
            ("GetRequestTrace", EventsRead),
            ("DiagnoseRequest", EventsRead),
            ("ReplayRequest", EventsExecute),
        ],
    ),
    (
        "EventService",
        &[
            ("ListEvents", EventsRead),
            ("CountEvents", EventsRead),
            ("GetEvent", EventsRead),
            ("RetryEvent", EventsExecute),
            ("CancelEvent", EventsExecute),
            ("ReleaseEvent", EventsExecute),
            ("ListDeadLetters", EventsRead),
        ],
    ),
    (
        "BulkOperationService",
        &[
            ("PreviewEventBulkOperation", EventsRead),
            ("CreateEventBulkOperation", EventsExecute),
            ("ListEventBulkOperations", EventsRead),
            ("PreviewRequestBulkOperation", EventsRead),
            ("CreateRequestBulkOperation", EventsExecute),
            ("ListRequestBulkOperations", EventsRead),
            ("GetBulkOperation", EventsRead),
            ("PauseBulkOperation", EventsExecute),
            ("ResumeBulkOperation", EventsExecute),
            ("CancelBulkOperation", EventsExecute),
        ],
    ),
    (
        "AttemptService",
        &[("ListAttempts", EventsRead), ("GetAttempt", EventsRead)],
    ),
    (
        "FleetService",
        &[
            ("ListAgents", FleetRead),
            ("GetAgent", FleetRead),
            ("GetStatus", FleetRead),
        ],
    ),
    (
        "AgentAccessService",
        &[
            ("CreateAgentToken", FleetAdmin),
            ("ListAgentTokens", FleetAdmin),
            ("RevokeAgentToken", FleetAdmin),
            ("RevokeAgent", FleetAdmin),
            ("ListAgentAuthorities", FleetAdmin),
            ("RotateAgentAuthority", FleetAdmin),
        ],
    ),
    (
        "MetricsService",
        &[
            ("GetRequestMetrics", EventsRead),
            ("GetSourceMetrics", EventsRead),
            ("GetDestinationMetrics", EventsRead),
        ],
    ),
    (
        "RolloutService",
        &[
            // They name resources of all teams of a pool.
            ("ListRollouts", FleetAdmin),
            ("GetRollout", FleetAdmin),
            ("PromoteRollout", FleetAdmin),
            ("ReturnRollout", FleetAdmin),
            ("ListRolloutPolicies", FleetRead),
            ("SetRolloutPolicy", FleetAdmin),
            ("DeleteRolloutPolicy", FleetAdmin),
        ],
    ),
    (
        "ApiKeyService",
        &[
            ("CreateApiKey", KeysAdmin),
            ("ListApiKeys", KeysAdmin),
            ("GetApiKey", KeysAdmin),
            ("UpdateApiKey", KeysAdmin),
            ("RotateApiKey", KeysAdmin),
            ("RevokeApiKey", KeysAdmin),
        ],
    ),
    (
        "HandlerKeyService",
        &[
            ("CreateHandlerKey", KeysAdmin),
            ("ListHandlerKeys", KeysAdmin),
            ("GetHandlerKey", KeysAdmin),
            ("RevokeHandlerKey", KeysAdmin),
        ],
    ),
    (
        "AuditService",
        &[("ListAudit", AuditRead), ("VerifyAudit", AuditRead)],
    ),
    (
        "InstallationService",
        &[
            ("CreateTeam", InstallationAdmin),
            ("ListTeams", InstallationAdmin),
            ("CreateTeamApiKey", InstallationAdmin),
            ("GetSecretKeys", InstallationAdmin),
            ("RewrapSecrets", InstallationAdmin),
        ],
    ),
];

/// What the caller of a gRPC path must bring.
#[must_use]
pub fn demand(path: &str) -> Demand {
    let path = path.trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    match service {
        // The join token is inside the message.
        "hookplane.agent.v1.EnrolmentService"
        // Replicas show each other a token, which the service compares.
        | "hookplane.replica.v1.RelayService"
        | "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection" => Demand::Nothing,
        // Who has no certificate (any more) gets one here.
        "hookplane.agent.v1.CertificateService" => Demand::Credential,
        agent if agent.starts_with("hookplane.agent.v1.") => Demand::Agent,
        api => match api.strip_prefix("hookplane.v1.") {
            Some(service) => scope(service, method).map_or(Demand::Unruled, Demand::Key),
            None => Demand::Closed,
        },
    }
}

fn scope(service: &str, method: &str) -> Option<Scope> {
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    let (_, scope) = methods.iter().find(|(name, _)| *name == method)?;
    Some(*scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contract_has_a_rule() {
        let missing: Vec<String> = hookplane_proto::descriptor_pool()
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
            .filter(|path| matches!(demand(path), Demand::Closed | Demand::Unruled))
            .collect();
        assert!(
            missing.is_empty(),
            "give these a line in TABLE: {missing:#?}"
        );
    }

    #[test]
    fn what_no_rule_names_is_closed() {
        for path in ["/hookplane.v2.SourceService/GetSource", "/"] {
            assert_eq!(demand(path), Demand::Closed, "{path}");
        }
        let strange = [
            "/hookplane.v1.SourceService/DrainEverything",
            "/hookplane.v1.SourceService",
        ];
        for path in strange {
            assert_eq!(demand(path), Demand::Unruled, "{path}");
        }
    }
}
