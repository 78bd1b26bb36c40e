//! Every row of the shared vectors gives the verdict and the reason it names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use base64::Engine as _;
use hookplane_signature::{AuthSpec, Inbound, Provider, Verifier};
use serde_json::Value;

const TOLERANCE: u32 = 300;

#[test]
fn every_shared_vector_gives_its_verdict_and_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/signatures.json");
    let text = std::fs::read_to_string(&path).expect("the vectors stand in tests/vectors");
    let file: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let rows = file["rows"].as_array().expect("the vectors have rows");
    assert!(
        rows.len() > 50,
        "the table of vectors shrank to {} rows",
        rows.len()
    );
    let wrong: Vec<String> = rows.iter().filter_map(fault_of).collect();
    assert!(
        wrong.is_empty(),
        "vectors with another outcome:\n{}",
        wrong.join("\n")
    );
}

fn fault_of(row: &Value) -> Option<String> {
    let name = row["name"].as_str()?;
    let provider: Provider = row["provider"].as_str()?.parse().ok()?;
    let secrets = texts(&row["secrets"]);
    let headers: Vec<(String, String)> = row["headers"]
        .as_array()?
        .iter()
        .map(|pair| {
            (
                pair[0].as_str().unwrap().to_owned(),
                pair[1].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let body = base64::engine::general_purpose::STANDARD
        .decode(row["body_base64"].as_str()?)
        .expect("bodies are base64");
    let verifier = Verifier::new(provider, AuthSpec::Provider { secrets }, TOLERANCE)
        .expect("secrets of the vectors are well formed");
    let inbound = Inbound {
        headers: &headers,
        body: &body,
    };
    let got = match verifier.verify(&inbound, row["now"].as_i64()?) {
        Ok(verdict) => ("verified_by", verdict.verified_by.unwrap_or_default()),
        Err(refusal) => ("refused", refusal.reason.as_str().to_owned()),
    };
    let expected = row["expect"][got.0].as_str();
    (expected != Some(got.1.as_str())).then(|| {
        format!(
            "{name}: got {} {}, expected {}",
            got.0, got.1, row["expect"]
        )
    })
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}
