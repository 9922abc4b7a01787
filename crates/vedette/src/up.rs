//! `vedette up`: everything in one process. This file is the whole composition; whoever reads it
//! knows what the program is made of.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::sync::watch;
use vedette_alerting::Alerting;
use vedette_api::{
    App, BuildInfo, LatestSample, LatestSamples, SeriesAdmin, SeriesCourse, Server, Source, WebSource,
};
use vedette_collector::{Collector, Latest, Newest, Surroundings, scrape::StartTimes};
use vedette_config::prometheus::Mode;
use vedette_detection::Detector;
use vedette_eventdb::EventDb;
use vedette_host::Identity;
use vedette_ingest::{Ingest, Receiver};
use vedette_model::{
    Directory, Event, Finding, Host, Labels, MachineFacts, Matcher, MetricReader, MinuteUsage, Origin,
    ProcessFigures, Severity, Sink, TimeRange,
    cluster::ClusterStatus,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_promql::{Engine, EngineConfig};
use vedette_response::Responder;
use vedette_ruler::{Detect, DetectionStage, PartHealth, Parts, Ruler};
use vedette_sys::{Clock, Flush, FolderLock, Fs, Growth, MonotonicTime, RealFs, SystemClock};
use vedette_tsdb::Tsdb;

use crate::{
    capacity::live,
    cluster_audit::AuditDesks,
    cluster_events::Keeping,
    cluster_parts::ClusterParts,
    cluster_state::ClusterStates,
    config::{KeepSettings, ReceiverSettings, RollupSettings, Settings, Target},
    graphite,
    judgement::{self, RulerJudgement},
    outlet::Outbox,
    program::Own,
    prometheus_file,
    push::PushDoor,
    query_log::QueryFiles,
    stray_containers::Looking,
    web_files::WebFiles,
};
use prometheus::{FirstReading, Onward, OwnRules, Prometheus};

mod agent;
mod clusters;
pub mod prometheus;

/// How often the stores flush, seal and clean up, and findings are looked through for what is over.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);
/// Between two accounts of the stores on the status board.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// A log of so many bytes is replayed in about a second. The program is ready before: whoever asks the
/// metric store for anything waits as long, and gets all of it. A larger log is replayed first.
const REPLAY_BEHIND_BYTES_MAX: usize = 64 << 20;
/// How long a loss at the door of the stores stands on the status board after it has ended.
const LOSS_SHOWN: Duration = Duration::from_secs(300);

/// What all parts share.
#[derive(Clone)]
struct House {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    status: StatusBoard,
    telemetry: Telemetry,
    clusters: ClusterParts,
    /// How many of the nodes of the clusters may fail.
    capacity: live::Board,
    host: Arc<Host>,
    kernel: String,
    /// The state of the objects of the clusters that are watched.
    states: Arc<ClusterStates>,
    /// Who knows workloads: one for each cluster that is watched.
    directory: Directory,
}

impl House {
    fn origin(&self, source: &str) -> Origin {
        Origin {
            tenant: "default".into(),
            cluster: self.host.name.clone(),
            source: format!("{}/{source}", self.host.name),
            epoch: self.clock.unix_ns().unsigned_abs(),
        }
    }

    /// What those who gather need.
    fn surroundings(&self, sink: Arc<dyn Sink>) -> Surroundings {
        Surroundings {
            sink,
            clock: self.clock.clone(),
            status: self.status.clone(),
            telemetry: self.telemetry.clone(),
            host: self.host.clone(),
        }
    }
}

/// The stores and the door into them.
struct Stores {
    series: Arc<Tsdb>,
    events: Arc<EventDb>,
    ingest: Arc<Ingest>,
}

/// The ways to series and from them: what is kept here, and what is read from and sent to elsewhere.
struct Ways {
    reader: Arc<dyn MetricReader>,
    sink: Arc<dyn Sink>,
}

/// What answers for the server beside the stores.
struct Answering<'a> {
    ruler: &'a Ruler,
    collector: &'a Collector,
    program: Arc<Own>,
    pushed: PushDoor,
}

/// Runs until a signal asks it to end.
pub fn run(settings: &Settings) -> Result<()> {
    vedette_host::raise_open_file_limit();
    if settings.agent { agent::run(settings) } else { run_with_stores(settings) }
}

fn run_with_stores(settings: &Settings) -> Result<()> {
    let own_groups = judgement::rule_groups(settings)?;
    let path = settings.prometheus_config.as_deref();
    let read = |path| Ok::<_, anyhow::Error>((path, prometheus_file::read(path, &RealFs, Mode::Server)?));
    let prometheus = path.map(read).transpose()?;
    // Those of the file are there when the state of alerts is taken up, or it would be forgotten.
    let of_file = prometheus.iter().flat_map(|(_, loaded)| &loaded.groups);
    let groups = own_groups.iter().chain(of_file).cloned().collect();
    let detections = judgement::detections(settings)?;
    let (house, _lock) = open_house(settings)?;
    let runtime = start_runtime()?;
    let _entered = runtime.enter();

    let stores = open_stores(settings, &house)?;
    let responder = Arc::new(open_responder(settings, &house)?);
    let outbox = Arc::new(Outbox::new(responder.clone(), &house.host));
    let exports = prometheus::open_exports(settings, &house)?;
    prometheus::export_pushed(exports.as_ref(), stores.ingest.receiver());
    let onward = match &prometheus {
        Some((_, loaded)) => Some(Onward::open(loaded, settings, &house, &stores, exports.as_ref())?),
        None => None,
    };
    let own_sink = || prometheus::beside(exports.as_ref(), stores.ingest.clone());
    let sink = onward.as_ref().map_or_else(own_sink, |onward| onward.sink.clone());
    let own_store = || stores.series.clone() as Arc<dyn MetricReader>;
    let merged = onward.as_ref().and_then(|onward| onward.reader.clone());
    let reader = merged.map_or_else(own_store, |merged| merged as _);
    let ways = Ways { reader, sink: sink.clone() };
    let mut ruler = start_ruler(settings, &house, &ways, groups, outbox.clone())?;
    outbox.tell(Arc::new(ruler.handle()));
    let stage = detection_stage(detections, sink.clone(), &house, &ruler);
    let mut collector = start_collector(settings, &house, stage.clone())?;
    let keeping = cluster_events(&house, stage.clone(), stores.events.clone());
    let looking = Looking {
        stage: stage.clone(),
        ruler: ruler.handle(),
        containers: collector.containers(),
        directory: house.directory.clone(),
        host: house.host.clone(),
        node: house.host.name.as_str().into(),
        clock: house.clock.clone(),
        status: house.status.clone(),
    };
    let audit = AuditDesks::open(&settings.kubernetes, &keeping);
    let clusters = clusters::watch(settings, &house, Some((&keeping, &looking)), &audit);
    let file = prometheus.zip(onward.as_ref()).map(|((path, loaded), onward)| {
        let own = OwnRules {
            ruler: ruler.handle(),
            config: alerting_config(settings),
            groups: own_groups,
            outbox: outbox.clone(),
        };
        FirstReading { path, loaded, onward, own: Some(own) }
    });
    let prometheus = settings
        .scrapes()
        .then(|| Prometheus::start(file, &house, sink, settings.scrape, clusters.clone()))
        .transpose()?
        .map(Arc::new);
    clusters::scrape_parts(settings, &house, &clusters, prometheus.as_deref());
    let (stop, stopped) = watch::channel(false);
    let program = Arc::new(Own::new(settings, house.clock.unix_ns(), stop.clone(), prometheus.clone()));
    let pushed = PushDoor { samples: stores.ingest.receiver().clone(), audit };
    let answering = Answering { ruler: &ruler, collector: &collector, program, pushed };
    let server = bind_server(settings, &house, &stores, &ways, answering)?;
    let mut states = clusters::store(settings, &house, stage.clone(), &server, prometheus.as_deref())?;
    println!("Vedette {} watches {}: {}", env!("CARGO_PKG_VERSION"), house.host.name, address(&server));

    let graphite = listen_for_graphite(settings, &runtime, stores.ingest.receiver(), &stopped)?;
    let maintenance = spawn_maintenance(&stores, stage, &house, stopped.clone())?;
    let delivery = runtime.spawn({
        let (responder, stopped) = (responder.clone(), stopped.clone());
        async move { responder.run(ended(stopped)).await }
    });
    let file = prometheus.as_ref().and_then(|prometheus| prometheus.file.clone());
    let follows = file.map(|file| runtime.spawn(prometheus::follow(file, stopped.clone())));
    runtime.spawn(async move {
        signal().await;
        let _ = stop.send(true);
    });
    let served = runtime.block_on(server.run(ended(stopped)));

    // Facts first, then judgement, then the stores: what is under way is still written.
    if let Some(follows) = follows {
        let _ = runtime.block_on(follows);
    }
    if let Some(prometheus) = &prometheus {
        prometheus.stop();
    }
    states.stop();
    collector.stop();
    if let Some(graphite) = graphite {
        let _ = runtime.block_on(graphite);
    }
    ruler.stop();
    if let Some(prometheus) = &prometheus {
        runtime.block_on(prometheus.drain());
    }
    if let Some(onward) = &onward {
        onward.stop();
    }
    if let Some(exports) = &exports {
        exports.stop();
    }
    let _ = runtime.block_on(delivery);
    let _ = maintenance.join();
    stores.series.close().context("cannot close the metric store")?;
    stores.events.close().context("cannot close the event store")?;
    served.context("the server failed")
}

/// Starts to gather facts of this machine.
fn start_collector(settings: &Settings, house: &House, sink: Arc<dyn Sink>) -> Result<Collector> {
    let config = vedette_collector::Config {
        interval: settings.interval,
        host: vedette_host::Config { directory: house.directory.clone(), ..host_config(settings) },
        figures: settings.figures,
        sensor: settings.sensor.then(vedette_ebpf::Config::default),
        ..vedette_collector::Config::default()
    };
    Ok(Collector::start(&config, &house.surroundings(sink))?)
}

/// Where events of clusters go.
fn cluster_events(house: &House, sink: Arc<dyn Sink>, store: Arc<EventDb>) -> Keeping {
    Keeping {
        sink,
        store,
        host: house.host.clone(),
        origin: house.origin("kubernetes"),
        clock: house.clock.clone(),
        status: house.status.clone(),
        directory: house.directory.clone(),
    }
}

/// How the clusters are, for the API.
fn watched_clusters(house: &House) -> Arc<dyn Fn() -> Vec<Arc<ClusterStatus>> + Send + Sync> {
    let clusters = house.clusters.clone();
    Arc::new(move || clusters.all())
}

/// What all parts share, and the lock of the data folder.
fn open_house(settings: &Settings) -> Result<(House, FolderLock)> {
    let identity = Identity::read(&host_config(settings)).context("cannot tell which machine this is")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let capacity = live::Board::new(&clock);
    let house = House {
        fs: Arc::new(RealFs),
        states: Arc::new(ClusterStates::new(&settings.kubernetes, clock.clone())),
        clock,
        status: StatusBoard::default(),
        telemetry: Telemetry::default(),
        clusters: ClusterParts::default(),
        capacity,
        host: Arc::new(identity.host.clone()),
        kernel: identity.kernel_release.clone(),
        directory: Directory::default(),
    };
    house.telemetry.register(Arc::new(house.clusters.clone()));
    let data = &settings.data_dir;
    std::fs::create_dir_all(data).with_context(|| {
        format!("cannot make the data folder {}; name another with --data-dir", data.display())
    })?;
    Ok((house, FolderLock::acquire(data)?))
}

fn start_runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start threads")
}

fn address(server: &Server) -> String {
    format!("{}://{}", if server.encrypts() { "https" } else { "http" }, server.address())
}

/// Takes lines of Graphite, if the configuration asks for it.
fn listen_for_graphite(
    settings: &Settings,
    runtime: &tokio::runtime::Runtime,
    receiver: &Arc<Receiver>,
    stopped: &watch::Receiver<bool>,
) -> Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(address) = settings.graphite else { return Ok(None) };
    let listener = graphite::Listener::bind(address)?;
    println!("Lines of Graphite are taken on {}", listener.address());
    Ok(Some(runtime.spawn(listener.run(receiver.clone(), ended(stopped.clone())))))
}

fn external_labels(program: &Arc<Own>) -> Arc<dyn Fn() -> Labels + Send + Sync> {
    let program = program.clone();
    Arc::new(move || program.external_labels())
}

fn build_info() -> BuildInfo {
    BuildInfo { version: env!("CARGO_PKG_VERSION").into(), revision: String::new() }
}

fn host_config(settings: &Settings) -> vedette_host::Config {
    let mut config = settings.host.clone();
    if let Some(sockets) = &settings.runtime_sockets {
        config.runtime_sockets.clone_from(sockets);
    }
    config.forecasts_file = Some(settings.data_dir.join("forecasts"));
    config
}

fn flush(keep: &KeepSettings) -> Flush {
    keep.flush_interval.map_or(Flush::Always, Flush::Interval)
}

fn rollup(settings: &RollupSettings) -> vedette_tsdb::Rollup {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    vedette_tsdb::Rollup { step_ms: ms(settings.step), retention_ms: ms(settings.retention) }
}

fn open_stores(settings: &Settings, house: &House) -> Result<Stores> {
    // The one reads its log with all processors, the other mostly waits for the disk.
    let (series, events) = std::thread::scope(|scope| {
        let events = scope.spawn(|| open_events(settings, house));
        let series = open_series(settings, house);
        (series, events.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (series, events) = (Arc::new(series?), Arc::new(events?));
    let ingest =
        Arc::new(Ingest::new(ingest_config(settings), series.clone(), events.clone(), house.clock.clone()));
    house.telemetry.register(series.metrics());
    house.telemetry.register(events.clone());
    house.telemetry.register(ingest.clone());
    Ok(Stores { series, events, ingest })
}

/// What starts of counting become is the same for what is scraped and what is pushed.
fn ingest_config(settings: &Settings) -> vedette_ingest::Config {
    let zeros_at_start = settings.scrape.start_times == StartTimes::ZeroSamples;
    vedette_ingest::Config { zeros_at_start, ..vedette_ingest::Config::default() }
}

fn open_series(settings: &Settings, house: &House) -> Result<Tsdb> {
    let data = &settings.data_dir;
    let limits = &settings.limits;
    let metrics = vedette_tsdb::Config {
        flush: flush(&settings.metrics),
        retention_ms: i64::try_from(settings.metrics.retention.as_millis()).unwrap_or(i64::MAX),
        retention_rules: settings.retention_rules.clone(),
        retention_bytes: settings.metrics.retention_bytes,
        head_bytes_max: limits.memory.bytes(),
        series_max: limits.series,
        metric_series_max: limits.series_per_metric,
        target_series_max: limits.series_per_target,
        tenant_series_max: limits.series_per_tenant,
        tenant_label: limits.tenant_label.clone(),
        rollups: settings.rollups.iter().map(rollup).collect(),
        ..vedette_tsdb::Config::new(data.join("metrics"))
    };
    let (series, opening) = Tsdb::begin(metrics, house.fs.clone(), house.clock.clone())
        .with_context(|| format!("cannot open the metric store in {}", data.display()))?;
    if opening.log_bytes() > REPLAY_BEHIND_BYTES_MAX {
        finish_opening(opening);
    } else {
        let replay = std::thread::Builder::new().name("replay".into());
        replay.spawn(move || finish_opening(opening)).context("cannot start a thread")?;
    }
    Ok(series)
}

fn finish_opening(opening: vedette_tsdb::Opening) {
    let _unfinished = EndOnPanic;
    let recovery = opening.finish();
    tracing::info!(samples = recovery.samples, segments = recovery.segments, "metric store is open");
    for note in &recovery.notes {
        tracing::warn!(note, "metric store was repaired");
    }
}

/// Ends the process when a panic drops it: on a thread of its own that would leave a program without
/// its store.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn open_events(settings: &Settings, house: &House) -> Result<EventDb> {
    let data = &settings.data_dir;
    let events = vedette_eventdb::Config {
        flush: flush(&settings.events),
        retention: settings.events.retention,
        bytes_max: settings.events.retention_bytes,
        ..vedette_eventdb::Config::new(data.join("events"))
    };
    let (events, recovery) = EventDb::open(events, house.fs.clone(), house.clock.clone())
        .with_context(|| format!("cannot open the event store in {}", data.display()))?;
    tracing::info!(events = recovery.events, segments = recovery.segments, "event store is open");
    for damage in &recovery.damage {
        tracing::warn!(damage, "event store was repaired");
    }
    Ok(events)
}

fn response_config(settings: &Settings) -> vedette_response::Config {
    let target = |receiver: &ReceiverSettings| match &receiver.target {
        Target::Webhook { url, timeout } => {
            vedette_response::Target::Webhook { url: url.clone(), timeout: *timeout, redirects_max: 3 }
        }
        Target::File(path) => vedette_response::Target::file(settings.data_dir.join(path)),
    };
    let receivers = settings
        .receivers
        .iter()
        .map(|r| vedette_response::Receiver { name: r.name.clone(), target: target(r) })
        .collect();
    vedette_response::Config { receivers, ..vedette_response::Config::new(settings.data_dir.join("outbox")) }
}

fn open_responder(settings: &Settings, house: &House) -> Result<Responder> {
    let (responder, recovered) = Responder::open(
        response_config(settings),
        house.fs.clone(),
        house.clock.clone(),
        house.status.clone(),
        &house.telemetry,
    )?;
    if recovered.pending > 0 {
        tracing::info!(pending = recovered.pending, "notifications still wait for their receivers");
    }
    Ok(responder)
}

/// Where others find this server: as somebody says, else where it listens.
pub(crate) fn external_url(settings: &Settings) -> String {
    if let Some(url) = &settings.external_url {
        return url.clone();
    }
    // What cannot be read is refused where the server begins.
    let web = web_source(settings).and_then(|web| web.read().ok());
    let scheme = if web.is_some_and(|web| web.config.tls.is_some()) { "https" } else { "http" };
    format!("{scheme}://{}", settings.listen)
}

fn alerting_config(settings: &Settings) -> vedette_alerting::Config {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let at_least = |least: Severity| {
        [Severity::Info, Severity::Warning, Severity::Critical].into_iter().filter(|s| *s >= least).collect()
    };
    vedette_alerting::Config {
        external_url: external_url(settings),
        receivers: settings
            .receivers
            .iter()
            .map(|r| vedette_alerting::Receiver {
                severities: at_least(r.severity),
                ..vedette_alerting::Receiver::all(&r.name)
            })
            .collect(),
        route: vedette_alerting::Route {
            group_wait_ms: ms(settings.group_wait),
            group_interval_ms: ms(settings.group_interval),
            repeat_interval_ms: ms(settings.repeat_interval),
            ..vedette_alerting::Route::default()
        },
        evaluation_interval_ms: ms(settings.evaluation_interval),
        query_timeout_ms: ms(settings.rule_query_timeout),
        ..vedette_alerting::Config::default()
    }
}

fn start_ruler(
    settings: &Settings,
    house: &House,
    ways: &Ways,
    groups: Vec<vedette_alerting::Group>,
    outlet: Arc<Outbox>,
) -> Result<Ruler> {
    let clock = house.clock.clone();
    let alerting = Alerting::new(alerting_config(settings), groups, Arc::new(move || clock.monotonic().0))?;
    let ruler = Ruler::start(
        &vedette_ruler::Config::new(settings.data_dir.join("ruler"), house.origin("ruler")),
        alerting,
        Parts {
            reader: ways.reader.clone(),
            engine: engine(settings),
            sink: ways.sink.clone(),
            outlet,
            fs: house.fs.clone(),
            clock: house.clock.clone(),
            status: house.status.clone(),
        },
    )?;
    house.telemetry.register(ruler.handle().metrics());
    house.telemetry.register(Arc::new(PartHealth(house.status.clone())));
    Ok(ruler)
}

fn detection_stage(
    detections: vedette_detection::Detections,
    inner: Arc<dyn Sink>,
    house: &House,
    ruler: &Ruler,
) -> Arc<DetectionStage> {
    let rules = detections.rules().len();
    let detector = Detector::new(detections, &vedette_detection::Config::default());
    house.telemetry.register(detector.metrics());
    house.status.post("detection", Part::ok().fact("rules", rules));
    Arc::new(DetectionStage::new(
        Box::new(Detecting(detector)),
        inner,
        ruler.handle(),
        house.origin("detection"),
        house.host.clone(),
    ))
}

/// The detector, as the ruler drives it.
struct Detecting(Detector);

impl Detect for Detecting {
    fn observe(&mut self, event: &Event, findings: &mut Vec<Finding>) {
        self.0.observe(event, findings);
    }

    fn expire(&mut self, now_ns: i64, findings: &mut Vec<Finding>) {
        self.0.expire(now_ns, findings);
    }
}

fn bind_server(
    settings: &Settings,
    house: &House,
    stores: &Stores,
    ways: &Ways,
    answering: Answering<'_>,
) -> Result<Server> {
    let Answering { ruler, collector, program, pushed } = answering;
    let index = collector.containers();
    let app = App {
        series: ways.reader.clone(),
        writer: Arc::new(pushed),
        external_labels: external_labels(&program),
        storage: stores.series.clone(),
        targets: program.targets(),
        program,
        web: web_source(settings),
        admin: settings.admin_api.then(|| {
            let folder = settings.data_dir.join("snapshots");
            Arc::new(StoreAdmin { series: stores.series.clone(), fs: house.fs.clone(), folder }) as _
        }),
        engine: Arc::new(engine(settings)),
        query_log: Some(Arc::new(open_query_log(settings)?)),
        events: Some(stores.events.clone()),
        judgement: Arc::new(RulerJudgement(ruler.handle())),
        containers: Arc::new(move || index.all()),
        directory: house.directory.clone(),
        clusters: watched_clusters(house),
        latest: Arc::new(LatestFigures(collector.latest())),
        kube_state: house.states.clone(),
        capacity: house.capacity.reader(),
        status: house.status.clone(),
        telemetry: house.telemetry.clone(),
        host: house.host.clone(),
        kernel: house.kernel.clone(),
        build: build_info(),
        ready: Arc::new(AtomicBool::new(true)),
        clock: house.clock.clone(),
    };
    Ok(Server::bind(api_config(settings), app)?)
}

fn web_source(settings: &Settings) -> Option<Arc<dyn WebSource>> {
    settings.web_config.clone().map(|path| Arc::new(WebFiles(path)) as _)
}

fn api_config(settings: &Settings) -> vedette_api::Config {
    let query = &settings.query;
    vedette_api::Config {
        listen: settings.listen,
        lifecycle: settings.lifecycle,
        origins: settings.origins.clone(),
        prefix: settings.route_prefix.clone(),
        queries_max: query.concurrency,
        queries_of_client_max: query.concurrency_per_client,
        query_threads: query.threads,
        queries_waiting_max: query.waiting,
        queries_waiting_of_client_max: query.waiting_per_client,
        query_timeout: query.timeout,
        query_samples_max: query.samples,
        query_memory_bytes_max: query.memory,
        queries_memory_bytes_max: match query.total_memory.bytes() {
            // Nothing tells how much memory there is.
            0 => u64::MAX,
            bytes => bytes,
        },
        answer_bytes_max: query.answer_size,
        query_cache_bytes_max: query.cache,
        slow_query: query.slow,
        ..vedette_api::Config::default()
    }
}

/// The evaluator of queries and rules.
fn engine(settings: &Settings) -> Engine {
    let lookback_ms = i64::try_from(settings.query.lookback.as_millis()).unwrap_or(i64::MAX);
    Engine::new(EngineConfig { lookback_ms, ..EngineConfig::default() })
}

fn open_query_log(settings: &Settings) -> Result<QueryFiles> {
    let active = settings.data_dir.join("queries.active");
    let log = settings.query.log_file.as_ref().map(|path| settings.data_dir.join(path));
    QueryFiles::open(&active, log.as_deref()).with_context(|| {
        let log = log.as_ref().map_or_else(String::new, |path| format!(" or {}", path.display()));
        format!("cannot open {}{log}", active.display())
    })
}

/// The metric store, as an administrator works on it.
struct StoreAdmin {
    series: Arc<Tsdb>,
    fs: Arc<dyn Fs>,
    /// Where snapshots are made: each is a data folder of its own.
    folder: PathBuf,
}

impl SeriesAdmin for StoreAdmin {
    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), String> {
        let deleted = self.series.delete_series(matcher_sets, range).map_err(|e| with_causes(&e))?;
        let selectors: Vec<String> = matcher_sets.iter().flatten().map(ToString::to_string).collect();
        tracing::info!(
            selectors = selectors.join(","),
            start_ms = range.start_ms,
            end_ms = range.end_ms,
            segments = deleted.segments,
            "series were deleted"
        );
        Ok(())
    }

    fn clean(&self) -> Result<(), String> {
        self.series.clean_deleted().map(drop).map_err(|e| with_causes(&e))
    }

    fn snapshot(&self, name: &str, skip_head: bool) -> Result<(), String> {
        let data = self.folder.join(name);
        let made = self.series.snapshot(&data.join("metrics"), skip_head);
        if made.is_err() {
            // A folder without a store in it would look like a snapshot.
            let _ = self.fs.remove_dir_all(&data);
        }
        let made = made.map_err(|e| with_causes(&e))?;
        tracing::info!(name, segments = made.segments, bytes = made.bytes, "a snapshot was made");
        Ok(())
    }
}

/// An error with its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The collector's newest figures, for `/metrics/node` and `/metrics/cadvisor`.
struct LatestFigures(Latest);

impl LatestSamples for LatestFigures {
    fn visit(&self, source: Source, each: &mut dyn FnMut(LatestSample<'_>)) {
        let mut dictionary = match source {
            Source::Node => self.0.node.lock(),
            Source::Containers => self.0.containers.lock(),
        };
        dictionary.newest().for_each(|newest| {
            let Newest { family, metadata, labels, text, time_ms, value } = newest;
            each(LatestSample { family, metadata, labels, text, value, time_ms });
        });
    }

    fn courses(&self, wanted: &dyn Fn(&Labels) -> bool) -> Vec<SeriesCourse> {
        let courses = self.0.containers.lock().courses(wanted);
        courses.into_iter().map(|c| SeriesCourse { labels: c.labels, samples: c.samples }).collect()
    }

    fn minutes(&self, cgroup: &str) -> Vec<MinuteUsage> {
        self.0.usage.lock().minutes(cgroup)
    }

    fn machine(&self) -> MachineFacts {
        vedette_host::machine_facts(&vedette_host::Config::default())
    }

    fn processes(&self, cgroup: &str) -> Vec<ProcessFigures> {
        vedette_host::processes(
            &vedette_host::Config::default(),
            cgroup,
            SystemClock.unix_ms() as f64 / 1000.0,
        )
    }
}

/// Stores flush, seal and clean up on a thread of their own.
fn spawn_maintenance(
    stores: &Stores,
    stage: Arc<DetectionStage>,
    house: &House,
    stopped: watch::Receiver<bool>,
) -> Result<std::thread::JoinHandle<()>> {
    let (series, events, ingest) = (stores.series.clone(), stores.events.clone(), stores.ingest.clone());
    let house = house.clone();
    let work = move || {
        let mut status_due = house.clock.monotonic();
        let mut losses = Growth::default();
        while !*stopped.borrow() {
            series.maintain();
            events.maintain();
            if let Err(rejected) = stage.expire(house.clock.unix_ns()) {
                tracing::debug!(%rejected, "findings that are over wait for the event store");
            }
            let now = house.clock.monotonic();
            if now >= status_due {
                status_due = MonotonicTime(now.0 + STATUS_INTERVAL.as_nanos() as u64);
                house.status.post("tsdb", series.stats().to_part());
                house.status.post("eventdb", eventdb_part(&events.stats()));
                let stats = ingest.stats();
                let losing = losses.is_recent(lost(&stats), now, LOSS_SHOWN);
                house.status.post("ingest", ingest_part(&stats, losing));
            }
            std::thread::sleep(MAINTENANCE_INTERVAL);
        }
    };
    std::thread::Builder::new().name("maintenance".into()).spawn(work).context("cannot start a thread")
}

fn eventdb_part(stats: &vedette_eventdb::Stats) -> Part {
    let part = match &stats.failure {
        None => Part::ok(),
        Some(failure) => Part::new(
            Health::Failed,
            failure.clone(),
            "Make room on the disk, or check that it can be written; storing goes on by itself.",
        ),
    };
    part.fact("events", stats.events)
        .fact("events in memory", stats.events_in_memory)
        .fact("segments", stats.segments)
        .fact("segment size", format!("{} KiB", stats.segment_bytes / 1024))
        .fact("write-ahead log", format!("{} KiB", stats.wal_bytes / 1024))
        .fact("live readers", stats.subscribers)
}

fn lost(stats: &vedette_ingest::Stats) -> u64 {
    stats.rejected_samples + stats.rejected_events + stats.missing_batches
}

fn ingest_part(stats: &vedette_ingest::Stats, losing: bool) -> Part {
    let part = if losing {
        Part::new(
            Health::Degraded,
            format!(
                "{} samples and {} events were refused, {} batches never came",
                stats.rejected_samples, stats.rejected_events, stats.missing_batches
            ),
            "See vedette_ingest_rejected_* for the reasons.",
        )
    } else {
        Part::ok()
    };
    part.fact("samples", stats.samples)
        .fact("events", stats.events)
        .fact("lost", lost(stats))
        .fact("senders", stats.origins)
        .fact("answered \"again later\"", stats.retries)
        .fact("repeats", stats.duplicate_batches)
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals; end the process with SIGKILL, nothing stored is lost");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Messages about itself go to standard error.
pub fn start_log(level: &str, json: bool) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)
        .with_context(|| format!("--log-level {level:?} is none of error, warn, info, debug, trace"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// `vedette check prometheus-config`: everything that would be refused when it is put to work.
pub fn check_prometheus(path: &Path) -> Result<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (jobs, rules) = prometheus::check(path, &clock)?;
    Ok(format!("ok: {jobs} scrape jobs, {rules} rules"))
}

/// `vedette check config`: everything that `up` would refuse before it begins.
pub fn check(settings: &Settings) -> Result<String> {
    let groups = judgement::rule_groups(settings)?;
    let detections = judgement::detections(settings)?;
    vedette_api::Server::check(api_config(settings), web_source(settings))?;
    alerting_config(settings).validate()?;
    response_config(settings).validate()?;
    if let Some(path) = &settings.prometheus_config {
        check_prometheus(path)?;
    }
    let rules: usize = groups.iter().map(|g| g.rules.len()).sum();
    Ok(format!(
        "ok: {rules} rules, {} detections, {} receivers",
        detections.rules().len(),
        settings.receivers.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn what_up_would_refuse_is_refused_by_the_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("v.yml");
        for (text, expected) in [
            ("notify: {group_interval: 5s}\n", "ok: "),
            ("notify: {group_interval: 10ms}\n", "route.group_interval"),
            ("notify: {receivers: [{name: a, webhook: {url: 'http://'}}]}\n", "receivers[0].url"),
            ("listen: 0.0.0.0:9090\n", "authentication"),
        ] {
            std::fs::write(&file, text).expect("writes");
            let settings = config::load(Some(&file), Overrides::default()).expect(text);
            let said = check(&settings).unwrap_or_else(|error| format!("{error:#}"));
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
