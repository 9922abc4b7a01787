//! Makes rollups of windows, and removes them.
//!
//! Invariants: a file of rollups names all segments it was made from, so that a reader sees what it
//! does not tell of; the one that it replaces goes only after it is synced under its final name.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use vedette_model::{RollupRow, SampleBuffer, TimeRange};
use vedette_sys::Fs;

use super::{codec, rows};
use crate::{
    Config, Error, Rollup, Store,
    compact::{LeftOut, Merge, SERIES_PER_RELEASE, SOURCES_MAX, is_worth_merging},
    maintain::{Maintenance, StepError},
    mask, overlay,
    segment::{Footer, Kind, OpenError, Segment, SegmentWriter, file_id_of},
    store::io_error,
};

/// Rollups take at most this part of the size that the store may have.
const SIZE_SHARE: u64 = 4;

/// Windows that one segment may lie in; it has wrong times if they are more.
const WINDOWS_MAX: i64 = 4096;

/// What maintenance remembers of rollups, so that nothing is made again and again in vain.
#[derive(Debug)]
pub struct Rolling {
    /// Rollups of windows that end before this were removed for want of room.
    no_room_until_ms: i64,
    /// Windows without a row, by their start, with the segments that have none for them.
    empty: HashMap<i64, Vec<u64>>,
}

impl Default for Rolling {
    fn default() -> Self {
        Self { no_room_until_ms: i64::MIN, empty: HashMap::new() }
    }
}

/// The rollups that were there when the store was opened.
pub struct Rollups {
    /// In order of time.
    pub files: Vec<Arc<Segment>>,
    /// Higher than the number of each.
    pub next_id: u64,
    pub notes: Vec<String>,
    pub damaged: u64,
}

/// Opens all rollups of a store.
pub fn open(fs: &dyn Fs, config: &Config) -> Result<Rollups, Error> {
    let folder = folder(config);
    let mut opened = Rollups { files: Vec::new(), next_id: 1, notes: Vec::new(), damaged: 0 };
    fs.create_dir_all(&folder).map_err(|source| io_error("make", &folder, source))?;
    let mut odd = 0;
    for path in fs.list(&folder).map_err(|source| io_error("list", &folder, source))? {
        // What a crash left half written.
        if path.extension().is_some_and(|e| e == "tmp") {
            fs.remove(&path).map_err(|source| io_error("remove", &path, source))?;
            continue;
        }
        let Some(id) = file_id_of(&path, Kind::Rollups) else { continue };
        opened.next_id = opened.next_id.max(id.saturating_add(1));
        match Segment::open_kind(fs, path.clone(), id, Kind::Rollups) {
            Ok(file) if window_of(config, &file).is_some() => opened.files.push(Arc::new(file)),
            Ok(_) => odd += 1,
            Err(OpenError::Newer(version)) => return Err(Error::Newer { path, version }),
            Err(OpenError::Io(source)) => return Err(io_error("open", &path, source)),
            Err(OpenError::Damaged(how)) => {
                let aside = path.with_extension("rollup.damaged");
                fs.rename(&path, &aside).map_err(|source| io_error("set aside", &path, source))?;
                opened.damaged += 1;
                opened.notes.push(format!(
                    "rollups {} are damaged ({how}); they were set aside as {}, and are made anew where their \
                     samples are still there",
                    path.display(),
                    aside.display()
                ));
            }
        }
    }
    if odd > 0 {
        opened.notes.push(format!(
            "{odd} files of rollups in {} are of windows that are not the longest compaction span; they are \
             left there and not used",
            folder.display()
        ));
    }
    // Where there are two of a window and a step, a crash kept the older one from being removed.
    let mut newest = BTreeMap::new();
    for file in &opened.files {
        let id = newest.entry((file.footer.step_s, file.footer.from_ms)).or_insert(file.id);
        *id = file.id.max(*id);
    }
    let is_old = |file: &mut Arc<Segment>| newest[&(file.footer.step_s, file.footer.from_ms)] != file.id;
    for file in opened.files.extract_if(.., is_old) {
        fs.remove(&file.path).map_err(|source| io_error("remove", &file.path, source))?;
    }
    opened.files.sort_by_key(|f| (f.footer.from_ms, f.footer.step_s));
    Ok(opened)
}

fn folder(config: &Config) -> PathBuf {
    config.folder.join("rollups")
}

fn step_s(rollup: &Rollup) -> u32 {
    // Settings are checked when the store is opened.
    u32::try_from(rollup.step_ms / 1000).unwrap_or(u32::MAX)
}

/// The window that a file of rollups is of.
fn window_of(config: &Config, file: &Segment) -> Option<i64> {
    let span = *config.compaction_spans_ms.last()?;
    let window = file.footer.from_ms.div_euclid(span);
    let whole = file.footer.from_ms == window * span && file.footer.until_ms == file.footer.from_ms + span;
    whole.then_some(window)
}

/// The windows in which a segment has samples.
fn windows_of(segment: &Segment, span: i64) -> std::ops::RangeInclusive<i64> {
    let TimeRange { start_ms, end_ms } = segment.footer.range;
    let last = end_ms.div_euclid(span);
    start_ms.div_euclid(span).max(last.saturating_sub(WINDOWS_MAX))..=last
}

/// What is there of a window.
struct Window {
    from_ms: i64,
    until_ms: i64,
    /// Sound segments with samples in it.
    segments: Vec<Arc<Segment>>,
}

impl Window {
    fn range(&self) -> TimeRange {
        TimeRange { start_ms: self.from_ms, end_ms: self.until_ms - 1 }
    }

    /// The numbers of the segments, growing.
    fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.segments.iter().map(|s| s.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether a file of rollups was made from all that is there and from nothing else.
    fn is_source_of(&self, file: &Segment) -> bool {
        file.footer.sources == self.ids() && !file.damaged.load(Ordering::Relaxed)
    }
}

impl Store {
    /// Makes the rollups of the first window that is over, merged, and not rolled up yet.
    pub(crate) fn roll_up(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        let now_ms = self.newest_ms();
        let kept_from_ms = self.samples_kept_from_ms();
        let due = |w: &Window| {
            let is_new = || self.kept(w, now_ms).iter().any(|r| self.rollup_of(w, r).is_none());
            // What comes late to a window that is rolled up already waits until it is merged.
            let merged = w.segments.len() == 1 || (is_new() && !is_worth_merging(&w.segments));
            w.until_ms <= sealed_until
                && (w.until_ms > kept_from_ms || is_new())
                && w.until_ms > maintenance.rolling.no_room_until_ms
                && merged
                && !self.is_rolled_up(w, now_ms)
                && maintenance.rolling.empty.get(&w.from_ms).is_none_or(|ids| *ids != w.ids())
        };
        match self.windows().into_iter().find(due) {
            Some(window) => self.make_rollups(maintenance, &window, i64::MIN, now_ms),
            None => Ok(()),
        }
    }

    fn newest_ms(&self) -> i64 {
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        self.head_last_ms.load(Ordering::Acquire).max(sealed_until).min(self.clock.unix_ms())
    }

    /// Samples before this are removed, and further ones are not taken: of windows that end before
    /// it rollups know all there is to know, whatever a replay of the log brings again.
    pub(crate) fn samples_kept_from_ms(&self) -> i64 {
        self.newest_ms().saturating_sub(self.config.retention_ms)
    }

    /// The rollups that a window has for a while yet.
    fn kept(&self, window: &Window, now_ms: i64) -> Vec<Rollup> {
        let is_kept = |r: &&Rollup| window.until_ms > now_ms.saturating_sub(r.retention_ms);
        self.config.rollups.iter().filter(is_kept).copied().collect()
    }

    /// Sees to it that rollups have what is about to be removed, or of these segments only a part:
    /// some series. Removal goes on in any case, as a
    /// disk that is full for good helps nobody; what is lost is counted.
    pub(crate) fn roll_up_before_removal(
        &self,
        maintenance: &mut Maintenance,
        old: &[Arc<Segment>],
        now_ms: i64,
        in_part: bool,
    ) {
        let goes = |segment: &Segment| old.iter().any(|o| o.id == segment.id);
        for window in self.windows() {
            let removed = window.segments.iter().filter(|s| goes(s));
            let Some(until_ms) = removed.clone().map(|s| s.footer.until_ms).max() else { continue };
            let rolled_up = self.is_rolled_up(&window, now_ms);
            let all = !in_part && removed.count() == window.segments.len();
            if (rolled_up && all) || window.until_ms <= maintenance.rolling.no_room_until_ms {
                continue;
            }
            let settled_ms = if all { i64::MIN } else { until_ms.min(window.until_ms) };
            let settled = |f: &Arc<Segment>| f.footer.from_ms != window.from_ms || f.base_ms() >= settled_ms;
            if rolled_up && self.rollups.read().iter().all(settled) {
                continue;
            }
            if let Err(error) = self.make_rollups(maintenance, &window, settled_ms, now_ms) {
                self.metrics.rollups_missed.inc();
                self.note_problem("rollup before removal", &error);
            }
        }
    }

    /// Removes rollups that are too old, of no step that is kept, or too many for their share.
    pub(crate) fn remove_old_rollups(
        &self,
        maintenance: &mut Maintenance,
        now_ms: i64,
    ) -> Result<(), StepError> {
        let mut files: Vec<Arc<Segment>> = self.rollups.read().to_vec();
        for damaged in files.iter().filter(|f| f.damaged.load(Ordering::Relaxed)) {
            let what = format!("rollups {}", damaged.id);
            if self.problems.lock().insert(what, format!("{} is damaged", damaged.path.display())).is_none() {
                self.metrics.segments_damaged.inc();
            }
        }
        files.sort_by_key(|f| (f.footer.until_ms, f.footer.step_s));
        let limit = self.config.retention_bytes / SIZE_SHARE;
        let mut bytes: u64 = files.iter().map(|f| f.bytes).sum();
        files.retain(|file| {
            let kept = self.config.rollups.iter().find(|r| step_s(r) == file.footer.step_s);
            let old = |r: &Rollup| file.footer.until_ms <= now_ms.saturating_sub(r.retention_ms);
            let too_much = limit > 0 && bytes > limit;
            if too_much {
                let no_room_until_ms = &mut maintenance.rolling.no_room_until_ms;
                *no_room_until_ms = file.footer.until_ms.max(*no_room_until_ms);
            }
            let goes = kept.is_none_or(old) || too_much;
            bytes -= if goes { file.bytes } else { 0 };
            goes
        });
        self.replace_rollups(maintenance, &files, Vec::new())?;
        self.metrics.rollups_removed.add(files.len() as u64);
        Ok(())
    }

    /// Makes the rollups of a window anew without what is deleted, of samples where these are still
    /// there.
    pub(crate) fn clean_rollups(
        &self,
        maintenance: &mut Maintenance,
        dirty: &Arc<Segment>,
    ) -> Result<(), StepError> {
        let Footer { from_ms, until_ms, .. } = dirty.footer;
        let there = self.windows().into_iter().find(|w| w.from_ms == from_ms);
        let window = there.unwrap_or(Window { from_ms, until_ms, segments: Vec::new() });
        self.make_rollups(maintenance, &window, i64::MIN, self.newest_ms())?;
        // Those that are not kept any longer are not made again.
        let is_left = self.rollups.read().iter().any(|f| f.id == dirty.id);
        let left = if is_left { vec![Arc::clone(dirty)] } else { Vec::new() };
        self.replace_rollups(maintenance, &left, Vec::new())
    }

    /// Numbers of files of rollups on the disk that are not in use: of other windows than are
    /// configured, or such as could not be removed.
    pub(crate) fn unused_rollups(&self) -> io::Result<Vec<u64>> {
        let used = Arc::clone(&self.rollups.read());
        let ids = self.fs.list(&folder(&self.config))?.into_iter();
        let ids = ids.filter_map(|path| file_id_of(&path, Kind::Rollups));
        Ok(ids.filter(|id| used.iter().all(|f| f.id != *id)).collect())
    }

    /// Size of all rollups.
    pub(crate) fn rollup_bytes(&self) -> u64 {
        self.rollups.read().iter().map(|f| f.bytes).sum()
    }

    /// The windows in which there are samples, in order of time.
    fn windows(&self) -> Vec<Window> {
        let Some(&span) = self.config.compaction_spans_ms.last() else { return Vec::new() };
        if self.config.rollups.is_empty() {
            return Vec::new();
        }
        let segments = Arc::clone(&self.segments.read());
        let mut windows = BTreeMap::<i64, Vec<Arc<Segment>>>::new();
        for segment in segments.iter().filter(|s| !s.damaged.load(Ordering::Relaxed)) {
            for window in windows_of(segment, span) {
                windows.entry(window).or_default().push(Arc::clone(segment));
            }
        }
        let window = |(window, mut segments): (i64, Vec<Arc<Segment>>)| {
            segments.truncate(SOURCES_MAX);
            let from_ms = window.checked_mul(span)?;
            Some(Window { from_ms, until_ms: from_ms.checked_add(span)?, segments })
        };
        windows.into_iter().filter_map(window).collect()
    }

    fn is_rolled_up(&self, window: &Window, now_ms: i64) -> bool {
        self.kept(window, now_ms)
            .iter()
            .all(|r| self.rollup_of(window, r).is_some_and(|f| window.is_source_of(&f)))
    }

    fn rollup_of(&self, window: &Window, rollup: &Rollup) -> Option<Arc<Segment>> {
        let is = |f: &&Arc<Segment>| f.footer.from_ms == window.from_ms && f.footer.step_s == step_s(rollup);
        self.rollups.read().iter().find(is).cloned()
    }

    /// Makes the rollups of a window. Rows of steps that begin before `settled_ms` are final: part
    /// of their samples will be gone when the next ones are made.
    fn make_rollups(
        &self,
        maintenance: &mut Maintenance,
        window: &Window,
        settled_ms: i64,
        now_ms: i64,
    ) -> Result<(), StepError> {
        let folder = folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let mut sources = window.segments.clone();
        let mut outputs = Vec::new();
        for rollup in self.kept(window, now_ms) {
            let before = self.rollup_of(window, &rollup);
            // What is damaged is made from what samples there are.
            sources.extend(before.clone().filter(|b| !b.damaged.load(Ordering::Relaxed)));
            let base_ms = before.as_ref().map_or(i64::MIN, |b| b.base_ms()).max(settled_ms);
            let id = maintenance.next_id;
            maintenance.next_id += 1;
            let writer = SegmentWriter::create_rollups(&*self.fs, &folder, id, step_s(&rollup), base_ms)
                .map_err(write_error);
            match writer {
                Ok(writer) => outputs.push(Output::new(rollup.step_ms, id, writer, before, window)),
                Err(error) => {
                    maintenance.give_up(&folder, id, Kind::Rollups);
                    for output in outputs {
                        let output: Output<'_> = output;
                        maintenance.give_up(&folder, output.id, Kind::Rollups);
                        output.writer.abandon();
                    }
                    return Err(error);
                }
            }
        }
        let filled = self.fill_rollups(window, &sources, &mut outputs, write_error);
        sources.iter().for_each(|s| s.release());
        let mut made = Vec::new();
        let mut failed = filled.err();
        let old: Vec<Arc<Segment>> = outputs.iter().filter_map(|o| o.before.clone()).collect();
        for output in outputs {
            if failed.is_some() || output.writer.series() == 0 {
                maintenance.give_up(&folder, output.id, Kind::Rollups);
                output.writer.abandon();
                continue;
            }
            let id = output.id;
            match output.finish(&*self.fs, window, &folder) {
                Ok(file) => made.push(Arc::new(file)),
                Err(error) => {
                    maintenance.give_up(&folder, id, Kind::Rollups);
                    failed = Some(error);
                }
            }
        }
        if let Some(error) = failed {
            // They come again with the next attempt.
            made.iter().for_each(|f| maintenance.give_up(&folder, f.id, Kind::Rollups));
            return Err(error);
        }
        if made.is_empty() {
            maintenance.rolling.empty.insert(window.from_ms, window.ids());
        }
        self.metrics.rollups.add(made.len() as u64);
        self.replace_rollups(maintenance, &old, made)
    }

    fn fill_rollups(
        &self,
        window: &Window,
        sources: &[Arc<Segment>],
        outputs: &mut [Output<'_>],
        write_error: impl Fn(io::Error) -> StepError,
    ) -> Result<(), StepError> {
        let deletions = Arc::clone(&self.deletions.read());
        let left_out = LeftOut { deletions: &deletions, retention: self.retention(), for_rollups: true };
        let (mut merge, texts) = Merge::new(sources, left_out);
        for output in &mut *outputs {
            output.writer.set_symbols(texts.clone());
        }
        drop(texts);
        let (mut scratch, mut samples) = (overlay::Scratch::default(), SampleBuffer::default());
        let mut done = 0;
        while merge.next_series() {
            let rolled = merge.parts.extract_if(.., |p| p.segment.footer.step_s != 0).collect::<Vec<_>>();
            samples.clear();
            overlay::read(&mut merge.parts, window.range(), &mut scratch, &mut samples)?;
            for output in &mut *outputs {
                output.old_rows.clear();
                output.mask.clear();
                for part in
                    rolled.iter().filter(|p| Some(p.segment.id) == output.before.as_ref().map(|b| b.id))
                {
                    let bytes = part.segment.block_bytes(part.block)?;
                    codec::decode(bytes, output.step_ms, &mut output.scratch, &mut output.old_rows)
                        .ok_or_else(|| part.segment.damaged(&format!("series at {}", part.block.offset)))?;
                    output.mask.clone_from(&part.mask);
                }
                output.add(&merge.labels, &samples, window).map_err(&write_error)?;
            }
            self.take_turn(done);
            done += 1;
            if done.is_multiple_of(SERIES_PER_RELEASE) {
                sources.iter().for_each(|s| s.release());
            }
        }
        Ok(())
    }

    fn replace_rollups(
        &self,
        maintenance: &mut Maintenance,
        old: &[Arc<Segment>],
        new: Vec<Arc<Segment>>,
    ) -> Result<(), StepError> {
        if old.is_empty() && new.is_empty() {
            return Ok(());
        }
        let mut current = self.rollups.write();
        let mut files = Vec::clone(&current);
        files.retain(|f| old.iter().all(|o| o.id != f.id));
        files.extend(new);
        files.sort_by_key(|f| (f.footer.from_ms, f.footer.step_s));
        *current = Arc::new(files);
        drop(current);
        self.remove_files(maintenance, old)
    }
}

fn samples_of(row: &RollupRow) -> u64 {
    row.count + row.stales + row.histograms.as_ref().map_or(0, |h| h.count)
}

/// The rollups of one step that are being made.
struct Output<'a> {
    step_ms: i64,
    id: u64,
    writer: SegmentWriter<'a>,
    /// Those that they replace.
    before: Option<Arc<Segment>>,
    /// Whether nothing of what these were made from is there any more.
    orphaned: bool,
    rows: Vec<RollupRow>,
    old_rows: Vec<RollupRow>,
    /// What is left out of the old rows, see [`crate::mask`].
    mask: Vec<TimeRange>,
    scratch: codec::Scratch,
    block: Vec<u8>,
}

impl<'a> Output<'a> {
    fn new(
        step_ms: i64,
        id: u64,
        writer: SegmentWriter<'a>,
        before: Option<Arc<Segment>>,
        window: &Window,
    ) -> Self {
        let is_there =
            |id: &u64| window.segments.iter().any(|s| s.id == *id || s.footer.sources.contains(id));
        let orphaned = before.as_ref().is_some_and(|b| !b.footer.sources.iter().any(is_there));
        Self {
            step_ms,
            id,
            writer,
            before,
            orphaned,
            rows: Vec::new(),
            old_rows: Vec::new(),
            mask: Vec::new(),
            scratch: codec::Scratch::default(),
            block: Vec::new(),
        }
    }

    /// Adds a series: the rows of its samples, and those of before whose samples are gone.
    fn add(&mut self, labels: &[(u32, u32)], samples: &SampleBuffer, window: &Window) -> io::Result<()> {
        self.rows.clear();
        rows::roll(samples, self.step_ms, &mut self.rows);
        if !self.old_rows.is_empty() {
            let settled_ms = self.before.as_ref().map_or(i64::MIN, |b| b.base_ms());
            let is_final = |row: &RollupRow| row.end_ms.saturating_sub(self.step_ms) < settled_ms;
            // Of a row no part can be taken away: it goes, and what samples there are count.
            let (step_ms, mask) = (self.step_ms, &self.mask);
            let is_masked = |row: &RollupRow| {
                let start_ms = row.end_ms.saturating_sub(step_ms).saturating_add(1);
                mask::overlaps(mask, TimeRange { start_ms, end_ms: row.end_ms })
            };
            self.rows.retain(|row| !is_final(row) || is_masked(row));
            // Where what they were made of is gone, a replay of the log or an import may have
            // brought part of it again: the row of more samples knows more.
            let orphaned = self.orphaned;
            self.old_rows.retain(|row| (is_final(row) || orphaned) && !is_masked(row));
            self.rows.append(&mut self.old_rows);
            self.rows.sort_by_key(|row| (row.end_ms, Reverse(samples_of(row))));
            self.rows.dedup_by_key(|row| row.end_ms);
        }
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return Ok(()) };
        let range = TimeRange {
            start_ms: (first.end_ms - self.step_ms + 1).max(window.from_ms),
            end_ms: last.end_ms.min(window.until_ms - 1),
        };
        self.block.clear();
        codec::encode(&self.rows, self.step_ms, &mut self.scratch, &mut self.block);
        self.writer.add_block(labels, &self.block, range, self.rows.len() as u64)
    }

    fn finish(self, fs: &dyn Fs, window: &Window, folder: &std::path::Path) -> Result<Segment, StepError> {
        let path = self
            .writer
            .finish(window.from_ms, window.until_ms, window.ids())
            .map_err(|source| StepError::Write { folder: folder.to_owned(), source })?;
        Segment::open_kind(fs, path.clone(), self.id, Kind::Rollups).map_err(|error| {
            let reason = match error {
                OpenError::Io(error) => error.to_string(),
                OpenError::Damaged(how) => how.to_owned(),
                OpenError::Newer(version) => format!("they have version {version}"),
            };
            let _ = fs.remove(&path);
            StepError::ReadBack { path, reason }
        })
    }
}
