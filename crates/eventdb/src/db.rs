//! The store: appends to the log and to memory, seals, removes, and searches all of it.
//!
//! Locks, in the order in which they are taken: `maintenance` (one sealer), `writer` (order of
//! ids = order in the log = order in memory), `state` (an event is in exactly one of recent,
//! sealing and a segment). A search holds `state` only while it looks at memory.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Mutex, RwLock};
use vedette_model::{
    Event, ProcessKey,
    telemetry::{MetricSource, MetricVisitor},
};
use vedette_sys::{Clock, Flush, Fs, MonotonicTime, RecordLog};

use crate::{
    Config, Error, Found, Recovery, Search, Stats, Subscription,
    catalogue::Catalogue,
    codec::Encoder,
    entry::Entry,
    live::Subscribers,
    metrics::{self, Metrics},
    recovery,
    search::{Filter, kind_bit},
    segment::{self, Chosen, Segment, SegmentInfo},
};

/// Segments kept open between searches.
const OPEN_SEGMENTS_MAX: usize = 16;
/// Appends are refused when this many times `seal_events` wait in memory.
const BEHIND_FACTOR: usize = 4;

/// A store of events. Shared as `Arc<EventDb>`.
pub struct EventDb {
    config: Config,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    catalogue: Catalogue,
    maintenance: Mutex<Maintenance>,
    writer: Mutex<Writer>,
    state: RwLock<State>,
    open_segments: Mutex<VecDeque<Arc<Segment>>>,
    subscribers: Subscribers,
    metrics: Metrics,
}

struct Maintenance {
    last_flush: MonotonicTime,
    failure: Option<String>,
}

struct Writer {
    log: RecordLog,
    next_id: u64,
    encoder: Encoder,
    /// The log's segment that begins behind the events being sealed.
    sealed_before: u64,
}

struct State {
    /// In order of their ids, as are the others.
    recent: Vec<Arc<Entry>>,
    /// When the first of `recent` came.
    recent_since: MonotonicTime,
    sealing: Arc<Vec<Arc<Entry>>>,
    segments: Vec<Arc<SegmentInfo>>,
}

impl EventDb {
    /// Opens the store, or makes an empty one.
    pub fn open(config: Config, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), Error> {
        config.check()?;
        let recovered = recovery::recover(&config, &fs)?;
        let now = clock.monotonic();
        let metrics = Metrics::default();
        metrics.damaged.add(recovered.recovery.damage.len() as u64);
        let db = Self {
            config,
            fs,
            clock,
            catalogue: recovered.catalogue,
            maintenance: Mutex::new(Maintenance { last_flush: now, failure: None }),
            writer: Mutex::new(Writer {
                log: recovered.log,
                next_id: recovered.next_id,
                encoder: Encoder::default(),
                sealed_before: 0,
            }),
            state: RwLock::new(State {
                recent: recovered.recent,
                recent_since: now,
                sealing: Arc::default(),
                segments: recovered.segments,
            }),
            open_segments: Mutex::default(),
            subscribers: Subscribers::default(),
            metrics,
        };
        Ok((db, recovered.recovery))
    }

    /// Gives the events ids and writes them, with one write(2). When this returns `Ok` they
    /// survive the end of the process, and searches find them.
    pub fn append(&self, events: &mut [Event]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        let result = self.append_locked(&mut writer, events);
        match &result {
            Ok(()) => self.metrics.appended.add(events.len() as u64),
            Err(_) => {
                self.metrics.append_failures.inc();
                events.iter_mut().for_each(|e| e.id = 0);
            }
        }
        result
    }

    fn append_locked(&self, writer: &mut Writer, events: &mut [Event]) -> Result<(), Error> {
        let waiting = self.waiting();
        if waiting >= self.config.seal_events.saturating_mul(BEHIND_FACTOR) {
            return Err(Error::Behind { events: waiting, folder: self.config.folder.clone() });
        }
        for event in &mut *events {
            event.id = writer.next_id;
            writer.next_id += 1;
        }
        let mut records = Vec::new();
        encode(&mut writer.encoder, events, self.config.event_bytes_max, &mut records)?;
        writer.log.append_all(records.iter().map(Vec::as_slice)).map_err(Error::Write)?;
        let entries: Vec<_> = events.iter().map(|e| Arc::new(Entry::new(e.clone()))).collect();
        let mut state = self.state.write();
        if state.recent.is_empty() {
            state.recent_since = self.clock.monotonic();
        }
        state.recent.extend(entries.iter().cloned());
        drop(state);
        let missed = self.subscribers.publish(&entries);
        self.metrics.live_missed.add(missed);
        Ok(())
    }

    /// Receives every event appended from now on.
    pub fn subscribe(&self) -> Subscription {
        self.subscribers.subscribe(self.config.live_events_max)
    }

    /// Finds events, newest first.
    pub fn search(&self, search: &Search) -> Result<Found, Error> {
        self.find(&Filter::new(search, None), search.limit)
    }

    /// Events of a process, of its descendants and of its birth, newest first.
    pub fn process_events(
        &self,
        process: ProcessKey,
        range_ns: (i64, i64),
        limit: usize,
    ) -> Result<Found, Error> {
        let search = Search { range_ns, ..Search::default() };
        self.find(&Filter::new(&search, Some(process)), limit)
    }

    /// The event of that id, if it is still there.
    pub fn get(&self, id: u64) -> Result<Option<Event>, Error> {
        let state = self.state.read();
        for entries in [&state.recent, &*state.sealing] {
            if let Ok(at) = entries.binary_search_by_key(&id, |e| e.event.id) {
                return Ok(Some((*entries[at].event).clone()));
            }
        }
        let info = state.segments.iter().find(|s| (s.first_id..=s.last_id).contains(&id)).cloned();
        drop(state);
        let Some(info) = info else { return Ok(None) };
        match self.segment(&info)? {
            Some(segment) => segment.get(id),
            None => Ok(None),
        }
    }

    /// Flushes, seals and removes what is due. Called about once a second by one thread.
    pub fn maintain(&self) {
        let mut maintenance = self.maintenance.lock();
        let results = [self.flush(&mut maintenance), self.seal(false), self.remove_old()];
        let failure = results.into_iter().find_map(Result::err).map(|e| describe(&e));
        if let Some(failure) = &failure {
            self.metrics.seal_failures.inc();
            if maintenance.failure.as_ref() != Some(failure) {
                tracing::error!(reason = failure, "event store maintenance failed");
            }
        }
        maintenance.failure = failure;
    }

    /// Seals all events that are in memory now.
    pub fn seal_now(&self) -> Result<(), Error> {
        let _maintenance = self.maintenance.lock();
        self.seal(true)
    }

    /// Makes everything durable and tells live readers that no more will come.
    pub fn close(&self) -> Result<(), Error> {
        self.subscribers.close();
        self.writer.lock().log.sync().map_err(Error::Write)
    }

    /// Figures for the status page.
    pub fn stats(&self) -> Stats {
        let wal_bytes = self.writer.lock().log.bytes();
        let failure = self.maintenance.try_lock().and_then(|m| m.failure.clone());
        let state = self.state.read();
        let in_memory = (state.recent.len() + state.sealing.len()) as u64;
        Stats {
            events: in_memory + state.segments.iter().map(|s| s.rows).sum::<u64>(),
            events_in_memory: in_memory,
            segments: state.segments.len() as u64,
            segment_bytes: state.segments.iter().map(|s| s.bytes).sum(),
            wal_bytes,
            oldest_ns: state.segments.iter().map(|s| s.time_min_ns).min(),
            subscribers: self.subscribers.count() as u64,
            failure,
        }
    }

    fn waiting(&self) -> usize {
        let state = self.state.read();
        state.recent.len() + state.sealing.len()
    }

    fn find(&self, filter: &Filter, limit: usize) -> Result<Found, Error> {
        self.metrics.searches.inc();
        let mut chosen = Chosen {
            filter,
            limit,
            rows_max: self.config.search_rows_max,
            events: Vec::new(),
            scanned: 0,
            damaged: Vec::new(),
            reached: filter.before,
        };
        let state = self.state.read();
        choose_entries(&state.recent, &mut chosen);
        let oldest_recent = state.recent.first().map(|e| e.event.id);
        let (sealing, segments) = (state.sealing.clone(), state.segments.clone());
        drop(state);
        choose_entries(&sealing, &mut chosen);
        for info in segments.iter().rev() {
            if chosen.events.len() >= limit || chosen.scanned >= chosen.rows_max {
                break;
            }
            if may_match(info, filter) {
                match self.segment(info) {
                    Ok(Some(segment)) => segment.choose(&mut chosen)?,
                    Ok(None) => {}
                    Err(Error::Damaged { path, what }) => {
                        chosen.damaged.push(format!("{}: {what}", path.display()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.metrics.rows_scanned.add(chosen.scanned);
        self.metrics.damaged.add(chosen.damaged.len() as u64);
        let oldest = segments.first().map(|s| s.first_id).or(sealing.first().map(|e| e.event.id));
        let oldest = oldest.or(oldest_recent);
        let full = chosen.events.len() >= limit;
        let truncated = !full && chosen.scanned >= chosen.rows_max;
        let cursor = if full { chosen.events.last().map(|e| e.id) } else { Some(chosen.reached) };
        let next = cursor.filter(|c| (full || truncated) && oldest.is_none_or(|oldest| *c > oldest));
        Ok(Found {
            events: chosen.events,
            next,
            scanned: chosen.scanned,
            truncated: truncated && next.is_some(),
            damaged: chosen.damaged,
        })
    }

    /// Opens a segment, or takes it from those kept open; `None` if it was removed meanwhile.
    fn segment(&self, info: &SegmentInfo) -> Result<Option<Arc<Segment>>, Error> {
        let mut open = self.open_segments.lock();
        if let Some(at) = open.iter().position(|s| s.info.first_id == info.first_id) {
            let segment = open.remove(at).expect("BUG: found at this place");
            open.push_back(segment.clone());
            return Ok(Some(segment));
        }
        drop(open);
        let path = segment::folder(&self.config.folder).join(segment::file_name(info));
        let segment = match Segment::open(&*self.fs, &path) {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                let listed = self.state.read().segments.iter().any(|s| s.first_id == info.first_id);
                return if listed { Err(error) } else { Ok(None) };
            }
        };
        let mut open = self.open_segments.lock();
        open.push_back(segment.clone());
        if open.len() > OPEN_SEGMENTS_MAX {
            open.pop_front();
        }
        Ok(Some(segment))
    }

    fn flush(&self, maintenance: &mut Maintenance) -> Result<(), Error> {
        let Flush::Interval(interval) = self.config.flush else { return Ok(()) };
        let now = self.clock.monotonic();
        if now.since(maintenance.last_flush) < interval {
            return Ok(());
        }
        maintenance.last_flush = now;
        self.writer.lock().log.sync().map_err(Error::Write)
    }

    /// Seals the events in memory, if they are many or old enough, or `forced`. After a
    /// failure the same events are tried again.
    fn seal(&self, forced: bool) -> Result<(), Error> {
        if !self.take_for_sealing(forced)? {
            return Ok(());
        }
        let entries = self.state.read().sealing.clone();
        let folder = segment::folder(&self.config.folder);
        let (bytes, info) = segment::write(&entries, self.config.row_group_rows)
            .map_err(|e| Error::Damaged { path: folder.clone(), what: e.to_string() })?;
        let target = folder.join(segment::file_name(&info));
        let temporary = target.with_extension("tmp");
        let write = || {
            let mut file = self.fs.open_append(&temporary)?;
            file.truncate(0)?;
            file.append(&bytes)?;
            file.sync()?;
            self.fs.rename(&temporary, &target)
        };
        if let Err(source) = write() {
            // What was written of it takes space that the log may need.
            let _ = self.fs.remove(&temporary);
            return Err(Error::Io { action: "write", path: target, source });
        }
        self.catalogue.insert(&info)?;
        let mut state = self.state.write();
        state.segments.push(Arc::new(info));
        state.sealing = Arc::default();
        drop(state);
        self.metrics.sealed.inc();
        let mut writer = self.writer.lock();
        let sealed_before = writer.sealed_before;
        writer.log.remove_before(sealed_before).map_err(Error::Write)
    }

    /// Moves the events in memory to where they are sealed from, and begins a new part of the
    /// log. False when there is nothing to seal.
    fn take_for_sealing(&self, forced: bool) -> Result<bool, Error> {
        let mut writer = self.writer.lock();
        let state = self.state.read();
        if !state.sealing.is_empty() {
            return Ok(true);
        }
        let age = self.clock.monotonic().since(state.recent_since);
        let due = state.recent.len() >= self.config.seal_events || age >= self.config.seal_interval;
        if state.recent.is_empty() || !(due || forced) {
            return Ok(false);
        }
        drop(state);
        writer.sealed_before = writer.log.start_segment().map_err(Error::Write)?;
        let floor = recovery::floor_record(writer.next_id);
        writer.log.append(&floor).map_err(Error::Write)?;
        let mut state = self.state.write();
        state.sealing = Arc::new(std::mem::take(&mut state.recent));
        Ok(true)
    }

    /// Removes segments that are too old, and the oldest while all take too much space.
    fn remove_old(&self) -> Result<(), Error> {
        let age = i64::try_from(self.config.retention.as_nanos()).unwrap_or(i64::MAX);
        let oldest_ns = self.clock.unix_ns().saturating_sub(age);
        let wal_bytes = self.writer.lock().log.bytes();
        let state = self.state.read();
        let mut bytes = wal_bytes + state.segments.iter().map(|s| s.bytes).sum::<u64>();
        let mut removed = Vec::new();
        for info in &state.segments {
            if info.time_max_ns < oldest_ns || bytes > self.config.bytes_max {
                bytes -= info.bytes;
                removed.push(SegmentInfo::clone(info));
            }
        }
        drop(state);
        if removed.is_empty() {
            return Ok(());
        }
        // Out of the catalogue first: a file it does not know is adopted again and removed
        // again, one that it misses would be reported as lost.
        self.catalogue.remove(&removed)?;
        let is_removed = |first_id| removed.iter().any(|r| r.first_id == first_id);
        self.state.write().segments.retain(|s| !is_removed(s.first_id));
        self.open_segments.lock().retain(|s| !is_removed(s.info.first_id));
        for info in &removed {
            let path = segment::folder(&self.config.folder).join(segment::file_name(info));
            match self.fs.remove(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { action: "remove", path, source });
                }
                _ => self.metrics.removed.inc(),
            }
        }
        Ok(())
    }
}

impl Drop for EventDb {
    fn drop(&mut self) {
        // The last flush interval would survive a kill anyway; this saves it from a power failure.
        let _ = self.close();
    }
}

impl MetricSource for EventDb {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        metrics::visit(self, &self.metrics, visitor);
    }
}

/// Encodes events as few records, each at most `bytes_max` long.
fn encode(
    encoder: &mut Encoder,
    events: &[Event],
    bytes_max: usize,
    records: &mut Vec<Vec<u8>>,
) -> Result<(), Error> {
    let mut record = Vec::new();
    encoder.encode(events, &mut record);
    if record.len() <= bytes_max {
        records.push(record);
        return Ok(());
    }
    if events.len() == 1 {
        return Err(Error::TooLarge { max: bytes_max });
    }
    let (first, second) = events.split_at(events.len() / 2);
    encode(encoder, first, bytes_max, records)?;
    encode(encoder, second, bytes_max, records)
}

fn choose_entries(entries: &[Arc<Entry>], chosen: &mut Chosen<'_>) {
    let filter = chosen.filter;
    let end = entries.partition_point(|e| e.event.id < filter.before);
    for entry in entries[..end].iter().rev() {
        if chosen.events.len() >= chosen.limit || chosen.scanned >= chosen.rows_max {
            return;
        }
        chosen.scanned += 1;
        chosen.reached = entry.event.id;
        if filter.matches_fields(&entry.event) && filter.matches_text(entry.text.as_bytes()) {
            chosen.events.push((*entry.event).clone());
        }
    }
}

fn may_match(info: &SegmentInfo, filter: &Filter) -> bool {
    let kinds = vedette_model::EventKind::ALL.into_iter().filter(|k| info.kinds[*k as usize] > 0);
    let kinds = kinds.fold(0, |set, kind| set | kind_bit(kind));
    info.first_id < filter.before
        && info.time_min_ns <= filter.range_ns.1
        && info.time_max_ns >= filter.range_ns.0
        && filter.kinds.is_none_or(|wanted| wanted & kinds != 0)
        && filter.min_severity.is_none_or(|min| info.severity_max >= Some(min))
}

fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
