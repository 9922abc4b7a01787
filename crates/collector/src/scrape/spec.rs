//! A target that is scraped: how, and what came of it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use mio::net::TcpStream;
use parking_lot::Mutex;
use vedette_config::prometheus::ScrapeJob;
use vedette_model::{MetricMetadata, TargetHealth};
use vedette_scrape::{Target, TargetId};
use vedette_sys::MonotonicTime;

use super::fetch::Fetcher;

/// How a target is scraped.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) job: Arc<ScrapeJob>,
    pub(crate) target: Arc<Target>,
    /// How it is asked; shared by the targets of the job.
    pub(crate) fetcher: Arc<Fetcher>,
    /// The request, where a connection without encryption does.
    pub(crate) request: Option<Box<[u8]>>,
    /// Why every scrape of the job fails, if so.
    pub(crate) pool_error: Option<String>,
}

impl Spec {
    pub(crate) fn new(
        job: Arc<ScrapeJob>,
        target: Arc<Target>,
        fetcher: Arc<Fetcher>,
        pool_error: Option<String>,
    ) -> Self {
        let request = fetcher.request(&job, &target);
        Self { job, target, fetcher, request, pool_error }
    }
}

/// A scrape under way.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Tells it from others.
    pub(crate) number: u64,
    pub(crate) spec: Arc<Spec>,
    /// The time of its samples.
    pub(crate) time_ms: i64,
    pub(crate) begun: MonotonicTime,
    pub(crate) begun_ns: i64,
}

/// The connection of a target between scrapes, which its lane listens to, and what was asked over it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) ask: Option<Ask>,
}

/// A target and its state.
#[derive(Debug)]
pub(crate) struct Live {
    /// Unique among all jobs.
    pub(crate) id: TargetId,
    /// Which lane reads its answers.
    pub(crate) lane: usize,
    spec: Mutex<Arc<Spec>>,
    /// Whether a scrape is under way.
    pub(crate) is_busy: AtomicBool,
    pub(crate) status: Mutex<Status>,
    /// What it told last of its families.
    pub(crate) families: Mutex<Vec<Arc<MetricMetadata>>>,
    pub(crate) kept: Mutex<Kept>,
}

/// What came of the last scrape.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    pub(crate) health: TargetHealth,
    pub(crate) error: String,
    pub(crate) scraped_ns: i64,
    pub(crate) duration: Duration,
    /// Bytes of the last answer, by which room is made for the next.
    pub(crate) bytes: usize,
}

impl Live {
    pub(crate) fn new(id: TargetId, lane: usize, spec: Arc<Spec>) -> Self {
        Self {
            id,
            lane,
            spec: Mutex::new(spec),
            is_busy: AtomicBool::new(false),
            status: Mutex::default(),
            families: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// How it is scraped now.
    pub(crate) fn spec(&self) -> Arc<Spec> {
        Arc::clone(&self.spec.lock())
    }

    /// Changes how it is scraped.
    pub(crate) fn set_spec(&self, spec: Arc<Spec>) {
        *self.spec.lock() = spec;
    }
}
