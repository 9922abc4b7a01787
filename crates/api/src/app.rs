//! What the server serves: everything that composition hands in, and nothing it finds by itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use vedette_eventdb::EventDb;
use vedette_model::{
    Container, Finding, Host, Matcher, MetricReader, TimeRange, status::StatusBoard, telemetry::Telemetry,
};
use vedette_promql::Engine;
use vedette_sys::Clock;
use vedette_wire::prometheus::RuleGroup;

use crate::{Config, LatestSamples, gate::Gate, metrics::Metrics, prometheus::write::WriteGate};

/// What the server serves.
pub struct App {
    /// The store of series.
    pub series: Arc<dyn MetricReader>,
    /// Takes samples that others send.
    pub writer: Arc<dyn RemoteWriter>,
    /// Deletes series and makes snapshots; `None` unless the operator allows it.
    pub admin: Option<Arc<dyn SeriesAdmin>>,
    /// The evaluator of queries.
    pub engine: Arc<Engine>,
    /// The store of events.
    pub events: Arc<EventDb>,
    /// Rules, alerts and findings.
    pub judgement: Arc<dyn Judgement>,
    /// The containers that are there now.
    pub containers: Arc<dyn Fn() -> Vec<Arc<Container>> + Send + Sync>,
    /// The newest values of what is collected.
    pub latest: Arc<dyn LatestSamples>,
    /// What all parts say of themselves.
    pub status: StatusBoard,
    /// Own metrics; the server adds its own.
    pub telemetry: Telemetry,
    /// The machine.
    pub host: Arc<Host>,
    /// Release of the machine's kernel.
    pub kernel: String,
    /// The program.
    pub build: BuildInfo,
    /// Set once everything that was stored can be read.
    pub ready: Arc<AtomicBool>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version.
    pub version: String,
    /// Source revision, or an empty string.
    pub revision: String,
}

/// What the rule clockwork shows of itself. All answers are snapshots.
pub trait Judgement: Send + Sync {
    /// All rule groups with the state of their rules and alerts.
    fn rule_groups(&self) -> Vec<RuleGroup>;

    /// All findings that fire, and those resolved a short time ago.
    fn findings(&self) -> Vec<Finding>;
}

/// Takes samples that others send. Called on blocking threads, several at a time.
pub trait RemoteWriter: Send + Sync {
    /// Takes the body of a remote-write request as it came. When this returns, what it tells as
    /// stored is written.
    fn write(&self, body: &[u8]) -> RemoteWritten;
}

/// What became of a remote-write request. The texts are for the sender's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteWritten {
    /// All of it is stored.
    Stored,
    /// What could be stored is; the sender must not send the rest again.
    Refused(String),
    /// It is larger than allowed; nothing is stored.
    TooLarge(String),
    /// It cannot be stored now; the sender should send all of it again.
    Retry(String),
}

/// Works on what the store of series keeps. Called on blocking threads, one at a time; errors are
/// texts for the client.
pub trait SeriesAdmin: Send + Sync {
    /// Deletes the samples in `range` of the series that satisfy all matchers of any one set.
    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), String>;

    /// Frees the space of what was deleted.
    fn clean(&self) -> Result<(), String>;

    /// Makes a snapshot of this name; with `skip_head` without what is not sealed yet.
    fn snapshot(&self, name: &str, skip_head: bool) -> Result<(), String>;
}

/// The application and what the server keeps beside it.
pub struct Shared {
    pub app: App,
    pub config: Config,
    pub gate: Gate,
    pub writes: WriteGate,
    pub admin_turn: Arc<tokio::sync::Mutex<()>>,
    pub metrics: Arc<Metrics>,
    pub started_ns: i64,
    /// Set when the server stops, for what would never end by itself.
    pub stopping: tokio::sync::watch::Sender<bool>,
}

impl Shared {
    pub fn new(app: App, config: Config) -> Self {
        let metrics = Arc::new(Metrics::default());
        app.telemetry.register(metrics.clone());
        Self {
            gate: Gate::new(&config, metrics.clone()),
            writes: WriteGate::new(&config),
            admin_turn: Arc::default(),
            started_ns: app.clock.unix_ns(),
            stopping: tokio::sync::watch::Sender::new(false),
            metrics,
            config,
            app,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.app.ready.load(Ordering::Acquire)
    }
}
