//! The way of foreign requests into the metric store, whatever their protocol.
//!
//! In passes over flat lists that are kept for the next request: whoever reads the protocol notes
//! samples, and of each series the hash of the bytes that name it; then all series are looked up at
//! once, the few unknown ones found by their labels, the samples put in rows of one time and
//! appended. Nothing is shared while a message is read, so requests run side by side.
//!
//! What is wrong with a series or a sample costs the sender that series or sample; what the store
//! cannot take now is asked for again as a whole.

use std::{collections::HashSet, fmt, ops::Range, sync::Arc};

use parking_lot::Mutex;
use vedette_model::{Exemplar, Labels, MetricMetadata, NativeHistogram};
use vedette_tsdb::{Appended, ExemplarSample, HistogramSample, RefRow, SeriesRef};

use crate::{
    Config,
    keeper::{Keeper, Refusal},
    metrics::{Metrics, Reason, WriteAnswer},
    series_cache::{Key, SeriesCache},
};

/// Of a larger message the buffer is not kept.
const BUFFER_KEPT_BYTES_MAX: usize = 8 << 20;
/// How often series that the store has just retired are looked for again.
const ATTEMPTS_MAX: usize = 3;
/// Metadata that is remembered as told; when there is more, all of it is told once more.
const TOLD_MAX: usize = 1 << 17;

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples that are stored, be it that they were already.
    pub samples: u64,
    /// Histograms among these.
    pub histograms: u64,
    /// Exemplars stored.
    pub exemplars: u64,
    /// Samples that are not stored and never will be.
    pub refused_samples: u64,
    /// What was not stored and why, in words for the sender; it must not send that again.
    pub refused: Option<String>,
}

/// Why nothing of a request was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// It is no request of its protocol; nothing was stored.
    Malformed(String),
    /// It is too large; nothing was stored.
    TooLarge(String),
    /// It cannot be stored now; the sender should send it again.
    Retry(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Malformed(text) | Self::TooLarge(text) | Self::Retry(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for WriteError {}

/// What all requests share.
pub(crate) struct Intake {
    cache: SeriesCache,
    /// Hashes of the metadata that the store has been told.
    told: Mutex<HashSet<u64>>,
    /// One for each request that ran at the same time as others.
    idle: Mutex<Vec<Scratch>>,
}

/// Into what a request goes.
#[derive(Clone, Copy)]
pub(crate) struct Stores<'a> {
    pub config: &'a Config,
    pub keeper: &'a dyn Keeper,
    pub metrics: &'a Metrics,
    pub now_ms: i64,
}

/// Tells the labels of the series of a request, for those that are not known yet.
pub(crate) trait Names {
    /// Labels of the series with this number, or what is wrong with them.
    fn labels(&self, config: &Config, series: usize) -> Result<Labels, String>;
}

/// Lists that are filled by one request and kept for the next.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The message, its compression undone, or what the protocol needs such memory for.
    pub message: Vec<u8>,
    /// For each series: the hash of what names it, and where that stands.
    pub keys: Vec<Key>,
    pub places: Vec<Range<u32>>,
    /// Of remote write 2.0: where symbols stand, their hashes, and the numbers that series name.
    pub symbols: Vec<Range<u32>>,
    pub symbol_hashes: Vec<[u8; 16]>,
    pub refs: Vec<u32>,
    pub name_bytes: Vec<u8>,
    pub messages: Vec<Range<u32>>,
    /// Numbers of series that are not known yet.
    pub misses: Vec<u32>,
    pub samples: Vec<Sample>,
    /// Start timestamps that samples name by their number, which counts from one.
    pub starts_ms: Vec<i64>,
    pub histograms: Vec<Histogram>,
    pub exemplars: Vec<(u32, Exemplar)>,
    pub metadata: Vec<MetricMetadata>,
    /// Hashes of that metadata, where its protocol repeats it with each request.
    metadata_hashes: Vec<u64>,
    references: Vec<SeriesRef>,
    rows: Rows,
}

/// A sample that is a number.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub time_ms: i64,
    pub value: f64,
    /// Number of the series in the request.
    pub series: u32,
    /// Which of the start timestamps is its own, from one; 0 where none is told.
    pub start: u32,
}

/// A sample that is a histogram.
pub(crate) struct Histogram {
    pub series: u32,
    pub time_ms: i64,
    pub start_ms: i64,
    pub histogram: Arc<NativeHistogram>,
}

#[derive(Default)]
struct Rows {
    references: Vec<SeriesRef>,
    values: Vec<f64>,
    /// As long as the values, or empty where no start timestamp is told.
    starts_ms: Vec<i64>,
    /// For each row: its time, and where it ends in the lists above.
    ends: Vec<(i64, usize)>,
}

/// Stands for a series that the store does not take.
const REFUSED: SeriesRef = SeriesRef(u64::MAX);

/// Stands for a series for which the store has no room.
const NO_ROOM: SeriesRef = SeriesRef(u64::MAX - 1);

/// One request on its way.
pub(crate) struct Passage<'a> {
    pub cache: &'a SeriesCache,
    pub stores: Stores<'a>,
    pub outcome: Outcome,
    told: &'a Mutex<HashSet<u64>>,
}

/// What is counted on the way.
#[derive(Default)]
pub(crate) struct Outcome {
    stored: u64,
    duplicates: u64,
    histograms: u64,
    exemplars: u64,
    pub refused_exemplars: u64,
    /// Exemplars that came too late for their series; they are among those refused.
    late_exemplars: u64,
    refused: [u64; Reason::ALL.len()],
    /// What was wrong beside samples.
    faults: u64,
    /// The first thing that was refused, and why.
    example: Option<String>,
    /// Whether exemplars that come too late are told to the sender.
    pub tells_late_exemplars: bool,
}

impl Intake {
    pub(crate) fn new(known_series_max: usize) -> Self {
        Self { cache: SeriesCache::new(known_series_max), told: Mutex::default(), idle: Mutex::default() }
    }

    /// Has all metadata told once more.
    pub(crate) fn forget_told(&self) {
        self.told.lock().clear();
    }

    pub(crate) fn known_series(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn known_series_bytes(&self) -> usize {
        self.cache.heap_bytes()
    }

    /// Lets a request through: `read` notes what it holds and has it stored.
    pub(crate) fn pass(
        &self,
        stores: Stores<'_>,
        bytes: usize,
        read: impl FnOnce(&mut Passage<'_>, &mut Scratch) -> Result<Written, WriteError>,
    ) -> Result<Written, WriteError> {
        let mut scratch = self.idle.lock().pop().unwrap_or_default();
        let mut passage =
            Passage { cache: &self.cache, stores, outcome: Outcome::default(), told: &self.told };
        stores.metrics.write_bytes.add(bytes as u64);
        let result = read(&mut passage, &mut scratch);
        if scratch.message.len() <= BUFFER_KEPT_BYTES_MAX {
            scratch.clear();
            self.idle.lock().push(scratch);
        }
        stores.metrics.wrote(answer(&result)).inc();
        result
    }
}

fn answer(result: &Result<Written, WriteError>) -> WriteAnswer {
    match result {
        Ok(Written { refused: None, .. }) => WriteAnswer::Stored,
        Ok(_) => WriteAnswer::Partly,
        Err(WriteError::Malformed(_)) => WriteAnswer::Malformed,
        Err(WriteError::TooLarge(_)) => WriteAnswer::TooLarge,
        Err(WriteError::Retry(_)) => WriteAnswer::Retry,
    }
}

impl Passage<'_> {
    /// Stores everything that was noted. Series are looked up unless that was done.
    pub(crate) fn store(&mut self, scratch: &mut Scratch, names: &dyn Names) -> Result<Written, WriteError> {
        if scratch.references.len() != scratch.keys.len() {
            self.look_up(scratch);
        }
        self.find_by_labels(scratch, names)?;
        if self.stores.config.zeros_at_start && !scratch.starts_ms.is_empty() {
            scratch.fill_zeros();
            // A start that the store does not take is no fault of the sample.
            self.stores.keeper.append(&scratch.rows.list(true)).map_err(refuse)?;
        }
        scratch.fill_rows(&mut self.outcome);
        self.append(scratch, names)?;
        self.append_histograms(scratch, names)?;
        self.append_exemplars(scratch, names)?;
        self.tell_metadata(scratch);
        Ok(self.outcome.settle(self.stores.metrics))
    }

    /// Begins anew.
    pub(crate) fn forget(&mut self, scratch: &mut Scratch) {
        scratch.clear();
        self.outcome = Outcome::default();
    }

    /// Whether the store was told metadata with this hash before; if not it will be when the request is
    /// stored.
    pub(crate) fn is_told(&self, scratch: &mut Scratch, hash: u64) -> bool {
        let is_told = self.told.lock().contains(&hash);
        if !is_told {
            scratch.metadata_hashes.push(hash);
        }
        is_told
    }

    /// Tells the store the metadata of the request, and remembers that it was told.
    fn tell_metadata(&self, scratch: &Scratch) {
        self.stores.keeper.put_metadata(&scratch.metadata);
        if !scratch.metadata_hashes.is_empty() {
            let mut told = self.told.lock();
            if told.len() + scratch.metadata_hashes.len() > TOLD_MAX {
                told.clear();
            }
            told.extend(&scratch.metadata_hashes);
        }
    }

    /// Finds the store's numbers for the series of the request, except those not known yet.
    pub(crate) fn look_up(&mut self, scratch: &mut Scratch) {
        let Scratch { keys, references, misses, .. } = scratch;
        let cache = self.cache.read(self.stores.now_ms);
        for (number, key) in (0..).zip(keys.iter()) {
            let reference = cache.find(*key).unwrap_or_else(|| {
                misses.push(number);
                REFUSED
            });
            references.push(reference);
        }
    }

    /// Finds the series named by `misses` by their labels, and remembers them.
    fn find_by_labels(&mut self, scratch: &mut Scratch, names: &dyn Names) -> Result<(), WriteError> {
        let Scratch { keys, references, misses, .. } = scratch;
        let Stores { config, keeper, metrics, now_ms } = self.stores;
        if misses.is_empty() {
            return Ok(());
        }
        for &number in misses.iter() {
            references[number as usize] = match names.labels(config, number as usize) {
                Ok(labels) => match keeper.series(&labels) {
                    Ok(reference) => reference,
                    Err(Refusal::NoRoom(error)) => {
                        self.outcome.note(&error);
                        NO_ROOM
                    }
                    Err(Refusal::Invalid(reason)) => {
                        self.outcome.note(&reason);
                        REFUSED
                    }
                    Err(Refusal::Retry(error)) => return Err(WriteError::Retry(error)),
                },
                Err(error) => {
                    self.outcome.note(&error);
                    REFUSED
                }
            };
        }
        metrics.series_parsed.add(misses.len() as u64);
        let found = misses.iter().map(|&n| (keys[n as usize], references[n as usize]));
        let forgotten = self.cache.insert(now_ms, found.filter(|(_, r)| r.0 < NO_ROOM.0));
        metrics.series_forgotten.add(forgotten as u64);
        misses.clear();
        Ok(())
    }

    /// Appends all rows; then those samples again whose series the store had retired.
    fn append(&mut self, scratch: &mut Scratch, names: &dyn Names) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            if scratch.rows.ends.is_empty() {
                return Ok(());
            }
            let appended = self.stores.keeper.append(&scratch.rows.list(false)).map_err(refuse)?;
            let retired = self.outcome.count(appended);
            if retired.is_empty() {
                return Ok(());
            }
            let references = &scratch.references;
            scratch.samples.retain(|s| is_one_of(&retired, references[s.series as usize]));
            self.find_retired(scratch, names, &retired)?;
            scratch.fill_rows(&mut self.outcome);
        }
        if scratch.rows.ends.is_empty() {
            return Ok(());
        }
        Err(retired_too_fast())
    }

    /// Appends all histograms; then those again whose series the store had retired.
    fn append_histograms(&mut self, scratch: &mut Scratch, names: &dyn Names) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let Scratch { references, histograms, .. } = &mut *scratch;
            histograms.retain(|h| {
                let refusal = refusal(references[h.series as usize]);
                if let Some(reason) = refusal {
                    self.outcome.refused[reason as usize] += 1;
                }
                refusal.is_none()
            });
            if histograms.is_empty() {
                return Ok(());
            }
            let samples = histograms.iter().map(|h| HistogramSample {
                reference: references[h.series as usize],
                time_ms: h.time_ms,
                start_ms: h.start_ms,
                histogram: &h.histogram,
            });
            let appended =
                self.stores.keeper.append_histograms(&samples.collect::<Vec<_>>()).map_err(refuse)?;
            self.outcome.histograms += appended.taken + appended.duplicate;
            let retired = self.outcome.count(appended);
            if retired.is_empty() {
                return Ok(());
            }
            histograms.retain(|h| is_one_of(&retired, references[h.series as usize]));
            self.find_retired(scratch, names, &retired)?;
        }
        Err(retired_too_fast())
    }

    /// Appends all exemplars; then those again whose series the store had retired. As with
    /// Prometheus a request is not refused for the sake of an exemplar: those that the store does
    /// not take are counted.
    fn append_exemplars(&mut self, scratch: &mut Scratch, names: &dyn Names) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let Scratch { references, exemplars, .. } = &mut *scratch;
            let all = exemplars.len();
            exemplars.retain(|(series, _)| refusal(references[*series as usize]).is_none());
            self.outcome.refused_exemplars += (all - exemplars.len()) as u64;
            if exemplars.is_empty() {
                return Ok(());
            }
            let samples = exemplars.iter().map(|(series, exemplar)| {
                let reference = references[*series as usize];
                ExemplarSample { reference, exemplar }
            });
            let appended =
                self.stores.keeper.append_exemplars(&samples.collect::<Vec<_>>()).map_err(refuse)?;
            let retired = self.outcome.count_exemplars(appended);
            if retired.is_empty() {
                return Ok(());
            }
            exemplars.retain(|(series, _)| is_one_of(&retired, references[*series as usize]));
            self.find_retired(scratch, names, &retired)?;
        }
        Err(retired_too_fast())
    }

    /// Finds series anew that the store has retired.
    fn find_retired(
        &mut self,
        scratch: &mut Scratch,
        names: &dyn Names,
        retired: &[SeriesRef],
    ) -> Result<(), WriteError> {
        let Scratch { references, misses, .. } = &mut *scratch;
        misses.extend((0..).zip(references.iter()).filter(|(_, r)| is_one_of(retired, **r)).map(|(n, _)| n));
        self.find_by_labels(scratch, names)
    }
}

/// Whether a series is in a sorted list.
fn is_one_of(series: &[SeriesRef], reference: SeriesRef) -> bool {
    series.binary_search(&reference).is_ok()
}

fn refuse(refusal: Refusal) -> WriteError {
    match refusal {
        Refusal::Invalid(reason) => WriteError::Malformed(reason),
        Refusal::NoRoom(reason) | Refusal::Retry(reason) => WriteError::Retry(reason),
    }
}

fn retired_too_fast() -> WriteError {
    WriteError::Retry("series are retired as fast as they are found".to_owned())
}

/// Why the store does not take a series.
fn refusal(reference: SeriesRef) -> Option<Reason> {
    match reference {
        NO_ROOM => Some(Reason::SeriesLimit),
        REFUSED => Some(Reason::Labels),
        _ => None,
    }
}

impl Scratch {
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.places.clear();
        self.symbols.clear();
        self.symbol_hashes.clear();
        self.refs.clear();
        self.messages.clear();
        self.misses.clear();
        self.samples.clear();
        self.starts_ms.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.metadata_hashes.clear();
        self.references.clear();
        self.rows.clear();
    }

    /// Notes a sample; series mostly began at the same time as the one before.
    #[inline]
    pub(crate) fn push_sample(&mut self, series: u32, time_ms: i64, value: f64, start_ms: i64) {
        let start = if start_ms == 0 {
            0
        } else {
            if self.starts_ms.last() != Some(&start_ms) {
                self.starts_ms.push(start_ms);
            }
            self.starts_ms.len() as u32
        };
        self.samples.push(Sample { time_ms, value, series, start });
    }

    /// Puts a zero in rows for each sample of a known series, at the time since when it counts, if that
    /// lies before all samples of the request: a zero must not make others late.
    fn fill_zeros(&mut self) {
        let Self { references, samples, rows, starts_ms, .. } = self;
        rows.clear();
        let first_ms = samples.iter().map(|sample| sample.time_ms).min().unwrap_or(i64::MIN);
        let mut row_time = None;
        for sample in samples.iter() {
            let start = (sample.start as usize).checked_sub(1).and_then(|at| starts_ms.get(at));
            let Some(start_ms) = start.copied().filter(|start_ms| *start_ms < first_ms) else { continue };
            let reference = references[sample.series as usize];
            if refusal(reference).is_some() {
                continue;
            }
            if row_time != Some(start_ms) {
                rows.ends.push((start_ms, 0));
                row_time = Some(start_ms);
            }
            rows.references.push(reference);
            rows.values.push(0.0);
            if let Some((_, end)) = rows.ends.last_mut() {
                *end = rows.values.len();
            }
        }
    }

    /// Puts the samples of known series in rows, neighbours of one time together.
    fn fill_rows(&mut self, outcome: &mut Outcome) {
        let Self { references, samples, rows, starts_ms, .. } = self;
        rows.clear();
        let times = samples.windows(2).filter(|pair| pair[0].time_ms != pair[1].time_ms).count() + 1;
        // Several samples of each series, rather than one time after the other.
        if times > 4 && times * 4 > samples.len() {
            samples.sort_unstable_by_key(|s| (s.time_ms, s.series));
        }
        let mut row_time = None;
        for sample in samples.iter() {
            let reference = references[sample.series as usize];
            if let Some(reason) = refusal(reference) {
                outcome.refused[reason as usize] += 1;
                continue;
            }
            if row_time != Some(sample.time_ms) {
                rows.ends.push((sample.time_ms, 0));
                row_time = Some(sample.time_ms);
            }
            rows.references.push(reference);
            rows.values.push(sample.value);
            if !starts_ms.is_empty() {
                let start = (sample.start as usize).checked_sub(1).and_then(|at| starts_ms.get(at));
                rows.starts_ms.push(start.copied().unwrap_or(0));
            }
            if let Some((_, end)) = rows.ends.last_mut() {
                *end = rows.values.len();
            }
        }
    }
}

impl Rows {
    fn clear(&mut self) {
        self.references.clear();
        self.values.clear();
        self.starts_ms.clear();
        self.ends.clear();
    }

    /// The rows as the store takes them, of which perhaps only samples later than others count.
    fn list(&self, newest_only: bool) -> Vec<RefRow<'_>> {
        let mut begin = 0;
        self.ends
            .iter()
            .map(|&(time_ms, end)| {
                let range = std::mem::replace(&mut begin, end)..end;
                let starts_ms = self.starts_ms.get(range.clone()).unwrap_or(&[]);
                let row = RefRow::new(time_ms, &self.references[range.clone()], &self.values[range]);
                RefRow { newest_only, ..row.with_starts(starts_ms) }
            })
            .collect()
    }
}

impl Outcome {
    /// Counts samples that are refused.
    pub(crate) fn refuse_for(&mut self, reason: Reason, count: u64, why: &dyn fmt::Display) {
        self.refused[reason as usize] += count;
        self.note(why);
    }

    /// Counts something that is wrong and is no sample.
    pub(crate) fn find_fault(&mut self, why: &dyn fmt::Display) {
        self.faults += 1;
        self.note(why);
    }

    fn note(&mut self, why: &dyn fmt::Display) {
        self.example.get_or_insert_with(|| why.to_string());
    }

    /// Counts what the store says; gives the series to be found again, sorted.
    fn count(&mut self, appended: Appended) -> Vec<SeriesRef> {
        self.stored += appended.taken;
        self.duplicates += appended.duplicate;
        self.refused[Reason::OutOfOrder as usize] += appended.out_of_order + appended.conflicting;
        self.refused[Reason::TooOld as usize] += appended.too_old;
        self.refused[Reason::Future as usize] += appended.future;
        sorted(appended.unknown)
    }

    /// As [`Outcome::count`], of exemplars.
    fn count_exemplars(&mut self, appended: Appended) -> Vec<SeriesRef> {
        self.exemplars += appended.taken;
        self.late_exemplars += appended.out_of_order;
        self.refused_exemplars +=
            appended.out_of_order + appended.too_old + appended.future + appended.limited;
        sorted(appended.unknown)
    }

    fn settle(&self, metrics: &Metrics) -> Written {
        metrics.samples.add(self.stored);
        metrics.duplicate_samples.add(self.duplicates);
        metrics.exemplars.add(self.exemplars);
        metrics.rejected_exemplars.add(self.refused_exemplars);
        let mut reasons = Vec::new();
        for (reason, &count) in Reason::ALL.into_iter().zip(&self.refused) {
            if count > 0 {
                metrics.rejected_samples(reason).add(count);
                reasons.push(format!("{count} {}", words(reason)));
            }
        }
        let samples = self.stored + self.duplicates;
        let refused = self.refused.iter().sum::<u64>();
        let late = if self.tells_late_exemplars { self.late_exemplars } else { 0 };
        let mut parts = Vec::new();
        if refused > 0 {
            let all = samples + refused;
            parts.push(format!("{refused} of {all} samples were not stored: {}", reasons.join(", ")));
        }
        if late > 0 {
            parts.push(format!("{late} exemplars out of order were not stored"));
        }
        if self.faults > 0 {
            parts.push(format!("{} other parts were refused", self.faults));
        }
        Written {
            samples,
            histograms: self.histograms,
            exemplars: self.exemplars,
            refused_samples: refused,
            refused: (!parts.is_empty()).then(|| {
                let example = self.example.as_ref().map_or_else(String::new, |e| format!("; the first: {e}"));
                format!("{}{example}", parts.join("; "))
            }),
        }
    }
}

fn sorted(mut series: Vec<SeriesRef>) -> Vec<SeriesRef> {
    series.sort_unstable();
    series.dedup();
    series
}

/// The reason as it stands behind a number of samples.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Labels => "with invalid labels",
        Reason::SeriesLimit => "of new series beyond the limit",
        Reason::OutOfOrder => "out of order, or with another value than the one stored for that time",
        Reason::TooOld => "too old",
        Reason::Future => "too far in the future",
        Reason::Size => "too large",
        Reason::Histogram => "that are no valid histograms",
        Reason::Untranslatable => "that cannot be made samples of",
    }
}
