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

/// The key that seals secrets: base64 of 32 bytes.
///
/// # Errors
/// [`InvalidKeyFile`] when it is there but no such key, or cannot be made.
pub fn secret_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, InvalidKeyFile> {
    let made = || STANDARD.encode(rand::random::<[u8; KEY_BYTES]>());
    let text = read_or_make(path, made)?;
    let bytes = STANDARD.decode(text.as_bytes()).map(Zeroizing::new).ok();
    let key = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok());
    key.map(Zeroizing::new).ok_or_else(|| InvalidKeyFile::Content {
        path: path.to_owned(),
        fault: "holds no key; it must be base64 of 32 random bytes, `openssl rand -base64 32` makes one",
    })
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
    match create(path) {
        Ok(file) => {
            let text = Zeroizing::new(make());
            fill(file, &text).map_err(|source| failed(path, source))?;
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(source) => Err(failed(path, source)),
    }
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
    fn a_file_that_holds_no_key_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret.key");
        fs::write(&path, "hello").expect("it is written");
        let fault = secret_key(&path).expect_err("it is refused").to_string();
        assert!(
            fault.contains("secret.key") && fault.contains("32 random bytes"),
            "{fault}"
        );
        assert!(!fault.contains("hello"), "the content is printed: {fault}");
    }
}
