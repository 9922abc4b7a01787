//! Reading a log back after a restart, whatever the disk gives.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    LogError, Recovery,
    frame::{self, Frames, Header, Piece},
    segment_path,
};
use crate::Fs;

/// A segment that is there after recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    pub bytes: u64,
}

/// The intact records of a segment, where they stand in the file.
pub struct SegmentRecords {
    number: u64,
    data: Vec<u8>,
    records: Vec<Range<usize>>,
}

impl SegmentRecords {
    /// Number of the segment.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The file as it was read.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The records in order, each with its place in the file.
    pub fn iter(&self) -> impl Iterator<Item = (Range<usize>, &[u8])> {
        self.records.iter().map(|place| (place.clone(), &self.data[place.clone()]))
    }
}

pub(super) struct Recovered {
    /// In order of their numbers.
    pub segments: Vec<Segment>,
    /// The highest number seen in any file name, so that none is used again.
    pub number_max: u64,
    pub recovery: Recovery,
}

pub(super) fn recover(
    fs: &Arc<dyn Fs>,
    folder: &Path,
    record_bytes_max: usize,
    each: &mut dyn FnMut(SegmentRecords),
) -> Result<Recovered, LogError> {
    let mut numbers = Vec::new();
    let mut number_max = 0;
    for path in fs.list(folder).map_err(LogError::io("list", folder))? {
        match classify(&path) {
            Name::Segment(number) => numbers.push(number),
            Name::Damaged(number) => number_max = number_max.max(number),
            // Left over from a recovery that was itself interrupted.
            Name::Temporary => fs.remove(&path).map_err(LogError::io("remove", &path))?,
            Name::Foreign => {}
        }
    }
    numbers.sort_unstable();
    number_max = numbers.last().copied().unwrap_or(0).max(number_max);
    let mut run = Run { fs, folder, record_bytes_max, recovery: Recovery::default(), damage: Vec::new() };
    let mut segments = Vec::with_capacity(numbers.len());
    for number in &numbers {
        let last = Some(number) == numbers.last();
        if let Some(bytes) = run.segment(*number, last, each)? {
            segments.push(Segment { number: *number, bytes });
        }
    }
    let mut recovery = run.recovery;
    recovery.segments = segments.len() as u64;
    recovery.damage = (!run.damage.is_empty()).then(|| run.damage.join("; "));
    Ok(Recovered { segments, number_max, recovery })
}

enum Name {
    Segment(u64),
    Damaged(u64),
    Temporary,
    Foreign,
}

fn classify(path: &Path) -> Name {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return Name::Foreign };
    let Some((digits, rest)) = name.split_once('.') else { return Name::Foreign };
    let number = digits.parse().ok().filter(|n: &u64| format!("{n:010}") == digits);
    let Some(number) = number else { return Name::Foreign };
    match rest {
        "log" => Name::Segment(number),
        "log.damaged" => Name::Damaged(number),
        "log.tmp" => Name::Temporary,
        _ => Name::Foreign,
    }
}

struct Run<'a> {
    fs: &'a Arc<dyn Fs>,
    folder: &'a Path,
    record_bytes_max: usize,
    recovery: Recovery,
    damage: Vec<String>,
}

impl Run<'_> {
    /// Reads one segment; gives its length afterwards, or `None` if it is no more.
    fn segment(
        &mut self,
        number: u64,
        last: bool,
        each: &mut dyn FnMut(SegmentRecords),
    ) -> Result<Option<u64>, LogError> {
        let path = segment_path(self.folder, number);
        let data = self.fs.read(&path).map_err(LogError::io("read", &path))?;
        if data.len() < frame::HEADER_BYTES {
            // The process ended while it made the file: no record can be in it.
            self.recovery.dropped_bytes += data.len() as u64;
            self.fs.remove(&path).map_err(LogError::io("remove", &path))?;
            return Ok(None);
        }
        let salt = match frame::read_header(&data) {
            Header::Good(salt) => salt,
            Header::Newer(version) => return Err(LogError::Newer { path, version }),
            Header::Damaged => {
                let aside = damaged_path(&path);
                self.fs.rename(&path, &aside).map_err(LogError::io("rename", &path))?;
                self.recovery.dropped_bytes += data.len() as u64;
                self.damage.push(format!(
                    "the header of {} is damaged; the file is kept as {}",
                    path.display(),
                    aside.display()
                ));
                return Ok(None);
            }
        };
        let mut records = Vec::new();
        let mut damage = None;
        let mut torn = None;
        for piece in Frames::new(&data, salt, self.record_bytes_max) {
            match piece {
                Piece::Record { start, record } => {
                    let start = start + frame::FRAME_HEADER_BYTES;
                    records.push(start..start + record.len());
                }
                Piece::Torn { start } if last => torn = Some(start),
                Piece::Torn { start } => damage = damage.or(Some((start, data.len() - start))),
                Piece::Damage { start, end } => {
                    let before = damage.map_or(0, |(_, bytes)| bytes);
                    damage = Some((damage.map_or(start, |(first, _)| first), before + end - start));
                }
            }
        }
        self.recovery.records += records.len() as u64;
        let length = match (damage, torn) {
            (Some((first, bytes)), _) => {
                self.recovery.dropped_bytes += (bytes + torn.map_or(0, |at| data.len() - at)) as u64;
                let mut repaired = frame::header(salt).to_vec();
                for place in &records {
                    repaired.extend_from_slice(&data[place.start - frame::FRAME_HEADER_BYTES..place.end]);
                }
                let outcome = self.repair(&path, &data, &repaired);
                self.report(&path, first, bytes, outcome, &data, &repaired)
            }
            (None, Some(start)) => self.cut(&path, start, data.len())?,
            (None, None) => data.len() as u64,
        };
        each(SegmentRecords { number, data, records });
        Ok(Some(length))
    }

    fn cut(&mut self, path: &Path, start: usize, length: usize) -> Result<u64, LogError> {
        let mut file = self.fs.open_append(path).map_err(LogError::io("open", path))?;
        // Synced, as behind a later segment the torn end would look like damage.
        let cut = file.truncate(start as u64).and_then(|()| file.sync());
        cut.map_err(LogError::io("cut the torn end of", path))?;
        self.recovery.dropped_bytes += (length - start) as u64;
        Ok(start as u64)
    }

    /// Puts the damaged file aside and its good frames in its place, in an order in which a
    /// crash between any two steps leaves all good frames in place.
    fn repair(&self, path: &Path, damaged: &[u8], repaired: &[u8]) -> Result<(), LogError> {
        let temporary = path.with_extension("log.tmp");
        for (content, target) in [(damaged, damaged_path(path)), (repaired, path.to_owned())] {
            let write = || {
                let mut file = self.fs.open_append(&temporary)?;
                file.truncate(0)?;
                file.append(content)?;
                file.sync()?;
                self.fs.rename(&temporary, &target)
            };
            write().map_err(LogError::io("write", &target))?;
        }
        Ok(())
    }

    /// A repair that fails (the disk is full) is no reason to refuse the good records: the file
    /// stays as it is and is repaired at the next start.
    fn report(
        &mut self,
        path: &Path,
        first: usize,
        bytes: usize,
        outcome: Result<(), LogError>,
        data: &[u8],
        repaired: &[u8],
    ) -> u64 {
        let what = format!("{bytes} bytes of {} are damaged, from offset {first}", path.display());
        match outcome {
            Ok(()) => {
                let aside = damaged_path(path);
                self.damage.push(format!("{what}; the file is kept as {}", aside.display()));
                repaired.len() as u64
            }
            Err(error) => {
                self.damage.push(format!("{what}; it cannot be repaired: {error}"));
                data.len() as u64
            }
        }
    }
}

fn damaged_path(path: &Path) -> PathBuf {
    path.with_extension("log.damaged")
}
