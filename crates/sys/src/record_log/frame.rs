//! Bytes of a segment file: header, frames, and how frames are found again after damage.
//!
//! Every checksum starts from a random salt of the segment. A record's content therefore
//! cannot pass for a frame when reading resumes after a damaged place: whoever wrote the
//! content did not know the salt.

use crc32fast::Hasher;

/// Two copies of magic, version, salt and their checksum: one damaged byte cannot cost a segment.
pub(super) const HEADER_BYTES: usize = 2 * COPY_BYTES;
/// Length and checksum before each record.
pub(super) const FRAME_HEADER_BYTES: usize = 8;

const COPY_BYTES: usize = 16;
const MAGIC: &[u8; 7] = b"VDTLOG\0";
const VERSION: u8 = 1;

/// How many bytes may be checksummed in search of the next frame after damage. Content made of
/// plausible lengths could otherwise make recovery take minutes.
const RESYNC_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Good(Salt),
    Newer(u8),
    Damaged,
}

pub(super) fn header(salt: Salt) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    for copy in bytes.chunks_exact_mut(COPY_BYTES) {
        copy[..7].copy_from_slice(MAGIC);
        copy[7] = VERSION;
        copy[8..12].copy_from_slice(&salt.0.to_le_bytes());
        let checksum = crc32fast::hash(&copy[..12]);
        copy[12..].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

pub(super) fn read_header(data: &[u8]) -> Header {
    let copies = data[..data.len().min(HEADER_BYTES)].chunks_exact(COPY_BYTES);
    for copy in copies {
        if copy.starts_with(MAGIC) && crc32fast::hash(&copy[..12]) == u32_at(copy, 12) {
            return match copy[7] {
                VERSION => Header::Good(Salt(u32_at(copy, 8))),
                newer => Header::Newer(newer),
            };
        }
    }
    Header::Damaged
}

/// Appends the frame of `record` to `out`.
pub(super) fn encode(salt: Salt, record: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).expect("BUG: records are limited to 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(salt, length, record).to_le_bytes());
    out.extend_from_slice(record);
}

/// The length of the record whose frame begins with `bytes`.
pub(super) fn record_length(bytes: &[u8]) -> usize {
    u32_at(bytes, 0) as usize
}

/// Whether the checksum of a whole frame is right.
pub(super) fn is_sound(salt: Salt, frame: &[u8]) -> bool {
    checksum(salt, u32_at(frame, 0), &frame[FRAME_HEADER_BYTES..]) == u32_at(frame, 4)
}

fn checksum(salt: Salt, length: u32, record: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.0.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(record);
    hasher.finalize()
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| data[at + i]))
}

/// What stands at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole frame; the record in it.
    Record { start: usize, record: &'a [u8] },
    /// Bytes between frames that are no frame.
    Damage { start: usize, end: usize },
    /// The file ends inside a frame, as after a crash while writing.
    Torn { start: usize },
}

/// Reads a segment's frames one after the other.
pub(super) struct Frames<'a> {
    data: &'a [u8],
    salt: Salt,
    at: usize,
    record_bytes_max: usize,
}

impl<'a> Frames<'a> {
    /// Begins behind the header.
    pub(super) fn new(data: &'a [u8], salt: Salt, record_bytes_max: usize) -> Self {
        Self { data, salt, at: HEADER_BYTES, record_bytes_max }
    }

    fn record_at(&self, at: usize, budget: &mut u64) -> Option<&'a [u8]> {
        let body = self.data.get(at + FRAME_HEADER_BYTES..)?;
        let length = u32_at(self.data, at);
        let bytes = usize::try_from(length).ok().filter(|n| *n <= self.record_bytes_max)?;
        let record = body.get(..bytes)?;
        *budget = budget.checked_sub(u64::from(length) + 16)?;
        (checksum(self.salt, length, record) == u32_at(self.data, at + 4)).then_some(record)
    }

    /// Whether the frame at `at` claims to end behind the file's end.
    fn is_cut(&self, at: usize) -> bool {
        let rest = self.data.len() - at;
        rest < FRAME_HEADER_BYTES
            || usize::try_from(u32_at(self.data, at))
                .is_ok_and(|n| n <= self.record_bytes_max && n > rest - FRAME_HEADER_BYTES)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let start = self.at;
        if start >= self.data.len() {
            return None;
        }
        let mut budget = u64::MAX;
        if let Some(record) = self.record_at(start, &mut budget) {
            self.at = start + FRAME_HEADER_BYTES + record.len();
            return Some(Piece::Record { start, record });
        }
        budget = RESYNC_BYTES_MAX;
        let found = (start + 1..self.data.len()).find(|at| self.record_at(*at, &mut budget).is_some());
        self.at = found.unwrap_or(self.data.len());
        Some(match found {
            None if self.is_cut(start) => Piece::Torn { start },
            _ => Piece::Damage { start, end: self.at },
        })
    }
}
