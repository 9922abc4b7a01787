//! Reads a large file front to back through a window, so that it is never in memory as a whole.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::error::BlockError;

/// Bytes read at once.
const WINDOW_BYTES: u64 = 64 << 10;

/// An open file and some bytes of it.
#[derive(Debug)]
pub struct FileWindow {
    file: File,
    pub path: PathBuf,
    pub length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl FileWindow {
    pub fn open(path: PathBuf) -> Result<Self, BlockError> {
        let file = File::open(&path).map_err(BlockError::io("open", &path))?;
        let metadata = file.metadata().map_err(BlockError::io("open", &path))?;
        if !metadata.is_file() {
            return Err(BlockError::damaged(&path, 0, "it is not a file"));
        }
        Ok(Self { length: metadata.len(), file, path, start: 0, bytes: Vec::new() })
    }

    /// `length` bytes from `offset`; damage when the file ends before.
    pub fn get(&mut self, offset: u64, length: u64) -> Result<&[u8], BlockError> {
        let end = offset.checked_add(length).filter(|&end| end <= self.length);
        let Some(end) = end else {
            return Err(
                self.damaged(offset, format!("{length} bytes are wanted, the file has {}", self.length))
            );
        };
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = length.max(WINDOW_BYTES).min(self.length - offset);
            self.start = offset;
            self.bytes.clear();
            self.bytes.resize(wanted as usize, 0);
            let read = self.file.read_exact_at(&mut self.bytes, offset);
            if let Err(source) = read {
                self.bytes.clear();
                return Err(BlockError::Io { action: "read", path: self.path.clone(), source });
            }
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length as usize])
    }

    /// As many as `length` bytes from `offset`, fewer at the end of the file.
    pub fn get_up_to(&mut self, offset: u64, length: u64) -> Result<&[u8], BlockError> {
        let length = length.min(self.length.saturating_sub(offset));
        self.get(offset, length)
    }

    pub fn damaged(&self, offset: u64, reason: impl Into<String>) -> BlockError {
        BlockError::damaged(&self.path, offset, reason)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The whole of a small file.
pub fn read_small(path: &Path, bytes_max: u64) -> Result<Vec<u8>, BlockError> {
    let length = std::fs::metadata(path).map_err(BlockError::io("read", path))?.len();
    if length > bytes_max {
        let reason = format!("it has {length} bytes, more than {bytes_max}");
        return Err(BlockError::damaged(path, bytes_max, reason));
    }
    std::fs::read(path).map_err(BlockError::io("read", path))
}
