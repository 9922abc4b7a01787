//! Reads the chunks of a block: files of up to 512 MiB in its folder `chunks`.

use std::path::{Path, PathBuf};

use super::{crc32c::crc32c, error::BlockError, window::FileWindow};
use crate::bytes::Cursor;

/// Name of the folder.
pub const FOLDER: &str = "chunks";
/// What each file begins with.
pub const MAGIC: u32 = 0x85bd_40dd;
/// Version of the files.
pub const VERSION: u8 = 1;
/// Length of magic, version and padding.
pub const HEADER_BYTES: u64 = 8;

/// Prometheus aims at 1 KiB.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// The files, of which one is open at a time.
#[derive(Debug)]
pub struct ChunkFiles {
    paths: Vec<PathBuf>,
    open: Option<(usize, FileWindow)>,
}

/// A chunk as it stands in its file.
#[derive(Debug, Clone, Copy)]
pub struct RawChunk<'a> {
    pub encoding: u8,
    pub data: &'a [u8],
}

impl ChunkFiles {
    /// Lists the files; they are opened when they are needed.
    pub fn open(block: &Path) -> Result<Self, BlockError> {
        let folder = block.join(FOLDER);
        let list = std::fs::read_dir(&folder).map_err(BlockError::io("list", &folder))?;
        let mut paths = Vec::new();
        for entry in list {
            let entry = entry.map_err(BlockError::io("list", &folder))?;
            let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
            if entry.file_name().to_str().is_some_and(is_number) {
                paths.push(entry.path());
            }
        }
        paths.sort_unstable();
        Ok(Self { paths, open: None })
    }

    /// The chunk with this reference.
    pub fn get(&mut self, reference: u64) -> Result<RawChunk<'_>, BlockError> {
        let (number, offset) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let file = self.file(number)?;
        let mut head = Cursor::new(file.get_up_to(offset, 5)?);
        let available = head.remaining();
        let length = head.varint();
        let data_at = offset + (available - head.remaining()) as u64;
        let Some(length) = length.filter(|&l| l <= CHUNK_BYTES_MAX) else {
            return Err(file.damaged(offset, "a chunk has no sound length"));
        };
        let whole = file.get(data_at, length + 5)?;
        let (body, crc) = whole.split_at(length as usize + 1);
        if crc32c(body).to_be_bytes() != *crc {
            return Err(file.damaged(offset, "the checksum of a chunk does not match"));
        }
        // Asked for again, as the error above borrows the file; it is in the window.
        let whole = file.get(data_at, length + 5)?;
        Ok(RawChunk { encoding: whole[0], data: &whole[1..=length as usize] })
    }

    /// An error about a chunk that was read.
    pub fn damaged(&self, reference: u64, reason: String) -> BlockError {
        let (number, offset) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let path = self.paths.get(number).map_or(Path::new(FOLDER), PathBuf::as_path);
        BlockError::damaged(path, offset, reason)
    }

    fn file(&mut self, number: usize) -> Result<&mut FileWindow, BlockError> {
        if self.open.as_ref().is_none_or(|(n, _)| *n != number) {
            let Some(path) = self.paths.get(number) else {
                let path = self.paths.last().map_or(Path::new(FOLDER), PathBuf::as_path);
                let reason = format!("the index names file {}, there are {}", number + 1, self.paths.len());
                return Err(BlockError::damaged(path, 0, reason));
            };
            let mut file = FileWindow::open(path.clone())?;
            let header = file.get(0, HEADER_BYTES)?;
            if header[..4] != MAGIC.to_be_bytes() {
                return Err(file.damaged(0, "it does not begin like a file of chunks"));
            }
            if header[4] != VERSION {
                let reason = format!("its version is {}, not {VERSION}", header[4]);
                return Err(BlockError::unsupported(path, reason));
            }
            self.open = Some((number, file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => unreachable!("BUG: the file was opened above"),
        }
    }
}
