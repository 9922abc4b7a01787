//! Deletions: what was deleted, and is still in some file of the store.
//!
//! From the head samples are removed at once. Segments are not written again, and the log is not
//! rewritten; so a deletion is kept in a list, in a file of its own (`docs/formats/tsdb-deletions.md`),
//! until neither holds anything of it any more. Readers and whoever writes segments leave out what
//! is on the list. A deletion concerns only what was there when it was made: segments with a number
//! below [`Deletion::segments_before`] and the files of the log up to those of [`Deletion::logs`].
//! So what is stored later lives, whatever its time.
//!
//! Invariant: a deletion is on the list in the file before it shows in answers, and leaves the file
//! only when every segment and every file of the log that it concerns is gone.

mod replay;

use std::{io, path::Path};

use roaring::RoaringBitmap;
use vedette_model::{Labels, MatchOp, Matcher, TimeRange};
use vedette_sys::Fs;

use crate::{
    Error,
    bytes::{Cursor, put_signed, put_text, put_varint},
    postings,
    segment::Segment,
    store::io_error,
};

pub(crate) use replay::ReplayMask;

const MAGIC: [u8; 8] = *b"VDTSDBDL";
const VERSION: u32 = 1;
/// Magic, version and the checksum of both.
const HEADER_BYTES: usize = 16;

/// Deletions that wait for being carried out; further ones are refused.
pub(crate) const DELETIONS_MAX: usize = 4096;

/// Matchers of one deletion.
pub(crate) const MATCHERS_MAX: usize = 1024;

/// Name of the file.
const FILE: &str = "deletions";

/// Samples of some series in a stretch of time, deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    /// Only segments with a lower number are concerned.
    pub segments_before: u64,
    /// Number of each log that may hold samples concerned, and of the last of its files that does.
    pub logs: Vec<(u32, u64)>,
}

/// All deletions that are not carried out everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deletions {
    pub list: Vec<Deletion>,
}

/// What reading the file gave.
pub(crate) struct Loaded {
    pub deletions: Deletions,
    /// What was damaged, and what was done about it.
    pub note: Option<String>,
}

impl Deletion {
    /// Whether labels, of which `value` gives the value of a name, are those of a series concerned.
    pub fn fits<'v>(&self, value: impl Fn(&str) -> &'v str) -> bool {
        self.matchers.iter().all(|m| m.matches(value(&m.name)))
    }

    /// Whether some sample of a segment may be concerned, going by its number and its time.
    fn reaches(&self, segment: &Segment) -> bool {
        segment.id < self.segments_before && segment.footer.range.overlaps(self.range)
    }

    /// Whether some series of a segment may have samples concerned.
    pub fn concerns(&self, segment: &Segment) -> bool {
        let numbers = || postings::select(segment.index(), &self.matchers);
        self.reaches(segment) && !segment.index().overlapping(numbers(), self.range).is_empty()
    }
}

impl Deletions {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What readers leave out of a series in a segment: stretches in order of time, none of which
    /// touch.
    pub fn mask<'v>(&self, segment: &Segment, value: impl Fn(&str) -> &'v str) -> Vec<TimeRange> {
        let fitting = self.list.iter().filter(|d| d.reaches(segment) && d.fits(&value));
        joined(fitting.map(|d| d.range).collect())
    }

    /// [`Deletions::mask`] for given labels.
    pub fn mask_of(&self, segment: &Segment, labels: &Labels) -> Vec<TimeRange> {
        self.mask(segment, |name| labels.get(name).unwrap_or(""))
    }

    /// Takes those series out of `numbers` of which a segment has nothing but what is deleted.
    pub fn hide(&self, segment: &Segment, numbers: &mut RoaringBitmap) {
        for deletion in self.list.iter().filter(|d| d.reaches(segment)) {
            let deleted = postings::select(segment.index(), &deletion.matchers) & &*numbers;
            let mut walk = segment.index().walk(0);
            for number in deleted {
                if walk.seek(number).is_none() {
                    break;
                }
                let range = walk.block.range;
                if deletion.range.contains(range.start_ms) && deletion.range.contains(range.end_ms) {
                    numbers.remove(number);
                }
            }
        }
    }

    /// Whether a segment has something that is deleted.
    pub fn concern(&self, segment: &Segment) -> bool {
        self.list.iter().any(|d| d.concerns(segment))
    }

    /// The lowest number that a new segment may have.
    pub fn next_segment(&self) -> u64 {
        self.list.iter().map(|d| d.segments_before).max().unwrap_or(0)
    }

    /// Reads the list of a store. A damaged file is set aside.
    pub fn load(fs: &dyn Fs, folder: &Path) -> Result<Loaded, Error> {
        let path = folder.join(FILE);
        let temporary = path.with_extension("tmp");
        if fs.exists(&temporary) {
            fs.remove(&temporary).map_err(|source| io_error("remove", &temporary, source))?;
        }
        let none = Loaded { deletions: Self::default(), note: None };
        if !fs.exists(&path) {
            return Ok(none);
        }
        let bytes = fs.read(&path).map_err(|source| io_error("read", &path, source))?;
        match decode(&bytes) {
            Ok(deletions) => Ok(Loaded { deletions, note: None }),
            Err(Unreadable::Newer(version)) => Err(Error::Newer { path, version }),
            Err(Unreadable::Damaged) => {
                let aside = path.with_extension("damaged");
                fs.rename(&path, &aside).map_err(|source| io_error("set aside", &path, source))?;
                let note = format!(
                    "the list of deletions {} is damaged; it was set aside as {}, and samples deleted \
                     lately may be back: delete them again",
                    path.display(),
                    aside.display()
                );
                Ok(Loaded { note: Some(note), ..none })
            }
        }
    }

    /// Puts the list in the place of the one before, so that either survives a crash at any time.
    pub fn save(&self, fs: &dyn Fs, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        if self.is_empty() {
            return if fs.exists(&path) {
                fs.remove(&path).and_then(|()| fs.sync_dir(folder))
            } else {
                Ok(())
            };
        }
        let temporary = path.with_extension("tmp");
        let mut file = fs.open_append(&temporary)?;
        if !file.is_empty()? {
            file.truncate(0)?;
        }
        file.append(&self.encode())?;
        file.sync()?;
        fs.rename(&temporary, &path)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_crc(&mut out, 0);
        put_varint(&mut out, self.list.len() as u64);
        for Deletion { matchers, range, segments_before, logs } in &self.list {
            put_signed(&mut out, range.start_ms);
            put_signed(&mut out, range.end_ms);
            put_varint(&mut out, *segments_before);
            put_varint(&mut out, logs.len() as u64);
            for &(log, last) in logs {
                put_varint(&mut out, u64::from(log));
                put_varint(&mut out, last);
            }
            put_varint(&mut out, matchers.len() as u64);
            for matcher in matchers {
                out.push(op_number(matcher.op));
                put_text(&mut out, &matcher.name);
                put_text(&mut out, &matcher.value);
            }
        }
        put_crc(&mut out, HEADER_BYTES);
        out
    }
}

/// Appends the checksum of what there is from `start` on.
fn put_crc(out: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

const OPS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

fn op_number(op: MatchOp) -> u8 {
    OPS.iter().zip(0..).find(|(o, _)| **o == op).map_or(0, |(_, n)| n)
}

/// Why the bytes of a file are no list.
enum Unreadable {
    Newer(u32),
    Damaged,
}

fn decode(bytes: &[u8]) -> Result<Deletions, Unreadable> {
    use Unreadable::Damaged;
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Damaged)?;
    let mut cursor = Cursor::new(header);
    let magic = cursor.take(8);
    let (version, crc) = (cursor.u32(), cursor.u32());
    if magic != Some(&MAGIC) || crc != Some(crc32fast::hash(&header[..12])) {
        return Err(Damaged);
    }
    match version {
        Some(VERSION) => {}
        other => return Err(Unreadable::Newer(other.unwrap_or(0))),
    }
    let (body, crc) = rest.split_last_chunk::<4>().ok_or(Damaged)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(Damaged);
    }
    decode_list(&mut Cursor::new(body)).ok_or(Damaged)
}

fn decode_list(cursor: &mut Cursor<'_>) -> Option<Deletions> {
    let count = cursor.count(5)?;
    let list = (0..count).map(|_| decode_one(cursor)).collect::<Option<_>>()?;
    (cursor.remaining() == 0).then_some(Deletions { list })
}

fn decode_one(cursor: &mut Cursor<'_>) -> Option<Deletion> {
    let range = TimeRange { start_ms: cursor.signed()?, end_ms: cursor.signed()? };
    let segments_before = cursor.varint()?;
    let logs = cursor.count(2)?;
    let logs = (0..logs).map(|_| Some((cursor.varint_u32()?, cursor.varint()?))).collect::<Option<_>>()?;
    let matchers = cursor.count(3)?;
    let matcher = |_| {
        let op = *OPS.get(usize::from(cursor.byte()?))?;
        Matcher::new(op, cursor.text()?, cursor.text()?).ok()
    };
    let matchers = (0..matchers).map(matcher).collect::<Option<_>>()?;
    Some(Deletion { matchers, range, segments_before, logs })
}

/// The stretches that some cover together, in order of time.
fn joined(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    if ranges.len() > 1 {
        ranges.sort_unstable_by_key(|r| r.start_ms);
        ranges.dedup_by(|later, joined| {
            let touches = later.start_ms <= joined.end_ms.saturating_add(1);
            if touches {
                joined.end_ms = joined.end_ms.max(later.end_ms);
            }
            touches
        });
    }
    ranges
}

#[cfg(test)]
mod tests;
