//! Reading a damaged segment as far as it still reads.
//!
//! Bits that flipped are found by the checksums and flipped back, in memory. Beyond that a page
//! that is damaged costs the chunks that it holds a part of, and, as each chunk tells its time by
//! the one before, those behind it in the same series. A damaged index costs all: then nothing
//! says whose samples these are. Invariant: nothing is given that no checksum vouches for.

use std::{path::PathBuf, sync::Arc};

use vedette_model::{Exemplar, SampleBuffer, TimeRange};

use super::{
    Block, Footer, OpenError, PAGE_BYTES, Segment,
    block::Chunks,
    flips,
    footer::{END_MAGIC, FOOTER_BYTES, HEADER_BYTES, Kind, SOURCES_MAX},
};
use crate::chunk::with_decoder;

/// Bits that may differ where the end of the file should be.
const END_FLIPS_MAX: u32 = 4;

/// A damaged segment that can be read, in part.
pub struct Rescue {
    pub segment: Segment,
    /// Bits that were flipped back in memory.
    pub flipped: u64,
    /// What the first times of blocks count from; `None` when that cannot be told any more.
    base_ms: Option<i64>,
}

/// Why nothing of a segment can be read.
#[derive(Debug)]
pub struct Hopeless {
    pub reason: &'static str,
    /// What the segment held, if that still reads.
    pub footer: Option<Footer>,
}

/// Samples of a series that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostPart {
    /// When they are; they may be fewer.
    pub range: TimeRange,
    /// How many, where that is known.
    pub samples: Option<u64>,
}

impl Rescue {
    /// Opens the bytes of a file.
    pub fn open(mut bytes: Vec<u8>, path: PathBuf, id: u64) -> Result<Self, Hopeless> {
        let mut flipped = 0;
        let hopeless = |reason| Hopeless { reason, footer: None };
        if bytes.len() < HEADER_BYTES + FOOTER_BYTES {
            return Err(hopeless("too little of it is left"));
        }
        let (header, rest) = bytes.split_at_mut(12);
        if !flips::restore(header, number(rest, 0), &mut flipped) {
            return Err(hopeless("its header is damaged"));
        }
        let checksum = crc32fast::hash(header);
        rest[..4].copy_from_slice(&checksum.to_le_bytes());
        if !restore_footer(&mut bytes, &mut flipped) {
            return Err(hopeless("its end, which says where everything stands, is damaged or missing"));
        }
        let Ok(footer) = Footer::read(&bytes) else { return Err(hopeless("its footer is damaged")) };
        let reason = "its index, which says whose samples it holds, is damaged";
        let hopeless = |reason| Hopeless { reason, footer: Some(footer.clone()) };
        let data_bytes = footer.index_offset as usize;
        let Some(index) = bytes.get_mut(data_bytes..data_bytes + footer.index_bytes as usize) else {
            return Err(hopeless(reason));
        };
        if !flips::restore(index, footer.index_crc, &mut flipped) {
            return Err(hopeless(reason));
        }
        // Should the checksum itself have been damaged, the footer vouches for it, and fails.
        let (data, sums) = bytes.split_at_mut(data_bytes);
        for (page, sum) in data.chunks_mut(PAGE_BYTES).zip(sums.chunks_exact(4)) {
            // What is not one flipped bit stays damaged, and is found so when it is read.
            flips::restore(page, number(sum, 0), &mut flipped);
        }
        let segment =
            Segment::from_map(Arc::new(bytes), path, id, Kind::Samples).map_err(|error| match error {
                OpenError::Damaged(reason) => hopeless(reason),
                OpenError::Newer(_) => hopeless("a later release wrote it"),
                OpenError::Io(_) => hopeless("it cannot be read"),
            })?;
        let base_ms = find_base(&segment);
        Ok(Self { segment, flipped, base_ms })
    }

    /// Appends what can be read of a series, in order of time, and gives what cannot.
    pub fn read(&self, block: Block, out: &mut SampleBuffer, exemplars: &mut Vec<Exemplar>) -> Vec<LostPart> {
        let all = |range| vec![LostPart { range, samples: None }];
        let Some(base_ms) = self.base_ms else { return all(block.range) };
        let (bytes, is_whole) = sound_prefix(&self.segment, block);
        let mut lost = Vec::new();
        let mut chunks = Chunks::new(bytes, block.offset, base_ms);
        let mut read_until = None;
        let ended = loop {
            let chunk = match chunks.next() {
                Some(Some(chunk)) => chunk,
                Some(None) => break true,
                None => break false,
            };
            let start = out.len();
            let decoded = with_decoder(|d| self.segment.decode(&chunk, TimeRange::ALL, d, out));
            let range = chunk.summary.range;
            if decoded.is_none() {
                out.truncate(start);
                lost.push(LostPart { range, samples: Some(chunk.count as u64) });
            }
            read_until = Some(range.end_ms);
        };
        let before = exemplars.len();
        if chunks.exemplars(exemplars).is_none() {
            exemplars.truncate(before);
        }
        if !(ended && is_whole) {
            let after = read_until.map_or(block.range.start_ms, |end: i64| end.saturating_add(1));
            let end_ms = block.range.end_ms.max(after);
            lost.push(LostPart { range: TimeRange { start_ms: after, end_ms }, samples: None });
        }
        lost
    }
}

/// The bytes of a block up to the first damaged page, and whether that is all of them.
fn sound_prefix(segment: &Segment, block: Block) -> (&[u8], bool) {
    if let Some(bytes) = segment.data(block.offset, block.bytes) {
        return (bytes, true);
    }
    let mut sound: &[u8] = &[];
    loop {
        let next = block.offset + sound.len() as u64 + 1;
        let end = next.next_multiple_of(PAGE_BYTES as u64).min(block.offset.saturating_add(block.bytes));
        match end.checked_sub(block.offset).filter(|n| *n > sound.len() as u64) {
            Some(length) => match segment.data(block.offset, length) {
                Some(bytes) => sound = bytes,
                None => return (sound, false),
            },
            None => return (sound, false),
        }
    }
}

/// The base, if its page is sound; else the one with which the first and the last sample of what
/// can be read are those of the segment.
fn find_base(segment: &Segment) -> Option<i64> {
    let told = segment.base_ms;
    if segment.data(0, HEADER_BYTES as u64).is_some() {
        return Some(told);
    }
    let mut found: Option<TimeRange> = None;
    let mut walk = segment.index.walk(0);
    while walk.advance().is_some() {
        let block = walk.block;
        let mut chunks = Chunks::new(sound_prefix(segment, block).0, block.offset, told);
        while let Some(Some(chunk)) = chunks.next() {
            let range = chunk.summary.range;
            let all = found.get_or_insert(range);
            all.start_ms = all.start_ms.min(range.start_ms);
            all.end_ms = all.end_ms.max(range.end_ms);
        }
    }
    let found = found?;
    let shift = segment.footer.range.start_ms.wrapping_sub(found.start_ms);
    (found.end_ms.wrapping_add(shift) == segment.footer.range.end_ms).then(|| told.wrapping_add(shift))
}

/// Makes the end of a file what it was, if it differs by a bit.
fn restore_footer(bytes: &mut [u8], flipped: &mut u64) -> bool {
    let end_at = bytes.len() - END_MAGIC.len();
    let differ: u32 = bytes[end_at..].iter().zip(END_MAGIC).map(|(a, b)| (a ^ b).count_ones()).sum();
    if differ > END_FLIPS_MAX {
        return false;
    }
    bytes[end_at..].copy_from_slice(&END_MAGIC);
    *flipped += u64::from(differ);
    let fixed_at = bytes.len() - FOOTER_BYTES;
    let count_at = fixed_at + 76;
    let told = number(bytes, count_at);
    let checksum = number(bytes, end_at - 4);
    let covered =
        |count: u32| fixed_at.checked_sub(count as usize * 8).filter(|_| count as usize <= SOURCES_MAX);
    // How much is covered is told by a number that may be what is damaged.
    for count in (0..32).map(|bit| told ^ 1 << bit) {
        bytes[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
        if covered(count).is_some_and(|start| crc32fast::hash(&bytes[start..end_at - 4]) == checksum) {
            *flipped += 1;
            return true;
        }
    }
    bytes[count_at..count_at + 4].copy_from_slice(&told.to_le_bytes());
    let Some(start) = covered(told) else { return false };
    if !flips::restore(&mut bytes[start..end_at - 4], checksum, flipped) {
        return false;
    }
    let checksum = crc32fast::hash(&bytes[start..end_at - 4]);
    bytes[end_at - 4..end_at].copy_from_slice(&checksum.to_le_bytes());
    true
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(std::array::from_fn(|i| b[i])))
}
