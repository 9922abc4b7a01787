//! What the server serves: everything that composition hands in, and nothing it finds by itself.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use vedette_eventdb::EventDb;
use vedette_model::{
    Container, Directory, Finding, Host, Labels, Matcher, MetricReader, RelabelRule, StoreFigures,
    TargetReader, TimeRange, status::StatusBoard, telemetry::Telemetry,
};
use vedette_promql::{Engine, RangeCache};
use vedette_sys::Clock;
use vedette_wire::{prometheus::RuleGroup, vedette::CapacityAnswer};

use crate::{
    Config, KubeState, LatestSamples, QueryLog, RemoteWriter,
    gate::Gate,
    metrics::{Metrics, QueryMetrics},
    prometheus::notifications::Notifications,
    push::WriteGate,
    queries::Queries,
    web::{Web, WebSource},
};

/// What the server serves.
pub struct App {
    /// The store of series.
    pub series: Arc<dyn MetricReader>,
    /// Takes samples that others send.
    pub writer: Arc<dyn RemoteWriter>,
    /// The labels that name this server to others, as the configuration has them now; they are added
    /// to what others read.
    pub external_labels: Arc<dyn Fn() -> Labels + Send + Sync>,
    /// Deletes series and makes snapshots; `None` unless the operator allows it.
    pub admin: Option<Arc<dyn SeriesAdmin>>,
    /// What the store of series says of itself.
    pub storage: Arc<dyn StoreFigures>,
    /// What is scraped; `None` where nothing is.
    pub targets: Option<Arc<dyn TargetReader>>,
    /// How the program was started, and its life.
    pub program: Arc<dyn Program>,
    /// Encryption, users and headers of the server; `None` where everyone who reaches it may use it.
    pub web: Option<Arc<dyn WebSource>>,
    /// The evaluator of queries.
    pub engine: Arc<Engine>,
    /// Keeps what is told of queries; `None` where nobody wants to know.
    pub query_log: Option<Arc<dyn QueryLog>>,
    /// The store of events; `None` with an agent, which has no stores and refuses what needs one.
    pub events: Option<Arc<EventDb>>,
    /// Rules, alerts and findings.
    pub judgement: Arc<dyn Judgement>,
    /// The containers that are there now.
    pub containers: Arc<dyn Fn() -> Vec<Arc<Container>> + Send + Sync>,
    /// Who knows workloads.
    pub directory: Directory,
    /// The newest values of what is collected.
    pub latest: Arc<dyn LatestSamples>,
    /// The state of the objects of clusters.
    pub kube_state: Arc<dyn KubeState>,
    /// How many nodes of the watched clusters may fail.
    pub capacity: CapacityReader,
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

/// Tells how many nodes of the watched clusters may fail.
pub type CapacityReader = Arc<dyn Fn() -> CapacityAnswer + Send + Sync>;

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

/// A scrape job of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The rules by which targets are chosen and named.
    pub rules: Vec<RelabelRule>,
    /// The job as it is shown: all defaults, no secrets.
    pub yaml: String,
    /// What keeps targets from being found, for people: kinds of discovery that are not run, sources
    /// that fail.
    pub problems: Vec<String>,
}

/// URLs of Alertmanagers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alertmanagers {
    /// Those that alerts are sent to.
    pub active: Vec<String>,
    /// Those that rules dropped.
    pub dropped: Vec<String>,
}

/// How the program was started and configured, and its life. Called on blocking threads.
pub trait Program: Send + Sync {
    /// The configuration in force: YAML with all defaults and no secrets.
    fn config_yaml(&self) -> String;

    /// What it was started with, by names as Prometheus' flags have them where there is one.
    fn flags(&self) -> Vec<(String, String)>;

    /// What came of the last reading of the configuration.
    fn last_reload(&self) -> Reload;

    /// A scrape job of the configuration.
    fn job(&self, name: &str) -> Option<Job> {
        let _ = name;
        None
    }

    /// Where alerts are sent.
    fn alertmanagers(&self) -> Alertmanagers {
        Alertmanagers::default()
    }

    /// Reads the configuration anew: it is in force as a whole when this returns, or nothing of it
    /// is and the error says why.
    fn reload(&self) -> Result<(), String>;

    /// Asks the program to end.
    fn quit(&self);

    /// How long samples are kept, as Prometheus shows it: `15d`, `10GiB`, `15d or 10GiB`.
    fn retention(&self) -> String;
}

/// What came of reading the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reload {
    /// Whether the last one that was tried is in force.
    pub succeeded: bool,
    /// When one was in force for the first time, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Why the last one is not in force; empty where it is.
    pub error: String,
}

/// The application and what the server keeps beside it.
pub struct Shared {
    pub app: App,
    pub config: Config,
    pub gate: Arc<Gate>,
    /// Answers that are kept, unless nothing is to be kept.
    pub cache: Option<Arc<RangeCache>>,
    pub queries: Arc<Queries>,
    /// What ran when the process before ended.
    pub interrupted: Vec<String>,
    pub writes: WriteGate,
    pub admin_turn: Arc<tokio::sync::Mutex<()>>,
    pub notifications: Notifications,
    pub web: Arc<Web>,
    pub metrics: Arc<Metrics>,
    pub started_ns: i64,
    /// Set when the server stops, for what would never end by itself.
    pub stopping: tokio::sync::watch::Sender<bool>,
}

impl Shared {
    pub fn new(app: App, config: Config, web: Web) -> Self {
        let metrics = Arc::new(Metrics::default());
        app.telemetry.register(metrics.clone());
        let gate = Arc::new(Gate::new(&config, metrics.clone(), app.clock.clone()));
        let queries = Arc::new(Queries::new(&config));
        let cache_bytes = config.query_cache_bytes_max;
        let cache = (cache_bytes > 0)
            .then(|| Arc::new(RangeCache::new(cache_bytes, vedette_wire::number::push_value)));
        app.telemetry.register(Arc::new(QueryMetrics {
            gate: gate.clone(),
            queries: queries.clone(),
            cache: cache.clone(),
        }));
        Self {
            interrupted: app.query_log.as_ref().map_or_else(Vec::new, |log| log.interrupted()),
            cache,
            queries,
            gate,
            writes: WriteGate::new(&config),
            admin_turn: Arc::default(),
            notifications: Notifications::default(),
            web: Arc::new(web),
            started_ns: app.clock.unix_ns(),
            stopping: tokio::sync::watch::Sender::new(false),
            metrics,
            config,
            app,
        }
    }

    /// The store of events, for routes that an agent refuses.
    pub fn events(&self) -> &Arc<EventDb> {
        self.app.events.as_ref().expect("BUG: an agent refuses the routes to events")
    }

    pub fn is_ready(&self) -> bool {
        self.app.ready.load(Ordering::Acquire)
    }
}
