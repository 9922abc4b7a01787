//! Checksums of the data, page by page, so that a series of a few bytes needs none of its own.
//!
//! Invariant: no byte of the data is used before the page it stands in was checked. That a page
//! was found sound is remembered until the segment has been idle for a while, when the memory is
//! given back and the disk has to be trusted anew.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a page, the last of which may be shorter.
pub const PAGE_BYTES: usize = 4096;

/// Which pages were found sound.
pub struct Pages {
    sound: Box<[AtomicU64]>,
}

impl Pages {
    /// Nothing is known of the pages of so many bytes of data.
    pub fn new(data_bytes: usize) -> Self {
        let words = data_bytes.div_ceil(PAGE_BYTES).div_ceil(64);
        Self { sound: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The bytes from `start` to `end`, whose pages are checked if need be. `None` if one is
    /// damaged, or the data do not reach that far. `checksums` has four bytes for each page.
    pub fn get<'a>(&self, data: &'a [u8], checksums: &[u8], start: usize, end: usize) -> Option<&'a [u8]> {
        let bytes = data.get(start..end)?;
        for page in start / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let (word, bit) = (self.sound.get(page / 64)?, 1 << (page % 64));
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let whole = &data[page * PAGE_BYTES..data.len().min((page + 1) * PAGE_BYTES)];
            let expected = checksums.get(page * 4..page * 4 + 4)?;
            if crc32fast::hash(whole).to_le_bytes() != expected {
                return None;
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Some(bytes)
    }

    /// Forgets what was found sound.
    pub fn forget(&self) {
        self.sound.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Heap memory.
    pub fn heap_bytes(&self) -> usize {
        self.sound.len() * 8
    }
}

/// Computes the checksums while the data are written.
#[derive(Debug, Default)]
pub struct PageSums {
    page: crc32fast::Hasher,
    filled: usize,
    sums: Vec<u8>,
}

impl PageSums {
    /// Takes the next bytes.
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PAGE_BYTES - self.filled));
            self.page.update(now);
            self.filled += now.len();
            if self.filled == PAGE_BYTES {
                self.end_page();
            }
            bytes = later;
        }
    }

    /// The checksums, four bytes for each page.
    pub fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.end_page();
        }
        self.sums
    }

    fn end_page(&mut self) {
        let sum = std::mem::take(&mut self.page).finalize();
        self.sums.extend_from_slice(&sum.to_le_bytes());
        self.filled = 0;
    }
}
