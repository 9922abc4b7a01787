//! Verifying and repairing a store that nobody has open.
//!
//! Repair writes what can still be read of damaged segments, also of those set aside before, into
//! new ones, and tells what could not be read. Invariant: a damaged file stays, under another
//! name, until the caller says that it may go; a crash in between loses nothing, and repairing
//! again goes on.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use vedette_model::{Exemplar, Labels, SampleBuffer, TimeRange};
use vedette_sys::Fs;

use crate::{
    Error,
    chunk::Effort,
    deletions::Deletions,
    mask,
    segment::{self, Hopeless, OpenError, Rescue, Segment, SegmentWriter},
    store::io_error,
};

/// Lost parts that are told of one segment; further ones are counted.
const LOST_MAX: usize = 10_000;

const DAMAGED: &str = "segment.damaged";
const REPAIRED: &str = "segment.repaired";

/// What verifying one segment gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// Its series.
    pub series: u64,
    /// Its samples that can be read.
    pub samples: u64,
    /// What is wrong; empty when it is sound.
    pub problems: Vec<String>,
    /// Further problems.
    pub more: u64,
}

/// What became of one damaged segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The file as it was named before.
    pub path: PathBuf,
    /// What was done.
    pub outcome: Outcome,
    /// Where the damaged file is kept; `None` when it was removed.
    pub kept: Option<PathBuf>,
    /// What could not be saved.
    pub lost: Vec<Lost>,
    /// Further parts that could not be saved.
    pub lost_more: u64,
}

/// What was done with a damaged segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What still reads was saved.
    Saved {
        /// The new segment; `None` where no sample was left.
        new: Option<PathBuf>,
        /// Series in it.
        series: u64,
        /// Samples in it.
        samples: u64,
        /// Bits that had flipped and were flipped back.
        flipped: u64,
    },
    /// All that it held stands in another segment.
    Superseded,
    /// Nothing can be read, and why.
    Hopeless(&'static str),
}

/// Samples that could not be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Whose they are, where that is known.
    pub labels: Option<Labels>,
    /// When they are, where that is known; there may be fewer.
    pub range: Option<TimeRange>,
    /// How many, where that is known.
    pub samples: Option<u64>,
}

/// Reads all of each segment of the store in `folder`, and hands on what that gave. Changes
/// nothing. Segments that were set aside are not looked at.
pub fn verify_segments(fs: &dyn Fs, folder: &Path, each: &mut dyn FnMut(Verified)) -> Result<(), Error> {
    for File { path, id, .. } in files(fs, &folder.join("segments"))?.into_iter().filter(|f| !f.is_aside) {
        let verified = match open(fs, &path, id)? {
            Ok(segment) => {
                let audit = segment.audit();
                segment.release();
                let segment::Audit { series, samples, problems, more } = audit;
                Verified { path, series, samples, problems, more }
            }
            Err(how) => Verified { path, series: 0, samples: 0, problems: vec![how.to_owned()], more: 0 },
        };
        each(verified);
    }
    Ok(())
}

/// Repairs the segments of the store in `folder`, and hands on what became of each damaged one.
/// With `discard` damaged files are removed when what can be saved is. Gives the number of sound
/// segments.
pub fn repair(
    fs: &dyn Fs,
    folder: &Path,
    discard: bool,
    each: &mut dyn FnMut(Repaired),
) -> Result<u64, Error> {
    let segments = folder.join("segments");
    let deletions = Deletions::load(fs, folder)?.deletions;
    let all = files(fs, &segments)?;
    let last = all.iter().map(|f| f.id).max().unwrap_or(0);
    let mut repair = Repair {
        fs,
        segments,
        next_id: last.saturating_add(1).max(deletions.next_segment()),
        deletions,
        discard,
        superseded: HashSet::new(),
    };
    let (mut sound, mut damaged) = (0, Vec::new());
    for file in all {
        let opened = if file.is_aside { None } else { open(fs, &file.path, file.id)?.ok() };
        if let Some(segment) = &opened {
            // A damaged one too stands for these: it is going to be repaired.
            repair.superseded.extend(&segment.footer.sources);
        }
        if opened.is_some_and(|segment| segment.audit().is_sound()) {
            sound += 1;
        } else {
            damaged.push(file);
        }
    }
    for file in damaged {
        each(repair.one(file)?);
    }
    if discard {
        repair.discard_originals()?;
    }
    Ok(sound)
}

struct File {
    path: PathBuf,
    id: u64,
    /// Whether it was found damaged before.
    is_aside: bool,
}

/// The segments of a folder, and those set aside.
fn files(fs: &dyn Fs, segments: &Path) -> Result<Vec<File>, Error> {
    let list = fs.list(segments).map_err(|e| io_error("list", segments, e))?;
    let file = |path: PathBuf| {
        let is_aside = path.extension().is_some_and(|e| e == "damaged");
        let name = if is_aside { path.with_extension("") } else { path.clone() };
        Some(File { id: segment::file_id(&name)?, path, is_aside })
    };
    Ok(list.into_iter().filter_map(file).collect())
}

/// Opens a segment; within, how it is damaged.
fn open(fs: &dyn Fs, path: &Path, id: u64) -> Result<Result<Segment, &'static str>, Error> {
    match Segment::open(fs, path.to_owned(), id) {
        Ok(segment) => Ok(Ok(segment)),
        Err(OpenError::Damaged(how)) => Ok(Err(how)),
        Err(OpenError::Newer(version)) => Err(Error::Newer { path: path.to_owned(), version }),
        Err(OpenError::Io(source)) => Err(io_error("open", path, source)),
    }
}

struct Repair<'a> {
    fs: &'a dyn Fs,
    segments: PathBuf,
    next_id: u64,
    deletions: Deletions,
    discard: bool,
    /// Numbers of segments that others stand for.
    superseded: HashSet<u64>,
}

impl Repair<'_> {
    fn one(&mut self, file: File) -> Result<Repaired, Error> {
        let File { path, id, .. } = file;
        let mut repaired = Repaired {
            path: path.clone(),
            outcome: Outcome::Superseded,
            kept: None,
            lost: Vec::new(),
            lost_more: 0,
        };
        let aside = self.segments.join(segment::file_name(id)).with_extension(DAMAGED);
        if path != aside {
            // First, as the new segment says that it stands for the one of this number.
            self.fs.rename(&path, &aside).map_err(|e| io_error("set aside", &path, e))?;
        }
        if !self.superseded.contains(&id) {
            let bytes = self.fs.read(&aside).map_err(|e| io_error("read", &aside, e))?;
            match Rescue::open(bytes, aside.clone(), id) {
                Ok(rescue) => repaired.outcome = self.save(&rescue, &mut repaired)?,
                Err(Hopeless { reason, footer }) => {
                    repaired.outcome = Outcome::Hopeless(reason);
                    let (range, samples) = footer.map(|f| (f.range, f.samples)).unzip();
                    repaired.lost.push(Lost { labels: None, range, samples });
                }
            }
        }
        repaired.kept = match repaired.outcome {
            Outcome::Hopeless(_) if self.discard => {
                self.fs.remove(&aside).map_err(|e| io_error("remove", &aside, e))?;
                None
            }
            // A later release may know how to read it.
            Outcome::Hopeless(_) => Some(aside),
            _ => {
                let original = aside.with_extension("").with_extension(REPAIRED);
                self.fs.rename(&aside, &original).map_err(|e| io_error("set aside", &aside, e))?;
                Some(original).filter(|_| !self.discard)
            }
        };
        Ok(repaired)
    }

    /// Writes what still reads into a new segment.
    fn save(&mut self, rescue: &Rescue, repaired: &mut Repaired) -> Result<Outcome, Error> {
        let old = &rescue.segment;
        let failed = |e| io_error("write a segment below", &self.segments, e);
        let mut writer =
            SegmentWriter::create(self.fs, &self.segments, self.next_id, Effort::Small).map_err(failed)?;
        writer.set_rank(old.footer.rank);
        let mut blocks = Vec::with_capacity(old.index().len());
        let mut walk = old.index().walk(0);
        while walk.advance().is_some() {
            blocks.push((walk.labels(), walk.block));
        }
        // What is damaged may be out of order.
        blocks.sort_by(|a, b| a.0.cmp(&b.0));
        blocks.dedup_by(|a, b| a.0 == b.0);
        let (mut samples, mut exemplars) = (SampleBuffer::default(), Vec::<Exemplar>::new());
        let (mut from_ms, mut until_ms) = (old.footer.from_ms, old.footer.until_ms);
        let (mut series, mut count) = (0, 0);
        for (labels, block) in blocks {
            samples.clear();
            exemplars.clear();
            for part in rescue.read(block, &mut samples, &mut exemplars) {
                if repaired.lost.len() < LOST_MAX {
                    let (range, samples) = (Some(part.range), part.samples);
                    repaired.lost.push(Lost { labels: Some(labels.clone()), range, samples });
                } else {
                    repaired.lost_more += 1;
                }
            }
            let deleted = self.deletions.mask_of(old, &labels);
            mask::cut_out(&deleted, 0, &mut samples);
            exemplars.retain(|e| !mask::covers(&deleted, e.time_ms));
            exemplars.sort_by_key(|e| e.time_ms);
            if let (Some(&first), Some(&last)) = (samples.times_ms.first(), samples.times_ms.last()) {
                (from_ms, until_ms) = (from_ms.min(first), until_ms.max(last.saturating_add(1)));
                series += 1;
                count += samples.len() as u64;
            }
            if let Err(error) = writer.add_with_exemplars(&labels, &samples, &exemplars) {
                writer.abandon();
                return Err(failed(error));
            }
        }
        let new = if writer.series() == 0 {
            writer.abandon();
            None
        } else {
            self.next_id += 1;
            Some(writer.finish(from_ms, until_ms, vec![old.id]).map_err(failed)?)
        };
        Ok(Outcome::Saved { new, series, samples: count, flipped: rescue.flipped })
    }

    /// Removes what repaired segments were repaired from, now or earlier.
    fn discard_originals(&self) -> Result<(), Error> {
        for path in self.fs.list(&self.segments).map_err(|e| io_error("list", &self.segments, e))? {
            if path.extension().is_some_and(|e| e == "repaired") {
                self.fs.remove(&path).map_err(|e| io_error("remove", &path, e))?;
            }
        }
        Ok(())
    }
}
