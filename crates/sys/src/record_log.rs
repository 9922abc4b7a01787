//! A log of records in segment files, for everything that must survive the end of the process.
//!
//! Invariants: a record for which `append` returned `Ok` comes back, in order, after the
//! process was killed at any moment, and after a loss of power if it was synced; a record that
//! was never appended never comes back. A failed append leaves no trace, and a later one works
//! as soon as the cause is gone. The format is described in `docs/formats/record-log.md`.

mod frame;
mod reader;
mod recovery;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use frame::Salt;
pub use reader::SegmentReader;
use recovery::Segment;

pub use recovery::SegmentRecords;

use crate::{File, Fs, Random};

/// When appended records are made to survive a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// When the owner calls [`RecordLog::sync`], which it does this often.
    Interval(Duration),
    /// Before an append returns.
    Always,
}

/// Limits of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogConfig {
    /// A segment that has reached this size gets no further record.
    pub segment_bytes_max: u64,
    /// The largest record; at most 4 GiB.
    pub record_bytes_max: usize,
    /// When to sync.
    pub flush: Flush,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes_max: 32 << 20,
            record_bytes_max: 16 << 20,
            flush: Flush::Interval(Duration::from_secs(1)),
        }
    }
}

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Segment files that hold them.
    pub segments: u64,
    /// Bytes that were no whole record: a torn end, or damage.
    pub dropped_bytes: u64,
    /// Files and offsets of damage other than a torn end, which a crash explains.
    pub damage: Option<String>,
}

/// Why a log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The machine refused. After a failed append the log is as before, and may be tried again.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The record is larger than this log allows; trying again cannot help.
    #[error("a record of {bytes} bytes is larger than the {max} bytes that the log takes")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A later release wrote the file.
    #[error("{} has format version {version}, which this release cannot read; use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
}

impl LogError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether the disk, or this user's share of it, is full.
    pub fn is_full(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A log, open for appending. One process at a time: the owner holds a `FolderLock`.
pub struct RecordLog {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    config: LogConfig,
    /// Full segments, in order; the current one is not among them.
    sealed: Vec<Segment>,
    current: Option<Current>,
    number_max: u64,
    /// Sealed segments and folder entries that a loss of power could still take.
    unsynced_files: Vec<(PathBuf, Option<Box<dyn File>>)>,
    unsynced_folder: bool,
    random: Random,
    buffer: Vec<u8>,
}

struct Current {
    number: u64,
    path: PathBuf,
    file: Box<dyn File>,
    salt: Salt,
    bytes: u64,
    unsynced: bool,
    /// The end of a failed append is still in the file and must be cut before the next one.
    torn: bool,
}

impl RecordLog {
    /// Opens the log in `folder`, which is made if it is not there, and hands every intact
    /// record in order to `each(segment_number, record)`. A torn end is cut; a damaged segment
    /// is kept aside as `*.damaged`, reported, and read on where frames are found again.
    pub fn open(
        fs: Arc<dyn Fs>,
        folder: &Path,
        config: LogConfig,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(Self, Recovery), LogError> {
        Self::open_segments(fs, folder, config, &mut |segment| {
            segment.iter().for_each(|(_, record)| each(segment.number(), record));
        })
    }

    /// As [`RecordLog::open`], for those who go through the records later: hands every segment on
    /// as a whole. When it returns, nothing is left to be done with the files.
    pub fn open_segments(
        fs: Arc<dyn Fs>,
        folder: &Path,
        config: LogConfig,
        each: &mut dyn FnMut(SegmentRecords),
    ) -> Result<(Self, Recovery), LogError> {
        fs.create_dir_all(folder).map_err(LogError::io("make", folder))?;
        let recovered = recovery::recover(&fs, folder, record_bytes_max(&config), each)?;
        // The process before this one may have been killed before it synced them.
        let unsynced_files =
            recovered.segments.iter().map(|s| (segment_path(folder, s.number), None)).collect();
        let log = Self {
            fs,
            folder: folder.to_owned(),
            config,
            sealed: recovered.segments,
            // Appends go to a new segment: a file that was found after a crash is left as it
            // is, and an empty log needs no space until its first record.
            current: None,
            number_max: recovered.number_max,
            unsynced_files,
            unsynced_folder: true,
            random: Random::from_system(),
            buffer: Vec::new(),
        };
        Ok((log, recovered.recovery))
    }

    /// Writes one record, with one write(2). Returns the segment it is in.
    pub fn append(&mut self, record: &[u8]) -> Result<u64, LogError> {
        self.append_all(std::iter::once(record))
    }

    /// Writes several records with one write(2): all of them or, on an error, none. A crash
    /// may leave the first few. They are all in the segment whose number is returned.
    pub fn append_all<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>) -> Result<u64, LogError> {
        let max = record_bytes_max(&self.config);
        if self.current.as_ref().is_some_and(|c| c.bytes >= self.config.segment_bytes_max) {
            self.seal_current();
        }
        self.make_writable()?;
        let current = self.current.as_mut().expect("BUG: made above");
        self.buffer.clear();
        for record in records {
            if record.len() > max {
                return Err(LogError::TooLarge { bytes: record.len(), max });
            }
            frame::encode(current.salt, record, &mut self.buffer);
        }
        current.append(&self.buffer)?;
        let number = current.number;
        if self.config.flush == Flush::Always
            && let Err(error) = self.sync()
        {
            // Not acknowledged, so it must not come back.
            if let Some(current) = &mut self.current {
                current.bytes -= self.buffer.len() as u64;
                current.torn = true;
                let _ = current.cut_torn_end();
            }
            return Err(error);
        }
        Ok(number)
    }

    /// Makes everything appended so far survive a loss of power.
    pub fn sync(&mut self) -> Result<(), LogError> {
        while let Some((path, file)) = self.unsynced_files.last() {
            let synced = match file {
                Some(file) => file.sync(),
                None => self.fs.open_append(path).and_then(|file| file.sync()),
            };
            synced.map_err(LogError::io("sync", path))?;
            self.unsynced_files.pop();
        }
        if let Some(current) = self.current.as_mut().filter(|c| c.unsynced) {
            current.file.sync().map_err(LogError::io("sync", &current.path))?;
            current.unsynced = false;
        }
        if self.unsynced_folder {
            self.fs.sync_dir(&self.folder).map_err(LogError::io("sync", &self.folder))?;
            self.unsynced_folder = false;
        }
        Ok(())
    }

    /// Ends the current segment, so that later appends go to a new one, whose number is returned.
    pub fn start_segment(&mut self) -> Result<u64, LogError> {
        self.seal_current();
        self.make_writable()?;
        Ok(self.number_max)
    }

    /// Removes the segments with numbers below `segment`. The newest always stays, so that
    /// numbers go on growing after the next start.
    pub fn remove_before(&mut self, segment: u64) -> Result<(), LogError> {
        let kept = usize::from(self.current.is_none());
        while let Some(first) = self.sealed.first().filter(|s| s.number < segment && self.sealed.len() > kept)
        {
            let path = segment_path(&self.folder, first.number);
            self.unsynced_files.retain(|(unsynced, _)| *unsynced != path);
            match self.fs.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", &path)(error));
                }
                _ => {
                    self.sealed.remove(0);
                }
            }
        }
        Ok(())
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.sealed.iter().map(|s| s.bytes).sum::<u64>() + self.current.as_ref().map_or(0, |c| c.bytes)
    }

    /// Number of segment files.
    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.current.is_some())
    }

    /// Number and length of each segment, in order: what a [`SegmentReader`] may read.
    pub fn extents(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let sealed = self.sealed.iter().map(|segment| (segment.number, segment.bytes));
        sealed.chain(self.current.as_ref().map(|current| (current.number, current.bytes)))
    }

    fn seal_current(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        // What cannot be cut is a torn end, which recovery leaves out.
        let _ = current.cut_torn_end();
        self.sealed.push(Segment { number: current.number, bytes: current.bytes });
        if current.unsynced {
            self.unsynced_files.push((current.path, Some(current.file)));
        }
    }

    /// Sees to it that there is a current segment whose end is the end of a frame.
    fn make_writable(&mut self) -> Result<(), LogError> {
        if let Some(current) = &mut self.current {
            return current.cut_torn_end();
        }
        let number = self.number_max + 1;
        let path = segment_path(&self.folder, number);
        let salt = Salt((self.random.next_u64() >> 32) as u32);
        let header = frame::header(salt);
        let mut file = self.fs.open_append(&path).map_err(LogError::io("create", &path))?;
        // A try before this one may have left a part of a header.
        let made = match file.is_empty() {
            Ok(true) => Ok(()),
            Ok(false) => file.truncate(0),
            Err(error) => Err(error),
        };
        made.and_then(|()| file.append(&header)).map_err(LogError::io("write", &path))?;
        self.number_max = number;
        self.unsynced_folder = true;
        let bytes = header.len() as u64;
        self.current = Some(Current { number, path, file, salt, bytes, unsynced: true, torn: false });
        Ok(())
    }
}

impl Current {
    fn append(&mut self, frames: &[u8]) -> Result<(), LogError> {
        self.unsynced = true;
        match self.file.append(frames) {
            Ok(()) => {
                self.bytes += frames.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                let _ = self.cut_torn_end();
                Err(LogError::io("write", &self.path)(error))
            }
        }
    }

    fn cut_torn_end(&mut self) -> Result<(), LogError> {
        if self.torn {
            self.file.truncate(self.bytes).map_err(LogError::io("cut the torn end of", &self.path))?;
            self.torn = false;
        }
        Ok(())
    }
}

fn record_bytes_max(config: &LogConfig) -> usize {
    config.record_bytes_max.min(u32::MAX as usize)
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.log"))
}

#[cfg(test)]
mod tests;
