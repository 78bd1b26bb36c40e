//! The rules of the house that a machine can check: who depends on whom, what
//! stays at the edges, how long a file may grow.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, tests included.
const MAX_LINES: usize = 520;

/// Crate folder, and which of our crates it may depend on.
const MAY_DEPEND: [(&str, &[&str]); 9] = [
    ("proto", &[]),
    ("signature", &[]),
    ("rules", &[]),
    ("agent/journal", &[]),
    (
        "agent",
        &[
            "hookplane-journal",
            "hookplane-proto",
            "hookplane-signature",
            "hookplane-rules",
        ],
    ),
    ("control-plane/entity", &[]),
    ("control-plane/migration", &[]),
    (
        "control-plane",
        &[
            "hookplane-proto",
            "hookplane-signature",
            "hookplane-rules",
            "hookplane-entity",
            "hookplane-migration",
        ],
    ),
    (
        "sdk-client/rust",
        &["hookplane-proto", "hookplane-signature"],
    ),
];

/// Stages of the agent in their order: none may use a later one. What wires them comes last.
const STAGES: [&str; 11] = [
    "ingest",
    "verify",
    "route",
    "store::stage",
    "accept",
    "deliver",
    "report",
    "command",
    "control",
    "admin",
    "agent",
];

/// Layers of the control plane: folder, and the layers it must not know.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "domain",
        &[
            "store", "service", "fleet", "grpc", "rest", "auth", "server",
        ],
    ),
    (
        "store",
        &["service", "fleet", "grpc", "rest", "auth", "server"],
    ),
    ("service", &["fleet", "grpc", "rest", "auth", "server"]),
    ("rest", &["service", "store", "fleet", "domain", "server"]),
    ("wire", &["fleet", "grpc", "rest", "auth", "server"]),
    ("fleet", &["grpc", "rest", "server"]),
];

/// A word that marks an outside type, and the only places of a crate that may say it.
const AT_THE_EDGE: [(&str, &str, &[&str]); 3] = [
    ("control-plane/src", "sea_orm", &["store", "store.rs"]),
    (
        "control-plane/src",
        "hookplane_proto::v1",
        &["grpc", "grpc.rs", "wire", "wire.rs", "fleet", "fleet.rs"],
    ),
    (
        "agent/src",
        "hookplane_proto::v1",
        &[
            "control",
            "control.rs",
            "command",
            "command.rs",
            "report",
            "report.rs",
        ],
    ),
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
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            rust_files(&path, into);
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
}

/// The files of a module: `<name>.rs` and everything in `<name>/`.
fn module(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let inside = folder.join(name);
    if inside.is_dir() {
        rust_files(&inside, &mut files);
    }
    files.push(inside.with_extension("rs"));
    files
}

/// Every path of this crate that a text names, below `crate::`; groups as in
/// `crate::{a, b::{c, d}}` are taken apart.
fn used_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, start) in text.match_indices("crate::") {
        tree("", &text[place + start.len()..], &mut found);
    }
    found
}

/// Reads one path or group and gives what stands behind it.
fn tree<'t>(before: &str, text: &'t str, found: &mut Vec<String>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(before, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => rest = next,
                Some(next) => return next.trim_start().trim_start_matches('}'),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let part = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let end = text.find(part).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match before {
        "" => name.to_owned(),
        before => format!("{before}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(below) => tree(&path, below, found),
        None => {
            found.push(path);
            // `a as b`, up to the next member of the group.
            let end = rest.find([',', '}', ';', '\n']).unwrap_or(rest.len());
            if rest.starts_with(" as ") {
                &rest[end..]
            } else {
                rest
            }
        }
    }
}

fn is_in(path: &str, module: &str) -> bool {
    path.strip_prefix(module)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn groups_of_paths_are_taken_apart() {
    let text = "use crate::{a, b::{self, c::D as E}, f};\nlet x = crate::g::h(crate::i);
        use crate::{\n    j,\n    k::l,\n};";
    let mut found = used_paths(text);
    found.sort();
    let wanted = ["a", "b::c::D", "b::self", "f", "g::h", "i", "j", "k::l"];
    assert_eq!(found, wanted);
    assert!(is_in("store::stage::Stored", "store::stage") && is_in("store", "store"));
    assert!(!is_in("stored", "store"));
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
        let path = root().join("agent/src").join(stage.replace("::", "/"));
        let mut files = vec![path.with_extension("rs")];
        if path.is_dir() {
            rust_files(&path, &mut files);
        }
        for file in files {
            let used = used_paths(&read(&file));
            for later in &STAGES[place + 1..] {
                let found = used.iter().any(|path| is_in(path, later));
                assert!(!found, "{} uses the later stage {later}", file.display());
            }
        }
    }
}

#[test]
fn a_layer_of_the_control_plane_never_uses_one_above_it() {
    let folder = root().join("control-plane/src");
    for (layer, above) in LAYERS {
        for path in module(&folder, layer) {
            let used = used_paths(&read(&path));
            for other in above {
                let found = used.iter().any(|path| is_in(path, other));
                assert!(!found, "{} uses {other}", path.display());
            }
        }
    }
}

#[test]
fn outside_types_stay_at_the_edges() {
    for (folder, word, places) in AT_THE_EDGE {
        let folder = root().join(folder);
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        let strays: Vec<_> = files
            .iter()
            .filter(|path| {
                let inside = path.strip_prefix(&folder).expect("it was found there");
                let first = inside.iter().next().unwrap_or_default().to_string_lossy();
                !places.contains(&first.as_ref())
            })
            .filter(|path| !path.ends_with("tests.rs") && read(path).contains(word))
            .collect();
        assert!(strays.is_empty(), "{word} is spoken by {strays:?}");
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
