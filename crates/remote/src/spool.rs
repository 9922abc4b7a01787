//! The spool: what waits to be sent, on disk, once for all receivers.
//!
//! Invariants: a batch for which `accept` returned `Ok` is read by every receiver that was there,
//! after the process was killed at any moment too, unless a bound dropped it, which is counted for
//! each receiver that had not read it. The spool takes no more bytes than its bound and a
//! segment, however long a receiver is away.
//!
//! Each segment defines the series that it uses, so whole segments are removed, the oldest first,
//! and a receiver begins with any of them.

mod cursors;
mod dictionary;
mod reader;
pub(crate) mod record;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use vedette_model::{
    Batch, MetricMetadata, Payload, Rejected, Row, Samples, Sink, stale_nan,
    telemetry::{Counter, MetricSource, MetricVisitor},
};
use vedette_sys::{Clock, Flush, Fs, LogConfig, LogError, RecordLog, Recovery};

use crate::metrics;
use cursors::Cursors;
pub(crate) use dictionary::SERIES_MAX;
pub use dictionary::Wanted;
use dictionary::{Dictionary, SenderKey, is_known, is_wanted};
pub use reader::{SpoolReader, Spooled};
use record::Header;

/// Entries are written as a record when they are longer than this.
const RECORD_BYTES: usize = 4 << 20;
/// The largest record that is read; one batch may have one row that is larger than the others.
const RECORD_BYTES_MAX: usize = 256 << 20;
/// Families of which metadata is kept.
const METADATA_MAX: usize = 200_000;

/// Where the spool is and what bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Whose it is, for messages.
    pub owner: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// Bytes on disk above which the oldest segment is dropped.
    pub bytes_max: u64,
    /// Age above which a segment is dropped.
    pub age_max: Duration,
}

impl SpoolConfig {
    /// Two gibibytes and four hours: what an agent of Prometheus keeps at most.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let owner = "remote write";
        Self { owner, folder: folder.into(), bytes_max: 2 << 30, age_max: Duration::from_secs(4 * 3600) }
    }

    fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(4 << 10, 32 << 20)
    }

    fn log(&self) -> LogConfig {
        LogConfig {
            // Segments are begun here, as the series of each must be known.
            segment_bytes_max: u64::MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            flush: Flush::Interval(Duration::from_secs(1)),
        }
    }
}

/// What a receiver never got, by reason.
#[derive(Debug, Default)]
pub struct Losses {
    /// The spool was full.
    pub bytes: Counter,
    /// It waited too long.
    pub age: Counter,
    /// The disk gave back something else than was written.
    pub damaged: Counter,
}

/// What waits, on disk.
pub struct Spool {
    config: SpoolConfig,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// The number of the newest record, for those who wait for it.
    end: watch::Sender<u64>,
    /// Points taken.
    taken: Counter,
    /// Batches that could not be written.
    refused: Counter,
}

struct Inner {
    log: RecordLog,
    segments: VecDeque<Segment>,
    /// The segment that is written, if records may be added to it.
    current: Option<u64>,
    next_seq: u64,
    dictionary: Dictionary,
    cursors: Cursors,
    receivers: BTreeMap<String, Receiver>,
    metadata: HashMap<String, Arc<MetricMetadata>>,
    metadata_version: u64,
    newest_ms: i64,
    writer: record::Writer,
    snappy: snap::raw::Encoder,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    numbers: Vec<u32>,
    defined: Vec<u32>,
    values: Vec<f64>,
    records: Vec<(Header, Vec<u8>)>,
}

/// What is known of a segment without reading it.
struct Segment {
    number: u64,
    /// Number, points and time of spooling of each record.
    records: Vec<(u64, u32, i64)>,
}

struct Receiver {
    /// All up to this record was read.
    read: u64,
    /// All up to this record was acknowledged, or given up.
    acknowledged: u64,
    losses: Arc<Losses>,
}

/// Why a bound dropped a segment.
#[derive(Clone, Copy)]
enum Bound {
    Bytes,
    Age,
}

impl Spool {
    /// Opens the spool for the receivers with these keys. One that is new begins with what comes
    /// from now on.
    pub fn open(
        config: SpoolConfig,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        receivers: &[(String, Arc<Losses>)],
    ) -> Result<(Arc<Self>, Recovery), LogError> {
        Self::open_for(config, fs, clock, receivers, None)
    }

    /// The same for those series only that some receiver wants.
    pub fn open_for(
        config: SpoolConfig,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        receivers: &[(String, Arc<Losses>)],
        wanted: Option<Arc<Wanted>>,
    ) -> Result<(Arc<Self>, Recovery), LogError> {
        let cursors = Cursors::open(fs.clone(), &config.folder.join("cursors"))?;
        let mut segments: VecDeque<Segment> = VecDeque::new();
        let mut newest = 0;
        let mut newest_ms = i64::MIN;
        let mut each = |number: u64, bytes: &[u8]| {
            let Some(header) = record::header(bytes) else { return };
            if segments.back().is_none_or(|s| s.number != number) {
                segments.push_back(Segment { number, records: Vec::new() });
            }
            let segment = segments.back_mut().expect("BUG: pushed above");
            segment.records.push((header.seq, header.points, header.spooled_ms));
            newest = newest.max(header.seq);
            newest_ms = newest_ms.max(header.newest_ms);
        };
        let (log, recovery) =
            RecordLog::open(fs.clone(), &config.folder.join("log"), config.log(), &mut each)?;
        // With the power records may have gone that a receiver has acknowledged: their numbers must
        // not be used again.
        let next_seq = newest.max(cursors.highest()) + 1;
        let inner = Inner {
            log,
            segments,
            current: None,
            next_seq,
            dictionary: Dictionary::of(wanted),
            cursors,
            receivers: BTreeMap::new(),
            metadata: HashMap::new(),
            metadata_version: 0,
            newest_ms,
            writer: record::Writer::default(),
            snappy: snap::raw::Encoder::new(),
            scratch: Scratch::default(),
        };
        let spool = Self {
            config,
            fs,
            clock,
            inner: Mutex::new(inner),
            end: watch::Sender::new(next_seq - 1),
            taken: Counter::default(),
            refused: Counter::default(),
        };
        spool.set_receivers(receivers)?;
        Ok((Arc::new(spool), recovery))
    }

    /// Keeps the cursors of these receivers, forgets others. A receiver that is new begins with what
    /// comes from now on.
    pub fn set_receivers(&self, receivers: &[(String, Arc<Losses>)]) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        let end = inner.next_seq - 1;
        let mut all = BTreeMap::new();
        for (key, losses) in receivers {
            // One that goes on reading has read on meanwhile.
            let known = inner.receivers.get(key).map(|r| (r.read, r.acknowledged));
            let (read, acknowledged) = match known.or_else(|| inner.cursors.get(key).map(|seq| (seq, seq))) {
                Some(known) => known,
                None => {
                    inner.cursors.set(key, end)?;
                    (end, end)
                }
            };
            all.insert(key.clone(), Receiver { read, acknowledged, losses: losses.clone() });
        }
        inner.receivers = all;
        let keys: Vec<_> = inner.receivers.keys().cloned().collect();
        inner.cursors.retain(&keys)?;
        inner.remove_acknowledged()
    }

    /// Reads for a receiver, from its cursor on: what was read and not acknowledged is read again.
    pub fn reader(self: &Arc<Self>, key: &str) -> SpoolReader {
        let mut inner = self.inner.lock();
        let next = inner.receivers.get_mut(key).map_or(u64::MAX, |receiver| {
            receiver.read = receiver.acknowledged;
            receiver.acknowledged + 1
        });
        SpoolReader::new(self.clone(), key.to_owned(), next)
    }

    /// Notes that a receiver needs nothing up to `seq` any more.
    pub fn acknowledge(&self, key: &str, seq: u64) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        let Some(receiver) = inner.receivers.get_mut(key) else { return Ok(()) };
        if seq <= receiver.acknowledged {
            return Ok(());
        }
        receiver.acknowledged = seq;
        receiver.read = receiver.read.max(seq);
        inner.cursors.set(key, seq)?;
        inner.remove_acknowledged()
    }

    /// Drops what is beyond the bounds, removes what nobody needs, and syncs. Called every second or
    /// so.
    pub fn maintain(&self) -> Result<(), LogError> {
        let now_ms = self.clock.unix_ms();
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        inner.enforce_age(&self.config, now_ms)?;
        inner.enforce_bytes(&self.config, 0)?;
        inner.remove_acknowledged()?;
        inner.log.sync()?;
        inner.cursors.sync()
    }

    /// Changes whenever something was spooled.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// What is known of a metric family.
    pub fn metadata(&self, family: &str) -> Option<Arc<MetricMetadata>> {
        self.inner.lock().metadata.get(family).cloned()
    }

    /// What is known of all families, and a number that grows when that changes.
    pub fn all_metadata(&self) -> Vec<Arc<MetricMetadata>> {
        let mut all: Vec<_> = self.inner.lock().metadata.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.family.cmp(&b.family));
        all
    }

    /// Grows when metadata changes.
    pub fn metadata_version(&self) -> u64 {
        self.inner.lock().metadata_version
    }

    /// Points that a receiver has not acknowledged, and for how long the oldest has waited.
    pub fn waiting(&self, key: &str) -> (u64, Duration) {
        let inner = self.inner.lock();
        let Some(acknowledged) = inner.receivers.get(key).map(|r| r.acknowledged) else {
            return (0, Duration::ZERO);
        };
        let mut oldest_ms = None;
        let mut points = 0;
        for segment in inner.segments.iter().rev() {
            let from = segment.records.partition_point(|(seq, ..)| *seq <= acknowledged);
            let rest = &segment.records[from..];
            points += rest.iter().map(|(_, points, _)| u64::from(*points)).sum::<u64>();
            oldest_ms = rest.first().map_or(oldest_ms, |(.., spooled_ms)| Some(*spooled_ms));
            if from > 0 {
                break;
            }
        }
        let waited_ms = oldest_ms.map_or(0, |oldest| self.clock.unix_ms().saturating_sub(oldest));
        (points, Duration::from_millis(u64::try_from(waited_ms).unwrap_or(0)))
    }

    /// Points taken since it was opened.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Bytes above which the oldest segment is dropped.
    pub fn bytes_max(&self) -> u64 {
        self.config.bytes_max
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().log.bytes()
    }

    fn take(&self, batch: &Batch, samples: &Samples) -> Result<(), Rejected> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.receivers.is_empty() {
            // Nobody waits for anything. Whoever is configured later begins with what comes then.
            return Ok(());
        }
        let key = inner.dictionary.enter(&batch.origin);
        if inner.dictionary.sender(&key).last_seq == Some(batch.seq) {
            return Ok(());
        }
        let now_ms = self.clock.unix_ms();
        let taken = inner.take(&self.config, &key, samples, now_ms);
        match taken {
            Ok(points) => {
                let ended = samples.retired.iter().chain(&samples.released).copied();
                inner.dictionary.commit(&key, ended);
                inner.dictionary.sender(&key).last_seq = Some(batch.seq);
                inner.keep_metadata(&samples.metadata);
                self.taken.add(points);
                self.end.send_replace(inner.next_seq - 1);
                Ok(())
            }
            Err(rejected) => {
                inner.dictionary.roll_back(&key);
                self.refused.inc();
                Err(rejected)
            }
        }
    }
}

impl Sink for Spool {
    /// Takes samples; events are not sent by remote write, and pass.
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        match &batch.payload {
            Payload::Samples(samples) => self.take(batch, samples),
            Payload::Events(_) => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for Spool {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let (bytes, segments, series, newest_ms) = {
            let inner = self.inner.lock();
            (inner.log.bytes(), inner.log.segments(), inner.dictionary.len(), inner.newest_ms)
        };
        visitor.value(&metrics::SPOOL_TAKEN, &[], self.taken.get() as f64);
        visitor.value(&metrics::SPOOL_REFUSED, &[], self.refused.get() as f64);
        visitor.value(&metrics::SPOOL_BYTES, &[], bytes as f64);
        visitor.value(&metrics::SPOOL_BYTES_MAX, &[], self.config.bytes_max as f64);
        visitor.value(&metrics::SPOOL_SEGMENTS, &[], segments as f64);
        visitor.value(&metrics::SPOOL_SERIES, &[], series as f64);
        if newest_ms > i64::MIN {
            visitor.value(&metrics::HIGHEST_TAKEN, &[], newest_ms as f64 / 1000.0);
        }
    }
}

impl Inner {
    /// Writes the samples of one batch, all or nothing; gives how many points.
    fn take(
        &mut self,
        config: &SpoolConfig,
        key: &SenderKey,
        samples: &Samples,
        now_ms: i64,
    ) -> Result<u64, Rejected> {
        for definition in &samples.defined {
            if !self.dictionary.define(key, definition.series, &definition.labels) {
                let number = definition.series;
                return Err(Rejected::Invalid(format!("series number {number} is too large")));
            }
        }
        self.enforce_bytes(config, 0).map_err(|e| retry(config, &e))?;
        let segment = self.segment(config, now_ms).map_err(|e| retry(config, &e))?;
        self.scratch.defined.clear();
        self.scratch.records.clear();
        self.writer.begin();
        let written = self
            .encode(key, samples, segment, now_ms)
            .and_then(|()| self.write().map_err(|e| retry(config, &e)));
        if written.is_err() {
            for number in std::mem::take(&mut self.scratch.defined) {
                self.dictionary.leaves_segment(number);
            }
        }
        written
    }

    /// The segment that is written now, begun where the one before is long or old enough.
    fn segment(&mut self, config: &SpoolConfig, now_ms: i64) -> Result<u64, LogError> {
        if let Some(current) = self.current {
            let bytes = self.log.extents().find(|(n, _)| *n == current).map_or(0, |(_, bytes)| bytes);
            let begun_ms = self.segments.back().filter(|s| s.number == current);
            let begun_ms = begun_ms.and_then(|s| s.records.first()).map_or(now_ms, |(.., ms)| *ms);
            let age_max_ms = i64::try_from((config.age_max / 8).as_millis()).unwrap_or(i64::MAX);
            let is_old = now_ms.saturating_sub(begun_ms) > age_max_ms;
            if bytes < config.segment_bytes() && !is_old {
                return Ok(current);
            }
        }
        self.current = None;
        let number = self.log.start_segment()?;
        self.current = Some(number);
        Ok(number)
    }

    fn encode(
        &mut self,
        key: &SenderKey,
        samples: &Samples,
        segment: u64,
        now_ms: i64,
    ) -> Result<(), Rejected> {
        for row in &samples.rows {
            let starts = row.starts_ms.len();
            if row.series.len() != row.values.len() || (starts != 0 && starts != row.values.len()) {
                let reason = format!("a row of {} series has {} values", row.series.len(), row.values.len());
                return Err(Rejected::Invalid(reason));
            }
            let mut numbers = std::mem::take(&mut self.scratch.numbers);
            numbers.clear();
            let known = self.dictionary.numbers(key);
            let mut wanted = 0;
            for number in &row.series {
                match known.get(*number as usize) {
                    Some(found) if is_known(*found) => {
                        wanted += usize::from(is_wanted(*found));
                        numbers.push(*found);
                    }
                    _ => return Err(Rejected::UnknownSeries(*number)),
                }
            }
            let rest = (wanted < numbers.len()).then(|| wanted_only(row, &mut numbers));
            let row = rest.as_ref().unwrap_or(row);
            if row.newest_only {
                self.encode_newest(row, &numbers, segment);
            } else {
                self.define(&numbers, segment, row.time_ms);
                self.writer.row(row.time_ms, &numbers, &row.values, &row.starts_ms);
            }
            self.scratch.numbers = numbers;
            self.end_long_record(now_ms);
        }
        for sample in &samples.histograms {
            let Some(number) = self.number(key, sample.series, segment, sample.time_ms)? else { continue };
            self.writer.histogram(number, sample.time_ms, sample.start_ms, &sample.histogram);
            self.end_long_record(now_ms);
        }
        for sample in &samples.exemplars {
            let Some(number) = self.number(key, sample.series, segment, i64::MIN)? else { continue };
            self.writer.exemplar(number, &sample.exemplar);
            self.end_long_record(now_ms);
        }
        self.encode_markers(key, samples, segment, now_ms);
        if !self.writer.is_empty() {
            self.end_record(now_ms);
        }
        Ok(())
    }

    /// Writes those samples of a row that are later than the last of their series.
    fn encode_newest(&mut self, row: &Row, numbers: &[u32], segment: u64) {
        let newer = |i: &usize| self.dictionary.last_ms(numbers[*i]) < row.time_ms;
        let kept: Vec<usize> = (0..numbers.len()).filter(newer).collect();
        let numbers: Vec<u32> = kept.iter().map(|i| numbers[*i]).collect();
        let values: Vec<f64> = kept.iter().map(|i| row.values[*i]).collect();
        let starts: Vec<i64> = kept.iter().filter_map(|i| row.starts_ms.get(*i).copied()).collect();
        self.define(&numbers, segment, row.time_ms);
        self.writer.row(row.time_ms, &numbers, &values, &starts);
    }

    /// The series that end with this batch get the staleness marker.
    fn encode_markers(&mut self, key: &SenderKey, samples: &Samples, segment: u64, now_ms: i64) {
        let before = |number: &u32| self.dictionary.before(key, *number).filter(|found| is_wanted(*found));
        let ended: Vec<u32> = samples.retired.iter().filter_map(before).collect();
        if ended.is_empty() {
            return;
        }
        let time_ms = samples.rows.last().map_or(now_ms, |row| row.time_ms);
        self.define(&ended, segment, time_ms);
        self.scratch.values.clear();
        self.scratch.values.resize(ended.len(), stale_nan());
        self.writer.row(time_ms, &ended, &self.scratch.values, &[]);
    }

    /// The spool's number; `None` for a series that nobody wants.
    fn number(
        &mut self,
        key: &SenderKey,
        number: u32,
        segment: u64,
        time_ms: i64,
    ) -> Result<Option<u32>, Rejected> {
        let found = self.dictionary.find(key, number).ok_or(Rejected::UnknownSeries(number))?;
        if !is_wanted(found) {
            return Ok(None);
        }
        self.define(&[found], segment, time_ms);
        Ok(Some(found))
    }

    /// Notes samples of one time, and defines those of their series that the segment does not define
    /// yet.
    fn define(&mut self, numbers: &[u32], segment: u64, time_ms: i64) {
        for number in numbers {
            if self.dictionary.enters_segment(*number, segment, time_ms) {
                self.scratch.defined.push(*number);
                self.writer.define(*number, self.dictionary.labels(*number));
            }
        }
    }

    fn end_long_record(&mut self, now_ms: i64) {
        if self.writer.body_bytes() > RECORD_BYTES {
            self.end_record(now_ms);
        }
    }

    fn end_record(&mut self, now_ms: i64) {
        let seq = self.next_seq + self.scratch.records.len() as u64;
        let (header, bytes) = self.writer.finish(seq, now_ms, &mut self.snappy);
        self.scratch.records.push((header, bytes.to_vec()));
        self.writer.begin();
    }

    fn write(&mut self) -> Result<u64, LogError> {
        let records = &self.scratch.records;
        if records.is_empty() {
            return Ok(0);
        }
        let number = self.log.append_all(records.iter().map(|(_, bytes)| bytes.as_slice()))?;
        self.next_seq += records.len() as u64;
        if self.segments.back().is_none_or(|s| s.number != number) {
            self.segments.push_back(Segment { number, records: Vec::new() });
        }
        let segment = self.segments.back_mut().expect("BUG: pushed above");
        let mut points = 0;
        for (header, _) in records {
            segment.records.push((header.seq, header.points, header.spooled_ms));
            points += u64::from(header.points);
            self.newest_ms = self.newest_ms.max(header.newest_ms);
        }
        Ok(points)
    }

    fn keep_metadata(&mut self, metadata: &[MetricMetadata]) {
        for told in metadata {
            if self.metadata.get(&told.family).is_some_and(|known| **known == *told)
                || (self.metadata.len() >= METADATA_MAX && !self.metadata.contains_key(&told.family))
            {
                continue;
            }
            self.metadata.insert(told.family.clone(), Arc::new(told.clone()));
            self.metadata_version += 1;
        }
    }

    /// Drops the oldest segments while the spool and `more` bytes take more room than allowed.
    fn enforce_bytes(&mut self, config: &SpoolConfig, more: u64) -> Result<(), LogError> {
        while self.log.bytes() + more > config.bytes_max {
            if !self.drop_oldest(Bound::Bytes)? {
                break;
            }
        }
        Ok(())
    }

    fn enforce_age(&mut self, config: &SpoolConfig, now_ms: i64) -> Result<(), LogError> {
        let age_max_ms = i64::try_from(config.age_max.as_millis()).unwrap_or(i64::MAX);
        while let Some(segment) = self.segments.front() {
            let newest_ms = segment.records.iter().map(|(.., ms)| *ms).max().unwrap_or(i64::MIN);
            if newest_ms >= now_ms.saturating_sub(age_max_ms) || !self.drop_oldest(Bound::Age)? {
                break;
            }
        }
        Ok(())
    }

    /// Drops the oldest segment; whoever has not read it has lost it, which is counted. `false` where
    /// there is nothing to drop.
    fn drop_oldest(&mut self, bound: Bound) -> Result<bool, LogError> {
        let Some(oldest) = self.segments.front() else { return Ok(false) };
        if self.current == Some(oldest.number) {
            // The one that is written ends here.
            self.current = None;
        }
        let number = oldest.number;
        // The log keeps its newest segment, so another must be there.
        if self.log.extents().all(|(n, _)| n <= number) {
            self.current = Some(self.log.start_segment()?);
        }
        self.log.remove_before(number + 1)?;
        let oldest = self.segments.pop_front().expect("BUG: looked at above");
        let Some((last, ..)) = oldest.records.last() else { return Ok(true) };
        for receiver in self.receivers.values_mut() {
            let from = oldest.records.partition_point(|(seq, ..)| *seq <= receiver.read);
            let lost = oldest.records[from..].iter().map(|(_, points, _)| u64::from(*points)).sum();
            match bound {
                Bound::Bytes => receiver.losses.bytes.add(lost),
                Bound::Age => receiver.losses.age.add(lost),
            }
            receiver.read = receiver.read.max(*last);
        }
        Ok(true)
    }

    /// Removes the segments that no receiver needs any more.
    fn remove_acknowledged(&mut self) -> Result<(), LogError> {
        let needed = self.receivers.values().map(|r| r.acknowledged).min().unwrap_or(u64::MAX);
        while let Some(segment) = self.segments.front() {
            let is_done = segment.records.last().is_none_or(|(last, ..)| *last <= needed);
            if !is_done || self.current == Some(segment.number) {
                break;
            }
            let number = segment.number;
            self.log.remove_before(number + 1)?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

/// The samples of a row whose series are wanted; their numbers stay.
fn wanted_only(row: &Row, numbers: &mut Vec<u32>) -> Row {
    let kept = |i: &usize| is_wanted(numbers[*i]);
    let values = (0..numbers.len()).filter(kept).map(|i| row.values[i]).collect();
    let starts_ms = (0..row.starts_ms.len()).filter(kept).map(|i| row.starts_ms[i]).collect();
    numbers.retain(|number| is_wanted(*number));
    Row { time_ms: row.time_ms, series: Vec::new(), values, starts_ms, newest_only: row.newest_only }
}

fn retry(config: &SpoolConfig, error: &LogError) -> Rejected {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Rejected::Retry(format!("the spool of {} {error}{cause}", config.owner))
}

fn log_folder(config: &SpoolConfig) -> PathBuf {
    Path::new(&config.folder).join("log")
}

#[cfg(test)]
mod tests;
