//! The last good configuration on disk, sealed to this agent.
//!
//! A generation is written aside, flushed and renamed, and the one before is
//! kept. AES-256-GCM both hides the secrets in it and proves that no bit
//! changed. Within an epoch an older revision never replaces a newer one.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use hookplane_proto::agent::v1::{Delta, Held, Resource, SnapshotChunk};
use prost::Message as _;
use thiserror::Error;

use crate::files;

const CURRENT: &str = "configuration.sealed";
const PREVIOUS: &str = "configuration.previous";
const MAGIC: &[u8; 8] = b"hpconf1\n";
const NONCE: usize = 12;

/// Reads and writes the copy of one data folder.
pub(super) struct DiskCopy {
    dir: PathBuf,
    key: RandomizedNonceKey,
    /// Epoch and revision of what stands on disk.
    newest: Option<(String, u64)>,
}

/// What a generation holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Generation {
    pub(super) held: Held,
    pub(super) applied: Vec<Resource>,
    /// Refused ones, so that a newer release can try them again.
    pub(super) parked: Vec<Resource>,
    pub(super) deleted_connections: Vec<String>,
}

#[derive(Debug, Error)]
pub(super) enum DiskError {
    #[error("{} cannot be read or written", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is broken or was sealed by another agent", path.display())]
    Broken { path: PathBuf },
    #[error("revision {offered} is older than revision {kept} on disk")]
    Older { offered: u64, kept: u64 },
}

impl DiskCopy {
    pub(super) fn new(dir: &Path, key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("a key of 32 bytes");
        Self {
            dir: dir.to_owned(),
            key,
            newest: None,
        }
    }

    /// The newest generation that reads back, and what was wrong with newer ones.
    pub(super) fn load(&mut self) -> (Option<Generation>, Vec<DiskError>) {
        let mut faults = Vec::new();
        for name in [CURRENT, PREVIOUS] {
            match self.read(&self.dir.join(name)) {
                Ok(None) => {}
                Ok(Some(generation)) => {
                    let held = &generation.held;
                    self.newest = Some((held.epoch.clone(), held.revision));
                    return (Some(generation), faults);
                }
                Err(fault) => faults.push(fault),
            }
        }
        (None, faults)
    }

    /// Makes it the current generation. Blocks until it is flushed.
    pub(super) fn save(&mut self, generation: &Generation) -> Result<(), DiskError> {
        let held = &generation.held;
        if let Some((epoch, kept)) = &self.newest
            && *epoch == held.epoch
            && held.revision < *kept
        {
            return Err(DiskError::Older {
                offered: held.revision,
                kept: *kept,
            });
        }
        let path = self.dir.join(CURRENT);
        let sealed = self.seal(generation);
        files::replace_keeping(&path, &self.dir.join(PREVIOUS), &sealed)
            .map_err(|source| DiskError::File { path, source })?;
        self.newest = Some((held.epoch.clone(), held.revision));
        Ok(())
    }

    fn seal(&self, generation: &Generation) -> Vec<u8> {
        let part = |resources: &[Resource]| SnapshotChunk {
            held: Some(generation.held.clone()),
            last: true,
            resources: resources.to_vec(),
            ..SnapshotChunk::default()
        };
        let mut body = part(&generation.applied).encode_length_delimited_to_vec();
        body.extend(part(&generation.parked).encode_length_delimited_to_vec());
        let deleted = Delta {
            deleted_connections: generation.deleted_connections.clone(),
            ..Delta::default()
        };
        body.extend(deleted.encode_length_delimited_to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(MAGIC), &mut body)
            .expect("far below the length limit of the cipher");
        [&MAGIC[..], nonce.as_ref(), &body].concat()
    }

    fn read(&self, path: &Path) -> Result<Option<Generation>, DiskError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(DiskError::File { path, source });
            }
        };
        self.open(&bytes)
            .map(Some)
            .ok_or_else(|| DiskError::Broken {
                path: path.to_owned(),
            })
    }

    fn open(&self, bytes: &[u8]) -> Option<Generation> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let nonce = Nonce::from(nonce);
        let mut body = sealed.to_vec();
        let mut body = &*self
            .key
            .open_in_place(nonce, Aad::from(MAGIC), &mut body)
            .ok()?;
        let applied = SnapshotChunk::decode_length_delimited(&mut body).ok()?;
        let parked = SnapshotChunk::decode_length_delimited(&mut body).ok()?;
        let deleted = Delta::decode_length_delimited(&mut body).ok()?;
        Some(Generation {
            held: applied.held?,
            applied: applied.resources,
            parked: parked.resources,
            deleted_connections: deleted.deleted_connections,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(epoch: &str, revision: u64) -> Generation {
        let held = Held {
            epoch: epoch.into(),
            revision,
            digest: String::new(),
        };
        let resource = Resource {
            version: revision,
            ..Resource::default()
        };
        Generation {
            held,
            applied: vec![resource],
            parked: Vec::new(),
            deleted_connections: vec!["web_1".to_owned()],
        }
    }

    #[test]
    fn a_broken_generation_falls_back_to_the_one_before_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = DiskCopy::new(dir.path(), &[1; 32]);
        disk.save(&generation("e", 1)).unwrap();
        disk.save(&generation("e", 2)).unwrap();
        let path = dir.path().join(CURRENT);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (found, faults) = DiskCopy::new(dir.path(), &[1; 32]).load();
        assert_eq!(found, Some(generation("e", 1)));
        assert!(matches!(&faults[..], [DiskError::Broken { path: p }] if *p == path));
    }

    #[test]
    fn an_older_revision_never_replaces_a_newer_one_but_a_new_epoch_does() {
        let dir = tempfile::tempdir().unwrap();
        DiskCopy::new(dir.path(), &[1; 32])
            .save(&generation("e", 5))
            .unwrap();
        let mut disk = DiskCopy::new(dir.path(), &[1; 32]);
        disk.load();
        let refused = disk.save(&generation("e", 4));
        assert!(matches!(
            refused,
            Err(DiskError::Older {
                offered: 4,
                kept: 5
            })
        ));
        disk.save(&generation("rebuilt", 1)).unwrap();
    }

    #[test]
    fn another_agent_cannot_open_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        DiskCopy::new(dir.path(), &[1; 32])
            .save(&generation("e", 5))
            .unwrap();
        let (found, faults) = DiskCopy::new(dir.path(), &[2; 32]).load();
        assert_eq!((found, faults.len()), (None, 1));
    }
}
