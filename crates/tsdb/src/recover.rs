//! Recovery: the logs of all shards are replayed into the head, side by side.
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
    head::{Head, LateSample, LateValue, PairId, Rules, Shard},
    store::io_error,
    wal::{Defined, Replay, Replayed, Told, Wal, WholeSample},
};

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
    pub wal: vedette_sys::Recovery,
    pub dropped_records: u64,
}

/// Replays all logs.
pub(crate) fn recover(
    config: &Config,
    fs: &Arc<dyn Fs>,
    head: &Head,
    sealed_until_ms: i64,
    deletions: &Deletions,
) -> Result<Recovered, Error> {
    let folders = log_folders(config, fs)?;
    let replay_one = |number: usize| {
        let mut replay = HeadReplay {
            head,
            pairs: Vec::new(),
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
        let folder = config.folder.join("wal").join(number.to_string());
        let (wal, replayed) = Wal::open(Arc::clone(fs), &folder, config.flush, &mut replay)?;
        Ok((wal, replayed, replay))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let (first, others) = folders.split_first().expect("BUG: there is a shard at least");
        let threads: Vec<_> = others.iter().map(|&number| scope.spawn(move || replay_one(number))).collect();
        let first = replay_one(*first);
        let others = threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        std::iter::once(first).chain(others).collect()
    });
    let mut recovered = Recovered {
        logs: Vec::new(),
        left_logs: Vec::new(),
        metadata: BTreeMap::new(),
        first_ms: i64::MAX,
        last_ms: i64::MIN,
        samples: 0,
        wal: vedette_sys::Recovery::default(),
        dropped_records: 0,
    };
    for (number, result) in folders.into_iter().zip(results) {
        let (wal, Replayed { log, dropped_records }, replay) = result.map_err(Error::Wal)?;
        let logs = if number < config.shards { &mut recovered.logs } else { &mut recovered.left_logs };
        logs.push(wal);
        recovered.metadata.extend(replay.metadata);
        recovered.first_ms = recovered.first_ms.min(replay.first_ms);
        recovered.last_ms = recovered.last_ms.max(replay.last_ms);
        recovered.samples += replay.samples;
        recovered.dropped_records += dropped_records;
        recovered.wal.records += log.records;
        recovered.wal.segments += log.segments;
        recovered.wal.dropped_bytes += log.dropped_bytes;
        if let Some(damage) = log.damage {
            let all = recovered.wal.damage.get_or_insert_default();
            *all = if all.is_empty() { damage } else { format!("{all}; {damage}") };
        }
    }
    Ok(recovered)
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
    /// For each shard, pairs of labels by the number of their text in the log.
    pairs: Vec<Vec<Option<PairId>>>,
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

impl Replay for HeadReplay<'_> {
    fn begin_segment(&mut self, number: u64) {
        self.deleted.begin_segment(number);
    }

    fn series(&mut self, defined: &Defined<'_>) -> Option<SeriesRef> {
        // Every series in the log was within the limit when it was written.
        let shard = self.head.shard_of(defined.hash);
        if self.pairs.len() <= shard.number() {
            self.pairs.resize_with(shard.number() + 1, Vec::new);
        }
        let reference = shard.find_or_create(defined, &mut self.pairs[shard.number()]);
        self.deleted.define(reference, defined);
        Some(reference)
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
