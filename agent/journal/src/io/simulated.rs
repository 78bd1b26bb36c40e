//! A disk in memory that fails on purpose, for tests of the journal and of what is built on it.
//!
//! Owns what is durable and what is not: writes reach stable storage by `sync`, names by
//! `sync_directory`. A power cut keeps any subset of the unflushed blocks, in any order, leaves
//! those it was writing torn or as garbage, and keeps the changes of names up to some point. A
//! killed process loses nothing that was written. A failed `sync` keeps a subset and calls all of
//! it clean, as operating systems do. Everything random comes from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Directory, StoredFile};

const BLOCK: usize = 4_096;
const SECTOR: usize = 512;

/// Calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
    SyncDirectory,
    Truncate,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// What was written stays, flushed or not.
    Process,
    Power,
}

/// The disk. Clones are the same disk; it outlives the journals on it.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    random: StdRng,
    files: BTreeMap<u64, File>,
    next_file: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last flush of the directory.
    unflushed: Vec<Change>,
    capacity: u64,
    short_writes: bool,
    failures: Vec<(Operation, io::ErrorKind)>,
    performed: Vec<Operation>,
    fails_at: Option<(Range<usize>, io::ErrorKind)>,
    dies_at: Option<usize>,
    dead: bool,
    /// A file and the bytes of it that cannot be read.
    unreadable: Option<(u64, Range<u64>)>,
}

/// `EIO`.
const BAD_SECTOR: i32 = 5;

#[derive(Clone, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Change {
    Put(String, u64),
    Rename(String, String),
    Remove(String),
}

impl SimulatedDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unflushed: Vec::new(),
            capacity: u64::MAX,
            short_writes: false,
            failures: Vec::new(),
            performed: Vec::new(),
            fails_at: None,
            dies_at: None,
            dead: false,
            unreadable: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory, as a journal takes it.
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.clone())
    }

    /// The next call of this kind fails so; asked twice, the next two.
    pub fn fail_next(&self, operation: Operation, kind: io::ErrorKind) {
        self.state().failures.push((operation, kind));
    }

    /// The calls of these numbers, counted as in `performed`, fail so, whatever they are.
    pub fn fail_at(&self, operations: Range<usize>, kind: io::ErrorKind) {
        self.state().fails_at = Some((operations, kind));
    }

    pub fn forget_failures(&self) {
        let mut state = self.state();
        state.failures.clear();
        state.fails_at = None;
    }

    /// Bytes that files may have together.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Reads that touch these bytes of a file fail, as those of a bad sector do.
    pub fn set_unreadable(&self, name: &str, bytes: Range<u64>) {
        let mut state = self.state();
        let file = state.names.get(name).copied();
        state.unreadable = file.map(|file| (file, bytes));
    }

    /// Writes take a part of the bytes only.
    pub fn set_short_writes(&self, short: bool) {
        self.state().short_writes = short;
    }

    /// Every call waits until what this gives is dropped; so do this type's own questions.
    pub fn hold(&self) -> impl Drop + '_ {
        self.state()
    }

    /// Calls that change something, so far.
    pub fn performed(&self) -> Vec<Operation> {
        self.state().performed.clone()
    }

    /// The call of this number, counted as in `performed`, happens in part; nothing after it does.
    pub fn die_at(&self, operation: usize) {
        self.state().dies_at = Some(operation);
    }

    /// Ends the run and lets the disk work again.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.state();
        if crash == Crash::Power {
            state.cut_power();
        }
        state.dead = false;
        state.dies_at = None;
        state.fails_at = None;
        state.failures.clear();
    }

    /// The call at which the run ends was made.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// How many calls that change something there were so far.
    pub fn calls(&self) -> usize {
        self.state().performed.len()
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub fn bytes_of(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.names.get(name)?;
        Some(state.files.get(file)?.seen.clone())
    }

    /// Puts a file with these bytes there, flushed.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = File {
            seen: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        };
        let number = state.add(file);
        state.names.insert(name.to_owned(), number);
        state.durable_names.insert(name.to_owned(), number);
    }

    /// Takes a file away, flushed.
    pub fn take_away(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }
}

impl State {
    fn add(&mut self, file: File) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, file);
        self.next_file
    }

    fn used(&self) -> u64 {
        let used: BTreeSet<u64> = self.names.values().copied().collect();
        let bytes = used.iter().filter_map(|number| self.files.get(number));
        bytes.map(|file| file.seen.len() as u64).sum()
    }

    /// Counts the call and says whether it happens: whole, in part (`true`), or not.
    fn begin(&mut self, operation: Operation) -> io::Result<bool> {
        if self.dead {
            return Err(io::Error::other("the machine is off"));
        }
        self.performed.push(operation);
        if self.dies_at == Some(self.performed.len() - 1) {
            self.dead = true;
            return Ok(true);
        }
        let this = self.performed.len() - 1;
        let numbered = self.fails_at.as_ref();
        if let Some((_, kind)) = numbered.filter(|(calls, _)| calls.contains(&this)) {
            return Err((*kind).into());
        }
        let failure = self
            .failures
            .iter()
            .position(|(kind, _)| *kind == operation);
        match failure {
            Some(number) => Err(self.failures.remove(number).1.into()),
            None => Ok(false),
        }
    }

    /// Begins a call that happens or does not.
    fn begin_whole(&mut self, operation: Operation) -> io::Result<()> {
        let dying = self.begin(operation)?;
        if dying && self.random.random() {
            return Err(io::Error::other("the machine is off"));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        apply(&change, &mut self.names)?;
        self.unflushed.push(change);
        Ok(())
    }

    fn cut_power(&mut self) {
        let kept = self.random.random_range(0..=self.unflushed.len());
        let mut names = self.durable_names.clone();
        for change in &self.unflushed[..kept] {
            // A change was possible when it was made, after all those before it.
            apply(change, &mut names).unwrap_or_default();
        }
        self.names = names;
        let random = &mut self.random;
        for file in self.files.values_mut() {
            file.settle(random, true);
            file.seen = file.durable.clone();
        }
        self.unflushed.clear();
        self.durable_names = self.names.clone();
    }
}

fn apply(change: &Change, names: &mut BTreeMap<String, u64>) -> io::Result<()> {
    let absent = || io::Error::from(io::ErrorKind::NotFound);
    match change {
        Change::Put(name, file) => {
            names.insert(name.clone(), *file);
        }
        Change::Rename(from, to) => {
            let file = names.remove(from).ok_or_else(absent)?;
            names.insert(to.clone(), file);
        }
        Change::Remove(name) => {
            names.remove(name).ok_or_else(absent)?;
        }
    }
    Ok(())
}

impl File {
    /// Some of what is dirty becomes durable; the rest never will.
    fn settle(&mut self, random: &mut StdRng, torn: bool) {
        if random.random() {
            self.durable.resize(self.seen.len(), 0);
        }
        for block in std::mem::take(&mut self.dirty) {
            let from = (block * BLOCK).min(self.durable.len());
            let to = (from + BLOCK).min(self.durable.len()).min(self.seen.len());
            if from >= to {
                continue;
            }
            match random.random_range(0..4) {
                0 => {}
                1 if torn => random.fill(&mut self.durable[from..to]),
                2 if torn => {
                    for start in (from..to).step_by(SECTOR) {
                        let end = (start + SECTOR).min(to);
                        if random.random() {
                            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
                        }
                    }
                }
                _ => self.durable[from..to].copy_from_slice(&self.seen[from..to]),
            }
        }
    }
}

impl Directory for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let found = self.state().names.get(name).copied();
        let number = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            number,
        }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.state();
        state.begin_whole(Operation::Create)?;
        // Emptied even when there is no space for the new length.
        let number = state.add(File::default());
        state.change(Change::Put(name.to_owned(), number))?;
        if state.used() + bytes > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(file) = state.files.get_mut(&number) {
            file.seen = vec![0; length];
            file.dirty = (0..length.div_ceil(BLOCK)).collect();
        }
        drop(state);
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            number,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::Rename)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::Remove)?;
        state.change(Change::Remove(name.to_owned()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::SyncDirectory)?;
        state.unflushed.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    number: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut File, &mut StdRng) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        let State { files, random, .. } = &mut *state;
        let file = files.get_mut(&self.number);
        let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(act(file, random))
    }
}

impl StoredFile for SimulatedFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(into.len() as u64);
        let bad = self.disk.state().unreadable.clone();
        if bad.is_some_and(|(file, bad)| file == self.number && offset < bad.end && bad.start < end)
        {
            return Err(io::Error::from_raw_os_error(BAD_SECTOR));
        }
        self.with(|file, _| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = file.seen.get(from..).unwrap_or_default();
            let count = bytes.len().min(into.len());
            into[..count].copy_from_slice(&bytes[..count]);
            count
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let dying = match state.begin(Operation::Write) {
            Err(error) if state.dead => return Err(error),
            begun => begun,
        };
        let short = state.short_writes;
        drop(state);
        // A write that fails may have written a part, as one that a crash interrupts.
        let whole = matches!(dying, Ok(false));
        let count = self.with(|file, random| {
            let most = bytes.len();
            let count = match (whole, short) {
                (true, false) => most,
                (true, true) => random.random_range(1..=most),
                (false, _) => random.random_range(0..=most),
            };
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = from + count;
            if file.seen.len() < end {
                file.seen.resize(end, 0);
            }
            file.seen[from..end].copy_from_slice(&bytes[..count]);
            file.dirty.extend(from / BLOCK..end.div_ceil(BLOCK));
            count
        })?;
        match dying {
            Ok(true) => Err(io::Error::other("the machine is off")),
            Ok(false) => Ok(count),
            Err(error) => Err(error),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = match state.begin(Operation::Sync) {
            Err(error) if state.dead => return Err(error),
            begun => begun,
        };
        drop(state);
        match begun {
            Ok(false) => self.with(|file, _| {
                file.durable = file.seen.clone();
                file.dirty.clear();
            }),
            // It may have come to its end before the power went.
            Ok(true) => {
                self.with(|file, random| {
                    if random.random() {
                        file.durable = file.seen.clone();
                        file.dirty.clear();
                    }
                })?;
                Err(io::Error::other("the machine is off"))
            }
            Err(error) => {
                self.with(|file, random| file.settle(random, false))?;
                Err(error)
            }
        }
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with(|file, _| file.seen.len() as u64)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.state().begin_whole(Operation::Truncate)?;
        self.with(|file, _| {
            let length = usize::try_from(bytes).unwrap_or(usize::MAX);
            file.seen.truncate(length);
            file.dirty.retain(|block| block * BLOCK < length);
        })
    }
}
