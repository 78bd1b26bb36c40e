//! Compiles `google/` and `hookplane/` with protox, so that no `protoc` is needed,
//! and keeps the descriptor bytes: REST, reflection and the tests read them.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "hookplane/v1/capability.proto",
        "hookplane/v1/common.proto",
        "hookplane/v1/source.proto",
        "hookplane/v1/destination.proto",
        "hookplane/v1/filter.proto",
        "hookplane/v1/connection.proto",
        "hookplane/v1/shadow.proto",
        "hookplane/v1/configuration.proto",
        "hookplane/v1/request.proto",
        "hookplane/v1/event.proto",
        "hookplane/v1/bulk.proto",
        "hookplane/v1/fleet.proto",
        "hookplane/v1/rollout.proto",
        "hookplane/v1/metrics.proto",
        "hookplane/v1/api_key.proto",
        "hookplane/v1/handler_key.proto",
        "hookplane/v1/agent_access.proto",
        "hookplane/v1/audit.proto",
        "hookplane/v1/installation.proto",
        "hookplane/agent/v1/enrolment.proto",
        "hookplane/agent/v1/certificate.proto",
        "hookplane/agent/v1/configuration.proto",
        "hookplane/agent/v1/commands.proto",
        "hookplane/agent/v1/reports.proto",
        "hookplane/replica/v1/relay.proto",
    ];
    println!("cargo::rerun-if-changed=google");
    println!("cargo::rerun-if-changed=hookplane");

    let mut compiler = protox::Compiler::new(["."])?;
    // With comments: they are the reference that callers read.
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;
    // The typed set would drop the http annotations; the encoded one keeps them.
    let encoded = compiler.encode_file_descriptor_set();
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo speaks to build scripts this way"
    )]
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), &encoded)?;

    let set = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    tonic_prost_build::configure()
        .build_transport(true)
        // In order, so that the same message has the same bytes.
        .btree_map(".")
        // Secrets travel in these; a derived Debug would print them.
        .skip_debug([
            "hookplane.v1.BasicAuth",
            "hookplane.v1.ApiKeyAuth",
            "hookplane.v1.HmacAuth",
            "hookplane.v1.ProviderSignature",
            "hookplane.v1.DestinationBasicAuth",
            "hookplane.v1.BearerToken",
            "hookplane.v1.CustomHeader",
            "hookplane.v1.HookplaneSignature",
            "hookplane.v1.StandardWebhooksSignature",
            "hookplane.v1.Oauth2ClientCredentials",
            "hookplane.v1.ClientCertificate",
            "hookplane.v1.ApiKey",
            "hookplane.v1.HandlerKey",
            "hookplane.v1.AgentToken",
            "hookplane.agent.v1.EnrollRequest",
        ])
        .compile_fds(set)?;
    Ok(())
}
