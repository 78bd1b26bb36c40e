//! A real directory whose flushes wait as long as a test says so.
//!
//! Owns the gate. Everything else is the real disk: what passes is really written.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hookplane_journal::io::{Directory, RealDirectory, StoredFile};

/// A test that forgets to open the gate fails instead of hanging.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// The gate is shut as long as this is held.
pub(crate) struct HeldUp(Gate);

impl Gate {
    pub(crate) fn hold_up(&self) -> HeldUp {
        *self.0.0.lock().unwrap() = true;
        HeldUp(self.clone())
    }

    fn pass(&self) {
        let (shut, opened) = &*self.0;
        let waiting = shut.lock().unwrap();
        drop(opened.wait_timeout_while(waiting, LONGEST, |shut| *shut));
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        *self.0.0.0.lock().unwrap() = false;
        self.0.0.1.notify_all();
    }
}

pub(crate) struct SlowDisk {
    real: RealDirectory,
    gate: Gate,
}

impl SlowDisk {
    pub(crate) fn open(path: &Path, gate: Gate) -> io::Result<Self> {
        let real = RealDirectory::open(path)?;
        Ok(Self { real, gate })
    }

    fn slow(&self, inner: Arc<dyn StoredFile>) -> Arc<dyn StoredFile> {
        let gate = self.gate.clone();
        Arc::new(SlowFile { inner, gate })
    }
}

impl Directory for SlowDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.real.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self.slow(self.real.open(name)?))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>> {
        Ok(self.slow(self.real.create(name, bytes)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.real.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.real.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.real.sync_directory()
    }

    fn release(&self) {
        self.real.release();
    }
}

struct SlowFile {
    inner: Arc<dyn StoredFile>,
    gate: Gate,
}

impl StoredFile for SlowFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.inner.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }
}
