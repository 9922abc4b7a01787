//! Series that are partly here and partly elsewhere: remote read as a [`MetricReader`].
//!
//! Invariant: what the own store has is answered whatever becomes of the others; of two samples of
//! one time the own store's counts. A source that fails is told of on the status board and counted,
//! and noted with the answer, as an answer without it is only a part.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use vedette_config::prometheus::RemoteRead;
use vedette_model::{
    ChangeMark, Changes, ChunkSummary, Exemplar, LabelQuery, Labels, LabelsBuilder, MatchOp, Matcher,
    MetricMetadata, MetricReader, Notes, ReadError, RollupSet, SampleBuffer, Select, SeriesSet, TimeRange,
    status::{Health, Part, StatusBoard},
    telemetry::{Family, MetricSource, MetricVisitor},
};
use vedette_wire::{
    remote_read_client::{Frames, ReadHints, STREAM_CONTENT_TYPE, SampleResults, encode_request},
    remote_write::{DecodeError, Item, Point},
};

/// A decompressed message of samples is at most so long.
const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// What a source said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its `Content-Type`.
    pub content_type: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Asks a source. Waits for the answer.
pub trait Fetch: Send + Sync {
    /// Sends a question, compressed; an error is a text for people.
    fn fetch(&self, body: Vec<u8>) -> Result<Answered, String>;
}

/// Makes samples of a chunk as stores of Prometheus keep it: encoding, bytes, where they are put.
/// `false` where the bytes are no chunk.
pub type DecodeChunk = fn(u8, &[u8], &mut SampleBuffer) -> bool;

/// A source of series.
pub struct ReadSource {
    name: String,
    required: Vec<(String, String)>,
    read_recent: bool,
    /// Labels that are asked for and taken from what comes back.
    external: Labels,
    frame_bytes_max: u64,
    fetch: Arc<dyn Fetch>,
    asked: AtomicU64,
    failed: AtomicU64,
}

impl ReadSource {
    /// A source as the section `remote_read` says.
    pub fn new(read: &RemoteRead, external_labels: &Labels, fetch: Arc<dyn Fetch>) -> Self {
        let mut url = read.url.clone();
        // Neither fails for an address of HTTP.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        Self {
            name: if read.name.is_empty() { url.to_string() } else { read.name.clone() },
            required: read.required_matchers.clone(),
            read_recent: read.read_recent,
            external: if read.filter_external_labels { external_labels.clone() } else { Labels::empty() },
            frame_bytes_max: read.chunked_read_limit_bytes,
            fetch,
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

/// A store and the sources beside it.
pub struct MergedReader {
    parts: Arc<MergedParts>,
    /// Where it is noted what an answer lacks, if somebody wants to know.
    notes: Option<Arc<Notes>>,
}

struct MergedParts {
    local: Arc<dyn MetricReader>,
    /// The time from which on the own store has everything.
    local_start_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    sources: RwLock<Arc<Vec<Arc<ReadSource>>>>,
    decode_chunk: DecodeChunk,
    status: StatusBoard,
}

/// Series of a source, sorted by labels.
type Fetched = BTreeMap<Labels, SampleBuffer>;

impl MergedReader {
    /// Reads from `local` alone, until it is told of sources.
    pub fn new(
        local: Arc<dyn MetricReader>,
        local_start_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
        decode_chunk: DecodeChunk,
        status: StatusBoard,
    ) -> Self {
        let sources = RwLock::default();
        let parts = MergedParts { local, local_start_ms, sources, decode_chunk, status };
        Self { parts: Arc::new(parts), notes: None }
    }

    /// Reads from these sources, too, from now on.
    pub fn set_sources(&self, sources: Vec<ReadSource>) {
        *self.parts.sources.write() = Arc::new(sources.into_iter().map(Arc::new).collect());
    }

    /// What the sources have, merged. Those that fail are left out and told of.
    fn fetch(&self, matchers: &[Matcher], range: TimeRange, hints: ReadHints<'_>) -> Fetched {
        let sources = self.parts.sources.read().clone();
        let questions: Vec<_> = sources
            .iter()
            .filter_map(|source| {
                let range = self.range_for(source, range)?;
                source.question(matchers, range, hints).map(|question| (source, range, question))
            })
            .collect();
        let ask = |(source, range, (body, added)): (&Arc<ReadSource>, TimeRange, (Vec<u8>, Vec<String>))| {
            source.asked.fetch_add(1, Ordering::Relaxed);
            let fetched = source
                .fetch
                .fetch(body)
                .and_then(|answered| source.read(&answered, &added, range, self.parts.decode_chunk));
            self.tell(source, fetched.as_ref().err());
            fetched.unwrap_or_default()
        };
        let mut merged = Fetched::new();
        // All are asked at once; each has its own timeout.
        let answers: Vec<Fetched> = std::thread::scope(|scope| {
            let asked: Vec<_> = questions.into_iter().map(|q| scope.spawn(|| ask(q))).collect();
            asked.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
        });
        for (labels, samples) in answers.into_iter().flatten() {
            match merged.get_mut(&labels) {
                None => {
                    merged.insert(labels, samples);
                }
                Some(known) => {
                    let first = std::mem::take(known);
                    merge(&first, &samples, TimeRange::ALL, known);
                }
            }
        }
        merged
    }

    /// The times for which a source is asked.
    fn range_for(&self, source: &ReadSource, range: TimeRange) -> Option<TimeRange> {
        if source.read_recent {
            return Some(range);
        }
        let end_ms = range.end_ms.min((self.parts.local_start_ms)().saturating_sub(1));
        (range.start_ms <= end_ms).then_some(TimeRange { end_ms, ..range })
    }

    fn tell(&self, source: &ReadSource, error: Option<&String>) {
        let part = match error {
            None => Part::ok(),
            Some(error) => {
                source.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(source = source.name, error, "remote read failed; answers lack its series");
                self.note(|| format!("remote_read: {}: {error}", source.name));
                Part::new(Health::Degraded, error, "see to the source; answers lack its series meanwhile")
            }
        };
        let part = part.fact("asked", source.asked.load(Ordering::Relaxed));
        let part = part.fact("failed", source.failed.load(Ordering::Relaxed));
        self.parts.status.post(&format!("remote read {}", source.name), part);
    }

    fn note(&self, text: impl FnOnce() -> String) {
        if let Some(notes) = &self.notes {
            notes.add(text());
        }
    }

    /// Names and values are never asked of sources, as in Prometheus, which warns in these words.
    fn note_own_only(&self) {
        if self.has_sources() {
            self.note(|| "not implemented".to_owned());
        }
    }

    fn has_sources(&self) -> bool {
        !self.parts.sources.read().is_empty()
    }
}

impl ReadSource {
    /// The question, and the labels that were added to it. `None` where the source is not to be asked.
    fn question(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        hints: ReadHints<'_>,
    ) -> Option<(Vec<u8>, Vec<String>)> {
        let is_there = |(name, value): &(String, String)| {
            matchers.iter().any(|m| m.op == MatchOp::Equal && m.name == *name && m.value == *value)
        };
        if !self.required.iter().all(is_there) {
            return None;
        }
        let mut asked = matchers.to_vec();
        let mut added = Vec::new();
        for (name, value) in &self.external {
            if !matchers.iter().any(|m| m.name == name) {
                asked.push(Matcher::equal(name, value));
                added.push(name.to_owned());
            }
        }
        let message = encode_request(range, &asked, hints);
        let body = snap::raw::Encoder::new().compress_vec(&message).ok()?;
        Some((body, added))
    }

    fn read(
        &self,
        answered: &Answered,
        added: &[String],
        range: TimeRange,
        decode_chunk: DecodeChunk,
    ) -> Result<Fetched, String> {
        let mut fetched = Fetched::new();
        let read = if answered.content_type.starts_with(STREAM_CONTENT_TYPE) {
            self.read_stream(&answered.body, added, decode_chunk, &mut fetched)
        } else {
            let length = snap::raw::decompress_len(&answered.body).map_err(|e| e.to_string())?;
            if length > MESSAGE_BYTES_MAX {
                return Err(format!("an answer of {length} bytes is too long"));
            }
            let message =
                snap::raw::Decoder::new().decompress_vec(&answered.body).map_err(|e| e.to_string())?;
            read_samples(&message, added, &mut fetched)
        };
        read.map_err(|error| format!("its answer cannot be read: {error}"))?;
        for samples in fetched.values_mut() {
            *samples = in_order(std::mem::take(samples));
            // Chunks reach beyond what was asked for.
            samples.cut_to(range, 0);
        }
        fetched.retain(|_, samples| !samples.is_empty());
        Ok(fetched)
    }

    fn read_stream(
        &self,
        stream: &[u8],
        added: &[String],
        decode_chunk: DecodeChunk,
        fetched: &mut Fetched,
    ) -> Result<(), DecodeError> {
        let mut chunk_samples = SampleBuffer::default();
        for frame in Frames::new(stream, self.frame_bytes_max) {
            frame?.each(|series| {
                let pairs: Result<Vec<_>, _> = series.labels().collect();
                let samples = fetched.entry(own_labels(&pairs?, added)).or_default();
                series.each(|chunk| {
                    chunk_samples.clear();
                    let encoding = u8::try_from(chunk.encoding).unwrap_or(u8::MAX);
                    if !decode_chunk(encoding, chunk.data, &mut chunk_samples) {
                        return Err(DecodeError { reason: "a chunk cannot be read", at: 0 });
                    }
                    samples.extend_from(&chunk_samples);
                    Ok(())
                })
            })?;
        }
        Ok(())
    }
}

fn read_samples(message: &[u8], added: &[String], fetched: &mut Fetched) -> Result<(), DecodeError> {
    for result in SampleResults::new(message) {
        for item in result? {
            let Item::Series(series) = item? else { continue };
            let pairs: Result<Vec<_>, _> = series.labels().collect();
            let samples = fetched.entry(own_labels(&pairs?, added)).or_default();
            for point in series.points() {
                match point? {
                    Point::Sample { time_ms, value } => samples.push(time_ms, value),
                    Point::Histogram(message) => {
                        let (time_ms, Ok(histogram)) = message.decode()? else { continue };
                        samples.push_histogram(time_ms, Arc::new(histogram));
                    }
                    Point::Exemplar(_) => {}
                }
            }
        }
    }
    Ok(())
}

/// Labels without those that were asked for only because they are this server's own.
fn own_labels(pairs: &[(&str, &str)], added: &[String]) -> Labels {
    let mut builder = LabelsBuilder::new();
    for (name, value) in pairs.iter().filter(|(name, _)| !added.iter().any(|a| a == name)) {
        builder.set(name, value);
    }
    builder.build()
}

/// The samples in order of time, the first of those of one time.
fn in_order(samples: SampleBuffer) -> SampleBuffer {
    if samples.times_ms.is_sorted_by(|a, b| a < b) {
        return samples;
    }
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|i| samples.times_ms[*i]);
    order.dedup_by_key(|i| samples.times_ms[*i]);
    let mut sorted = SampleBuffer::default();
    for i in order {
        copy(&samples, i, &mut sorted);
    }
    sorted
}

/// Appends the samples of both in order of time; of two of one time that of `first`.
fn merge(first: &SampleBuffer, second: &SampleBuffer, range: TimeRange, out: &mut SampleBuffer) {
    let (mut a, mut b) = (0, 0);
    while a < first.len() || b < second.len() {
        let (time_a, time_b) = (first.times_ms.get(a), second.times_ms.get(b));
        let takes_first = match (time_a, time_b) {
            (Some(time_a), Some(time_b)) => {
                if time_a == time_b {
                    b += 1;
                    continue;
                }
                time_a < time_b
            }
            (Some(_), None) => true,
            _ => false,
        };
        let (from, at) = if takes_first { (first, &mut a) } else { (second, &mut b) };
        if range.contains(from.times_ms[*at]) {
            copy(from, *at, out);
        }
        *at += 1;
    }
}

fn copy(from: &SampleBuffer, at: usize, out: &mut SampleBuffer) {
    match from.histogram(at) {
        Some(histogram) => out.push_histogram(from.times_ms[at], histogram.clone()),
        None => out.push(from.times_ms[at], from.values[at]),
    }
    if from.start_ms(at) != 0 {
        out.set_last_start(from.start_ms(at));
    }
}

/// Series of the own store and of others, in order of their labels.
struct MergedSet {
    local: Box<dyn SeriesSet>,
    /// By series: its place in the own store, and what others have.
    series: Vec<(Option<usize>, Option<Elsewhere>)>,
}

/// A series that others have.
type Elsewhere = (Labels, SampleBuffer);

impl MergedSet {
    fn new(local: Box<dyn SeriesSet>, fetched: Fetched) -> Self {
        let mut series = Vec::with_capacity(local.len() + fetched.len());
        let mut fetched = fetched.into_iter().peekable();
        for i in 0..local.len() {
            let labels = local.labels(i);
            while let Some(other) = fetched.next_if(|(other, _)| *other < labels) {
                series.push((None, Some(other)));
            }
            series.push((Some(i), fetched.next_if(|(other, _)| *other == labels)));
        }
        series.extend(fetched.map(|other| (None, Some(other))));
        Self { local, series }
    }
}

impl SeriesSet for MergedSet {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, series: usize) -> Labels {
        match &self.series[series] {
            (_, Some((labels, _))) => labels.clone(),
            (Some(local), None) => self.local.labels(*local),
            (None, None) => Labels::empty(),
        }
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        // What others have must be decoded, and with it what the own store has.
        if let (Some(local), None) = &self.series[series] {
            self.local.summaries(*local, range, out);
        }
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        match &self.series[series] {
            (Some(local), None) => self.local.read(*local, range, out),
            (local, Some((_, others))) => {
                let mut own = SampleBuffer::default();
                if let Some(local) = local {
                    self.local.read(*local, range, &mut own)?;
                }
                merge(&own, others, range, out);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

impl MetricReader for MergedReader {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let local = self.parts.local.select(select)?;
        if !self.has_sources() {
            return Ok(local);
        }
        let hints = ReadHints {
            step_ms: select.hints.step_ms,
            function: select.hints.function.unwrap_or(""),
            grouping: &select.hints.grouping,
            by: select.hints.by,
            range_ms: select.hints.range_ms,
        };
        let fetched = self.fetch(&select.matchers, select.range, hints);
        if fetched.is_empty() {
            return Ok(local);
        }
        let merged = MergedSet::new(local, fetched);
        if select.series_max > 0 && merged.len() > select.series_max {
            return Err(ReadError::TooManySeries { max: select.series_max });
        }
        Ok(Box::new(merged))
    }

    fn rollups(&self, select: &Select, step_ms: i64) -> Result<Option<Box<dyn RollupSet>>, ReadError> {
        // Rollups are made of the own samples only.
        if self.has_sources() { Ok(None) } else { self.parts.local.rollups(select, step_ms) }
    }

    fn changes(&self, since: Option<ChangeMark>) -> Option<Changes> {
        // Nobody tells what changes elsewhere.
        if self.has_sources() { None } else { self.parts.local.changes(since) }
    }

    fn noting(&self, notes: &Arc<Notes>) -> Option<Arc<dyn MetricReader>> {
        let noting = || Self { parts: self.parts.clone(), notes: Some(notes.clone()) };
        self.has_sources().then(|| Arc::new(noting()) as _)
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.note_own_only();
        self.parts.local.label_names(query)
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.note_own_only();
        self.parts.local.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        let mut series = self.parts.local.series(query)?;
        if !self.has_sources() {
            return Ok(series);
        }
        let hints = ReadHints { function: "series", ..ReadHints::default() };
        for matchers in &query.matcher_sets {
            series.extend(self.fetch(matchers, query.range, hints).into_keys());
        }
        series.sort_unstable();
        series.dedup();
        if query.limit > 0 {
            series.truncate(query.limit);
        }
        Ok(series)
    }

    fn exemplars(&self, query: &LabelQuery) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        self.parts.local.exemplars(query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        self.parts.local.metadata(family, limit)
    }
}

const QUERIES: Family =
    Family::counter("vedette_remote_read_queries_total", "Questions to sources of remote read.");
const FAILED: Family = Family::counter(
    "vedette_remote_read_queries_failed_total",
    "Questions to sources of remote read that were not answered; the answers made lack their series.",
);

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for MergedReader {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let sources = self.parts.sources.read().clone();
        for source in sources.iter() {
            let asked = source.asked.load(Ordering::Relaxed);
            visitor.value(&QUERIES, &[("remote_name", &source.name)], asked as f64);
        }
        for source in sources.iter() {
            let failed = source.failed.load(Ordering::Relaxed);
            visitor.value(&FAILED, &[("remote_name", &source.name)], failed as f64);
        }
    }
}

#[cfg(test)]
mod tests;
