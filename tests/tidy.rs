//! The rules of the house that a machine can check: who depends on whom, what
//! stays at the edges, how long a file may grow.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, tests included.
const MAX_LINES: usize = 520;

/// Crate folder, and which of our crates it may depend on.
const MAY_DEPEND: [(&str, &[&str]); 5] = [
    ("proto", &[]),
    ("signature", &[]),
    ("rules", &[]),
    ("agent/journal", &[]),
    (
        "agent",
        &["hookplane-proto", "hookplane-signature", "hookplane-rules"],
    ),
];

/// Stages of the agent in their order: none may use a later one.
const STAGES: [&str; 6] = [
    "ingest",
    "verify",
    "route",
    "store::stage",
    "accept",
    "deliver",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("an entry of the workspace").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

#[test]
fn crates_depend_on_ours_only_as_the_layout_says() {
    for (folder, allowed) in MAY_DEPEND {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let found: Vec<&str> = manifest
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| name.starts_with("hookplane-"))
            .filter(|name| !allowed.contains(name))
            .collect();
        assert!(found.is_empty(), "{folder} must not depend on {found:?}");
    }
}

#[test]
fn a_stage_of_the_agent_never_uses_a_later_one() {
    for (place, stage) in STAGES.iter().enumerate() {
        let path = root()
            .join("agent/src")
            .join(stage.replace("::", "/"))
            .with_extension("rs");
        let text = read(&path);
        for later in &STAGES[place + 1..] {
            let used = text.contains(&format!("crate::{later}"));
            assert!(!used, "{stage} uses the later stage {later}");
        }
    }
}

#[test]
fn no_file_outgrows_its_subject() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(
        files.len() > 30,
        "the walk found {} files only",
        files.len()
    );
    let long: Vec<String> = files
        .iter()
        .map(|path| (read(path).lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "split these: {long:#?}");
}

#[test]
fn every_module_says_what_it_owns() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .filter(|path| !read(path).starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "no header: {silent:#?}");
}
