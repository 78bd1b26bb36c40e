//! The one door to the disk: a directory of files, as a trait.
//!
//! Owns the real implementation and, for tests, a simulated one that fails on purpose.
//! Refuses to know segments. What the journal relies on, and no more:
//! - a successful `sync` puts everything written to the file before it on stable storage;
//! - a successful `sync_directory` does the same for names;
//! - `rename` is atomic, and unflushed changes of names survive a crash in order, up to some point;
//! - a write that a crash interrupts damages only blocks of 4 KiB that it touches.

mod real;
#[cfg(any(test, feature = "simulation"))]
pub mod simulated;

use std::io;
use std::sync::Arc;

pub use real::{RealDirectory, volume_bytes};

/// A directory that belongs to one journal.
pub trait Directory: Send + Sync + 'static {
    /// Names of the files in it, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;
    /// Creates a file, or empties one, and allocates its blocks.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>>;
    /// Replaces `to` if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Flushes names.
    fn sync_directory(&self) -> io::Result<()>;
    /// Nothing is changed any more through this value: another one may open the journal.
    fn release(&self) {}
}

/// An open file. Reads may come from many threads, the rest only from one.
pub trait StoredFile: Send + Sync {
    /// Reads up to `into.len()` bytes; 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of the bytes and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Flushes the data and what is needed to read it back.
    fn sync(&self) -> io::Result<()>;
    fn bytes(&self) -> io::Result<u64>;
    /// Cuts the file off.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// Writes all of it, however short the single writes are.
pub(crate) fn write_all(file: &dyn StoredFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `into` as far as the file goes and gives how much that was.
pub(crate) fn read_full(file: &dyn StoredFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether the disk is out of space, rather than broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
