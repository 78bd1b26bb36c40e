//! Small secret files in the data folder: read when there, else made with mode 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::store::seal::KEY_BYTES;

const TOKEN_PREFIX: &str = "hpj_";
const MIN_TOKEN: usize = 16;
const MAX_FILE: u64 = 4_096;

/// Why a secret file cannot be used.
#[derive(Debug, Error)]
pub enum InvalidKeyFile {
    #[error("{path} cannot be read or written")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} {fault}")]
    Content { path: PathBuf, fault: &'static str },
}

/// The text of the keys that wrap secrets, which `secret_keys` reads.
///
/// # Errors
/// [`InvalidKeyFile`] when it cannot be read or made.
pub fn secret_key(path: &Path) -> Result<Zeroizing<String>, InvalidKeyFile> {
    read_or_make(path, || STANDARD.encode(rand::random::<[u8; KEY_BYTES]>()))
}

/// The token with which agents enrol.
///
/// # Errors
/// [`InvalidKeyFile`] when it is there but too short, or cannot be made.
pub fn join_token(path: &Path) -> Result<Zeroizing<String>, InvalidKeyFile> {
    let made = || format!("{TOKEN_PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()));
    let text = read_or_make(path, made)?;
    if text.len() < MIN_TOKEN {
        return Err(InvalidKeyFile::Content {
            path: path.to_owned(),
            fault: "holds fewer than 16 characters; delete it to have a token made",
        });
    }
    Ok(text)
}

/// Writes a secret that is shown once, in place of whatever was there.
///
/// # Errors
/// [`InvalidKeyFile::Io`].
pub fn write(path: &Path, text: &str) -> Result<(), InvalidKeyFile> {
    let write = || {
        // Written aside first, so that nobody reads half a key.
        let aside = path.with_extension("new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fill(create(&aside)?, text)?;
        fs::rename(&aside, path)?;
        sync_folder(path)
    };
    write().map_err(|source| failed(path, source))
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> String,
) -> Result<Zeroizing<String>, InvalidKeyFile> {
    match fs::exists(path) {
        Ok(true) => return read(path),
        Ok(false) => {}
        Err(source) => return Err(failed(path, source)),
    }
    let text = Zeroizing::new(make());
    match place(path, &text) {
        Ok(()) => Ok(text),
        // Another process was faster; its key is the one there is.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(source) => Err(failed(path, source)),
    }
}

/// Written whole aside and then given its name, which must be free: a crash leaves
/// no key or a whole one.
fn place(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension(format!("new-{:08x}", rand::random::<u32>()));
    let placed = fill(create(&aside)?, text).and_then(|()| fs::hard_link(&aside, path));
    let removed = fs::remove_file(&aside);
    placed?;
    removed?;
    sync_folder(path)
}

fn read(path: &Path) -> Result<Zeroizing<String>, InvalidKeyFile> {
    let length = fs::metadata(path)
        .map_err(|source| failed(path, source))?
        .len();
    if length > MAX_FILE {
        return Err(InvalidKeyFile::Content {
            path: path.to_owned(),
            fault: "is far too large for a key",
        });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| failed(path, source))?);
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn fill(mut file: File, text: &str) -> io::Result<()> {
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Makes a new name in the file's folder outlast a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn failed(path: &Path, source: io::Error) -> InvalidKeyFile {
    InvalidKeyFile::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_read_afterwards() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret.key");
        let made = secret_key(&path).expect("it is made");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(*secret_key(&path).expect("it is read"), *made);
    }

    #[test]
    fn a_key_is_placed_whole_or_not_at_all_and_never_over_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("join.token");
        fs::write(&path, "the token of another process").expect("written");
        let taken = place(&path, "mine").expect_err("the name is taken");
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        let token = join_token(&path).expect("it is read");
        assert_eq!(*token, "the token of another process");
        let left = fs::read_dir(dir.path()).expect("the folder").count();
        assert_eq!(left, 1, "what was written aside stays");
    }
}
