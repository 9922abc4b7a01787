//! A file system in memory that fails on command, and the same way for the same seed.
//!
//! Two states are kept: what a process sees, and what a disk would still hold after a loss of
//! power. `File::sync` copies a file's content from the first to the second, `sync_dir` and
//! `rename` copy names. A crash stops every operation until [`SimFs::restart`] (the process
//! was killed: everything written is there) or [`SimFs::power_loss`] (only what was synced is
//! certain) starts the machine again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

use crate::{File, Fs, Random};

/// A simulated file system; cloning shares it.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<Disk>>);

struct Disk {
    random: Random,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Files by number; a file that has lost its name stays, for those who have it open.
    files: Vec<Content>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail_at: BTreeSet<u64>,
    capacity: Option<u64>,
    /// Grows at every restart; a file opened before is of no use any more.
    boot: u64,
}

#[derive(Default, Clone)]
struct Content {
    data: Vec<u8>,
    durable: Vec<u8>,
}

impl SimFs {
    /// An empty file system.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            random: Random::new(seed),
            folders: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            files: Vec::new(),
            operations: 0,
            crash_at: None,
            crashed: false,
            fail_at: BTreeSet::new(),
            capacity: None,
            boot: 0,
        })))
    }

    /// How many changing operations (append, truncate, sync, create, link, rename, remove) there were.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
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
        let mut disk = self.0.lock();
        disk.boot += 1;
        disk.crashed = false;
        disk.crash_at = None;
        disk.fail_at.clear();
    }

    /// Starts the machine again on what was synced, and on an arbitrary part of what was not:
    /// unsynced names may be there or not, unsynced bytes may be there, missing or zero.
    pub fn power_loss(&self) {
        self.restart();
        let mut disk = self.0.lock();
        let disk = &mut *disk;
        let paths: BTreeSet<_> = disk.names.keys().chain(disk.durable_names.keys()).cloned().collect();
        for path in paths {
            let (seen, durable) = (disk.names.get(&path).copied(), disk.durable_names.get(&path).copied());
            if seen != durable && disk.random.one_in(2) {
                match durable {
                    Some(file) => disk.names.insert(path, file),
                    None => disk.names.remove(&path),
                };
            }
        }
        disk.durable_names = disk.names.clone();
        for file in &mut disk.files {
            file.data = after_power_loss(&mut disk.random, file);
            file.durable.clone_from(&file.data);
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
        disk.files.push(Content { durable: data.clone(), data });
        disk.names.insert(path.to_owned(), number);
        disk.durable_names.insert(path.to_owned(), number);
    }

    fn live(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.0.lock();
        if disk.crashed { Err(crash()) } else { Ok(disk) }
    }
}

fn after_power_loss(random: &mut Random, file: &Content) -> Vec<u8> {
    let Some(unsynced) = file.data.strip_prefix(file.durable.as_slice()) else {
        return if random.one_in(2) { file.data.clone() } else { file.durable.clone() };
    };
    let kept = length_below(random, unsynced.len() + 1);
    let mut data = file.data[..file.durable.len() + kept].to_vec();
    if kept > 0 && random.one_in(3) {
        // The length reached the disk, some of the bytes did not.
        let from = file.durable.len() + length_below(random, kept);
        data[from..].fill(0);
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
        let folders = std::mem::take(&mut self.folders).into_iter();
        // A path joined with nothing would end with a slash.
        self.folders =
            folders.map(|p| if p == from { to.to_owned() } else { moved(&p).unwrap_or(p) }).collect();
        Ok(())
    }

    fn sync_names(&mut self, folder: &Path) {
        let inside = |path: &Path| path.parent() == Some(folder);
        self.durable_names.retain(|path, _| !inside(path));
        let names = self.names.iter().filter(|(path, _)| inside(path));
        self.durable_names.extend(names.map(|(path, file)| (path.clone(), *file)));
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
        let disk = self.live()?;
        let data = &disk.files[self.number].data;
        let bytes = usize::try_from(offset).ok().and_then(|o| data.get(o..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let number = self.number;
        self.live()?.whole(|disk| {
            let file = &mut disk.files[number];
            file.durable.clone_from(&file.data);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.live()?.files[self.number].data.len() as u64)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let number = self.number;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.live()?.whole(|disk| {
            disk.files[number].data.resize(length, 0);
            Ok(())
        })
    }
}

impl Fs for SimFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.live()?;
        let number = match disk.file(path) {
            Ok(number) => number,
            Err(_) => {
                if !path.parent().is_some_and(|folder| disk.folders.contains(folder)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                disk.whole(|disk| {
                    disk.files.push(Content::default());
                    let number = disk.files.len() - 1;
                    disk.names.insert(path.to_owned(), number);
                    Ok(number)
                })?
            }
        };
        Ok(Box::new(SimFile { fs: self.clone(), number, boot: disk.boot }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let disk = self.live()?;
        Ok(Box::new(SimFile { fs: self.clone(), number: disk.file(path)?, boot: disk.boot }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.live()?;
        Ok(disk.files[disk.file(path)?].data.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        if disk.folders.contains(from) {
            return disk.whole(|disk| disk.rename_folder(from, to));
        }
        let file = disk.file(from)?;
        disk.whole(|disk| {
            disk.names.remove(from);
            disk.names.insert(to.to_owned(), file);
            for folder in [from, to].into_iter().filter_map(Path::parent) {
                disk.sync_names(folder);
            }
            Ok(())
        })
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
            disk.names.insert(other.to_owned(), file);
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        if !disk.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.whole(|disk| {
            disk.names.retain(|name, _| !name.starts_with(path));
            disk.folders.retain(|name| !name.starts_with(path));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        disk.file(path)?;
        disk.whole(|disk| {
            disk.names.remove(path);
            Ok(())
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.live()?;
        disk.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let disk = self.live()?;
        if !disk.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = disk.names.keys().chain(&disk.folders).filter(|p| p.parent() == Some(path));
        let entries: BTreeSet<_> = entries.cloned().collect();
        Ok(entries.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.live()?.whole(|disk| {
            disk.sync_names(path);
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
