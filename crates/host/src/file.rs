//! A file that is read time after time: opened once, then only `pread` into one buffer.
//!
//! A kept descriptor of a removed cgroup answers ENODEV, which tells the end of a container for
//! nothing. How many descriptors are kept is bounded, as each container takes about a dozen;
//! files beyond the bound are opened for each reading.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Larger files are cut here; the largest that is read (mountinfo of a machine with thousands of
/// mounts) stays below.
const BYTES_MAX: usize = 8 << 20;
/// More names in one folder are left out.
const NAMES_MAX: usize = 65_536;
/// The kernel hands out line-wise files page by page, each reading at least a page less one line.
/// A reading shorter than this is therefore the last, as no line of the files read here is so long.
const SHORT_READ_BYTES: usize = 2048;

/// The buffer that all files of one reader are read into.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![0; 64 << 10])
    }
}

/// How many more files may be kept open; clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct FileBudget(Arc<AtomicUsize>);

impl FileBudget {
    /// `max` files, or half of what this process may open when `max` is 0.
    pub(crate) fn new(max: usize) -> Self {
        let own = || getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| n as usize / 2);
        Self(Arc::new(AtomicUsize::new(if max == 0 { own() } else { max })))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }

    fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets this process open as many files as it is allowed to raise its limit to, and tells how
/// many that is. A reader keeps about a dozen files open for each container.
pub fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}

/// A file that is read time after time.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    budget: FileBudget,
    fd: Option<OwnedFd>,
    /// It was not there; it is not looked for again until [`KeptFile::look_again`].
    missing: bool,
}

impl KeptFile {
    pub(crate) fn new(path: impl Into<PathBuf>, budget: &FileBudget) -> Self {
        Self { path: path.into(), budget: budget.clone(), fd: None, missing: false }
    }

    /// The content. `NOENT` when it is not there, `NODEV` when what it told of is gone.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        if self.missing {
            return Err(Errno::NOENT);
        }
        let mut own = None;
        let fd = match &self.fd {
            Some(fd) => fd,
            None => {
                let opened = open(&self.path).inspect_err(|e| self.missing = *e == Errno::NOENT)?;
                if self.budget.take() { self.fd.insert(opened) } else { own.insert(opened) }
            }
        };
        read_all(fd, buffer, SHORT_READ_BYTES)
    }

    /// Looks for the file again if it was not there.
    pub(crate) fn look_again(&mut self) {
        self.missing = false;
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        if self.fd.take().is_some() {
            self.budget.give_back();
        }
    }
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads a file once.
pub(crate) fn read_once<'b>(path: &Path, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
    // One byte: mountinfo has lines as long as a page, so only an empty reading is surely the last.
    read_all(&open(path)?, buffer, 1)
}

/// Reads a file of short lines once: the first reading that is not full is taken to be the last.
pub(crate) fn read_short<'b>(path: &Path, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
    read_all(&open(path)?, buffer, SHORT_READ_BYTES)
}

/// Reads a short file as text without blanks around it; `None` when it cannot be read.
pub(crate) fn read_text(path: &Path) -> Option<String> {
    let mut buffer = Buffer(vec![0; 4096]);
    let text = read_once(path, &mut buffer).ok()?;
    Some(String::from_utf8_lossy(text).trim().to_owned())
}

/// Reads a number out of a short file; `None` when there is none.
pub(crate) fn read_number(path: &Path, buffer: &mut Buffer) -> Option<f64> {
    crate::parse::number(read_once(path, buffer).ok()?)
}

/// Names in a folder, sorted. Names that are no text are left out.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Errno> {
    let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
    let listed = std::fs::read_dir(folder).map_err(errno)?;
    let mut names: Vec<String> =
        listed.flatten().take(NAMES_MAX).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    // NONBLOCK, so that a pipe put in the place of a file does not hold the pass up.
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// Reads until a reading is shorter than `short` bytes.
fn read_all<'b>(fd: &OwnedFd, buffer: &'b mut Buffer, short: usize) -> Result<&'b [u8], Errno> {
    let mut length = 0;
    loop {
        if length == buffer.0.len() {
            if length >= BYTES_MAX {
                break;
            }
            buffer.0.resize(length * 2, 0);
        }
        let n = match rustix::io::pread(fd, &mut buffer.0[length..], length as u64) {
            Ok(n) => n,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        length += n;
        if n < short {
            break;
        }
    }
    Ok(&buffer.0[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_shows_what_is_written_later_and_long_files_are_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut buffer = Buffer::new();
        let mut file = KeptFile::new(&path, &FileBudget::new(1));
        assert_eq!(file.read(&mut buffer), Err(Errno::NOENT));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(file.read(&mut buffer), Err(Errno::NOENT), "not looked for at each pass");
        file.look_again();
        assert_eq!(file.read(&mut buffer), Ok(&b"one"[..]));
        let long = vec![b'x'; 300_000];
        std::fs::write(&path, &long).unwrap();
        assert_eq!(file.read(&mut buffer), Ok(&long[..]));
    }

    #[test]
    fn files_beyond_the_budget_are_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let budget = FileBudget::new(1);
        let mut buffer = Buffer::new();
        let mut files: Vec<KeptFile> = (0..3)
            .map(|i| {
                let path = folder.path().join(i.to_string());
                std::fs::write(&path, i.to_string()).unwrap();
                KeptFile::new(path, &budget)
            })
            .collect();
        for _ in 0..2 {
            for (i, file) in files.iter_mut().enumerate() {
                assert_eq!(file.read(&mut buffer).unwrap(), i.to_string().as_bytes());
            }
        }
        assert_eq!(files.iter().filter(|f| f.fd.is_some()).count(), 1);
        files.clear();
        assert!(budget.take(), "a dropped file gives its place back");
    }
}
