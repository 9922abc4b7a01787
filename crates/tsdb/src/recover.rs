//! Recovery: the logs of all shards are read, and then replayed into the head, side by side. All
//! that can fail is in reading.
//!
//! Each log names its series by their labels, so the store may have another number of shards
//! than the one that wrote it. Logs beyond today's number are kept until what they hold is
//! sealed. Then a series may be in two logs that are replayed at once: its later samples may
//! come first, and the earlier ones are taken as late ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vedette_model::{Exemplar, MetricMetadata};
use vedette_sys::Fs;

use crate::{
    Config, Error, SeriesRef,
    deletions::{Deletions, ReplayMask},
    head::{Head, KnownPairs, LateSample, LateValue, Rules, Shard, ShardDefining, Times},
    store::io_error,
    wal::{Columns, DefinedSeries, Replay, Told, Unread, Wal, WholeSample},
};

/// The logs as they were read from the disk.
pub(crate) struct ReadLogs {
    /// Each with its number, in order.
    logs: Vec<(usize, Wal, Unread)>,
    /// What was found in all of them.
    pub found: vedette_sys::Recovery,
}

/// What the logs gave.
pub(crate) struct Recovered {
    /// One for each shard.
    pub logs: Vec<Wal>,
    /// Those of shards that there are no more.
    pub left_logs: Vec<Wal>,
    pub metadata: BTreeMap<String, MetricMetadata>,
    pub first_ms: i64,
    pub last_ms: i64,
    pub samples: u64,
    pub dropped_records: u64,
}

/// Reads all logs. What cannot be read is set aside, and the disk is not needed for them any more.
pub(crate) fn read(config: &Config, fs: &Arc<dyn Fs>) -> Result<ReadLogs, Error> {
    let folders = log_folders(config, fs)?;
    let results = side_by_side(folders, |number| {
        let folder = config.folder.join("wal").join(number.to_string());
        (number, Wal::open(Arc::clone(fs), &folder, config.flush))
    });
    let mut read = ReadLogs { logs: Vec::new(), found: vedette_sys::Recovery::default() };
    for (number, result) in results {
        let (wal, unread) = result.map_err(Error::Wal)?;
        read.found.records += unread.log.records;
        read.found.segments += unread.log.segments;
        read.found.dropped_bytes += unread.log.dropped_bytes;
        if let Some(damage) = &unread.log.damage {
            let all = read.found.damage.get_or_insert_default();
            *all = if all.is_empty() { damage.clone() } else { format!("{all}; {damage}") };
        }
        read.logs.push((number, wal, unread));
    }
    Ok(read)
}

impl ReadLogs {
    /// Size of the logs.
    pub fn bytes(&self) -> usize {
        self.logs.iter().map(|(_, _, unread)| unread.bytes()).sum()
    }

    /// Replays all logs.
    pub fn replay(
        self,
        config: &Config,
        head: &Head,
        sealed_until_ms: i64,
        deletions: &Deletions,
    ) -> Recovered {
        let results = side_by_side(self.logs, |(number, mut wal, unread)| {
            let mut replay = HeadReplay {
                head,
                known: head.shards().iter().map(|_| KnownPairs::default()).collect(),
                times: Times::new(config.segment_span_ms, sealed_until_ms),
                span_ms: config.segment_span_ms,
                metadata: BTreeMap::new(),
                metadata_max: config.metadata_max,
                sealed_until_ms,
                first_ms: i64::MAX,
                last_ms: i64::MIN,
                samples: 0,
                deleted: ReplayMask::new(deletions, number as u32),
                kept: Vec::new(),
            };
            let dropped_records = wal.replay(unread, &mut replay);
            (number, wal, replay, dropped_records)
        });
        side_by_side(head.shards().iter().collect(), Shard::fill_sets);
        let mut recovered = Recovered {
            logs: Vec::new(),
            left_logs: Vec::new(),
            metadata: BTreeMap::new(),
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            samples: 0,
            dropped_records: 0,
        };
        for (number, wal, replay, dropped_records) in results {
            let logs = if number < config.shards { &mut recovered.logs } else { &mut recovered.left_logs };
            logs.push(wal);
            recovered.metadata.extend(replay.metadata);
            recovered.first_ms = recovered.first_ms.min(replay.first_ms);
            recovered.last_ms = recovered.last_ms.max(replay.last_ms);
            recovered.samples += replay.samples;
            recovered.dropped_records += dropped_records;
        }
        recovered
    }
}

/// Does something with each, on a thread of its own; gives what came of it, in order.
fn side_by_side<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut all = all.into_iter();
        let first = all.next().expect("BUG: there is a shard at least");
        let threads: Vec<_> = all.map(|one| scope.spawn(move || work(one))).collect();
        let first = work(first);
        let others = threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        std::iter::once(first).chain(others).collect()
    })
}

/// Numbers of the logs: those of today's shards and those found, in order.
fn log_folders(config: &Config, fs: &Arc<dyn Fs>) -> Result<Vec<usize>, Error> {
    let folder = config.folder.join("wal");
    fs.create_dir_all(&folder).map_err(|source| io_error("make", &folder, source))?;
    let mut numbers: BTreeSet<usize> = (0..config.shards).collect();
    for path in fs.list(&folder).map_err(|source| io_error("list", &folder, source))? {
        if path.extension().is_some_and(|e| e == "log") {
            return Err(Error::Older { path });
        }
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        numbers.extend(name.parse::<usize>().ok().filter(|n| n.to_string() == name));
    }
    Ok(numbers.into_iter().collect())
}

struct HeadReplay<'a> {
    head: &'a Head,
    /// What is known of each shard.
    known: Vec<KnownPairs>,
    span_ms: i64,
    metadata: BTreeMap<String, MetricMetadata>,
    metadata_max: usize,
    sealed_until_ms: i64,
    first_ms: i64,
    last_ms: i64,
    samples: u64,
    deleted: ReplayMask<'a>,
    /// Those samples of a row that were not deleted.
    kept: Vec<Told>,
    times: Times,
}

impl<'a> HeadReplay<'a> {
    /// Notes a time of samples in the head.
    fn note(&mut self, time_ms: i64) {
        if time_ms >= self.sealed_until_ms {
            self.first_ms = self.first_ms.min(time_ms);
            self.last_ms = self.last_ms.max(time_ms);
        }
    }

    /// The shard of a series, if what it has at a time was not deleted.
    fn shard(&self, series: SeriesRef, time_ms: i64) -> Option<&'a Shard> {
        self.head.shard(series).filter(|_| !self.deleted.covers(series, time_ms))
    }

    fn rules(&self, time_ms: i64) -> Rules {
        Rules {
            sealed_until_ms: self.sealed_until_ms,
            late_from_ms: None,
            span_start_ms: time_ms.div_euclid(self.span_ms).saturating_mul(self.span_ms),
            epoch: 0,
        }
    }
}

impl<'a> Replay for HeadReplay<'a> {
    fn begin_segment(&mut self, number: u64) {
        self.deleted.begin_segment(number);
    }

    fn series(&mut self, series: &DefinedSeries<'_>, references: &mut Vec<SeriesRef>) {
        let mut shard: Option<(usize, ShardDefining<'a>)> = None;
        for defined in series.iter() {
            // Every series in the log was within the limit when it was written.
            let of_series = self.head.shard_of(defined.hash);
            let number = of_series.number();
            if shard.as_ref().is_none_or(|(locked, _)| *locked != number) {
                // Never two shards' locks.
                drop(shard.take());
                let mut defining = of_series.define();
                self.known[number].reserve(series.list.len());
                if references.is_empty() {
                    // As a rule all series of a log are of one shard.
                    defining.expect(series.len(), series.labels());
                }
                shard = Some((number, defining));
            }
            let Some((_, defining)) = &mut shard else { continue };
            let reference = defining.find_or_create(&defined, &mut self.known[number]);
            self.deleted.define(reference, &defined);
            references.push(reference);
        }
    }

    fn columns(&mut self, columns: &Columns<'_>) {
        if !self.deleted.is_empty() {
            return columns.each_row(&mut |time_ms, row| self.row(time_ms, row));
        }
        // As a rule all are of one shard.
        columns.times_ms().iter().for_each(|&time_ms| self.note(time_ms));
        let Some(first) = columns.iter().next() else { return };
        let number = first.series().shard();
        let mut shard = self.head.shard(first.series()).map(|s| (number, s.samples.write()));
        if let Some((_, samples)) = &shard {
            let of_shard = columns.iter().filter(|column| column.series().shard() == number);
            samples.fetch(of_shard.map(|column| column.series().slot()));
        }
        for column in columns.iter() {
            let number = column.series().shard();
            if shard.as_ref().is_none_or(|(locked, _)| *locked != number) {
                drop(shard.take());
                shard = self.head.shard(column.series()).map(|s| (number, s.samples.write()));
            }
            let Some((_, samples)) = &mut shard else { continue };
            self.times.set(column.times_ms());
            self.samples += samples.replay_column(&column, &self.times);
        }
    }

    fn row(&mut self, time_ms: i64, samples: &[Told]) {
        let mut kept = std::mem::take(&mut self.kept);
        let samples = if self.deleted.is_empty() {
            samples
        } else {
            kept.clear();
            kept.extend(samples.iter().filter(|told| !self.deleted.covers(told.series, time_ms)));
            &kept
        };
        let rules = self.rules(time_ms);
        for of_shard in samples.chunk_by(|a, b| a.series.shard() == b.series.shard()) {
            let Some(shard) = self.head.shard(of_shard[0].series) else { continue };
            let mut samples = shard.samples.write();
            self.samples +=
                of_shard.iter().filter(|told| samples.replay(time_ms, told, &rules)).count() as u64;
        }
        self.kept = kept;
        self.note(time_ms);
    }

    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64) {
        let Some(shard) = self.shard(series, time_ms) else { return };
        let sample = LateSample { slot: series.slot(), time_ms, value: LateValue::float(bits, 0) };
        self.samples += u64::from(shard.samples.write().replay_late(sample));
        self.note(time_ms);
    }

    fn whole(&mut self, series: SeriesRef, sample: WholeSample) {
        let Some(shard) = self.shard(series, sample.time_ms) else { return };
        let rules = self.rules(sample.time_ms);
        self.samples += u64::from(shard.samples.write().replay_whole(series.slot(), &sample, &rules));
        self.note(sample.time_ms);
    }

    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) {
        let Some(shard) = self.shard(series, exemplar.time_ms) else { return };
        // One that is sealed already is sealed once more: that cannot be told of one that came late.
        shard.samples.write().exemplars.insert(series.slot(), exemplar);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        if self.metadata.len() < self.metadata_max || self.metadata.contains_key(&metadata.family) {
            self.metadata.insert(metadata.family.clone(), metadata);
        }
    }
}
