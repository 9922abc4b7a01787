//! One receiver of remote write: what waits for it, what is under way, what to do with its answers.
//!
//! Everything here is synchronous and deterministic: records, time, chance and answers are handed in.
//!
//! Invariants: samples of one series are sent in the order in which they were spooled, and a later
//! one never while an earlier one is under way; the cursor passes a sample only when it was taken or
//! given up, and what is given up is counted. Memory is bounded by the queue's capacity.
//!
//! Series are spread over slots, and a slot is in one request at most. How many requests are under way
//! at once may therefore change at any time, without a pause in which shards are made anew: it
//! grows while full requests wait, and falls by half when the receiver fails.

mod answer;
pub(crate) mod backoff;
pub(crate) mod ledger;
mod request;
mod series;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use vedette_config::prometheus::{Metadata, Queue, RemoteWrite, WriteMessage};
use vedette_model::{Exemplar, Labels, NativeHistogram, RelabelRule, TimeRange};
use vedette_sys::{MonotonicTime, Random};
use vedette_wire::remote_write::DecodeError;

use crate::{
    metrics::ReceiverMetrics,
    spool::{Spool, Spooled, record::Entry},
};
pub use answer::{Answer, Outcome, Trouble, Written};
pub use backoff::retry_after;
use ledger::Ledger;
pub use request::Attempt;
use request::{Encoders, Request, State};
use series::{Found, SeriesTable};

/// More requests at once than this are never needed.
const SLOTS_MAX: u64 = 1024;
/// A receiver that has kept up for this long gets one request at once less.
const SHRINK_INTERVAL: Duration = Duration::from_secs(30);

/// What is configured of a receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Under this its cursor is kept.
    pub key: String,
    /// Its name on the status page.
    pub name: String,
    /// Its address, without a password.
    pub url: String,
    /// Labels of whatever leaves this process.
    pub external_labels: Labels,
    /// Rules for series on their way.
    pub relabel: Vec<RelabelRule>,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// Whether native histograms are sent.
    pub send_native_histograms: bool,
    /// Which version is spoken first.
    pub message: WriteMessage,
    /// How requests are made up.
    pub queue: Queue,
    /// How metadata is sent with version 1.0.
    pub metadata: Metadata,
}

impl Target {
    /// What a section `remote_write` says, with the key `key`.
    pub fn new(write: &RemoteWrite, external_labels: Labels, key: String) -> Self {
        let mut url = write.url.clone();
        // Neither fails for an address of HTTP.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        let name = if write.name.is_empty() { key.clone() } else { write.name.clone() };
        Self {
            key,
            name,
            url: url.to_string(),
            external_labels,
            relabel: write.relabel.clone(),
            send_exemplars: write.send_exemplars,
            send_native_histograms: write.send_native_histograms,
            message: write.message,
            queue: write.queue.clone(),
            metadata: write.metadata.clone(),
        }
    }

    pub(crate) fn labels(&self) -> [(&str, &str); 2] {
        [("remote_name", &self.name), ("url", &self.url)]
    }
}

/// A receiver.
pub struct Receiver {
    target: Arc<Target>,
    metrics: Arc<ReceiverMetrics>,
    spool: Arc<Spool>,
    random: Random,
    series: SeriesTable,
    slots: Vec<Slot>,
    /// Points in all slots.
    queued: usize,
    /// Points in requests.
    under_way: usize,
    ledger: Ledger,
    requests: Vec<Request>,
    next_id: u64,
    encoders: Encoders,
    message: WriteMessage,
    /// Points of one request; less than configured where the receiver found requests too large.
    points_max: usize,
    /// Requests that may be under way at once.
    limit: usize,
    shrink_at: MonotonicTime,
    /// The receiver has asked for silence until then.
    silent_until: MonotonicTime,
    metadata_at: MonotonicTime,
    metadata_version: u64,
    trouble: Option<Trouble>,
    fallback: Option<String>,
    /// Before then nothing more is logged of it.
    log_at: MonotonicTime,
}

#[derive(Default)]
struct Slot {
    points: VecDeque<Point>,
    /// No point has waited for longer than since then.
    since: MonotonicTime,
    /// Whether points of it are in a request.
    busy: bool,
}

/// What is sent of a series at one time.
struct Point {
    /// The record that it came in.
    seq: u64,
    /// The receiver's number.
    series: u32,
    time_ms: i64,
    start_ms: i64,
    value: Value,
}

enum Value {
    Float(f64),
    Histogram(Arc<NativeHistogram>),
    Exemplar(Box<Exemplar>),
}

impl Receiver {
    /// A receiver that has got nothing yet.
    pub fn new(
        target: Arc<Target>,
        metrics: Arc<ReceiverMetrics>,
        spool: Arc<Spool>,
        mut random: Random,
        now: MonotonicTime,
    ) -> Self {
        let slots = usize::try_from(target.queue.max_shards.min(SLOTS_MAX)).unwrap_or(1).max(1);
        let (external, rules) = (target.external_labels.clone(), target.relabel.clone());
        let points_max = usize::try_from(target.queue.max_samples_per_send).unwrap_or(usize::MAX).max(1);
        let receiver = Self {
            series: SeriesTable::new(external, rules, slots, random.next_u64()),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            queued: 0,
            under_way: 0,
            ledger: Ledger::default(),
            requests: Vec::new(),
            next_id: 0,
            encoders: Encoders::default(),
            message: target.message,
            points_max,
            limit: usize::try_from(target.queue.min_shards).unwrap_or(1).clamp(1, slots),
            shrink_at: now,
            silent_until: now,
            metadata_at: now,
            metadata_version: 0,
            trouble: None,
            fallback: None,
            log_at: now,
            target,
            metrics,
            spool,
            random,
        };
        receiver.tell();
        receiver
    }

    /// Whether there is room for another record.
    pub fn has_room(&self) -> bool {
        let capacity = usize::try_from(self.target.queue.capacity).unwrap_or(usize::MAX);
        let room = capacity.max(self.points_max).saturating_mul(self.limit);
        self.queued + self.under_way < room.saturating_add(self.points_max)
    }

    /// Takes a record of the spool.
    pub fn take(&mut self, record: &Spooled<'_>, now: MonotonicTime, now_ms: i64) {
        let mut points = 0;
        let mut read = 0;
        for entry in record.entries() {
            let Ok(entry) = entry else { break };
            if record.definitions_only && !matches!(entry, Entry::Definition { .. }) {
                continue;
            }
            self.take_entry(entry, record.header.seq, now, now_ms, &mut points, &mut read);
        }
        if !record.definitions_only {
            // What could not be read at all is lost too.
            self.metrics.unreadable.add(u64::from(record.header.points).saturating_sub(read));
            self.ledger.begin(record.header.seq, points);
        }
        if self.series.is_mostly_dead() {
            self.sweep();
        }
    }

    /// The request that is to be made now, if there is one.
    pub fn poll(&mut self, now: MonotonicTime, now_ms: i64) -> Option<Attempt> {
        if now < self.silent_until {
            return None;
        }
        while let Some(at) = self.requests.iter().position(|r| r.is_due(now)) {
            if let Some(attempt) = self.attempt_again(at, now, now_ms) {
                return Some(attempt);
            }
        }
        if let Some(attempt) = self.poll_metadata(now) {
            return Some(attempt);
        }
        while self.is_batch_ready(now) {
            if self.requests_of_points() >= self.limit {
                return None;
            }
            if let Some(attempt) = self.begin_request(now, now_ms) {
                return Some(attempt);
            }
        }
        None
    }

    /// When [`Receiver::poll`] may have something to do although nothing else happens.
    pub fn deadline(&self) -> Option<MonotonicTime> {
        let mut at: Option<MonotonicTime> = None;
        let mut sooner = |other: MonotonicTime| at = Some(at.map_or(other, |at| at.min(other)));
        for request in &self.requests {
            if let State::Waiting { until } = request.state {
                sooner(until);
            }
        }
        if self.requests_of_points() < self.limit {
            let deadline = self.target.queue.batch_send_deadline;
            for slot in self.slots.iter().filter(|s| !s.busy && !s.points.is_empty()) {
                sooner(later(slot.since, deadline));
            }
        }
        if self.sends_metadata() {
            sooner(self.metadata_at);
        }
        at.map(|at| at.max(self.silent_until))
    }

    /// The record up to which nothing is needed any more.
    pub fn acknowledged(&mut self) -> u64 {
        self.ledger.settle()
    }

    /// What the receiver said last, if that was no good.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Why version 1.0 is spoken although 2.0 is configured.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Which version is spoken.
    pub fn message(&self) -> WriteMessage {
        self.message
    }

    /// Points in memory, those under way included.
    pub fn points_in_memory(&self) -> usize {
        self.queued + self.under_way
    }

    fn take_entry(
        &mut self,
        entry: Entry<'_>,
        seq: u64,
        now: MonotonicTime,
        now_ms: i64,
        points: &mut u32,
        read: &mut u64,
    ) {
        match entry {
            Entry::Definition { number, bytes, labels } => self.series.define(number, bytes, labels),
            Entry::Row(row) => {
                let time_ms = row.time_ms;
                for sample in row {
                    let Ok((number, start_ms, value)) = sample else { break };
                    *read += 1;
                    let point = |series| Point { seq, series, time_ms, start_ms, value: Value::Float(value) };
                    *points += u32::from(self.push(number, now, now_ms, point));
                }
            }
            Entry::Histogram { number, start_ms, message } => {
                *read += 1;
                let decoded: Result<_, DecodeError> = message.decode();
                let Ok((time_ms, Ok(histogram))) = decoded else {
                    self.metrics.unreadable.inc();
                    return;
                };
                if !self.target.send_native_histograms {
                    self.metrics.not_wanted.inc();
                    return;
                }
                let start_ms = start_ms.start_ms(time_ms);
                let value = Value::Histogram(Arc::new(histogram));
                let point = |series| Point { seq, series, time_ms, start_ms, value };
                *points += u32::from(self.push(number, now, now_ms, point));
            }
            Entry::Exemplar { number, time_ms, value, labels } => {
                *read += 1;
                if !self.target.send_exemplars {
                    self.metrics.not_wanted.inc();
                    return;
                }
                let exemplar = Exemplar { labels: Labels::from_pairs(labels), value, time_ms };
                let value = Value::Exemplar(Box::new(exemplar));
                let point = |series| Point { seq, series, time_ms, start_ms: 0, value };
                *points += u32::from(self.push(number, now, now_ms, point));
            }
        }
    }

    /// Lets a point wait in the slot of its series. `false` where it is not sent.
    #[inline]
    fn push(
        &mut self,
        number: u32,
        now: MonotonicTime,
        now_ms: i64,
        point: impl FnOnce(u32) -> Point,
    ) -> bool {
        let series = match self.series.find(number) {
            Found::Series(series) => series,
            Found::Dropped => {
                self.metrics.relabelled.inc();
                return false;
            }
            Found::Unknown => {
                self.metrics.unreadable.inc();
                return false;
            }
        };
        let point = point(series);
        if self.is_too_old(point.time_ms, now_ms) {
            self.metrics.too_old.inc();
            return false;
        }
        let slot = &mut self.slots[self.series.get(series).slot as usize];
        if slot.points.is_empty() {
            slot.since = now;
        }
        slot.points.push_back(point);
        self.queued += 1;
        true
    }

    fn is_too_old(&self, time_ms: i64, now_ms: i64) -> bool {
        let limit = self.target.queue.sample_age_limit;
        !limit.is_zero()
            && time_ms < now_ms.saturating_sub(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    }

    /// Points that may be sent now, and since when the oldest has waited.
    fn idle(&self) -> (usize, Option<MonotonicTime>) {
        let idle = self.slots.iter().filter(|s| !s.busy && !s.points.is_empty());
        idle.fold((0, None), |(points, since), slot| {
            let since = since.map_or(slot.since, |since: MonotonicTime| since.min(slot.since));
            (points + slot.points.len(), Some(since))
        })
    }

    /// Metadata does not hold up samples.
    fn requests_of_points(&self) -> usize {
        self.requests.iter().filter(|request| !request.is_metadata()).count()
    }

    fn is_batch_ready(&self, now: MonotonicTime) -> bool {
        match self.idle() {
            (points, Some(since)) => {
                points >= self.points_max || now >= later(since, self.target.queue.batch_send_deadline)
            }
            _ => false,
        }
    }

    /// Makes a request of what waits, the oldest first. `None` where all of it was too old meanwhile.
    fn begin_request(&mut self, now: MonotonicTime, now_ms: i64) -> Option<Attempt> {
        let mut order: Vec<usize> = (0..self.slots.len())
            .filter(|i| !self.slots[*i].busy && !self.slots[*i].points.is_empty())
            .collect();
        order.sort_by_key(|i| self.slots[*i].since);
        let mut points = Vec::with_capacity(self.points_max.min(self.queued));
        let mut slots = Vec::new();
        for i in order {
            let room = self.points_max - points.len();
            if room == 0 {
                break;
            }
            let slot = &mut self.slots[i];
            slot.busy = true;
            slots.push(i);
            let taken = room.min(slot.points.len());
            points.extend(slot.points.drain(..taken));
        }
        self.queued -= points.len();
        self.under_way += points.len();
        // A series' labels stand once in a request; its points stay in their order.
        points.sort_by_key(|point| point.series);
        self.next_id += 1;
        self.requests.push(Request::of_points(self.next_id, points, slots, now));
        self.attempt_again(self.requests.len() - 1, now, now_ms)
    }

    /// Sends a request, or sends it again. `None` where nothing is left of it.
    fn attempt_again(&mut self, at: usize, now: MonotonicTime, now_ms: i64) -> Option<Attempt> {
        self.drop_too_old(at, now_ms);
        if self.requests[at].is_empty() {
            self.end_request(at);
            return None;
        }
        if self.requests[at].body_for(self.message).is_none() {
            let request = &mut self.requests[at];
            let version = self.metadata_version;
            let spool = self.spool.clone();
            let mut find = |family: &str| spool.metadata(family);
            self.encoders.encode(request, self.message, &mut self.series, version, &mut find);
        }
        let request = &mut self.requests[at];
        request.state = State::UnderWay { since: now };
        Some(request.attempt())
    }

    fn drop_too_old(&mut self, at: usize, now_ms: i64) {
        if self.target.queue.sample_age_limit.is_zero() {
            return;
        }
        let mut request = std::mem::replace(&mut self.requests[at], Request::none());
        let before = request.points.len();
        request.points.retain(|point| {
            let keeps = !self.is_too_old(point.time_ms, now_ms);
            if !keeps {
                self.ledger.finish(point.seq);
            }
            keeps
        });
        let dropped = before - request.points.len();
        if dropped > 0 {
            self.metrics.too_old.add(dropped as u64);
            self.under_way -= dropped;
            request.forget_body();
        }
        self.requests[at] = request;
    }

    fn sends_metadata(&self) -> bool {
        self.target.metadata.send
            && self.message == WriteMessage::V1
            && !self.requests.iter().any(Request::is_metadata)
    }

    /// With 1.0 metadata is sent by itself, at an interval.
    fn poll_metadata(&mut self, now: MonotonicTime) -> Option<Attempt> {
        let version = self.spool.metadata_version();
        if version != self.metadata_version {
            self.metadata_version = version;
        }
        if !self.sends_metadata() || now < self.metadata_at {
            return None;
        }
        self.metadata_at = later(now, self.target.metadata.send_interval.max(Duration::from_millis(100)));
        let all = self.spool.all_metadata();
        if all.is_empty() {
            return None;
        }
        self.next_id += 1;
        let at_once = usize::try_from(self.target.metadata.max_samples_per_send).unwrap_or(usize::MAX).max(1);
        let parts: Vec<_> = all.chunks(at_once).map(|part| self.encoders.encode_metadata(part)).collect();
        let families = all.len();
        self.requests.push(Request::of_metadata(self.next_id, parts, families, now));
        self.requests.last().map(Request::attempt)
    }

    /// Ends a request, whose points are all done with.
    fn end_request(&mut self, at: usize) -> Request {
        let request = self.requests.swap_remove(at);
        self.under_way -= request.points.len();
        for point in &request.points {
            self.ledger.finish(point.seq);
        }
        for i in &request.slots {
            self.slots[*i].busy = false;
        }
        request
    }

    fn grow(&mut self, now: MonotonicTime) {
        let (waiting, _) = self.idle();
        // The request that was taken just now is not counted any more.
        if waiting >= self.points_max && self.requests_of_points() + 1 >= self.limit {
            let most = usize::try_from(self.target.queue.max_shards).unwrap_or(usize::MAX);
            self.limit = (self.limit + 1).min(most).min(self.slots.len());
            self.shrink_at = later(now, SHRINK_INTERVAL);
        } else if waiting < self.points_max && now >= self.shrink_at {
            self.limit = (self.limit - 1).max(self.limit_min());
            self.shrink_at = later(now, SHRINK_INTERVAL);
        }
        self.tell();
    }

    fn shrink(&mut self) {
        self.limit = (self.limit / 2).max(self.limit_min());
        self.tell();
    }

    fn limit_min(&self) -> usize {
        usize::try_from(self.target.queue.min_shards).unwrap_or(usize::MAX).clamp(1, self.slots.len())
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn tell(&self) {
        self.metrics.shards.set(self.limit as f64);
        self.metrics.protocol.set(if self.message == WriteMessage::V1 { 1.0 } else { 2.0 });
    }

    fn sweep(&mut self) {
        let waiting = self.slots.iter().flat_map(|slot| slot.points.iter());
        let under_way = self.requests.iter().flat_map(|request| request.points.iter());
        let moved = self.series.sweep(waiting.chain(under_way).map(|point| point.series));
        let waiting = self.slots.iter_mut().flat_map(|slot| slot.points.iter_mut());
        let under_way = self.requests.iter_mut().flat_map(|request| request.points.iter_mut());
        for point in waiting.chain(under_way) {
            point.series = moved[point.series as usize];
        }
        self.encoders.forget();
    }

    /// The times of the points of a request.
    fn times(request: &Request) -> Option<TimeRange> {
        let times = request.points.iter().map(|point| point.time_ms);
        Some(TimeRange { start_ms: times.clone().min()?, end_ms: times.max()? })
    }
}

pub(crate) fn later(time: MonotonicTime, by: Duration) -> MonotonicTime {
    MonotonicTime(time.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
