//! One export: what waits for its sink, what is under way, what to do with an answer.
//!
//! Everything here is synchronous and deterministic: records, time, chance and answers are handed in.
//!
//! Invariants: documents are delivered in the order in which their samples were spooled, one batch at a
//! time, and again until the sink has taken them or refused them for good, which is counted; the cursor
//! passes a sample only then. In memory are one record, the batch that is filled and the one that is
//! under way, and nothing else.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use vedette_model::{Labels, Matcher, is_stale};
use vedette_sys::{MonotonicTime, Random};

use super::{
    batch::{Batch, Delivery, Place},
    encode::{Encoder, Run},
    metrics::ExportMetrics,
    series::{Found, SeriesTable, is_selected},
};
use crate::{
    receiver::{Trouble, backoff, later, ledger::Ledger},
    sender::{Queue, View},
    spool::{Spooled, record::Entry},
};

/// What bounds a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Samples.
    pub samples: u64,
    /// Bytes of documents.
    pub bytes: usize,
    /// How long a sample waits for others.
    pub age: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { samples: 10_000, bytes: 1 << 20, age: Duration::from_secs(5) }
    }
}

/// What is exported, and how often it is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPlan {
    /// A series is exported if one of these fits.
    pub selectors: Vec<Vec<Matcher>>,
    /// Of each series at most one sample in so long; zero means all.
    pub interval: Duration,
    /// What bounds a batch.
    pub batch: BatchLimits,
    /// The shortest wait after a failure.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
}

impl ExportPlan {
    /// Whether a series is exported.
    pub fn selects(&self, labels: &Labels) -> bool {
        is_selected(&self.selectors, labels)
    }
}

/// How long a loss stands on the status page.
const LOSS_SHOWN: Duration = Duration::from_secs(300);
/// Between two messages of one export in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// An export.
pub struct Exporter {
    name: String,
    plan: ExportPlan,
    encoder: Encoder,
    metrics: Arc<ExportMetrics>,
    random: Random,
    series: SeriesTable,
    /// Of one record, which are all encoded before another is read: it may define numbers anew.
    rows: VecDeque<Row>,
    row_number: u64,
    filling: Batch,
    filling_points: u64,
    filling_since: MonotonicTime,
    /// Parts of a batch that was too large, the first first.
    parts: VecDeque<Batch>,
    request: Option<Request>,
    next_id: u64,
    ledger: Ledger,
    trouble: Option<Trouble>,
    log_at: MonotonicTime,
}

/// Samples of one time, of which those of one group stand together.
struct Row {
    time_ms: i64,
    spooled_ms: i64,
    seq: u64,
    points: Vec<Point>,
    /// How many are encoded.
    at: usize,
}

struct Point {
    /// The place of its group in the row.
    order: u32,
    group: u32,
    ordinal: u32,
    number: u32,
    value: f64,
}

struct Request {
    id: u64,
    batch: Arc<Batch>,
    failures: u32,
    state: State,
}

enum State {
    Waiting { until: MonotonicTime },
    UnderWay { since: MonotonicTime },
}

impl Exporter {
    /// An export that has delivered nothing yet.
    pub fn new(
        name: String,
        plan: ExportPlan,
        encoder: Encoder,
        metrics: Arc<ExportMetrics>,
        random: Random,
        now: MonotonicTime,
    ) -> Self {
        Self {
            name,
            plan,
            encoder,
            metrics,
            random,
            series: SeriesTable::default(),
            rows: VecDeque::new(),
            row_number: 0,
            filling: Batch::default(),
            filling_points: 0,
            filling_since: now,
            parts: VecDeque::new(),
            request: None,
            next_id: 0,
            ledger: Ledger::default(),
            trouble: None,
            log_at: now,
        }
    }

    fn is_full(&self) -> bool {
        let limits = &self.plan.batch;
        self.filling_points >= limits.samples || self.filling.bytes.len() >= limits.bytes
    }

    fn take_row(
        &mut self,
        seq: u64,
        spooled_ms: i64,
        entry: crate::spool::record::RowEntry<'_>,
        read: &mut u32,
    ) {
        self.row_number += 1;
        let interval_ms = i64::try_from(self.plan.interval.as_millis()).unwrap_or(i64::MAX);
        let time_ms = entry.time_ms;
        let interval = if interval_ms > 0 { time_ms.div_euclid(interval_ms) } else { 0 };
        let mut points = Vec::new();
        let mut groups = 0;
        for sample in entry {
            let Ok((number, _, value)) = sample else { break };
            let ordinal = *read;
            *read += 1;
            let series = match self.series.find(number) {
                Found::Series(series) => series,
                Found::Unwanted => continue,
                Found::Unknown => {
                    self.metrics.unreadable.inc();
                    continue;
                }
            };
            if is_stale(value) {
                continue;
            }
            if !value.is_finite() {
                self.metrics.not_finite.inc();
                continue;
            }
            if interval_ms > 0 {
                if series.interval >= interval {
                    self.metrics.thinned.inc();
                    continue;
                }
                series.interval = interval;
            }
            let group = series.group;
            let seen = &mut self.series.group(group).seen;
            if seen.0 != self.row_number {
                *seen = (self.row_number, groups);
                groups += 1;
            }
            points.push(Point { order: seen.1, group, ordinal, number, value });
        }
        if !points.is_empty() {
            points.sort_by_key(|point| point.order);
            self.rows.push_back(Row { time_ms, spooled_ms, seq, points, at: 0 });
        }
    }

    /// Writes documents until the batch is full or nothing waits.
    fn encode(&mut self, now: MonotonicTime) {
        let mut run_points = Vec::new();
        while !self.is_full() {
            let Some(row) = self.rows.front_mut() else { break };
            let rest = &row.points[row.at..];
            let Some(first) = rest.first() else {
                self.rows.pop_front();
                continue;
            };
            let length = rest.iter().take_while(|point| point.order == first.order).count();
            run_points.clear();
            run_points.extend(rest[..length].iter().map(|point| (point.number, point.value)));
            let place = Place { spooled_ms: row.spooled_ms, seq: row.seq, ordinal: first.ordinal };
            let run = Run { time_ms: row.time_ms, place, group: first.group, points: &run_points };
            if self.filling.is_empty() {
                self.filling_since = now;
            }
            self.encoder.encode(&mut self.filling, &run, &mut self.series);
            self.filling_points += length as u64;
            row.at += length;
        }
    }

    fn next_batch(&mut self, now: MonotonicTime) -> Option<Batch> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        self.encode(now);
        let is_due = !self.filling.is_empty() && now >= later(self.filling_since, self.plan.batch.age);
        if !self.is_full() && !is_due {
            return None;
        }
        self.filling_points = 0;
        let batch = std::mem::take(&mut self.filling);
        self.encode(now);
        Some(batch)
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn tell_memory(&self) {
        let rows: usize = self.rows.iter().map(|row| row.points.len() * size_of::<Point>()).sum();
        let batches =
            self.parts.iter().chain([&self.filling]).chain(self.request.as_ref().map(|r| &*r.batch));
        let document = size_of::<super::batch::Document>();
        let bytes: usize = batches.map(|batch| batch.bytes.len() + batch.documents.len() * document).sum();
        self.metrics.memory.set((rows + bytes) as f64);
    }

    /// These documents are done with.
    fn done<'a>(&mut self, documents: impl Iterator<Item = &'a super::batch::Document>) {
        for document in documents {
            self.ledger.finish_some(document.place.seq, document.points);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn count_taken(&self, batch: &Batch) {
        self.metrics.samples.add(batch.points());
        self.metrics.documents.add(batch.documents.iter().filter(|d| d.points > 0).count() as u64);
        self.metrics.bytes.add(batch.bytes.len() as u64);
        if let Some(latest) = batch.documents.iter().map(|document| document.time_ms).max() {
            self.metrics.highest.set(self.metrics.highest.get().max(latest as f64 / 1000.0));
        }
    }

    fn taken(&mut self, batch: &Batch, now: MonotonicTime) {
        self.metrics.taken.inc();
        self.count_taken(batch);
        self.done(batch.documents.iter());
        if self.trouble.as_ref().is_some_and(|trouble| !trouble.is_loss || is_over(trouble, now)) {
            self.trouble = None;
        }
    }

    fn refused(&mut self, batch: &Batch, taken: u64, message: String, now: MonotonicTime) {
        self.metrics.rejected.inc();
        let points = batch.points();
        self.metrics.samples.add(taken.min(points));
        self.metrics.refused.add(points.saturating_sub(taken));
        self.done(batch.documents.iter());
        self.lose(message, now);
    }

    fn lose(&mut self, message: String, now: MonotonicTime) {
        self.log_once(&message, "samples of an export were refused and are given up", now);
        self.trouble = Some(Trouble { message, is_loss: true, since: now });
    }

    /// The batch is tried again after a while.
    fn again(&mut self, mut request: Request, after: Option<Duration>, message: String, now: MonotonicTime) {
        request.failures = request.failures.saturating_add(1);
        let (min, max) = (self.plan.backoff_min, self.plan.backoff_max);
        let wait = backoff::wait(request.failures, min, max, &mut self.random);
        let until = later(now, after.map_or(wait, |asked| asked.max(wait)));
        request.state = State::Waiting { until };
        self.metrics.failed.inc();
        self.metrics.retried.add(request.batch.points());
        self.request = Some(request);
        self.log_once(&message, "an export failed and is tried again", now);
        if !self.trouble.as_ref().is_some_and(|t| t.is_loss && !is_over(t, now)) {
            let since = self.trouble.as_ref().filter(|t| !t.is_loss).map_or(now, |trouble| trouble.since);
            self.trouble = Some(Trouble { message, is_loss: false, since });
        }
    }

    fn partly(
        &mut self,
        request: Request,
        mut refused: Vec<usize>,
        mut again: Vec<usize>,
        message: String,
        now: MonotonicTime,
    ) {
        let batch = request.batch.clone();
        let count = batch.documents.len();
        for list in [&mut refused, &mut again] {
            list.retain(|at| *at < count);
            list.sort_unstable();
            list.dedup();
        }
        again.retain(|at| refused.binary_search(at).is_err());
        let is_left = |at: &usize| refused.binary_search(at).is_err() && again.binary_search(at).is_err();
        let taken = batch.subset((0..count).filter(is_left));
        self.count_taken(&taken);
        self.done(taken.documents.iter());
        if !refused.is_empty() {
            let given_up = batch.subset(refused.iter().copied());
            self.refused(&given_up, 0, message.clone(), now);
        }
        if again.is_empty() {
            return;
        }
        let batch = Arc::new(batch.subset(again.into_iter()));
        // What was taken shows that the sink works.
        let failures = if taken.is_empty() { request.failures } else { 0 };
        self.again(Request { batch, failures, ..request }, None, message, now);
    }

    /// Delivers the halves of a batch, or gives up the one document that it is.
    fn halve(&mut self, batch: &Batch, message: String, now: MonotonicTime) {
        let count = batch.documents.len();
        if count <= 1 {
            self.refused(batch, 0, message, now);
            return;
        }
        self.metrics.failed.inc();
        self.parts.push_front(batch.subset(count / 2..count));
        self.parts.push_front(batch.subset(0..count / 2));
    }

    fn log_once(&mut self, text: &str, what: &'static str, now: MonotonicTime) {
        if now < self.log_at {
            return;
        }
        self.log_at = later(now, LOG_INTERVAL);
        tracing::warn!(export = self.name, answer = text, "{what}");
    }
}

impl Queue for Exporter {
    type Attempt = Arc<Batch>;
    type Outcome = Delivery;

    fn has_room(&self) -> bool {
        self.rows.is_empty() && !self.is_full()
    }

    fn take(&mut self, record: &Spooled<'_>, now: MonotonicTime, _: i64) {
        debug_assert!(self.rows.is_empty(), "a record may define numbers anew that wait");
        let header = record.header;
        let mut read = 0;
        for entry in record.entries() {
            let Ok(entry) = entry else { break };
            match entry {
                // A number means the same all over a record.
                Entry::Definition { number, bytes, labels } => {
                    self.series.define(number, bytes, labels, &self.plan.selectors, &self.encoder);
                }
                _ if record.definitions_only => {}
                Entry::Row(row) => self.take_row(header.seq, header.spooled_ms, row, &mut read),
                Entry::Histogram { .. } | Entry::Exemplar { .. } => {
                    read += 1;
                    self.metrics.not_wanted.inc();
                }
            }
        }
        if !record.definitions_only {
            self.metrics.unreadable.add(u64::from(header.points.saturating_sub(read)));
            let in_rows: usize = self.rows.iter().map(|row| row.points.len()).sum();
            let points = u32::try_from(in_rows).unwrap_or(u32::MAX);
            self.ledger.begin(header.seq, points);
        }
        self.encode(now);
        self.tell_memory();
    }

    fn poll(&mut self, now: MonotonicTime, _: i64) -> Option<(u64, Arc<Batch>)> {
        if self.request.is_none() {
            let batch = Arc::new(self.next_batch(now)?);
            self.next_id += 1;
            let state = State::Waiting { until: now };
            self.request = Some(Request { id: self.next_id, batch, failures: 0, state });
            self.tell_memory();
        }
        let request = self.request.as_mut()?;
        match request.state {
            State::Waiting { until } if now >= until => {
                request.state = State::UnderWay { since: now };
                Some((request.id, request.batch.clone()))
            }
            State::Waiting { .. } | State::UnderWay { .. } => None,
        }
    }

    fn deadline(&self) -> Option<MonotonicTime> {
        match self.request.as_ref().map(|request| &request.state) {
            Some(State::Waiting { until }) => Some(*until),
            Some(State::UnderWay { .. }) => None,
            None if !self.parts.is_empty() || self.is_full() => Some(MonotonicTime::default()),
            None if !self.filling.is_empty() => Some(later(self.filling_since, self.plan.batch.age)),
            None => None,
        }
    }

    fn answered(&mut self, id: u64, outcome: Delivery, now: MonotonicTime) {
        let Some(request) = self.request.take_if(|request| request.id == id) else { return };
        if let State::UnderWay { since } = request.state {
            let took = u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX);
            self.metrics.delivery_ns.add(took);
        }
        match outcome {
            Delivery::Taken => self.taken(&request.batch, now),
            Delivery::Refused { taken, message } => self.refused(&request.batch, taken, message, now),
            Delivery::TooLarge { message } => self.halve(&request.batch, message, now),
            Delivery::Again { after, message } => self.again(request, after, message, now),
            Delivery::Partly { refused, again, message } => {
                self.partly(request, refused, again, message, now);
            }
        }
        self.tell_memory();
    }

    fn acknowledged(&mut self) -> u64 {
        self.ledger.settle()
    }

    fn show(&self, view: &mut View) {
        view.trouble = self.trouble.as_ref().map(|t| (t.message.clone(), t.is_loss));
    }
}

fn is_over(trouble: &Trouble, now: MonotonicTime) -> bool {
    now.since(trouble.since) >= LOSS_SHOWN
}
