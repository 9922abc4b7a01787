//! What keeps the head from taking all memory: a budget in bytes, and limits on the number of
//! series, of one metric, of one target, of one tenant.
//!
//! Where a limit is reached new series are refused, and told of by name; those that are there go
//! on. Limits by metric, target and tenant are soft: series begun at the very same moment may pass.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use vedette_model::{Labels, METRIC_NAME};

use crate::{Error, Store};

/// Labels that name a target, as scraping sets them.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// Memory that a new series is counted with until all is counted anew, beside its labels.
const SERIES_BYTES: u64 = 200;

/// Names of refused metrics that are counted at the same time.
const NAMES_MAX: usize = 256;

/// A limit on series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SeriesLimit {
    /// On all series of the store.
    Store,
    /// On the memory of the head, in bytes.
    Memory,
    /// On the series of one metric name.
    Metric,
    /// On the series of one target: with the same `job` and `instance`.
    Target,
    /// On the series of one tenant: with the same value of the label that names it.
    Tenant,
}

impl SeriesLimit {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Store, Self::Memory, Self::Metric, Self::Target, Self::Tenant];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Memory => "memory",
            Self::Metric => "metric",
            Self::Target => "target",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for SeriesLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "series of the store",
            Self::Memory => "bytes of memory for series",
            Self::Metric => "series of one metric",
            Self::Target => "series of one target",
            Self::Tenant => "series of one tenant",
        })
    }
}

/// What was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Memory of the head, as counted last, and what was begun since.
    head_bytes: AtomicU64,
    /// Refused attempts by metric name and limit.
    names: Mutex<BTreeMap<(String, SeriesLimit), u64>>,
}

/// New series of one metric that were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMetric {
    /// The name of the metric, or of the target or tenant where that is what has too many.
    pub name: String,
    /// The limit that was reached.
    pub limit: SeriesLimit,
    /// How often since the start, at least: names that come rarely may be left out.
    pub refused: u64,
}

impl Refusals {
    fn note(&self, name: &str, limit: SeriesLimit) {
        let mut names = self.names.lock();
        let key = (name.to_owned(), limit);
        if !names.contains_key(&key) && names.len() >= NAMES_MAX {
            // The name that was refused least makes room, and leaves its count: a name that comes
            // often outgrows it.
            let Some((least, count)) = names.iter().min_by_key(|(_, count)| **count) else { return };
            let (least, count) = (least.clone(), *count);
            names.remove(&least);
            names.insert(key.clone(), count);
        }
        *names.entry(key).or_default() += 1;
    }

    /// The names refused most often, most often first.
    pub fn worst(&self, count: usize) -> Vec<RefusedMetric> {
        let names = self.names.lock();
        let mut all: Vec<_> = names
            .iter()
            .map(|((name, limit), &refused)| RefusedMetric { name: name.clone(), limit: *limit, refused })
            .collect();
        all.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.name.cmp(&b.name)));
        all.truncate(count);
        all
    }
}

impl Store {
    /// Says whether there is room for a new series, and counts it in.
    pub(crate) fn admit(&self, labels: &Labels) -> Result<(), Error> {
        let config = &self.config;
        let count = self.series_count.fetch_add(1, Ordering::AcqRel);
        let bytes = SERIES_BYTES + labels.heap_bytes() as u64;
        let used = self.refusals.head_bytes.fetch_add(bytes, Ordering::AcqRel);
        let reached = |max: usize, there: &dyn Fn() -> usize| max > 0 && there() >= max;
        let target = || TARGET_LABELS.map(|name| labels.get(name).unwrap_or_default());
        let (limit, max) = if count >= config.series_max {
            (SeriesLimit::Store, config.series_max as u64)
        } else if config.head_bytes_max > 0 && used + bytes > config.head_bytes_max {
            (SeriesLimit::Memory, config.head_bytes_max)
        } else if reached(config.metric_series_max, &|| {
            self.head.count(&[(METRIC_NAME, labels.metric_name())])
        }) {
            (SeriesLimit::Metric, config.metric_series_max as u64)
        } else if reached(config.target_series_max, &|| {
            let pairs: Vec<_> = TARGET_LABELS.into_iter().zip(target()).filter(|p| !p.1.is_empty()).collect();
            self.head.count(&pairs)
        }) {
            (SeriesLimit::Target, config.target_series_max as u64)
        } else if let Some(tenant) = labels.get(&config.tenant_label)
            && reached(config.tenant_series_max, &|| self.head.count(&[(&config.tenant_label, tenant)]))
        {
            (SeriesLimit::Tenant, config.tenant_series_max as u64)
        } else {
            return Ok(());
        };
        self.series_count.fetch_sub(1, Ordering::AcqRel);
        self.refusals.head_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.metrics.series_refused(limit).inc();
        let name = match limit {
            SeriesLimit::Target => target().join(" "),
            SeriesLimit::Tenant => labels.get(&config.tenant_label).unwrap_or_default().to_owned(),
            _ => labels.metric_name().to_owned(),
        };
        self.refusals.note(&name, limit);
        Err(Error::SeriesLimit { limit, name, max })
    }

    /// Counts the memory of the head.
    pub(crate) fn count_memory(&self) -> u64 {
        let bytes = self.head.used_bytes() as u64;
        self.refusals.head_bytes.store(bytes, Ordering::Release);
        bytes
    }
}
