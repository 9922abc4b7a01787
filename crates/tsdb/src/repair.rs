//! Verifying and repairing a store that nobody has open.
//!
//! Repair writes what can still be read of damaged segments, also of those set aside before, into
//! new ones, and tells what could not be read. Invariant: a damaged file stays, under another
//! name, until the caller says that it may go; a crash in between loses nothing, and repairing
//! again goes on. Damaged rollups are set aside: the store makes them anew of the samples that are
//! still there.

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
    segment::{self, Hopeless, Kind, OpenError, Rescue, Segment, SegmentWriter},
    store::io_error,
};

/// Lost parts that are told of one segment; further ones are counted.
const LOST_MAX: usize = 10_000;

const DAMAGED: &str = "segment.damaged";
const REPAIRED: &str = "segment.repaired";

/// What verifying one segment, or one file of rollups, gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// Its series.
    pub series: u64,
    /// Whether these are rollups.
    pub is_rollup: bool,
    /// Its samples, or rows, that can be read.
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
        /// The new segment; `None` where nothing was left.
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
    /// These are rollups; the store makes them anew of the samples of their time that it still has.
    SetAside,
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

/// Reads all of each segment and of all rollups of the store in `folder`, and hands on what that
/// gave. Changes nothing. Files that were set aside are not looked at.
pub fn verify_segments(fs: &dyn Fs, folder: &Path, each: &mut dyn FnMut(Verified)) -> Result<(), Error> {
    for kind in [Kind::Samples, Kind::Rollups] {
        for File { path, id, .. } in files(fs, folder, kind)?.into_iter().filter(|f| !f.is_aside) {
            let is_rollup = kind == Kind::Rollups;
            let verified = match open(fs, &path, id, kind)? {
                Ok(segment) => {
                    let audit = segment.audit();
                    segment.release();
                    let segment::Audit { series, samples, problems, more } = audit;
                    Verified { path, series, is_rollup, samples, problems, more }
                }
                Err(how) => {
                    let problems = vec![how.to_owned()];
                    Verified { path, series: 0, is_rollup, samples: 0, problems, more: 0 }
                }
            };
            each(verified);
        }
    }
    Ok(())
}

/// Repairs the segments of the store in `folder`, and hands on what became of each damaged one.
/// Damaged rollups are set aside. With `discard` damaged files are removed when what can be saved
/// is. Gives the number of sound files.
pub fn repair(
    fs: &dyn Fs,
    folder: &Path,
    discard: bool,
    each: &mut dyn FnMut(Repaired),
) -> Result<u64, Error> {
    let segments = folder.join("segments");
    let deletions = Deletions::load(fs, folder)?.deletions;
    let all = files(fs, folder, Kind::Samples)?;
    let rollups = files(fs, folder, Kind::Rollups)?;
    let last = all.iter().chain(&rollups).map(|f| f.id).max().unwrap_or(0);
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
        let opened = if file.is_aside { None } else { open(fs, &file.path, file.id, Kind::Samples)?.ok() };
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
    for file in rollups {
        let opened = if file.is_aside { None } else { open(fs, &file.path, file.id, Kind::Rollups)?.ok() };
        if opened.is_some_and(|rollups| rollups.audit().is_sound()) {
            sound += 1;
        } else if !file.is_aside || discard {
            each(set_aside(fs, file, discard)?);
        }
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

/// Puts damaged rollups where the store does not look for them.
fn set_aside(fs: &dyn Fs, file: File, discard: bool) -> Result<Repaired, Error> {
    let File { path, is_aside, .. } = file;
    let (lost, outcome) = (Vec::new(), Outcome::SetAside);
    if discard {
        fs.remove(&path).map_err(|e| io_error("remove", &path, e))?;
        return Ok(Repaired { path, outcome, kept: None, lost, lost_more: 0 });
    }
    let aside = if is_aside { path.clone() } else { path.with_extension("rollup.damaged") };
    if !is_aside {
        fs.rename(&path, &aside).map_err(|e| io_error("set aside", &path, e))?;
    }
    Ok(Repaired { path, outcome, kept: Some(aside), lost, lost_more: 0 })
}

/// The segments or rollups of a store, and those set aside.
fn files(fs: &dyn Fs, store: &Path, kind: Kind) -> Result<Vec<File>, Error> {
    let folder = match kind {
        Kind::Samples => store.join("segments"),
        Kind::Rollups => store.join("rollups"),
    };
    if kind == Kind::Rollups && !fs.exists(&folder) {
        return Ok(Vec::new());
    }
    let list = fs.list(&folder).map_err(|e| io_error("list", &folder, e))?;
    let file = |path: PathBuf| {
        let is_aside = path.extension().is_some_and(|e| e == "damaged");
        let name = if is_aside { path.with_extension("") } else { path.clone() };
        Some(File { id: segment::file_id_of(&name, kind)?, path, is_aside })
    };
    Ok(list.into_iter().filter_map(file).collect())
}

/// Opens a segment; within, how it is damaged.
fn open(fs: &dyn Fs, path: &Path, id: u64, kind: Kind) -> Result<Result<Segment, &'static str>, Error> {
    match Segment::open_kind(fs, path.to_owned(), id, kind) {
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
        let aside = self.segments.join(segment::file_name(id, Kind::Samples)).with_extension(DAMAGED);
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
