//! Reading records of a log that goes on being written.
//!
//! The log tells how long each of its segments is ([`RecordLog::extents`](super::RecordLog::extents));
//! a reader never looks behind that, so it sees whole records only, and none that is not
//! acknowledged.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    LogConfig, LogError,
    frame::{self, Header, Salt},
    record_bytes_max, segment_path,
};
use crate::{File, Fs};

/// Bytes that are asked for at once; a larger record is read whole.
const READ_BYTES: usize = 256 << 10;

/// Reads the records of one segment in order.
pub struct SegmentReader {
    file: Box<dyn File>,
    path: PathBuf,
    salt: Salt,
    record_bytes_max: usize,
    at: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    buffer_at: u64,
}

impl SegmentReader {
    /// Opens a segment of the log in `folder`, to be read from its first record on.
    pub fn open(fs: &dyn Fs, folder: &Path, config: &LogConfig, number: u64) -> Result<Self, LogError> {
        let path = segment_path(folder, number);
        let file = fs.open_read(&path).map_err(LogError::io("open", &path))?;
        let mut header = [0; frame::HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(LogError::io("read", &path))?;
        let salt = match frame::read_header(&header) {
            Header::Good(salt) => salt,
            Header::Newer(version) => return Err(LogError::Newer { path, version }),
            Header::Damaged => return Err(damaged(&path)),
        };
        let at = frame::HEADER_BYTES as u64;
        let record_bytes_max = record_bytes_max(config);
        Ok(Self { file, path, salt, record_bytes_max, at, buffer: Vec::new(), buffer_at: at })
    }

    /// The next record that ends at or before `end`, the length of the segment that the log tells.
    /// An error of the kind `InvalidData` is damage: nothing behind it can be read.
    pub fn next(&mut self, end: u64) -> Result<Option<&[u8]>, LogError> {
        if self.at + frame::FRAME_HEADER_BYTES as u64 > end {
            return Ok(None);
        }
        self.fill(frame::FRAME_HEADER_BYTES, end)?;
        let length = frame::record_length(self.ahead());
        if length > self.record_bytes_max {
            return Err(damaged(&self.path));
        }
        let whole = frame::FRAME_HEADER_BYTES + length;
        if self.at + whole as u64 > end {
            return Err(damaged(&self.path));
        }
        self.fill(whole, end)?;
        let from = usize::try_from(self.at - self.buffer_at).expect("BUG: a buffer is in memory");
        let frame = &self.buffer[from..from + whole];
        if !frame::is_sound(self.salt, frame) {
            return Err(damaged(&self.path));
        }
        self.at += whole as u64;
        Ok(Some(&self.buffer[from + frame::FRAME_HEADER_BYTES..from + whole]))
    }

    fn ahead(&self) -> &[u8] {
        &self.buffer[usize::try_from(self.at - self.buffer_at).expect("BUG: a buffer is in memory")..]
    }

    /// Sees to it that the buffer holds `bytes` from here on, which lie before `end`.
    fn fill(&mut self, bytes: usize, end: u64) -> Result<(), LogError> {
        if self.ahead().len() >= bytes {
            return Ok(());
        }
        let rest = usize::try_from(end - self.at).unwrap_or(usize::MAX);
        let used = self.buffer.len() - self.ahead().len();
        self.buffer.drain(..used);
        self.buffer_at = self.at;
        let kept = self.buffer.len();
        let wanted = bytes.max(READ_BYTES).min(rest);
        self.buffer.resize(wanted.max(kept), 0);
        let read = self.file.read_exact_at(&mut self.buffer[kept..], self.at + kept as u64);
        if let Err(error) = read {
            // What was not read is not in the buffer.
            self.buffer.truncate(kept);
            return Err(LogError::io("read", &self.path)(error));
        }
        Ok(())
    }
}

fn damaged(path: &Path) -> LogError {
    let reason = "the bytes of the file are damaged";
    LogError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}
