//! Which files a path means: itself, or those of the folder and its sub-folders.
//!
//! Invariants: nothing below the folder is left out silently but hidden entries and
//! other kinds of files; what is read is bounded before it is read.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Files of one folder and all below it, and their bytes.
const MOST_FILES: usize = 1_000;
const MOST_BYTES: u64 = 16 * 1_024 * 1_024;
/// Folders inside each other; links that lead in a circle end here.
const DEEPEST: usize = 16;

/// The file itself, or those of the folder in the order of their paths.
pub(super) fn of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Found::default();
    found.folder(path, 0)?;
    if found.files.is_empty() {
        let text = format!("{} has no TOML and JSON files", path.display());
        return Err(invalid(text));
    }
    found.files.sort();
    Ok(found.files)
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    bytes: u64,
}

impl Found {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), Failure> {
        if depth > DEEPEST {
            let text = format!("{} is deeper than {DEEPEST} folders", folder.display());
            return Err(invalid(text));
        }
        let told = |error: &std::io::Error| Failure::file(folder, error);
        for entry in std::fs::read_dir(folder).map_err(|error| told(&error))? {
            let entry = entry.map_err(|error| told(&error))?;
            let path = entry.path();
            // Links count as what they lead to: mounted files are links.
            let what = std::fs::metadata(&path).map_err(|error| Failure::file(&path, &error))?;
            if what.is_dir() {
                // Version control and mounts keep their own things in hidden folders.
                if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                    self.folder(&path, depth + 1)?;
                }
            } else if what.is_file() && is_configuration(&path) {
                self.take(path, what.len())?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, bytes: u64) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.files.len() == MOST_FILES || self.bytes > MOST_BYTES {
            let text = format!("there is too much to read at {}", path.display());
            return Err(invalid(text));
        }
        self.files.push(path);
        Ok(())
    }
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("toml") || extension.eq_ignore_ascii_case("json")
    })
}

fn invalid(text: String) -> Failure {
    let mebibytes = MOST_BYTES >> 20;
    Failure::new("FILE_INVALID", text).hint(format!(
        "a folder has 1 to {MOST_FILES} TOML and JSON files of {mebibytes} MiB together, at most {DEEPEST} folders deep"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_inside_are_read_in_order_and_hidden_ones_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        for folder in ["b", "b/c", ".git"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        for file in [
            "z.toml",
            "a.json",
            "b/1.toml",
            "b/c/2.toml",
            "b/notes.md",
            ".git/x.toml",
        ] {
            std::fs::write(dir.path().join(file), "").expect("a file");
        }
        let found = of(dir.path()).expect("files");
        let found: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(dir.path()).expect("inside").to_owned())
            .collect();
        let wanted = ["a.json", "b/1.toml", "b/c/2.toml", "z.toml"].map(PathBuf::from);
        assert_eq!(found, wanted);
    }

    #[test]
    fn links_in_a_circle_and_too_many_bytes_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).expect("a link");
        std::fs::write(dir.path().join("a.toml"), "").expect("a file");
        assert!(of(dir.path()).is_err(), "it leads in a circle");
        std::fs::remove_file(dir.path().join("again")).expect("a link");
        let large = std::fs::File::create(dir.path().join("b.toml")).expect("a file");
        large.set_len(MOST_BYTES + 1).expect("a sparse file");
        assert!(of(dir.path()).is_err(), "it is too large");
    }
}
