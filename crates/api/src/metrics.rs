//! The server's own metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use vedette_model::{
    MetricKind,
    telemetry::{Counter, Family, MetricSource, MetricVisitor},
};
use vedette_promql::RangeCache;

use crate::{gate::Gate, queries::Queries, routes::ROUTES};

const REQUESTS: Family = Family {
    name: "vedette_api_requests_total",
    kind: MetricKind::Counter,
    help: "Requests answered, by route and class of status.",
};
const REQUEST_SECONDS: Family = Family {
    name: "vedette_api_request_duration_seconds_total",
    kind: MetricKind::Counter,
    help: "Time from the end of a request's head to the start of its answer, summed by route.",
};
const SLOW_REQUESTS: Family = Family {
    name: "vedette_api_requests_slow_total",
    kind: MetricKind::Counter,
    help: "Requests that took longer than a second, by route.",
};
const IN_FLIGHT: Family = Family {
    name: "vedette_api_requests_in_flight",
    kind: MetricKind::Gauge,
    help: "Requests that are being answered.",
};
const CONNECTIONS: Family =
    Family { name: "vedette_api_connections", kind: MetricKind::Gauge, help: "Open connections." };
const CONNECTIONS_ENDED: Family = Family {
    name: "vedette_api_connections_cut_total",
    kind: MetricKind::Counter,
    help: "Connections ended because the client broke the protocol, was too slow, or left within an answer.",
};
const REFUSED: Family = Family {
    name: "vedette_api_requests_refused_total",
    kind: MetricKind::Counter,
    help: "Requests refused before any handler saw them, by reason.",
};
const HANDSHAKES_FAILED: Family = Family {
    name: "vedette_api_tls_handshakes_failed_total",
    kind: MetricKind::Counter,
    help: "Connections that ended before they were encrypted: other protocols, versions or certificates, or too slow.",
};
const QUERIES_RUNNING: Family =
    Family { name: "vedette_api_queries_running", kind: MetricKind::Gauge, help: "Queries that run." };
const QUERIES_WAITING: Family = Family {
    name: "vedette_api_queries_waiting",
    kind: MetricKind::Gauge,
    help: "Queries that wait for their turn.",
};
const QUERIES_ENDED: Family = Family {
    name: "vedette_api_queries_unfinished_total",
    kind: MetricKind::Counter,
    help: "Queries that gave no answer, by reason.",
};
const QUERIES_MEMORY: Family = Family {
    name: "vedette_api_queries_memory_bytes",
    kind: MetricKind::Gauge,
    help: "Memory that queries have taken.",
};
const QUERIES_SLOW: Family = Family {
    name: "vedette_api_queries_slow_total",
    kind: MetricKind::Counter,
    help: "Queries that took longer than what counts as slow.",
};
const CACHE_QUERIES: Family = Family {
    name: "vedette_api_query_cache_queries_total",
    kind: MetricKind::Counter,
    help: "Range queries by how much of their answer was kept: all, some, none, or such as cannot be kept.",
};
const CACHE_STEPS: Family = Family {
    name: "vedette_api_query_cache_steps_total",
    kind: MetricKind::Counter,
    help: "Steps of range queries whose answers can be kept, by whether they were reused or evaluated.",
};
const CACHE_EVICTED: Family = Family {
    name: "vedette_api_query_cache_evicted_total",
    kind: MetricKind::Counter,
    help: "Kept answers that had to make room for others.",
};
const CACHE_ENTRIES: Family = Family {
    name: "vedette_api_query_cache_entries",
    kind: MetricKind::Gauge,
    help: "Answers that are kept.",
};
const CACHE_BYTES: Family = Family {
    name: "vedette_api_query_cache_bytes",
    kind: MetricKind::Gauge,
    help: "Memory of answers that are kept.",
};
const LIVE_READERS: Family =
    Family { name: "vedette_api_live_readers", kind: MetricKind::Gauge, help: "Readers of live events." };
const LIVE_LOST: Family = Family {
    name: "vedette_api_live_events_lost_total",
    kind: MetricKind::Counter,
    help: "Events that readers of live events were too slow to take.",
};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A number of things that are there now.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// Counts one for as long as the guard lives.
    pub fn enter(self: &std::sync::Arc<Self>) -> Entered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts one while it lives.
pub struct Entered(std::sync::Arc<Level>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counters of one route.
#[derive(Default)]
struct RouteCounters {
    by_class: [Counter; CLASSES.len()],
    nanoseconds: Counter,
    slow: Counter,
}

/// All of the server's metrics.
pub struct Metrics {
    /// One for each route, and one for what no route takes.
    routes: Vec<RouteCounters>,
    pub in_flight: std::sync::Arc<Level>,
    pub connections: std::sync::Arc<Level>,
    pub connections_cut: Counter,
    pub handshakes_failed: Counter,
    pub refused_login: Counter,
    pub refused_rate: Counter,
    pub refused_host: Counter,
    pub refused_origin: Counter,
    pub refused_size: Counter,
    pub refused_busy: Counter,
    pub queries_running: std::sync::Arc<Level>,
    pub queries_waiting: std::sync::Arc<Level>,
    pub queries_timed_out: Counter,
    pub queries_canceled: Counter,
    pub queries_refused: Counter,
    pub live_readers: std::sync::Arc<Level>,
    pub live_lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            routes: (0..=ROUTES.len()).map(|_| RouteCounters::default()).collect(),
            in_flight: Default::default(),
            connections: Default::default(),
            connections_cut: Counter::default(),
            handshakes_failed: Counter::default(),
            refused_login: Counter::default(),
            refused_rate: Counter::default(),
            refused_host: Counter::default(),
            refused_origin: Counter::default(),
            refused_size: Counter::default(),
            refused_busy: Counter::default(),
            queries_running: Default::default(),
            queries_waiting: Default::default(),
            queries_timed_out: Counter::default(),
            queries_canceled: Counter::default(),
            queries_refused: Counter::default(),
            live_readers: Default::default(),
            live_lost: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts an answer; `route` is `None` where no route took the request.
    pub fn answered(&self, route: Option<usize>, status: u16, took: Duration) {
        let counters = &self.routes[route.unwrap_or(ROUTES.len())];
        counters.by_class[usize::from((status / 100).clamp(1, 5) - 1)].inc();
        counters.nanoseconds.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if took > Duration::from_secs(1) {
            counters.slow.inc();
        }
    }

    fn each_route(&self, mut each: impl FnMut(&str, &RouteCounters)) {
        let names = ROUTES.iter().map(|r| r.path).chain(["none"]);
        for (name, counters) in names.zip(&self.routes) {
            if counters.by_class.iter().any(|c| c.get() > 0) {
                each(name, counters);
            }
        }
    }
}

/// What the server's other parts know of queries.
pub struct QueryMetrics {
    pub gate: Arc<Gate>,
    pub queries: Arc<Queries>,
    pub cache: Option<Arc<RangeCache>>,
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for QueryMetrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let cache = self.cache.as_ref().map(|cache| cache.stats()).unwrap_or_default();
        for (how_much, count) in [
            ("all", cache.hits),
            ("some", cache.partial_hits),
            ("none", cache.misses),
            ("bypassed", cache.bypassed),
        ] {
            visitor.value(&CACHE_QUERIES, &[("kept", how_much)], count as f64);
        }
        for (from, count) in [("reused", cache.steps_reused), ("evaluated", cache.steps_evaluated)] {
            visitor.value(&CACHE_STEPS, &[("steps", from)], count as f64);
        }
        visitor.value(&CACHE_EVICTED, &[], cache.evicted as f64);
        visitor.value(&CACHE_ENTRIES, &[], cache.entries as f64);
        visitor.value(&CACHE_BYTES, &[], cache.bytes as f64);
        visitor.value(&QUERIES_MEMORY, &[], self.gate.memory_bytes() as f64);
        visitor.value(&QUERIES_SLOW, &[], self.queries.slow_count() as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for Metrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        self.each_route(|route, counters| {
            for (class, counter) in CLASSES.iter().zip(&counters.by_class) {
                if counter.get() > 0 {
                    visitor.value(&REQUESTS, &[("route", route), ("status", class)], counter.get() as f64);
                }
            }
        });
        self.each_route(|route, counters| {
            visitor.value(&REQUEST_SECONDS, &[("route", route)], counters.nanoseconds.get() as f64 / 1e9);
        });
        self.each_route(|route, counters| {
            visitor.value(&SLOW_REQUESTS, &[("route", route)], counters.slow.get() as f64);
        });
        for (family, level) in [
            (&IN_FLIGHT, &self.in_flight),
            (&CONNECTIONS, &self.connections),
            (&QUERIES_RUNNING, &self.queries_running),
            (&QUERIES_WAITING, &self.queries_waiting),
            (&LIVE_READERS, &self.live_readers),
        ] {
            visitor.value(family, &[], level.get() as f64);
        }
        visitor.value(&CONNECTIONS_ENDED, &[], self.connections_cut.get() as f64);
        visitor.value(&HANDSHAKES_FAILED, &[], self.handshakes_failed.get() as f64);
        visitor.value(&LIVE_LOST, &[], self.live_lost.get() as f64);
        for (family, reason, counter) in [
            (&REFUSED, "login", &self.refused_login),
            (&REFUSED, "rate", &self.refused_rate),
            (&REFUSED, "host", &self.refused_host),
            (&REFUSED, "origin", &self.refused_origin),
            (&REFUSED, "size", &self.refused_size),
            (&REFUSED, "busy", &self.refused_busy),
            (&QUERIES_ENDED, "timeout", &self.queries_timed_out),
            (&QUERIES_ENDED, "canceled", &self.queries_canceled),
            (&QUERIES_ENDED, "refused", &self.queries_refused),
        ] {
            visitor.value(family, &[("reason", reason)], counter.get() as f64);
        }
    }
}
