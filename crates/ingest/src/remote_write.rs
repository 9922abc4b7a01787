//! Requests of Prometheus' remote write 1.0.
//!
//! The way of a request, in passes over flat lists that are kept for the next one: undo the
//! compression; walk the message and note samples, and of each series the hash of its label bytes;
//! look up all series at once; find the few unknown ones by their labels; put the samples in rows of
//! one time; append. Nothing is shared while a message is walked, so requests run side by side.
//!
//! What is wrong with a series or a sample costs the sender that series or sample, what is wrong
//! with the message costs it the whole request; nothing of such a request is stored.

mod labels;
mod series_cache;

use std::{fmt, ops::Range, sync::Arc};

use parking_lot::Mutex;
use vedette_model::{Exemplar, MetricMetadata, NativeHistogram};
use vedette_tsdb::{Appended, Error, RefRow, SeriesRef, Tsdb};
use vedette_wire::remote_write::{DecodeError, ExemplarMessage, Item, Point, Request, SeriesMessage};

use self::series_cache::{Key, SeriesCache};
use crate::{
    Config,
    ingest::chain,
    metrics::{Metrics, Reason, WriteAnswer},
};

/// Of a larger message the buffer is not kept.
const BUFFER_KEPT_BYTES_MAX: usize = 8 << 20;
/// How often series that the store has just retired are looked for again.
const ATTEMPTS_MAX: usize = 3;

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples that are stored, be it that they were already.
    pub samples: u64,
    /// Histograms among these.
    pub histograms: u64,
    /// Exemplars stored.
    pub exemplars: u64,
    /// What was not stored and why, in words for the sender; it must not send that again.
    pub refused: Option<String>,
}

/// Why nothing of a request was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// It is no remote-write request; nothing was stored.
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
pub(crate) struct RemoteWrite {
    cache: SeriesCache,
    /// One for each request that ran at the same time as others.
    idle: Mutex<Vec<Scratch>>,
}

/// Lists that are filled by one request and kept for the next.
#[derive(Default)]
struct Scratch {
    message: Vec<u8>,
    series: Vec<Found>,
    references: Vec<SeriesRef>,
    misses: Vec<u32>,
    samples: Vec<Sample>,
    histograms: Vec<(u32, i64, Arc<NativeHistogram>)>,
    exemplars: Vec<(u32, Exemplar)>,
    metadata: Vec<MetricMetadata>,
    rows: Rows,
}

/// A series of the request: its key, and where its labels stand in the message.
struct Found {
    key: Key,
    labels: Range<u32>,
}

impl Found {
    fn label_range(&self) -> Range<usize> {
        self.labels.start as usize..self.labels.end as usize
    }
}

#[derive(Clone, Copy)]
struct Sample {
    time_ms: i64,
    value: f64,
    /// Index among the series of the request.
    series: u32,
}

#[derive(Default)]
struct Rows {
    references: Vec<SeriesRef>,
    values: Vec<f64>,
    /// For each row: its time, and where it ends in the lists above.
    ends: Vec<(i64, usize)>,
}

/// Stands for a series that the store does not take.
const REFUSED: SeriesRef = SeriesRef(u64::MAX);

/// One request on its way.
struct Passage<'a> {
    cache: &'a SeriesCache,
    config: &'a Config,
    tsdb: &'a Tsdb,
    metrics: &'a Metrics,
    now_ms: i64,
    outcome: Outcome,
}

/// What is counted on the way.
#[derive(Default)]
struct Outcome {
    stored: u64,
    duplicates: u64,
    histograms: u64,
    exemplars: u64,
    refused_exemplars: u64,
    refused: [u64; Reason::ALL.len()],
    /// The first series that was refused, and why.
    example: Option<String>,
}

impl RemoteWrite {
    pub(crate) fn new(known_series_max: usize) -> Self {
        Self { cache: SeriesCache::new(known_series_max), idle: Mutex::default() }
    }

    pub(crate) fn known_series(&self) -> usize {
        self.cache.len()
    }

    pub(crate) fn known_series_bytes(&self) -> usize {
        self.cache.heap_bytes()
    }

    pub(crate) fn take(
        &self,
        config: &Config,
        tsdb: &Tsdb,
        metrics: &Metrics,
        now_ms: i64,
        body: &[u8],
    ) -> Result<Written, WriteError> {
        let mut scratch = self.idle.lock().pop().unwrap_or_default();
        let mut passage =
            Passage { cache: &self.cache, config, tsdb, metrics, now_ms, outcome: Outcome::default() };
        metrics.write_bytes.add(body.len() as u64);
        let result = passage.run(&mut scratch, body);
        if scratch.message.len() <= BUFFER_KEPT_BYTES_MAX {
            scratch.clear();
            self.idle.lock().push(scratch);
        }
        metrics.wrote(answer(&result)).inc();
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
    fn run(&mut self, scratch: &mut Scratch, body: &[u8]) -> Result<Written, WriteError> {
        let length = decompress(body, self.config.message_bytes_max, &mut scratch.message)?;
        self.metrics.message_bytes.add(length as u64);
        let message = std::mem::take(&mut scratch.message);
        let result = self.store(scratch, &message[..length]);
        scratch.message = message;
        result
    }

    fn store(&mut self, scratch: &mut Scratch, message: &[u8]) -> Result<Written, WriteError> {
        if !self.walk_guessing(scratch, message) {
            // A series that only looked as if it ended with a sample, or something is wrong.
            scratch.clear();
            self.outcome = Outcome::default();
            self.walk(scratch, Request::new(message)).map_err(|e| WriteError::Malformed(e.to_string()))?;
            self.look_up(scratch);
        }
        self.find_by_labels(scratch, message)?;
        scratch.fill_rows(&mut self.outcome);
        self.append(scratch, message)?;
        self.store_histograms(scratch);
        self.store_exemplars(scratch);
        self.tsdb.put_metadata(&scratch.metadata);
        Ok(self.outcome.settle(self.metrics))
    }

    /// Walks the message the quick way; gives whether all of it was understood rightly.
    fn walk_guessing(&mut self, scratch: &mut Scratch, message: &[u8]) -> bool {
        if self.walk(scratch, Request::guessing(message)).is_err() {
            return false;
        }
        self.look_up(scratch);
        scratch.misses.iter().all(|&number| scratch.has_whole_labels(number, message))
    }

    /// Notes everything that the message says.
    fn walk(&mut self, scratch: &mut Scratch, request: Request<'_>) -> Result<(), DecodeError> {
        for item in request {
            match item? {
                Item::Series(series) => self.walk_series(scratch, series)?,
                Item::Metadata(metadata) => scratch.metadata.push(metadata),
            }
        }
        Ok(())
    }

    #[inline]
    fn walk_series(&mut self, scratch: &mut Scratch, series: SeriesMessage<'_>) -> Result<(), DecodeError> {
        let label_bytes = series.label_bytes();
        let begin = series.position();
        let number = scratch.series.len() as u32;
        scratch.series.push(Found {
            key: self.cache.key(label_bytes),
            labels: begin as u32..(begin + label_bytes.len()) as u32,
        });
        for point in series.points() {
            match point? {
                Point::Sample { time_ms, value } => {
                    scratch.samples.push(Sample { time_ms, value, series: number });
                }
                Point::Histogram(message) => {
                    let (time_ms, histogram) = message.decode()?;
                    match histogram.and_then(|h| h.validate().map(|()| h)) {
                        Ok(histogram) => scratch.histograms.push((number, time_ms, Arc::new(histogram))),
                        Err(error) => self.outcome.refuse_for(Reason::Histogram, 1, &error),
                    }
                }
                Point::Exemplar(message) => match decode_exemplar(message) {
                    Ok(exemplar) => scratch.exemplars.push((number, exemplar)),
                    Err(_) => self.outcome.refused_exemplars += 1,
                },
            }
        }
        Ok(())
    }

    /// Finds the store's numbers for the series of the request, except those not known yet.
    fn look_up(&mut self, scratch: &mut Scratch) {
        let Scratch { series, references, misses, .. } = scratch;
        let cache = self.cache.read(self.now_ms);
        for (number, found) in (0..).zip(series.iter()) {
            let reference = cache.find(found.key).unwrap_or_else(|| {
                misses.push(number);
                REFUSED
            });
            references.push(reference);
        }
    }

    /// Finds the series named by `misses` by their labels, and remembers them.
    fn find_by_labels(&mut self, scratch: &mut Scratch, message: &[u8]) -> Result<(), WriteError> {
        let Scratch { series, references, misses, .. } = scratch;
        if misses.is_empty() {
            return Ok(());
        }
        for &number in misses.iter() {
            let label_bytes = &message[series[number as usize].label_range()];
            references[number as usize] = match labels::check(self.config, label_bytes) {
                Ok(labels) => match self.tsdb.series(&labels) {
                    Ok(reference) => reference,
                    Err(error @ Error::SeriesLimit { .. }) => {
                        self.outcome.note(&error);
                        NO_ROOM
                    }
                    Err(Error::Invalid { reason }) => {
                        self.outcome.note(&reason);
                        REFUSED
                    }
                    Err(error) => return Err(WriteError::Retry(chain(&error))),
                },
                Err(error) => {
                    self.outcome.note(&error);
                    REFUSED
                }
            };
        }
        self.metrics.series_parsed.add(misses.len() as u64);
        let found = misses.iter().map(|&n| (series[n as usize].key, references[n as usize]));
        let forgotten = self.cache.insert(self.now_ms, found.filter(|(_, r)| r.0 < NO_ROOM.0));
        self.metrics.series_forgotten.add(forgotten as u64);
        misses.clear();
        Ok(())
    }

    /// Appends all rows; then those samples again whose series the store had retired.
    fn append(&mut self, scratch: &mut Scratch, message: &[u8]) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            if scratch.rows.ends.is_empty() {
                return Ok(());
            }
            let appended = match self.tsdb.append(&scratch.rows.list()) {
                Ok(appended) => appended,
                Err(Error::Invalid { reason }) => return Err(WriteError::Malformed(reason)),
                Err(error) => return Err(WriteError::Retry(chain(&error))),
            };
            let retired = self.outcome.count(appended);
            if retired.is_empty() {
                return Ok(());
            }
            let is_retired =
                |series: u32| retired.binary_search(&scratch.references[series as usize]).is_ok();
            let misses = (0..scratch.series.len() as u32).filter(|&n| is_retired(n));
            scratch.misses.extend(misses);
            scratch.samples.retain(|s| is_retired(s.series));
            self.find_by_labels(scratch, message)?;
            scratch.fill_rows(&mut self.outcome);
        }
        if scratch.rows.ends.is_empty() {
            return Ok(());
        }
        Err(WriteError::Retry("series are retired as fast as they are found".to_owned()))
    }

    /// The store keeps no histograms yet: they are counted.
    fn store_histograms(&mut self, scratch: &mut Scratch) {
        let count = scratch.histograms.len() as u64;
        if count > 0 {
            self.outcome.refuse_for(Reason::NotStored, count, &"histograms are not stored yet");
        }
    }

    /// The store keeps no exemplars yet: they are counted. As with Prometheus no request fails for
    /// the sake of an exemplar.
    fn store_exemplars(&mut self, scratch: &mut Scratch) {
        self.outcome.refused_exemplars += scratch.exemplars.len() as u64;
    }
}

/// Stands for a series for which the store has no room.
const NO_ROOM: SeriesRef = SeriesRef(u64::MAX - 1);

impl Scratch {
    fn clear(&mut self) {
        self.series.clear();
        self.references.clear();
        self.misses.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.rows.clear();
    }

    fn has_whole_labels(&self, number: u32, message: &[u8]) -> bool {
        SeriesMessage::has_whole_labels(&message[self.series[number as usize].label_range()])
    }

    /// Puts the samples of known series in rows, neighbours of one time together.
    fn fill_rows(&mut self, outcome: &mut Outcome) {
        let Self { references, samples, rows, .. } = self;
        rows.clear();
        let times = samples.windows(2).filter(|pair| pair[0].time_ms != pair[1].time_ms).count() + 1;
        // Several samples of each series, rather than one time after the other.
        if times > 4 && times * 4 > samples.len() {
            samples.sort_unstable_by_key(|s| (s.time_ms, s.series));
        }
        let mut row_time = None;
        for sample in samples.iter() {
            let reference = references[sample.series as usize];
            if reference.0 >= NO_ROOM.0 {
                let reason = if reference == NO_ROOM { Reason::SeriesLimit } else { Reason::Labels };
                outcome.refused[reason as usize] += 1;
                continue;
            }
            if row_time != Some(sample.time_ms) {
                rows.ends.push((sample.time_ms, 0));
                row_time = Some(sample.time_ms);
            }
            rows.references.push(reference);
            rows.values.push(sample.value);
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
        self.ends.clear();
    }

    fn list(&self) -> Vec<RefRow<'_>> {
        let mut begin = 0;
        self.ends
            .iter()
            .map(|&(time_ms, end)| {
                let range = std::mem::replace(&mut begin, end)..end;
                RefRow { time_ms, refs: &self.references[range.clone()], values: &self.values[range] }
            })
            .collect()
    }
}

impl Outcome {
    fn refuse_for(&mut self, reason: Reason, count: u64, why: &dyn fmt::Display) {
        self.refused[reason as usize] += count;
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
        let mut retired = appended.unknown;
        retired.sort_unstable();
        retired.dedup();
        retired
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
        Written {
            samples,
            histograms: self.histograms,
            exemplars: self.exemplars,
            refused: (refused > 0).then(|| {
                let example = self.example.as_ref().map_or_else(String::new, |e| format!("; the first: {e}"));
                let all = samples + refused;
                format!("{refused} of {all} samples were not stored: {}{example}", reasons.join(", "))
            }),
        }
    }
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
        Reason::NotStored => "of a kind that is not stored",
    }
}

fn decode_exemplar(message: ExemplarMessage<'_>) -> Result<Exemplar, DecodeError> {
    let pairs: Vec<_> = message.labels().collect::<Result<_, _>>()?;
    let labels = vedette_model::Labels::from_pairs(pairs);
    Ok(Exemplar { labels, value: message.value, time_ms: message.time_ms })
}

/// Undoes the compression into the beginning of `message`; gives how long that is.
fn decompress(body: &[u8], bytes_max: usize, message: &mut Vec<u8>) -> Result<usize, WriteError> {
    let malformed =
        |e: snap::Error| WriteError::Malformed(format!("the body is not in Snappy's block format: {e}"));
    let length = snap::raw::decompress_len(body).map_err(malformed)?;
    if length > bytes_max {
        return Err(WriteError::TooLarge(format!(
            "the request has {length} bytes when its compression is undone, more than {bytes_max}; send fewer \
             samples at a time"
        )));
    }
    if message.len() < length {
        message.resize(length, 0);
    }
    snap::raw::Decoder::new().decompress(body, &mut message[..length]).map_err(malformed)
}

#[cfg(test)]
mod tests;
