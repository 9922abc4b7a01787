//! A file system in memory that fails on command, and the same way for the same seed.
//!
//! Two states are kept: what a process sees, and what a disk would still hold after a loss of
//! power. `File::sync` copies a file's content from the first to the second, `sync_dir` carries
//! out changes of names there. A crash stops every operation until [`SimFs::restart`] (the process
//! was killed: everything written is there) or [`SimFs::power_loss`] (only what was synced is
//! certain) starts the machine again.
//!
//! It is as unkind as disks and kernels are: a rename and the sync of its folder are two
//! operations; after a loss of power unsynced changes of names are there up to some moment or in
//! any selection; of unsynced bytes any sectors may be missing; a sync that failed once may never
//! be made up for ([`SimFs::forget_unsynced`]), and one that succeeded may be a lie
//! ([`SimFs::lie_one_in`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

use crate::{File, Fs, Random};

/// A simulated file system; cloning shares it.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<Disk>>);

/// What the disk loses or keeps as a whole; that of unsynced bytes.
const SECTOR_BYTES: usize = 512;

#[derive(Clone)]
struct Disk {
    random: Random,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes that lead from the durable names to the others, in order.
    unsynced: Vec<Change>,
    /// Files by number; a file that has lost its name stays, for those who have it open.
    files: Vec<Content>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail_at: BTreeSet<u64>,
    reads: u64,
    fail_read_at: BTreeSet<u64>,
    forgets_unsynced: bool,
    lies_one_in: Option<u64>,
    capacity: Option<u64>,
    /// Grows at every restart; a file opened before is of no use any more.
    boot: u64,
}

#[derive(Default, Clone)]
struct Content {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes that no sync will write any more.
    forgotten: Vec<Range<usize>>,
}

/// A change of names, which happens as a whole.
#[derive(Clone)]
enum Change {
    Create { path: PathBuf, file: usize },
    Rename { from: PathBuf, to: PathBuf, file: usize },
    Remove { path: PathBuf },
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Create { path, .. } | Self::Remove { path } => inside(path),
            Self::Rename { from, to, .. } => inside(from) || inside(to),
        }
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let (first, second) = match self {
            Self::Create { path, .. } | Self::Remove { path } => (path, None),
            Self::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

impl SimFs {
    /// An empty file system.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            random: Random::new(seed),
            folders: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            files: Vec::new(),
            operations: 0,
            crash_at: None,
            crashed: false,
            fail_at: BTreeSet::new(),
            reads: 0,
            fail_read_at: BTreeSet::new(),
            forgets_unsynced: false,
            lies_one_in: None,
            capacity: None,
            boot: 0,
        })))
    }

    /// Another file system with the same content, which goes its own way from here on: what was
    /// chosen by chance in this one may be chosen otherwise there.
    pub fn fork(&self, seed: u64) -> Self {
        let disk = self.0.lock();
        Self(Arc::new(Mutex::new(Disk { random: Random::new(seed), ..disk.clone() })))
    }

    /// How many changing operations (append, truncate, sync, create, link, rename, remove) there were.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// How many reading operations (open, read, list) there were.
    pub fn reads(&self) -> u64 {
        self.0.lock().reads
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }

    /// Sum of all files' bytes.
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used()
    }

    /// Crashes in the changing operation with this number (the first is 1): an append is torn,
    /// another operation happens or does not.
    pub fn crash_at(&self, operation: u64) {
        self.0.lock().crash_at = Some(operation);
    }

    /// Lets the changing operation with this number fail with EIO; an append is torn.
    pub fn fail_at(&self, operation: u64) {
        self.0.lock().fail_at.insert(operation);
    }

    /// Lets the reading operation with this number fail with EIO.
    pub fn fail_read_at(&self, operation: u64) {
        self.0.lock().fail_read_at.insert(operation);
    }

    /// From now on a sync that fails may take what it should have written for written, as kernels
    /// do: the process sees it, and no later sync brings it to the disk.
    pub fn forget_unsynced(&self) {
        self.0.lock().forgets_unsynced = true;
    }

    /// From now on one in so many syncs, of files and of folders, says that it is done and does
    /// nothing; `None` makes all of them honest.
    pub fn lie_one_in(&self, n: Option<u64>) {
        self.0.lock().lies_one_in = n;
    }

    /// Forgets what was to fail or to crash at operations to come.
    pub fn heal(&self) {
        let mut disk = self.0.lock();
        disk.crash_at = None;
        disk.fail_at.clear();
        disk.fail_read_at.clear();
    }

    /// Limits the sum of all files' bytes; an append beyond writes what fits and gives ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Whether the simulated process has crashed.
    pub fn crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// Starts the process again on what was written. Files opened before fail from now on.
    pub fn restart(&self) {
        self.heal();
        let mut disk = self.0.lock();
        disk.boot += 1;
        disk.crashed = false;
    }

    /// Starts the machine again on what was synced, and on an arbitrary part of what was not:
    /// unsynced names may be there or not, unsynced bytes may be there, missing or zero.
    pub fn power_loss(&self) {
        self.restart();
        let mut disk = self.0.lock();
        let disk = &mut *disk;
        let mut names = std::mem::take(&mut disk.durable_names);
        let unsynced = std::mem::take(&mut disk.unsynced);
        if disk.random.one_in(2) {
            // A journal keeps them in order.
            let kept = length_below(&mut disk.random, unsynced.len() + 1);
            unsynced[..kept].iter().for_each(|change| change.apply(&mut names));
        } else {
            unsynced.iter().filter(|_| disk.random.one_in(2)).for_each(|change| change.apply(&mut names));
        }
        disk.durable_names.clone_from(&names);
        disk.names = names;
        for file in &mut disk.files {
            file.data = after_power_loss(&mut disk.random, file);
            file.durable.clone_from(&file.data);
            file.forgotten.clear();
        }
    }

    /// Flips one bit of a file, as a bad disk does.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) -> io::Result<()> {
        let mut disk = self.0.lock();
        let file = disk.file(path)?;
        match disk.files[file].data.get_mut(offset) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        disk.files[file].durable = disk.files[file].data.clone();
        Ok(())
    }

    /// Gives a file this content, synced, whether it was there or not.
    pub fn put(&self, path: &Path, data: Vec<u8>) {
        let mut disk = self.0.lock();
        let number = disk.files.len();
        disk.files.push(Content { durable: data.clone(), data, forgotten: Vec::new() });
        disk.names.insert(path.to_owned(), number);
        disk.durable_names.insert(path.to_owned(), number);
    }

    fn live(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.0.lock();
        if disk.crashed { Err(crash()) } else { Ok(disk) }
    }
}

fn after_power_loss(random: &mut Random, file: &Content) -> Vec<u8> {
    let durable = file.durable.len();
    if !file.data.starts_with(&file.durable) {
        return if random.one_in(2) { file.data.clone() } else { file.durable.clone() };
    }
    let kept = durable + length_below(random, file.data.len() - durable + 1);
    let mut data = file.data[..kept].to_vec();
    if kept > durable {
        match random.below(4) {
            // The length reached the disk, the bytes did not from somewhere on.
            0 => {
                let from = durable + length_below(random, kept - durable);
                data[from..].fill(0);
            }
            // Sectors were written in another order.
            1 => {
                let mut from = durable;
                while from < kept {
                    let until = kept.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if random.one_in(2) {
                        data[from..until].fill(0);
                    }
                    from = until;
                }
            }
            _ => {}
        }
    }
    for range in &file.forgotten {
        if let Some(bytes) = data.get_mut(range.start..range.end.min(kept)) {
            bytes.fill(0);
        }
    }
    data
}

fn length_below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("BUG: below its bound")
}

fn crash() -> io::Error {
    io::Error::other("simulated crash")
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

/// What becomes of the next changing operation.
enum Fate {
    Done,
    Torn(io::Error),
}

impl Content {
    fn sync(&mut self) {
        self.durable.clone_from(&self.data);
        for range in &self.forgotten {
            if let Some(bytes) = self.durable.get_mut(range.clone()) {
                bytes.fill(0);
            }
        }
    }

    fn forget(&mut self) {
        if self.data.len() > self.durable.len() {
            self.forgotten.push(self.durable.len()..self.data.len());
        }
    }
}

impl Disk {
    fn fate(&mut self) -> Fate {
        self.operations += 1;
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
            return Fate::Torn(crash());
        }
        if self.fail_at.remove(&self.operations) {
            return Fate::Torn(eio());
        }
        Fate::Done
    }

    /// Counts a reading operation.
    fn look(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.fail_read_at.remove(&self.reads) { Err(eio()) } else { Ok(()) }
    }

    /// Whether the next sync does nothing.
    fn lies(&mut self) -> bool {
        self.lies_one_in.is_some_and(|n| self.random.one_in(n))
    }

    /// Carries out an operation that happens as a whole or not at all.
    fn whole<T>(&mut self, change: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        match self.fate() {
            Fate::Done => change(self),
            Fate::Torn(error) => {
                // A crash may hit just after the operation; one that failed did not happen.
                if self.crashed && self.random.one_in(2) {
                    let _ = change(self);
                }
                Err(error)
            }
        }
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        // A file with several names counts once.
        let files: BTreeSet<usize> = self.names.values().copied().collect();
        files.into_iter().map(|n| self.files[n].data.len() as u64).sum()
    }

    /// Names below move with the folder; whether they survive a loss of power stays as it was.
    fn rename_folder(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.names.contains_key(to) || self.folders.contains(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let moved = |path: &Path| path.strip_prefix(from).map(|below| to.join(below)).ok();
        for names in [&mut self.names, &mut self.durable_names] {
            *names = std::mem::take(names).into_iter().map(|(p, f)| (moved(&p).unwrap_or(p), f)).collect();
        }
        for path in self.unsynced.iter_mut().flat_map(Change::paths) {
            if let Some(to) = moved(path) {
                *path = to;
            }
        }
        let folders = std::mem::take(&mut self.folders).into_iter();
        // A path joined with nothing would end with a slash.
        self.folders =
            folders.map(|p| if p == from { to.to_owned() } else { moved(&p).unwrap_or(p) }).collect();
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn sync_names(&mut self, folder: &Path) {
        for change in self.unsynced.extract_if(.., |change| change.is_in(folder)) {
            change.apply(&mut self.durable_names);
        }
    }
}

struct SimFile {
    fs: SimFs,
    number: usize,
    boot: u64,
}

impl SimFile {
    fn live(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.fs.live()?;
        if disk.boot == self.boot { Ok(disk) } else { Err(crash()) }
    }
}

impl File for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.live()?;
        let disk = &mut *disk;
        let room = disk.capacity.map_or(u64::MAX, |c| c.saturating_sub(disk.used()));
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (written, result) = match disk.fate() {
            Fate::Torn(error) => (length_below(&mut disk.random, fits + 1), Err(error)),
            Fate::Done if fits < bytes.len() => (fits, Err(io::ErrorKind::StorageFull.into())),
            Fate::Done => (bytes.len(), Ok(())),
        };
        disk.files[self.number].data.extend_from_slice(&bytes[..written]);
        result
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.live()?;
        disk.look()?;
        let data = &disk.files[self.number].data;
        let bytes = usize::try_from(offset).ok().and_then(|o| data.get(o..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let number = self.number;
        let mut disk = self.live()?;
        let synced = disk.whole(|disk| {
            if !disk.lies() {
                disk.files[number].sync();
            }
            Ok(())
        });
        if synced.is_err() && !disk.crashed && disk.forgets_unsynced && disk.random.one_in(2) {
            disk.files[number].forget();
        }
        synced
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.live()?.files[self.number].data.len() as u64)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let number = self.number;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.live()?.whole(|disk| {
            let file = &mut disk.files[number];
            file.data.resize(length, 0);
            file.forgotten.iter_mut().for_each(|range| range.end = range.end.min(length));
            file.forgotten.retain(|range| !range.is_empty());
            Ok(())
        })
    }
}

impl Fs for SimFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.live()?;
        disk.look()?;
        let number = match disk.file(path) {
            Ok(number) => number,
            Err(_) => {
                if !path.parent().is_some_and(|folder| disk.folders.contains(folder)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                disk.whole(|disk| {
                    disk.files.push(Content::default());
                    let number = disk.files.len() - 1;
                    disk.change(Change::Create { path: path.to_owned(), file: number });
                    Ok(number)
                })?
            }
        };
        Ok(Box::new(SimFile { fs: self.clone(), number, boot: disk.boot }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.live()?;
        disk.look()?;
        Ok(Box::new(SimFile { fs: self.clone(), number: disk.file(path)?, boot: disk.boot }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut disk = self.live()?;
        disk.look()?;
        Ok(disk.files[disk.file(path)?].data.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        if disk.folders.contains(from) {
            return disk.whole(|disk| disk.rename_folder(from, to));
        }
        let file = disk.file(from)?;
        disk.whole(|disk| {
            disk.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
            Ok(())
        })?;
        drop(disk);
        to.parent().map_or(Ok(()), |folder| self.sync_dir(folder))
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        let file = disk.file(path)?;
        if !other.parent().is_some_and(|folder| disk.folders.contains(folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if disk.names.contains_key(other) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.whole(|disk| {
            disk.change(Change::Create { path: other.to_owned(), file });
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        if !disk.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.whole(|disk| {
            let below: Vec<PathBuf> =
                disk.names.keys().filter(|name| name.starts_with(path)).cloned().collect();
            below.into_iter().for_each(|path| disk.change(Change::Remove { path }));
            disk.folders.retain(|name| !name.starts_with(path));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        disk.file(path)?;
        disk.whole(|disk| {
            disk.change(Change::Remove { path: path.to_owned() });
            Ok(())
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        if disk.folders.contains(path) {
            return Ok(());
        }
        disk.whole(|disk| {
            disk.folders.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut disk = self.live()?;
        disk.look()?;
        if !disk.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = disk.names.keys().chain(&disk.folders).filter(|p| p.parent() == Some(path));
        let entries: BTreeSet<_> = entries.cloned().collect();
        Ok(entries.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.live()?.whole(|disk| {
            if !disk.lies() {
                disk.sync_names(path);
            }
            Ok(())
        })
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.0.lock();
        disk.names.contains_key(path) || disk.folders.contains(path)
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let disk = self.live()?;
        Ok(disk.capacity.map_or(u64::MAX, |c| c.saturating_sub(disk.used())))
    }
}

#[cfg(test)]
mod tests;
