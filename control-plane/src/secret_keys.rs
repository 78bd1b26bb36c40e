//! Where the keys that wrap the secrets' data keys come from: a file, a setting or a command.
//!
//! Owns the form: base64 of 32 bytes, one key per line, the first one seals and
//! all of them open. Invariant: no text of a key gets into an error or a log line.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::keyfile::{self, InvalidKeyFile};
use crate::store::Sealer;
use crate::store::seal::KEY_BYTES;

const COMMAND_TIME: Duration = Duration::from_secs(10);
const MAX_OUTPUT: u64 = 4_096;
/// More would be a mistake: they are for the time of an exchange.
const MAX_KEYS: usize = 8;

/// Where the keys are.
#[derive(Clone)]
pub enum SecretKeys {
    /// Made when it is missing.
    File(PathBuf),
    Given(Zeroizing<String>),
    /// A program and its arguments; what it writes is the keys.
    Command(Vec<String>),
}

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum InvalidSecretKeys {
    #[error(transparent)]
    File(#[from] InvalidKeyFile),
    #[error("the secret key command `{program}` {fault}")]
    Command { program: String, fault: String },
    #[error(
        "{place} holds no key; it must be base64 of 32 random bytes, one key per line and at most 8 of them, `openssl rand -base64 32` makes one"
    )]
    Form { place: String },
}

impl SecretKeys {
    /// Reads the keys, or makes one where a file shall hold it and there is none.
    ///
    /// # Errors
    /// [`InvalidSecretKeys`] names the place.
    pub async fn sealer(&self) -> Result<Sealer, InvalidSecretKeys> {
        let (text, place) = match self {
            Self::File(path) => {
                let text = keyfile::secret_key(path)?;
                (text, path.display().to_string())
            }
            Self::Given(text) => (text.clone(), "secret_key".to_owned()),
            Self::Command(words) => {
                let text = output(words).await?;
                (text, "the output of the secret key command".to_owned())
            }
        };
        sealer(&text).ok_or(InvalidSecretKeys::Form { place })
    }
}

fn sealer(text: &str) -> Option<Sealer> {
    let lines: Vec<&str> = text.split_whitespace().collect();
    let (first, older) = lines.split_first()?;
    if older.len() >= MAX_KEYS {
        return None;
    }
    older
        .iter()
        .try_fold(Sealer::new(&*key(first)?), |sealer, line| {
            Some(sealer.and_older(&*key(line)?))
        })
}

fn key(line: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = STANDARD.decode(line).map(Zeroizing::new).ok()?;
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .ok()
}

async fn output(words: &[String]) -> Result<Zeroizing<String>, InvalidSecretKeys> {
    let (program, arguments) = words
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let failed = |fault: String| InvalidSecretKeys::Command {
        program: program.to_owned(),
        fault,
    };
    let run = async {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("cannot be run: {error}")))?;
        let mut text = Zeroizing::new(String::new());
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(MAX_OUTPUT).read_to_string(&mut text).await;
            read.map_err(|_| failed("does not write text".to_owned()))?;
        }
        let ended = child.wait().await;
        let ended = ended.map_err(|error| failed(format!("was lost: {error}")))?;
        if !ended.success() {
            return Err(failed(format!("failed: {ended}")));
        }
        Ok(text)
    };
    let late = || failed(format!("did not end within {} s", COMMAND_TIME.as_secs()));
    tokio::time::timeout(COMMAND_TIME, run)
        .await
        .map_err(|_| late())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    #[tokio::test]
    async fn the_first_line_seals_and_the_others_open() {
        let text = format!("{}\n{}\n", line(8), line(7));
        let given = SecretKeys::Given(Zeroizing::new(text));
        let sealer = given.sealer().await.expect("two keys");
        assert_eq!(sealer.current(), Sealer::new(&[8; 32]).current());
        assert_eq!(sealer.known().count(), 2);
    }

    #[tokio::test]
    async fn a_command_writes_the_keys_or_is_named() {
        let words = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned());
            SecretKeys::Command(words.collect())
        };
        let sealer = words(&["echo", &line(7)]).sealer().await.expect("a key");
        assert_eq!(sealer.current(), Sealer::new(&[7; 32]).current());
        for wrong in [&["false"][..], &["no-such-program"], &["echo", "hush"], &[]] {
            let fault = words(wrong).sealer().await.expect_err("no key").to_string();
            assert!(fault.contains("command"), "{fault}");
            assert!(!fault.contains("hush"), "the text is printed: {fault}");
        }
    }

    #[tokio::test]
    async fn a_file_that_holds_no_key_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret.key");
        std::fs::write(&path, "hello").expect("it is written");
        let fault = SecretKeys::File(path).sealer().await;
        let fault = fault.expect_err("it is refused").to_string();
        assert!(
            fault.contains("secret.key") && fault.contains("32 random bytes"),
            "{fault}"
        );
        assert!(!fault.contains("hello"), "the content is printed: {fault}");
    }
}
