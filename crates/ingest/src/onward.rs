//! What was pushed, on its way to those who get everything that is taken: remote write and other sinks.
//!
//! To them it comes as from one more sender, which numbers its series and defines each once. The batch
//! is filled and handed over under one lock, and its memory is kept for the next, so a sample costs a
//! look-up of its series and no memory. Where nobody is registered nothing of this happens.
//!
//! Invariants: a sink gets the pushed batches in order, each at most once; a batch that a sink refuses is
//! counted. A number is given to another series only after all sinks took that it was released.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use vedette_model::{
    Batch, ExemplarSample as SentExemplar, HistogramSample as SentHistogram, Labels, MetricMetadata, Origin,
    Payload, Rejected, Row, Samples, SeriesDefinition, Sink, telemetry::Counter,
};
use vedette_sys::Clock;
use vedette_tsdb::{ExemplarSample, HistogramSample, RefRow, SeriesRef};

/// Series that are known at most. Samples of others are not sent on.
const SERIES_MAX: usize = 10_000_000;
/// A series that was silent for so long is forgotten, and found anew when it comes back.
const SILENT_MS_MAX: i64 = 60 * 60_000;
/// Between two looks for silent series.
const SWEEP_INTERVAL_MS: i64 = 10 * 60_000;
/// Rows of which the memory is kept.
const ROWS_KEPT_MAX: usize = 4_096;
/// Of longer rows the memory is not kept.
const ROW_KEPT_MAX: usize = 1 << 16;

/// Stands for a series that has no number, for want of room.
const NONE: u32 = u32::MAX;

/// Those who get what is pushed, and what they know of its series.
pub(crate) struct Onward {
    clock: Arc<dyn Clock>,
    is_active: AtomicBool,
    sinks: RwLock<Vec<(String, Arc<dyn Sink>)>>,
    state: Mutex<State>,
    /// Samples, histograms and exemplars that a sink did not get.
    pub lost: Counter,
}

/// Numbers of series, good until nobody gets anything any more.
pub(crate) struct Numbers {
    generation: u64,
    all: Vec<u32>,
}

impl Numbers {
    /// How many series have one.
    pub fn count(&self) -> usize {
        self.all.iter().filter(|number| **number != NONE).count()
    }
}

struct State {
    /// Grows when all numbers are forgotten.
    generation: u64,
    numbers: HashMap<SeriesRef, u32, BuildHasherDefault<ReferenceHasher>>,
    /// By number.
    series: Vec<Series>,
    free: Vec<u32>,
    /// Numbers that were released and that the sinks have not taken back yet.
    released: Vec<u32>,
    swept_ms: i64,
    batch: Batch,
    spare: Vec<Row>,
}

struct Series {
    labels: Labels,
    used_ms: i64,
    is_defined: bool,
}

impl Onward {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let origin = Origin {
            tenant: "default".to_owned(),
            cluster: String::new(),
            source: "pushed".to_owned(),
            epoch: clock.unix_ns().unsigned_abs(),
        };
        let state = State {
            generation: 0,
            numbers: HashMap::default(),
            series: Vec::new(),
            free: Vec::new(),
            released: Vec::new(),
            swept_ms: clock.unix_ms(),
            batch: Batch { origin, seq: 0, payload: Payload::Samples(Samples::default()) },
            spare: Vec::new(),
        };
        Self {
            clock,
            is_active: AtomicBool::new(false),
            sinks: RwLock::default(),
            state: Mutex::new(state),
            lost: Counter::default(),
        }
    }

    /// Puts a sink in the place of the one of this name, or takes that away.
    pub fn set_sink(&self, name: &str, sink: Option<Arc<dyn Sink>>) {
        let mut sinks = self.sinks.write();
        sinks.retain(|(known, _)| known != name);
        sinks.extend(sink.map(|sink| (name.to_owned(), sink)));
        if sinks.is_empty() {
            self.is_active.store(false, Ordering::Release);
            self.state.lock().forget_all();
        } else {
            // Who is new knows no series.
            self.state.lock().series.iter_mut().for_each(|series| series.is_defined = false);
            self.is_active.store(true, Ordering::Release);
        }
    }

    /// Whether anybody gets anything.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Acquire)
    }

    /// Notes the labels of a series; `false` where there is no room for it.
    pub fn learn(&self, reference: SeriesRef, labels: &Labels) -> bool {
        let now_ms = self.clock.unix_ms();
        self.state.lock().learn(reference, labels, now_ms)
    }

    /// The numbers of all these series, or all of the series where one is not known.
    pub fn numbers<'r>(
        &self,
        references: impl Iterator<Item = &'r SeriesRef> + Clone,
    ) -> Result<Numbers, Vec<SeriesRef>> {
        let now_ms = self.clock.unix_ms();
        let mut state = self.state.lock();
        let mut all = Vec::with_capacity(references.size_hint().0);
        for reference in references.clone() {
            match state.number(*reference, now_ms) {
                Some(number) => all.push(number),
                None if state.is_full() => all.push(NONE),
                None => return Err(references.copied().collect()),
            }
        }
        Ok(Numbers { generation: state.generation, all })
    }

    /// The same, series by series: those that are not known are told, and have no number.
    pub fn known_numbers<'r>(
        &self,
        references: impl Iterator<Item = &'r SeriesRef>,
    ) -> (Numbers, Vec<SeriesRef>) {
        let now_ms = self.clock.unix_ms();
        let mut state = self.state.lock();
        let mut unknown = Vec::new();
        let numbers = references.map(|reference| {
            state.number(*reference, now_ms).unwrap_or_else(|| {
                unknown.push(*reference);
                NONE
            })
        });
        let all = numbers.collect();
        unknown.sort_unstable();
        (Numbers { generation: state.generation, all }, unknown)
    }

    /// Sends rows whose series have these numbers, but for the series that the store did not know, which
    /// are sorted.
    pub fn send_rows(
        &self,
        rows: &[RefRow<'_>],
        numbers: &Numbers,
        unknown: &[SeriesRef],
    ) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        if state.generation != numbers.generation {
            return Ok(());
        }
        let mut numbers = numbers.all.iter();
        let mut missed = 0;
        for row in rows {
            let mut sent = state.begin_row(row.time_ms);
            sent.newest_only = row.newest_only;
            for (i, (reference, number)) in row.refs.iter().zip(numbers.by_ref()).enumerate() {
                if is_one_of(unknown, *reference) {
                    continue;
                }
                if *number == NONE {
                    missed += 1;
                    continue;
                }
                state.define(*number);
                sent.series.push(*number);
                sent.values.push(row.values[i]);
                if let Some(start_ms) = row.starts_ms.get(i) {
                    sent.starts_ms.push(*start_ms);
                }
            }
            state.end_row(sent);
        }
        self.lost.add(missed);
        self.hand_over(&mut state)
    }

    /// The same of histograms.
    pub fn send_histograms(
        &self,
        samples: &[HistogramSample<'_>],
        numbers: &Numbers,
        unknown: &[SeriesRef],
    ) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        if state.generation != numbers.generation {
            return Ok(());
        }
        for (sample, number) in samples.iter().zip(&numbers.all) {
            if *number == NONE {
                self.lost.add(u64::from(!is_one_of(unknown, sample.reference)));
            } else if !is_one_of(unknown, sample.reference) {
                state.define(*number);
                state.samples().histograms.push(SentHistogram {
                    time_ms: sample.time_ms,
                    series: *number,
                    start_ms: sample.start_ms,
                    histogram: sample.histogram.clone(),
                });
            }
        }
        self.hand_over(&mut state)
    }

    /// The same of exemplars.
    pub fn send_exemplars(
        &self,
        exemplars: &[ExemplarSample<'_>],
        numbers: &Numbers,
        unknown: &[SeriesRef],
    ) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        if state.generation != numbers.generation {
            return Ok(());
        }
        for (sample, number) in exemplars.iter().zip(&numbers.all) {
            if *number == NONE {
                self.lost.add(u64::from(!is_one_of(unknown, sample.reference)));
            } else if !is_one_of(unknown, sample.reference) {
                state.define(*number);
                let exemplar = sample.exemplar.clone();
                state.samples().exemplars.push(SentExemplar { series: *number, exemplar });
            }
        }
        self.hand_over(&mut state)
    }

    /// Sends what is known of families.
    pub fn send_metadata(&self, metadata: &[MetricMetadata]) {
        if metadata.is_empty() || !self.is_active() {
            return;
        }
        let mut state = self.state.lock();
        state.samples().metadata.extend_from_slice(metadata);
        // It comes again with the next start of its sender.
        let _ = self.hand_over(&mut state);
    }

    /// Hands the batch to all sinks; gives the first refusal. The batch is empty afterwards.
    fn hand_over(&self, state: &mut State) -> Result<(), Rejected> {
        if state.is_batch_empty() {
            return Ok(());
        }
        state.sweep(self.clock.unix_ms());
        state.batch.seq += 1;
        let mut outcome = Ok(());
        for (_, sink) in self.sinks.read().iter() {
            let mut accepted = sink.accept(&state.batch);
            if let Err(Rejected::UnknownSeries(_)) = accepted {
                state.define_all();
                accepted = sink.accept(&state.batch);
            }
            if let Err(error) = accepted {
                self.lost.add(state.points());
                outcome = outcome.and(Err(error));
            }
        }
        state.end_batch(outcome.is_ok());
        outcome
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.series.len() >= SERIES_MAX && self.free.is_empty()
    }

    fn learn(&mut self, reference: SeriesRef, labels: &Labels, now_ms: i64) -> bool {
        if self.number(reference, now_ms).is_some() {
            return true;
        }
        if self.is_full() {
            return false;
        }
        let series = Series { labels: labels.clone(), used_ms: now_ms, is_defined: false };
        let number = match self.free.pop() {
            Some(number) => {
                self.series[number as usize] = series;
                number
            }
            None => {
                self.series.push(series);
                self.series.len() as u32 - 1
            }
        };
        self.numbers.insert(reference, number);
        true
    }

    #[inline]
    fn number(&mut self, reference: SeriesRef, now_ms: i64) -> Option<u32> {
        let number = *self.numbers.get(&reference)?;
        self.series[number as usize].used_ms = now_ms;
        Some(number)
    }

    fn samples(&mut self) -> &mut Samples {
        match &mut self.batch.payload {
            Payload::Samples(samples) => samples,
            Payload::Events(_) => unreachable!("BUG: pushed batches hold samples"),
        }
    }

    fn begin_row(&mut self, time_ms: i64) -> Row {
        let mut row = self.spare.pop().unwrap_or_default();
        row.time_ms = time_ms;
        row
    }

    fn end_row(&mut self, row: Row) {
        if row.series.is_empty() {
            self.spare.push(row);
        } else {
            self.samples().rows.push(row);
        }
    }

    /// Defines a series in this batch, unless an earlier one did.
    #[inline]
    fn define(&mut self, number: u32) {
        if !self.series[number as usize].is_defined {
            self.define_now(number);
        }
    }

    #[cold]
    fn define_now(&mut self, number: u32) {
        let series = &mut self.series[number as usize];
        series.is_defined = true;
        let labels = series.labels.clone();
        self.samples().defined.push(SeriesDefinition { series: number, labels });
    }

    /// Defines all series of the batch.
    fn define_all(&mut self) {
        let samples = self.samples();
        samples.defined.clear();
        let rows = samples.rows.iter().flat_map(|row| &row.series).copied();
        let histograms = samples.histograms.iter().map(|sample| sample.series);
        let exemplars = samples.exemplars.iter().map(|sample| sample.series);
        let mut numbers: Vec<u32> = rows.chain(histograms).chain(exemplars).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.series.iter_mut().for_each(|series| series.is_defined = false);
        numbers.into_iter().for_each(|number| self.define_now(number));
    }

    fn is_batch_empty(&mut self) -> bool {
        let samples = self.samples();
        samples.rows.is_empty()
            && samples.histograms.is_empty()
            && samples.exemplars.is_empty()
            && samples.metadata.is_empty()
    }

    fn points(&mut self) -> u64 {
        let samples = self.samples();
        let rows: usize = samples.rows.iter().map(|row| row.values.len()).sum();
        (rows + samples.histograms.len() + samples.exemplars.len()) as u64
    }

    /// Releases the numbers of series that are silent.
    fn sweep(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_INTERVAL_MS {
            self.swept_ms = now_ms;
            let Self { numbers, series, released, .. } = self;
            numbers.retain(|_, number| {
                let series = &mut series[*number as usize];
                let stays = now_ms.saturating_sub(series.used_ms) <= SILENT_MS_MAX;
                if !stays {
                    series.labels = Labels::empty();
                    released.push(*number);
                }
                stays
            });
        }
        if !self.released.is_empty() {
            let released = self.released.clone();
            self.samples().released = released;
        }
    }

    /// Empties the batch. What the sinks did not take is told them again.
    fn end_batch(&mut self, is_taken: bool) {
        let Self { series, free, released, batch, spare, .. } = self;
        let Payload::Samples(samples) = &mut batch.payload else { return };
        if is_taken {
            free.append(released);
        } else {
            samples.defined.iter().for_each(|d| series[d.series as usize].is_defined = false);
        }
        samples.defined.clear();
        samples.released.clear();
        samples.metadata.clear();
        samples.histograms.clear();
        samples.exemplars.clear();
        for mut row in samples.rows.drain(..) {
            if spare.len() < ROWS_KEPT_MAX && row.series.capacity() <= ROW_KEPT_MAX {
                row.series.clear();
                row.values.clear();
                row.starts_ms.clear();
                spare.push(row);
            }
        }
    }

    /// Nobody gets anything any more.
    fn forget_all(&mut self) {
        self.generation += 1;
        self.numbers = HashMap::default();
        self.series = Vec::new();
        self.free = Vec::new();
        self.released = Vec::new();
        self.spare = Vec::new();
    }
}

/// Whether a series is in a sorted list, which is mostly empty.
#[inline]
fn is_one_of(series: &[SeriesRef], reference: SeriesRef) -> bool {
    !series.is_empty() && series.binary_search(&reference).is_ok()
}

/// Numbers of series are made by the store, so that nobody chooses them to collide: one multiplication
/// spreads their bits.
#[derive(Default)]
struct ReferenceHasher(u64);

impl Hasher for ReferenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests;
