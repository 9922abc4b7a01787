//! What is known of queries: which run, which took long, which ran when the process ended the last
//! time. Bounded, whatever clients ask.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use vedette_sys::{Clock, MonotonicTime};
use vedette_wire::{json::Object, number::push_rfc3339, prometheus::QueryStats, vedette as wire};

use crate::{App, Config};

/// Slow queries that are kept.
const SLOW_MAX: usize = 100;

/// Characters of an expression that are kept and logged.
const TEXT_CHARS_MAX: usize = 2000;

/// Keeps what is told of queries beyond the end of the process. Called on blocking threads, several
/// at a time; what cannot be written is for the implementation to tell of.
pub trait QueryLog: Send + Sync {
    /// A query begins. The number is not in use by another that runs.
    fn begun(&self, number: usize, line: &[u8]);

    /// It is over.
    fn ended(&self, number: usize);

    /// Whether [`QueryLog::log`] is to be told of all queries.
    fn wants_all(&self) -> bool;

    /// What became of a query, as one line of JSON in the form of Prometheus' query log.
    fn log(&self, line: &[u8]);

    /// What was begun and not ended by the process before.
    fn interrupted(&self) -> Vec<String>;
}

/// Queries that run and ran.
pub struct Queries {
    slow_from: Duration,
    slow: Mutex<VecDeque<wire::FinishedQuery>>,
    slow_count: AtomicU64,
    active: Mutex<BTreeMap<usize, (wire::AskedQuery, MonotonicTime)>>,
}

/// A query that runs, until this is dropped.
pub struct Active<'q> {
    queries: &'q Queries,
    app: &'q App,
    number: usize,
    asked: wire::AskedQuery,
    begun: MonotonicTime,
}

/// What a query took.
#[derive(Debug, Clone, Default)]
pub struct Took {
    pub queue: Duration,
    pub series_read: u64,
    pub samples_read: u64,
    pub memory_bytes: u64,
    pub answer_bytes: u64,
    pub steps_reused: u64,
    pub stats: QueryStats,
    pub error: String,
}

impl Queries {
    pub fn new(config: &Config) -> Self {
        Self {
            slow_from: config.slow_query,
            slow: Mutex::default(),
            slow_count: AtomicU64::new(0),
            active: Mutex::default(),
        }
    }

    /// Queries that took long, since the start.
    pub fn slow_count(&self) -> u64 {
        self.slow_count.load(Ordering::Relaxed)
    }

    /// How long a query takes that counts as slow.
    pub fn slow_from(&self) -> Duration {
        self.slow_from
    }

    /// Those that took long, the latest first.
    pub fn slow(&self) -> Vec<wire::FinishedQuery> {
        lock(&self.slow).iter().rev().cloned().collect()
    }

    /// Those that run, the oldest first.
    pub fn active(&self, clock: &dyn Clock) -> Vec<wire::ActiveQuery> {
        let now = clock.monotonic();
        let mut all: Vec<_> = lock(&self.active).values().cloned().collect();
        all.sort_by_key(|(_, begun)| *begun);
        let active = |(asked, begun): (wire::AskedQuery, MonotonicTime)| wire::ActiveQuery {
            asked,
            running_seconds: now.since(begun).as_secs_f64(),
        };
        all.into_iter().map(active).collect()
    }

    /// A query begins to run.
    pub fn begin<'q>(&'q self, app: &'q App, mut asked: wire::AskedQuery) -> Active<'q> {
        if let Some((cut, _)) = asked.query.char_indices().nth(TEXT_CHARS_MAX) {
            asked.query.truncate(cut);
            asked.query.push('…');
        }
        let begun = app.clock.monotonic();
        let mut active = lock(&self.active);
        let number = (0..).find(|n| !active.contains_key(n)).unwrap_or(0);
        active.insert(number, (asked.clone(), begun));
        drop(active);
        if let Some(log) = &app.query_log {
            let mut line = Vec::with_capacity(256);
            let mut object = Object::begin(&mut line);
            object.text("query", &asked.query).text("path", asked.path).text("client", &asked.client);
            object
                .member("timestamp_sec")
                .extend_from_slice((asked.began_unix_ms / 1000).to_string().as_bytes());
            object.end();
            log.begun(number, &line);
        }
        Active { queries: self, app, number, asked, begun }
    }
}

impl Active<'_> {
    /// It is over.
    pub fn end(self, took: Took) {
        let run = self.app.clock.monotonic().since(self.begun);
        if let Some(log) = self.app.query_log.as_ref().filter(|log| log.wants_all()) {
            log.log(&prometheus_line(&self.asked, &took, self.app.clock.unix_ns()));
        }
        if run + took.queue < self.queries.slow_from {
            return;
        }
        self.queries.slow_count.fetch_add(1, Ordering::Relaxed);
        let finished = wire::FinishedQuery {
            asked: self.asked.clone(),
            queue_seconds: took.queue.as_secs_f64(),
            run_seconds: run.as_secs_f64(),
            series_read: took.series_read,
            samples_read: took.samples_read,
            memory_bytes: took.memory_bytes,
            answer_bytes: took.answer_bytes,
            steps_reused: took.steps_reused,
            error: took.error,
        };
        tracing::warn!(
            query = finished.asked.query,
            path = finished.asked.path,
            start_ms = finished.asked.start_unix_ms,
            end_ms = finished.asked.end_unix_ms,
            step_ms = finished.asked.step_ms,
            client = finished.asked.client,
            queue_seconds = finished.queue_seconds,
            run_seconds = finished.run_seconds,
            series = finished.series_read,
            samples = finished.samples_read,
            memory_bytes = finished.memory_bytes,
            answer_bytes = finished.answer_bytes,
            steps_reused = finished.steps_reused,
            error = finished.error,
            "slow query"
        );
        let mut slow = lock(&self.queries.slow);
        if slow.len() >= SLOW_MAX {
            slow.pop_front();
        }
        slow.push_back(finished);
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        lock(&self.queries.active).remove(&self.number);
        if let Some(log) = &self.app.query_log {
            log.ended(self.number);
        }
    }
}

/// A line as Prometheus writes it to its query log.
fn prometheus_line(asked: &wire::AskedQuery, took: &Took, now_ns: i64) -> Vec<u8> {
    let mut line = Vec::with_capacity(512);
    let mut object = Object::begin(&mut line);
    let time = |out: &mut Vec<u8>, ns: i64| {
        out.push(b'"');
        push_rfc3339(out, ns);
        out.push(b'"');
    };
    time(object.member("time"), now_ns);
    object.text("level", "INFO").text("msg", "promql query logged");
    let mut params = Object::begin(object.member("params"));
    params.text("query", &asked.query);
    time(params.member("start"), asked.start_unix_ms.saturating_mul(1_000_000));
    time(params.member("end"), asked.end_unix_ms.saturating_mul(1_000_000));
    params.member("step").extend_from_slice((asked.step_ms / 1000).to_string().as_bytes());
    params.end();
    let address = asked.client.split(' ').next().unwrap_or_default();
    let mut request = Object::begin(object.member("httpRequest"));
    request.text("clientIP", address).text("path", asked.path);
    request.end();
    vedette_wire::prometheus::query_stats(object.member("stats"), &took.stats);
    if !took.error.is_empty() {
        object.text("error", &took.error);
    }
    object.end();
    line
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
