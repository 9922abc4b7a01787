//! A walk over a folder that counts what its files take, a little at a time.
//!
//! It never leaves the file system on which it began, follows no link, counts a file with several
//! names once, and stops at a number of entries, after which what it tells is a part.

use std::{collections::HashSet, ffi::CString, path::Path, time::Duration};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};
use vedette_sys::Clock;

/// Entries after which a walk ends.
const ENTRIES_MAX: usize = 2_000_000;
/// Folders that wait to be walked.
const WAITING_MAX: usize = 200_000;
/// Files with several names that are remembered.
const LINKED_MAX: usize = 200_000;
/// Between two looks at the clock.
const ENTRIES_A_LOOK: usize = 64;
/// How long it works at a stretch, and how many times as long it rests.
const WORK: Duration = Duration::from_millis(2);
const REST_FACTOR: u32 = 50;

/// A walk and what it has counted.
pub(super) struct Walk {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
    /// There was more than is counted.
    pub(super) partial: bool,
    root: OwnedFd,
    device: u64,
    waiting: Vec<CString>,
    linked: HashSet<u64>,
    entries: usize,
    entries_max: usize,
}

impl Walk {
    pub(super) fn new(folder: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let root = rustix::fs::open(folder, flags, Mode::empty())?;
        let stat = fstat(&root)?;
        Ok(Self {
            bytes: blocks(&stat),
            inodes: 1,
            partial: false,
            device: stat.st_dev,
            root,
            waiting: vec![CString::from(c".")],
            linked: HashSet::new(),
            entries: 0,
            entries_max: ENTRIES_MAX,
        })
    }

    /// Walks on; `rest` waits, and says whether to go on. Tells whether the walk came to its end.
    pub(super) fn run(&mut self, clock: &dyn Clock, mut rest: impl FnMut(Duration) -> bool) -> bool {
        let mut began = clock.monotonic();
        while let Some(path) = self.waiting.pop() {
            // A link put into the place of a folder is not followed.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let Ok(folder) = openat(&self.root, &path, flags, Mode::empty()) else { continue };
            let Ok(entries) = Dir::read_from(&folder) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                if self.entries >= self.entries_max {
                    self.partial = true;
                    return true;
                }
                self.entries += 1;
                self.count(&folder, &path, name);
                if self.entries.is_multiple_of(ENTRIES_A_LOOK) {
                    let worked = clock.monotonic().since(began);
                    if worked >= WORK {
                        if !rest(worked * REST_FACTOR) {
                            return false;
                        }
                        began = clock.monotonic();
                    }
                }
            }
        }
        true
    }

    fn count(&mut self, folder: &OwnedFd, path: &CString, name: &std::ffi::CStr) {
        // What vanished meanwhile takes nothing.
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if stat.st_dev != self.device {
            return;
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_folder && stat.st_nlink > 1 {
            if self.linked.contains(&stat.st_ino) {
                return;
            }
            if self.linked.len() < LINKED_MAX {
                self.linked.insert(stat.st_ino);
            }
        }
        self.bytes = self.bytes.saturating_add(blocks(&stat));
        self.inodes += 1;
        if is_folder {
            let inner = [path.as_bytes(), b"/", name.to_bytes()].concat();
            match CString::new(inner) {
                Ok(inner) if self.waiting.len() < WAITING_MAX => self.waiting.push(inner),
                _ => self.partial = true,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn with_entries_max(mut self, max: usize) -> Self {
        self.entries_max = max;
        self
    }
}

fn blocks(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}
